"""The command line: `serct --help`.

Imports stand inside the commands, so that help and errors come at once.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from serct import __version__
from serct.errors import SerctError

app = typer.Typer(
    name="serct",
    help="Speech emotion recognition: a reproducible pipeline, from recordings to a registry.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
corpora_app = typer.Typer(help="Look at and verify corpora.", no_args_is_help=True)
app.add_typer(corpora_app, name="corpora")

Workspace = Annotated[
    Path | None, typer.Option(help="Folder that holds data and tracking; the checkout if left out.")
]
Profile = Annotated[str | None, typer.Option(help="Overlay on params.yaml, e.g. demo or cpu.")]


def main() -> None:
    """Run the command line; a problem the user can mend is one line, not a traceback."""
    try:
        app()
    except SerctError as error:
        sys.exit(f"error: {error}")


def _show_version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    pass


@app.command()
def repro(
    profile: Profile = None,
    workspace: Workspace = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One value of params.yaml; repeatable."),
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="Only up to this stage, e.g. train@serct-tess.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Run stages even if nothing changed.")] = False,
) -> None:
    """Rebuild whatever changed, then show the results."""
    from serct.workspace import prepare_workspace, run_dvc

    folder, _ = prepare_workspace(workspace, profile, settings or [])
    flags = ["--force"] if force else []
    code = run_dvc(folder, ["repro", *flags, *(target or [])])
    if code:
        raise typer.Exit(code)
    if not target:
        _print_results(folder)


@app.command()
def demo(workspace: Workspace = None) -> None:
    """Run the whole pipeline on synthetic speech, in minutes."""
    repro(profile="demo", workspace=workspace, settings=None, target=None, force=False)
    folder = workspace or Path("build/demo")
    typer.echo(
        f"""
Next:
  open {folder}/data/reports/index.html             the report
  serct ui --workspace {folder}                     compare the runs in MLflow
  serct predict --model {folder}/data/models/demo_en-serct FILE...
  SERCT_MIRROR=DIR serct repro --profile cpu           the same on real recordings
"""
    )


@app.command()
def report(workspace: Workspace = None) -> None:
    """Show the results of a workspace."""
    _print_results(_root(workspace))


@app.command()
def predict(
    files: Annotated[list[Path], typer.Argument(help="Audio files of any usual format.")],
    model: Annotated[
        str, typer.Option(help="A model's folder or a registry address.")
    ] = "models:/serct@challenger",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "cpu",
) -> None:
    """Tell the emotion of audio files; exit code 1 if one of them is unusable."""
    from serct.predictor import Predictor

    predictor = Predictor.load(model, device)
    if predictor.card.synthetic and not as_json:
        typer.echo("note: this model was trained on synthetic speech", err=True)
    num_failed = 0
    for path in files:
        result: dict[str, Any] = {"file": str(path)}
        is_good = True
        try:
            answer = predictor.predict_file(path)
            best = max(answer, key=answer.__getitem__)
            result |= {"emotion": best, "probabilities": answer}
            line = f"{path}: {best} ({answer[best]:.1%})"
        except SerctError as error:
            is_good = False
            num_failed += 1
            result |= {"error": str(error)}
            line = f"error: {error}"
        typer.echo(json.dumps(result) if as_json else line, err=not (as_json or is_good))
    if num_failed:
        raise typer.Exit(1)


@app.command()
def evaluate(
    model: Annotated[str, typer.Option(help="A model's folder or a registry address.")],
    shards: Annotated[Path, typer.Option(help="Folder of a corpus' shards.")],
    split: Annotated[str, typer.Option(help="train, validation, test or all.")] = "test",
) -> None:
    """Score a model on any corpus' shards, over the emotions both know; JSON on stdout."""
    from serct.checkpoint import load_model
    from serct.evaluation import as_classifier, evaluate_zero_shot
    from serct.manifest import SPLITS
    from serct.runtime import pick_device
    from serct.tracking import find_model

    loaded, card = load_model(find_model(model))
    splits = SPLITS if split == "all" else (split,)
    result = evaluate_zero_shot(
        as_classifier(loaded, pick_device("auto")), card.emotions, shards, splits, batch_size=16
    )
    typer.echo(
        json.dumps(
            {
                "masked": result.masked.summary(),
                "unmasked": result.unmasked.summary(),
                "majority_ua": result.majority.ua,
                "dropped": result.dataset.dropped,
            },
            indent=2,
        )
    )


