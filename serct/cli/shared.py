"""The command line itself, and what commands share: options, the workspace, and its model."""

import os
import shutil
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serct import __version__
from serct.cli.output import print_json
from serct.errors import SerctError, TrackingError

if TYPE_CHECKING:
    from serct.tracking import Store

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
Model = Annotated[
    str | None,
    typer.Option(
        help="A model's folder or a registry address; if left out, the champion, or the challenger "
        "as long as there is no champion."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[str, typer.Option(help="float32, bfloat16 or auto.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
# The system takes larger numbers modulo 65536, and listens elsewhere than asked.
MAX_PORT = 65_535
Port = Annotated[int, typer.Option(min=1, max=MAX_PORT, help="Port to listen on.")]


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
    try:
        Path.cwd()
    except FileNotFoundError as error:
        # PyTorch would say that it cannot load its own library.
        raise SerctError(
            "the current folder was removed: change to another folder and run this again"
        ) from error


def workspace_root(workspace: Path | None) -> Path:
    """Return the workspace to use: ``--workspace``, else the one around the current folder.

    Without both it is the checkout. It is named on stderr.

    Raises:
        SerctError: If the folder is no workspace.
    """
    from serct.experiments.workspace import find_workspace, project_root

    root = (workspace or find_workspace(Path.cwd()) or project_root()).resolve()
    if not (root / "params.yaml").exists():
        raise SerctError(
            f"{workspace}: not a workspace, it has no params.yaml; `serct repro` makes one"
        )
    typer.echo(f"workspace: {root}", err=True)
    return root


def root_for_model(model: str | None, workspace: Path | None) -> Path:
    """Return the workspace to use with a model, or the current folder if none is needed.

    A model's folder, or a registry on a server, needs no workspace.
    """
    try:
        return workspace_root(workspace)
    except SerctError:
        if _is_address(model) and not os.environ.get("MLFLOW_TRACKING_URI"):
            raise
        return (workspace or Path()).resolve()


def model_folder(model: str | None, workspace: Path | None) -> Path:
    """Return the folder of a model; a registry address is looked up in the workspace.

    Without a model it is that of the version to use, which is named on stderr.
    """
    from serct.tracking import find_model

    if model is not None and not _is_address(model):
        return Path(model)
    root = root_for_model(model, workspace)
    return find_model(model or announce_default(root), root)


def announce_default(root: Path) -> str:
    """Name the version to use on stderr and return its address; see `default_address`.

    Raises:
        TrackingError: If there is no version, or the registry cannot be read.
    """
    from serct.tracking import CHAMPION, version_in_use

    address = default_address(root)
    found = version_in_use(address, root)
    if CHAMPION in found.aliases:
        typer.echo(f"model: {found}, champion", err=True)
    else:
        typer.echo(f"there is no champion yet: using challenger, {found}", err=True)
    return f"{address}/{found.version}"


def default_address(root: Path) -> str:
    """Return the address that stands for the champion, or for the challenger without one."""
    from serct.config.reader import read_params

    path = root / "params.yaml"
    name = read_params(path).tracking.registered_model if path.exists() else "serct"
    return f"models:/{name}"


def _is_address(model: str | None) -> bool:
    return model is None or model.startswith(("models:/", "runs:/"))


def workspace_store(root: Path, *, may_make: bool = False) -> "Store":
    """Open the tracking store of a workspace.

    Args:
        root: The workspace.
        may_make: Whether to make a store if there is none.

    Raises:
        TrackingError: If there is none and none may be made, or it cannot be used.
    """
    from serct.config.reader import read_params
    from serct.tracking import has_store, open_store

    if not may_make and not has_store(root):
        raise TrackingError(no_registry(root))
    tracking = read_params(root / "params.yaml").tracking
    return open_store(root, tracking.experiment, tracking.registered_model)


def no_registry(root: Path) -> str:
    """Return the sentence for a workspace whose registry is missing or empty."""
    from serct.tracking import has_store

    found = "no version is registered" if has_store(root) else "no registry yet"
    trained = sorted(path.parent.name for path in (root / "data/models").glob("[!.]*/card.json"))
    if trained:
        return (
            f"{found} in {root}, but trained models ({', '.join(trained)}): `serct sync` "
            "registers them"
        )
    return f"{found} in {root}: a training registers the first one (`serct repro`)"


def print_results(folder: Path, *, as_json: bool = False) -> None:
    """Print the results of a workspace as a table, or as JSON."""
    from serct.config.reader import read_params
    from serct.reports.terminal_table import result_rows, results_table

    pipeline = read_params(folder / "params.yaml").pipeline
    if as_json:
        print_json(result_rows(folder / "data", pipeline))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    typer.echo(results_table(folder / "data", pipeline, width))
    typer.echo(f"\nThe whole report: {folder / 'data' / 'reports' / 'index.html'}")


def check_free(host: str, port: int) -> None:
    """Check that a port can be listened on, before the work that a server begins with.

    Raises:
        SerctError: If it cannot.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise SerctError(
            f"{host}:{port} cannot be listened on: {error.strerror or error}; choose another --port"
        ) from error
