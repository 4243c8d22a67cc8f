"""Commands around the registry and MLflow."""

from typing import Annotated

import typer

from serct.cli.app import app
from serct.cli.shared import Workspace, print_table, workspace_root, workspace_store


@app.command()
def models(workspace: Workspace = None) -> None:
    """List the registered versions, their aliases and scores."""
    from serct.tracking import list_versions

    print_table("Registered versions", list_versions(workspace_store(workspace)))


@app.command()
def sync(workspace: Workspace = None) -> None:
    """Rebuild MLflow's runs and versions from the files."""
    report = workspace_store(workspace).sync(workspace_root(workspace) / "data")
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

    workspace_store(workspace)
    command, environment = server_command(workspace_root(workspace), host, port)
    typer.echo(f"MLflow on http://{host}:{port} - stop with Ctrl-C", err=True)
    os.execvpe(command[0], command, {**os.environ, **environment})  # noqa: S606
