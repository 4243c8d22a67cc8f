"""What commands share: the options of a workspace, and how results are shown."""

from pathlib import Path
from typing import Annotated, Any

import typer

from serct.errors import SerctError

Workspace = Annotated[
    Path | None, typer.Option(help="Folder that holds data and tracking; the checkout if left out.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One value of params.yaml; repeatable."),
]
Profile = Annotated[str | None, typer.Option(help="Overlay on params.yaml, e.g. demo or cpu.")]


def workspace_root(workspace: Path | None) -> Path:
    """Find the workspace to use, the checkout if None.

    Raises:
        SerctError: If the folder is none.
    """
    from serct.experiments.workspace import project_root

    root = workspace or project_root()
    if not (root / "params.yaml").exists():
        raise SerctError(f"{root}: not a workspace, it has no params.yaml; `serct repro` makes one")
    return root.resolve()


def workspace_store(workspace: Path | None) -> Any:
    """Open the tracking store of a workspace."""
    from serct.config.reader import read_params
    from serct.tracking import open_store

    root = workspace_root(workspace)
    tracking = read_params(root / "params.yaml").tracking
    return open_store(root, tracking.experiment, tracking.registered_model)


def print_results(folder: Path) -> None:
    """Show the results of a workspace as a table."""
    from serct.config.reader import read_params
    from serct.reports.report import results_table

    pipeline = read_params(folder / "params.yaml").pipeline
    typer.echo(results_table(folder / "data", pipeline))
    typer.echo(f"\nThe whole report: {folder / 'data' / 'reports' / 'index.html'}")


def print_table(title: str, rows: list[dict[str, Any]]) -> None:
    """Show rows of equal keys as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in rows[0] if rows else ():
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table if rows else f"{title}: none")