@app.command()
def models(workspace: Workspace = None) -> None:
    """List the registered versions, their aliases and scores."""
    from serct.tracking import list_versions

    _print_table("Registered versions", list_versions(_store(workspace)))


@app.command()
def sync(workspace: Workspace = None) -> None:
    """Rebuild MLflow's runs and versions from the files."""
    report = _store(workspace).sync(_root(workspace) / "data")
    typer.echo(str(report))
    if report.problems:
        raise typer.Exit(1)


@app.command()
def ui(
    workspace: Workspace = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 5000,
) -> None:
    """Open MLflow's pages on the runs of a workspace."""
    import os

    from serct.tracking import server_command

    _store(workspace)
    command, environment = server_command(_root(workspace), host, port)
    typer.echo(f"MLflow on http://{host}:{port} - stop with Ctrl-C", err=True)
    os.execvpe(command[0], command, {**os.environ, **environment})  # noqa: S606


@corpora_app.command("list")
def corpora_list(workspace: Workspace = None) -> None:
    """List the known corpora, their languages and licences."""
    from serct.corpora import describe
    from serct.params_file import read_params

    entries = read_params(_root(workspace) / "params.yaml").corpora
    rows = []
    for name, entry in entries.items():
        about = describe(name, entry)
        rows.append(
            {
                "name": name,
                "corpus": about.title,
                "language": about.language,
                "synthetic": "yes" if about.synthetic else "no",
                "licence": about.licence,
            }
        )
    _print_table("Corpora", rows)


@corpora_app.command("verify")
def corpora_verify(name: str, workspace: Workspace = None) -> None:
    """Check a downloaded corpus' files against counts and known digests."""
    from serct.corpora import verify_corpus
    from serct.params_file import read_params

    root = _root(workspace)
    params = read_params(root / "params.yaml")
    if name not in params.corpora:
        raise SerctError(f"no corpus {name!r}, expected one of: {', '.join(params.corpora)}")
    typer.echo(verify_corpus(name, params.corpora[name], root / "data" / "raw" / name))


@app.command()
def doctor(workspace: Workspace = None) -> None:
    """Check this machine and explain what is missing."""
    from serct.doctor import examine

    findings = examine(_root(workspace))
    rows = [
        {"check": f.check, "verdict": "ok" if f.is_good else "PROBLEM", "found": f.found}
        for f in findings
    ]
    _print_table("Doctor", rows)
    if not all(f.is_good for f in findings):
        raise typer.Exit(1)


def _root(workspace: Path | None) -> Path:
    from serct.workspace import project_root

    root = workspace or project_root()
    if not (root / "params.yaml").exists():
        raise SerctError(f"{root}: not a workspace, it has no params.yaml; `serct repro` makes one")
    return root.resolve()


def _store(workspace: Path | None) -> Any:
    from serct.params_file import read_params
    from serct.tracking import open_store

    root = _root(workspace)
    tracking = read_params(root / "params.yaml").tracking
    return open_store(root, tracking.experiment, tracking.registered_model)


def _print_results(folder: Path) -> None:
    from serct.params_file import read_params
    from serct.report import results_table

    pipeline = read_params(folder / "params.yaml").pipeline
    typer.echo(results_table(folder / "data", pipeline))
    typer.echo(f"\nThe whole report: {folder / 'data' / 'reports' / 'index.html'}")


def _print_table(title: str, rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in rows[0] if rows else ():
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table if rows else f"{title}: none")


if __name__ == "__main__":
    main()
