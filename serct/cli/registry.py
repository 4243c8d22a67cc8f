"""Commands for the registry and MLflow."""

from typing import TYPE_CHECKING, Annotated

import typer

from serct.cli.output import AsJson, print_json, print_rows, print_table
from serct.cli.shared import (
    Host,
    Port,
    Workspace,
    app,
    check_free,
    default_address,
    no_registry,
    workspace_root,
    workspace_store,
)

if TYPE_CHECKING:
    from serct.promotion import Promotion

Why = Annotated[str, typer.Option(help="Reason, kept in promotions.jsonl.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check the gates, change nothing.")]
# Columns that a narrow terminal does without, the first one first.
EXPENDABLE_OF_VERSIONS = ("fingerprint", "validation UA", "test UA", "corpus")


@app.command()
def models(as_json: AsJson = False, workspace: Workspace = None) -> None:
    """List the registered versions, their aliases and scores."""
    from dataclasses import asdict

    from serct.tracking import has_store, known_versions, list_versions

    root = workspace_root(workspace)
    versions = known_versions(default_address(root), root) if has_store(root) else []
    if as_json:
        print_json([asdict(version) for version in versions])
    elif versions:
        print_rows(
            "Registered versions", list_versions(versions), expendable=EXPENDABLE_OF_VERSIONS
        )
    if not versions:
        typer.echo(no_registry(root), err=as_json)


@app.command()
def promote(
    version: Annotated[
        str,
        typer.Argument(
            help="A version's number, @alias, model and corpus as in serct-tess, or the beginning "
            "of its fingerprint."
        ),
    ] = "@challenger",
    why: Why = "",
    replace_unusable_champion: Annotated[
        bool,
        typer.Option(
            "--replace-unusable-champion",
            help="Go on although the champion cannot be compared with; needs --why.",
        ),
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    workspace: Workspace = None,
) -> None:
    """Check a version against the gates and make it the champion.

    The champion is the version that is served. The exit code is 1 if a gate refuses the version.
    """
    from serct.config.reader import read_params
    from serct.promotion import promote as promote_version

    root = workspace_root(workspace)
    found = promote_version(
        read_params(root / "params.yaml"),
        root / "data",
        workspace_store(root),
        version,
        why,
        is_dry=dry_run,
        may_replace_unusable=replace_unusable_champion,
    )
    _show(found, "promoted", as_json)


@app.command()
def rollback(
    why: Why = "", dry_run: DryRun = False, as_json: AsJson = False, workspace: Workspace = None
) -> None:
    """Check the previous champion and make it the champion again.

    The exit code is 1 if it cannot be used any more.
    """
    from serct.promotion import rollback as roll_back

    root = workspace_root(workspace)
    found = roll_back(root / "data", workspace_store(root), why, is_dry=dry_run)
    _show(found, "rolled back to", as_json)


def _show(found: "Promotion", done: str, as_json: bool) -> None:
    """Print the gates and what came of them; end with exit code 1 if one refuses."""
    from dataclasses import asdict

    name = str(found.version)
    before = str(found.champion or "none")
    if as_json:
        print_json({**asdict(found), "is_refused": found.is_refused})
    else:
        print_table(f"Gates of {name}", [asdict(gate) for gate in found.gates])
    for gate in found.gates:
        if gate.verdict in ("skipped", "overridden"):
            typer.echo(f"warning: {gate.verdict}: {gate.gate}: {gate.found}", err=True)
    if found.is_refused:
        typer.echo(f"refused: {name}; nothing was changed", err=True)
        for gate in found.gates:
            if gate.verdict == "REFUSED":
                typer.echo(f"  {gate.gate}: {gate.found}; expected {gate.expected}", err=True)
        raise typer.Exit(1)
    if not found.is_done:
        typer.echo(f"{name} would be {done}; nothing was changed", err=as_json)
        return
    undo = ". `serct rollback` undoes this" if found.champion else ""
    typer.echo(f"champion: {name}; before: {before}{undo}", err=as_json)


@app.command()
def sync(as_json: AsJson = False, workspace: Workspace = None) -> None:
    """Rebuild the runs and versions in MLflow from the files."""
    from dataclasses import asdict

    from serct.tracking import sync_store

    root = workspace_root(workspace)
    report = sync_store(workspace_store(root, may_make=True), root / "data")
    if as_json:
        print_json(asdict(report))
    else:
        typer.echo(str(report))
    if report.problems:
        raise typer.Exit(1)


@app.command()
def relocate(as_json: AsJson = False, workspace: Workspace = None) -> None:
    """Correct MLflow's paths after a workspace was moved or copied."""
    from serct.config.reader import read_params
    from serct.tracking import relocate as relocate_store

    root = workspace_root(workspace)
    count = relocate_store(root, read_params(root / "params.yaml").tracking.experiment)
    if as_json:
        print_json({"addresses_changed": count})
        return
    typer.echo(
        f"{count} addresses changed" if count else "nothing to do: all is where it should be"
    )


@app.command()
def ui(workspace: Workspace = None, host: Host = "127.0.0.1", port: Port = 5000) -> None:
    """Start MLflow's pages with the runs of a workspace."""
    import os
    from contextlib import suppress

    from serct.config.reader import read_params
    from serct.errors import TrackingError
    from serct.tracking import server_command, table_address

    root = workspace_root(workspace)
    check_free(host, port)
    command, environment = server_command(root, host, port)
    store = workspace_store(root, may_make=True)
    typer.echo(f"MLflow on http://{host}:{port} - stop with Ctrl-C", err=True)
    with suppress(TrackingError):  # a database that cannot be written to, and has no such table
        store.introduce(read_params(root / "params.yaml").pipeline)
        scores = f"http://{host}:{port}/{table_address(store.experiment_id)}"
        typer.echo(f"runs with their scores: {scores}", err=True)
    os.execvpe(command[0], command, {**os.environ, **environment})  # noqa: S606  no shell is wanted
