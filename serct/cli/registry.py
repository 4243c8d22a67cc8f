"""Commands for the registry and MLflow."""

from typing import Annotated

import typer

from serct.cli.shared import (
    Host,
    Port,
    Workspace,
    app,
    print_table,
    workspace_root,
    workspace_store,
)

Why = Annotated[str, typer.Option(help="Reason, kept in promotions.jsonl.")]


@app.command()
def models(workspace: Workspace = None) -> None:
    """List the registered versions, their aliases and scores."""
    from serct.tracking import list_versions

    print_table("Registered versions", list_versions(workspace_store(workspace_root(workspace))))


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="A version's number, or @alias.")] = "@challenger",
    why: Why = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the gates, change nothing.")
    ] = False,
    workspace: Workspace = None,
) -> None:
    """Check a version against the gates and make it the champion.

    The champion is the version that is served. The exit code is 1 if a gate refuses the version.
    """
    from dataclasses import asdict

    from serct.config.reader import read_params
    from serct.promotion import promote as promote_version

    root = workspace_root(workspace)
    params, store = read_params(root / "params.yaml"), workspace_store(root)
    found = promote_version(params, root / "data", store, version, why, is_dry=dry_run)
    name = f"version {found.version.version} ({found.version.model} on {found.version.corpus})"
    print_table(f"Gates of {name}", [asdict(gate) for gate in found.gates])
    if found.is_refused:
        typer.echo(f"refused: {name}; nothing was changed", err=True)
        raise typer.Exit(1)
    if not found.is_done:
        typer.echo(f"{name} would be promoted; nothing was changed")
        return
    before = f"version {found.champion.version}" if found.champion else "none"
    typer.echo(f"champion: {name}; before: {before}. `serct rollback` undoes this")


@app.command()
def rollback(why: Why = "", workspace: Workspace = None) -> None:
    """Make the previous champion the champion again."""
    from serct.promotion import rollback as roll_back

    root = workspace_root(workspace)
    now, before = roll_back(root / "data", workspace_store(root), why)
    typer.echo(f"champion: version {now.version} again; before: version {before.version}")


@app.command()
def sync(workspace: Workspace = None) -> None:
    """Rebuild the runs and versions in MLflow from the files."""
    from serct.tracking import sync_store

    root = workspace_root(workspace)
    report = sync_store(workspace_store(root), root / "data")
    typer.echo(str(report))
    if report.problems:
        raise typer.Exit(1)


@app.command()
def relocate(workspace: Workspace = None) -> None:
    """Correct MLflow's paths after a workspace was moved or copied."""
    from serct.config.reader import read_params
    from serct.tracking import relocate as relocate_store

    root = workspace_root(workspace)
    count = relocate_store(root, read_params(root / "params.yaml").tracking.experiment)
    typer.echo(
        f"{count} addresses changed" if count else "nothing to do: all is where it should be"
    )


@app.command()
def ui(workspace: Workspace = None, host: Host = "127.0.0.1", port: Port = 5000) -> None:
    """Start MLflow's pages with the runs of a workspace."""
    import os

    from serct.tracking import server_command

    root = workspace_root(workspace)
    workspace_store(root)  # made first if there is none
    command, environment = server_command(root, host, port)
    typer.echo(f"MLflow on http://{host}:{port} - stop with Ctrl-C", err=True)
    os.execvpe(command[0], command, {**os.environ, **environment})  # noqa: S606
