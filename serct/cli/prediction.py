"""Commands that predict with a model."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serct.cli.output import AsJson, print_json
from serct.cli.shared import (
    Device,
    Model,
    Precision,
    Workspace,
    announce_default,
    app,
    model_folder,
    workspace_root,
)
from serct.errors import SerctError, SpeakerError, list_problems

if TYPE_CHECKING:
    from serct.inference.importance import TimeImportance
    from serct.inference.predictor import Predictor
    from serct.inference.recording import RecordingPrediction

Enrol = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder with other recordings of the one speaker of all files, in several moods and "
        "without labels, for a model with speaker enrolment.",
    ),
]

Audformat = Annotated[
    Path | None,
    typer.Option(
        "--audformat", metavar="CSV", help="Also write the predictions as a table of audformat."
    ),
]


@app.command()
def predict(
    files: Annotated[list[Path], typer.Argument(help="Audio files of any usual format.")],
    model: Model = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    device: Device = "cpu",
    precision: Precision = "float32",
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Print the emotions along each file as well.")
    ] = False,
    table: Audformat = None,
    importance: Annotated[
        bool,
        typer.Option(
            "--importance",
            help="Print the stretches of each file, at most 60 s long, that decided most as well.",
        ),
    ] = False,
    enrol: Enrol = None,
    speaker: Annotated[Path | None, typer.Option("--speaker", "--voice", hidden=True)] = None,
    workspace: Workspace = None,
) -> None:
    """Predict the emotion of audio files, each as a whole.

    The exit code is 1 if a file is not usable.
    """
    from serct.inference.audformat_table import TableRow, rows_of, write_table
    from serct.inference.predictor import Predictor

    predictor = Predictor.load(model_folder(model, workspace), device, precision)
    if speaker is not None:
        note = "note: --speaker and --voice are now --enrol; the next version removes them"
        typer.echo(note, err=True)
        enrol = enrol or speaker
    if enrol is not None:
        predictor = _enrolled(predictor, enrol)
    if predictor.card.synthetic and not as_json:
        typer.echo("note: this model was trained on synthetic speech", err=True)
    num_failed = 0
    rows: list[TableRow] = []
    for path in files:
        try:
            found = predictor.analyse_file(path)
        except SerctError as error:
            num_failed += 1
            rows.append(TableRow(str(path)))
            if as_json:
                typer.echo(json.dumps({"file": str(path), "error": str(error)}))
            else:
                typer.echo(f"error: {error}", err=True)
            continue
        rows += rows_of(str(path), found, timeline)
        decisive = None
        if importance and found.probabilities is not None:
            decisive = _importance(predictor, path)
        if as_json:
            content = {"file": str(path), **asdict(found), "segments": found.segments}
            del content["steps"]
            if importance:
                content["importance"] = decisive
            typer.echo(json.dumps(content, default=asdict))
            continue
        typer.echo(f"{path}: {_in_words(found)}")
        for note in found.notes:
            typer.echo(f"  note: {note}")
        for segment in found.segments if timeline else ():
            times = f"{segment.start_s:8.2f} to {segment.end_s:8.2f} s"
            typer.echo(f"  {times}  {_emotion(segment.emotion, segment.probabilities)}")
        for line in _decisive(decisive):
            typer.echo(f"  {line}")
    if table is not None:
        write_table(table, rows, predictor.card.emotions)
    if num_failed:
        raise typer.Exit(1)


def _enrolled(predictor: "Predictor", folder: Path) -> "Predictor":
    from serct.data.reading.tree import list_files

    predictor.check_adapts()
    predictor = predictor.enrol([folder / path for path in list_files(folder)])
    adaptation = predictor.adaptation
    # Not among the predictions, which programs read.
    typer.echo(f"enrolled with {adaptation}", err=True)
    if adaptation is not None and adaptation.warning:
        typer.echo(f"warning: {adaptation.warning}", err=True)
    return predictor


def _importance(predictor: "Predictor", path: Path) -> "TimeImportance | None":
    """Return the importance of a usable file's stretches; None, and why on stderr, if too long."""
    from serct.inference.importance import importance_in_file

    try:
        return importance_in_file(predictor, path)
    except SerctError as error:
        typer.echo(f"note: without importance: {error}", err=True)
        return None


