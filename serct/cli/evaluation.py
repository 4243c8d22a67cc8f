"""Commands that score a model, or write it for other programs."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from serct.cli.output import print_json
from serct.cli.shared import Model, Precision, Workspace, app, model_folder
from serct.errors import CheckpointError, ParamsError


@app.command()
def evaluate(
    shards: Annotated[Path, typer.Option(help="Folder of a corpus' shards.")],
    model: Model = None,
    split: Annotated[str, typer.Option(help="train, validation, test or all.")] = "test",
    precision: Precision = "float32",
    probes: Annotated[
        bool,
        typer.Option(
            "--probes",
            help="Also predict from duration or level alone, and with the level changed, zeros or "
            "a constant added, or a telephone band.",
        ),
    ] = False,
    workspace: Workspace = None,
) -> None:
    """Compute a model's scores on the shards of any corpus.

    Only emotions that both have count. The output is JSON.
    """
    from serct.data.manifest import SPLITS
    from serct.evaluation.evaluate import check_rows, evaluate_zero_shot
    from serct.inference.predictor import load_classifier

    classifier, card = load_classifier(model_folder(model, workspace), "auto", precision)
    check_rows(card, shards)
    splits = SPLITS if split == "all" else (split,)
    result = evaluate_zero_shot(classifier, card.emotions, shards, splits, batch_size=16)
    found: dict[str, Any] = {
        "masked": result.masked.summary(),
        "unmasked": result.unmasked.summary(),
        "majority_ua": result.majority.ua,
        "dropped": result.dataset.dropped,
    }
    if probes:
        from serct.data.dataset import ShardDataset
        from serct.evaluation.probes import probe_corpus, probe_model

        train = ShardDataset(shards, ["train"], result.dataset.emotions)
        found["ua_of_probes"] = probe_corpus(train, result.dataset)
        found["under_changes"] = probe_model(classifier, result.dataset)
    typer.echo(json.dumps(found, indent=2))


class ExportFormat(StrEnum):
    """What an exported model is for."""

    ONNX = "onnx"
    HUGGINGFACE = "huggingface"


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    model: Annotated[
        str | None,
        typer.Argument(
            help="A model's folder or a registry address; if left out, the champion, or the "
            "challenger as long as there is no champion."
        ),
    ] = None,
    form: Annotated[
        ExportFormat,
        typer.Option("--format", help="ONNX, or a folder that Hugging Face's transformers loads."),
    ] = ExportFormat.ONNX,
    int8: Annotated[
        bool, typer.Option("--int8", help="Compute wide matrix products in 8 bits; ONNX only.")
    ] = False,
    shards: Annotated[
        Path | None,
        typer.Option(
            help="Shards whose test part the accuracies are compared on, and whose training part "
            "gives the ranges of --int8; ONNX only."
        ),
    ] = None,
    max_loss_points: Annotated[
        float, typer.Option(help="Percentage points of accuracy that the export may lose there.")
    ] = 0.2,
    workspace: Workspace = None,
) -> None:
    """Write a model as ONNX or for transformers, checked against the original."""
    if form == ExportFormat.HUGGINGFACE:
        if int8 or shards is not None:
            raise CheckpointError("--int8 and --shards: expected with --format onnx only")
        from serct.inference.huggingface.exporting import export_huggingface

        folder = model_folder(model, workspace)
        print_json(asdict(export_huggingface(folder, out, licences=_licences(folder))))
        return
    from serct.inference.exporting import export_onnx

    note = export_onnx(
        model_folder(model, workspace),
        out,
        int8=int8,
        shards=shards,
        max_loss_points=max_loss_points,
    )
    typer.echo(note.model_dump_json(indent=2))


def _licences(folder: Path) -> Mapping[str, str]:
    """Return the licences of the corpora of a model, as far as its workspace names them."""
    from serct.config.reader import read_params
    from serct.data.corpora import read_licences
    from serct.experiments.workspace import find_workspace
    from serct.models.checkpoint import load_card

    corpus, root = load_card(folder).corpus, find_workspace(folder.resolve())
    if root is None:
        return {}
    try:
        return read_licences(read_params(root / "params.yaml"), [corpus])[corpus]
    except ParamsError:
        return {}
