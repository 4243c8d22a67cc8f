"""The command line itself, and what commands share: options, the workspace, and tables."""

import os
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

Workspace = Annotated[
    Path | None,
    typer.Option(
        help="Folder with params.yaml and data; if left out, the workspace around the current "
        "folder, else the checkout."
    ),
]
Model = Annotated[str, typer.Option(help="A model's folder or a registry address.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[str, typer.Option(help="float32, bfloat16 or auto.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(help="Port to listen on.")]


def _show_version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


def workspace_root(workspace: Path | None) -> Path:
    """Return the workspace to use: ``--workspace``, else the one around the current folder.

    Either is named on stderr. Without both it is the checkout.

    Raises:
        SerctError: If the folder is no workspace.
    """
    from serct.experiments.workspace import find_workspace, project_root

    found = workspace or find_workspace(Path.cwd())
    root = (found or project_root()).resolve()
    if not (root / "params.yaml").exists():
        raise SerctError(
            f"{workspace}: not a workspace, it has no params.yaml; `serct repro` makes one"
        )
    if found:
        typer.echo(f"workspace: {root}", err=True)
    return root


def root_for_model(model: str, workspace: Path | None) -> Path:
    """Return the workspace to use with a model, or the current folder if none is needed.

    A model's folder, or a registry on a server, needs no workspace.
    """
    try:
        return workspace_root(workspace)
    except SerctError:
        if _is_address(model) and not os.environ.get("MLFLOW_TRACKING_URI"):
            raise
        return (workspace or Path()).resolve()


def model_folder(model: str, workspace: Path | None) -> Path:
    """Return the folder of a model; a registry address is looked up in the workspace."""
    from serct.tracking import find_model

    if not _is_address(model):
        return Path(model)
    return find_model(model, root_for_model(model, workspace))


def _is_address(model: str) -> bool:
    return model.startswith(("models:/", "runs:/"))


def workspace_store(root: Path) -> Any:
    """Open the tracking store of a workspace."""
    from serct.config.reader import read_params
    from serct.tracking import open_store

    tracking = read_params(root / "params.yaml").tracking
    return open_store(root, tracking.experiment, tracking.registered_model)


def print_results(folder: Path) -> None:
    """Print the results of a workspace as a table."""
    from serct.config.reader import read_params
    from serct.reports.terminal_table import results_table

    pipeline = read_params(folder / "params.yaml").pipeline
    typer.echo(results_table(folder / "data", pipeline))
    typer.echo(f"\nThe whole report: {folder / 'data' / 'reports' / 'index.html'}")


def print_table(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows of equal keys as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in rows[0] if rows else ():
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table if rows else f"{title}: none")