def _decisive(found: "TimeImportance | None") -> Iterator[str]:
    """Yield what is printed of the stretches that decided most."""
    if found is not None:
        for each in found.decisive:
            lost = f"without it, {found.emotion} loses {100 * each.lost:.1f} points"
            yield f"{each.start_s:8.2f} to {each.end_s:8.2f} s  {lost}"
        if not found.decisive:
            yield f"no stretch alone: without any of them, {found.emotion} loses nothing"


def _in_words(found: "RecordingPrediction") -> str:
    emotion = _emotion(found.emotion, found.probabilities)
    if found.probabilities is None:
        return f"{emotion} in {found.duration_s:.1f} s"
    return f"{emotion}; {found.speech_s:.1f} s of speech in {found.duration_s:.1f} s"


def _emotion(emotion: str, probabilities: dict[str, float] | None) -> str:
    if probabilities is None:
        return emotion.replace("_", " ")
    best = max(probabilities, key=probabilities.__getitem__)
    text = emotion if emotion == best else f"{emotion}, perhaps {best}"
    return f"{text} ({probabilities[best]:.1%})"


@app.command()
def score(
    recordings: Annotated[Path, typer.Argument(help="Folder; every file below it is scored.")],
    out: Annotated[Path, typer.Option(help="Folder for CSV parts; a second call goes on there.")],
    model: Model = None,
    device: Device = "cpu",
    precision: Precision = "float32",
    part_size: Annotated[int, typer.Option(min=1, help="Recordings in one part.")] = 256,
    enrol: Enrol = None,
    speakers: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Table with the columns file, a path below the folder, and speaker, for a model "
            "with speaker enrolment: it adapts to all recordings of each speaker.",
        ),
    ] = None,
    table: Audformat = None,
    as_json: AsJson = False,
    workspace: Workspace = None,
) -> None:
    """Predict the emotion of every recording in a large folder.

    The work runs on the executor that params.yaml names.
    """
    from serct.config.reader import read_params
    from serct.inference.audformat_table import write_scored_table
    from serct.inference.score_speakers import ScoreEnrolment
    from serct.inference.scoring import score_folder
    from serct.runtime.executors import open_executor
    from serct.runtime.log import progress, setup_logging
    from serct.tracking import find_model

    if enrol is not None and speakers is not None:
        raise SpeakerError("--enrol and --speakers: expected one of both")
    enrolment = ScoreEnrolment(enrol, speakers) if enrol or speakers else None
    setup_logging()
    root = workspace_root(workspace)
    section = read_params(root / "params.yaml").executor
    folder = find_model(model or announce_default(root), root)
    with open_executor(section) as executor:
        found = score_folder(
            recordings, out, folder, executor,
            device=device, precision=precision, part_size=part_size, enrolment=enrolment,
            progress=progress,
        )  # fmt: skip
    if table is not None:
        write_scored_table(table, out)
    if as_json:
        print_json(
            {
                "emotions": dict(found.emotions.most_common()),
                "num_unusable": found.num_unusable,
                "left_out": found.left_out,
                "seconds": found.seconds,
                "rows": f"{out}/part-*.csv",
            }
        )
        return
    for emotion, count in found.emotions.most_common():
        typer.echo(f"{count:8d} {emotion}")
    if found.num_unusable:
        typer.echo(f"{found.num_unusable:8d} unusable; the rows have the reasons")
    if found.left_out:
        typer.echo(f"{len(found.left_out):8d} files left out, no recordings by their names:")
        typer.echo(list_problems(found.left_out, limit=20))
    typer.echo(f"{found.seconds / 3600:.2f} h of speech; rows: {out}/part-*.csv")
