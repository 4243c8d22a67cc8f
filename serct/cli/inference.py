"""Commands that ask a model."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from serct.cli.app import app
from serct.cli.shared import Workspace, workspace_root
from serct.errors import SerctError


@app.command()
def predict(
    files: Annotated[list[Path], typer.Argument(help="Audio files of any usual format.")],
    model: Annotated[
        str, typer.Option(help="A model's folder or a registry address.")
    ] = "models:/serct@challenger",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "cpu",
    precision: Annotated[str, typer.Option(help="float32, bfloat16 or auto.")] = "float32",
    speaker: Annotated[
        Path | None,
        typer.Option(
            help="Folder with other recordings of the speaker in several emotions, for a model "
            "that adapts to a speaker."
        ),
    ] = None,
    voice: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Tell the emotion of audio files; exit code 1 if one of them is unusable."""
    from serct.data.reading.tree import list_files
    from serct.inference.predictor import Predictor

    predictor = Predictor.load(model, device, precision)
    if voice is not None:
        typer.echo("note: --voice is now --speaker; the next version removes --voice", err=True)
        speaker = speaker or voice
    if speaker is not None:
        predictor = predictor.adapt_to_speaker([speaker / path for path in list_files(speaker)])
    if predictor.card.synthetic and not as_json:
        typer.echo("note: this model was trained on synthetic speech", err=True)
    num_failed = 0
    for path in files:
        result: dict[str, Any] = {"file": str(path)}
        is_good = True
        try:
            answer = predictor.predict_file(path)
            told = predictor.decide(answer)
            result |= {"emotion": told, "probabilities": answer}
            best = max(answer, key=answer.__getitem__)
            guess = told if told == best else f"{told}, perhaps {best}"
            line = f"{path}: {guess} ({answer[best]:.1%})"
        except SerctError as error:
            is_good = False
            num_failed += 1
            result |= {"error": str(error)}
            line = f"error: {error}"
        typer.echo(json.dumps(result) if as_json else line, err=not (as_json or is_good))
    if num_failed:
        raise typer.Exit(1)


@app.command()
def score(
    recordings: Annotated[Path, typer.Argument(help="Folder; all below it is answered for.")],
    out: Annotated[Path, typer.Option(help="Folder of CSV parts; goes on if cut off.")],
    model: Annotated[
        str, typer.Option(help="A model's folder or a registry address.")
    ] = "models:/serct@champion",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "cpu",
    precision: Annotated[str, typer.Option(help="float32, bfloat16 or auto.")] = "float32",
    part_size: Annotated[int, typer.Option(min=1, help="Recordings of a part.")] = 256,
    workspace: Workspace = None,
) -> None:
    """Tell the emotion of every recording of a large folder, where params.yaml's executor says."""
    from serct.config.reader import read_params
    from serct.inference.scoring import score_folder
    from serct.runtime.executors import open_executor
    from serct.runtime.log import progress, setup_logging
    from serct.tracking import find_model

    setup_logging()
    root = workspace_root(workspace)
    section = read_params(root / "params.yaml").executor
    folder = find_model(model, root)
    with open_executor(section) as executor:
        found = score_folder(
            recordings, out, folder, executor,
            device=device, precision=precision, part_size=part_size, progress=progress,
        )  # fmt: skip
    for emotion, count in found.emotions.most_common():
        typer.echo(f"{count:8d} {emotion}")
    if found.num_unusable:
        typer.echo(f"{found.num_unusable:8d} unusable, each row says why")
    typer.echo(f"{found.seconds / 3600:.2f} h of speech; the rows: {out}/part-*.csv")


@app.command()
def evaluate(
    model: Annotated[str, typer.Option(help="A model's folder or a registry address.")],
    shards: Annotated[Path, typer.Option(help="Folder of a corpus' shards.")],
    split: Annotated[str, typer.Option(help="train, validation, test or all.")] = "test",
    precision: Annotated[str, typer.Option(help="float32, bfloat16 or auto.")] = "float32",
    probes: Annotated[
        bool,
        typer.Option(
            "--probes",
            help="Also what duration or level alone tell, and what level, "
            "zeros, a constant or a telephone band change.",
        ),
    ] = False,
) -> None:
    """Score a model on any corpus' shards, over the emotions both know; JSON on stdout."""
    from serct.data.manifest import SPLITS
    from serct.evaluation.evaluate import evaluate_zero_shot
    from serct.inference.predictor import load_classifier

    classifier, card = load_classifier(model, "auto", precision)
    splits = SPLITS if split == "all" else (split,)
    result = evaluate_zero_shot(classifier, card.emotions, shards, splits, batch_size=16)
    found: dict[str, Any] = {
        "masked": result.masked.summary(),
        "unmasked": result.unmasked.summary(),
        "majority_ua": result.majority.ua,
        "dropped": result.dataset.dropped,
    }
    if probes:
        from serct.data.shards import ShardDataset
        from serct.evaluation.probes import probe_corpus, probe_model

        train = ShardDataset(shards, ["train"], result.dataset.emotions)
        found["ua_of_probes"] = probe_corpus(train, result.dataset)
        found["under_changes"] = probe_model(classifier, result.dataset)
    typer.echo(json.dumps(found, indent=2))


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A model's folder or a registry address.")],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    int8: Annotated[bool, typer.Option("--int8", help="Matrix products in 8 bits.")] = False,
    shards: Annotated[
        Path | None, typer.Option(help="Compare accuracy on the test part of these shards.")
    ] = None,
    max_loss_points: Annotated[
        float, typer.Option(help="Percentage points of accuracy that may be lost there.")
    ] = 0.2,
) -> None:
    """Write a model as ONNX, checked against the original; prints what was found."""
    from serct.inference.exporting import export_onnx
    from serct.tracking import find_model

    note = export_onnx(
        find_model(model), out, int8=int8, shards=shards, max_loss_points=max_loss_points
    )
    typer.echo(note.model_dump_json(indent=2))
