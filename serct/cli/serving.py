"""Commands that start the service and the demonstrator."""

import inspect
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from serct.cli.shared import (
    MAX_PORT,
    Device,
    Host,
    Port,
    Precision,
    Workspace,
    announce_default,
    app,
    check_free,
    default_address,
    root_for_model,
)
from serct.config.serving import ServingParams
from serct.errors import ParamsError, TrackingError
from serct.runtime.loopback import is_loopback

LogFormat = Literal["text", "json"]

ModelAddress = Annotated[
    str | None,
    typer.Option(
        help="A model's folder, or a registry address, which the service goes on to follow; if "
        "left out, the champion, or the challenger as long as there is no champion."
    ),
]


def _with_limits(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each field of `ServingParams` to a command that takes ``**options``.

    The command gets all of them by name; None for those that were not given.
    """
    signature = inspect.signature(command)
    parameters = list(signature.parameters.values())[:-1]
    for name, field in ServingParams.model_fields.items():
        option = typer.Option(
            help=field.description, show_default="params.yaml", rich_help_panel="Limits"
        )
        kind: Any = Annotated[field.annotation | None, option]  # type: ignore[operator]
        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(name, keyword, default=None, annotation=kind))
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return command


def _limits(
    model: str | None, workspace: Path | None, options: dict[str, Any]
) -> tuple[Path, ServingParams]:
    """Return the workspace to serve from, and the limits with the options that were given."""
    from serct.serving.settings import read_limits

    root = root_for_model(model, workspace)
    given = {name: value for name, value in options.items() if value is not None}
    return root, read_limits(root, given)


@app.command()
@_with_limits
def serve(
    model: ModelAddress = None,
    host: Host = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=MAX_PORT, help="Port to listen on; 0 for any free one.")
    ] = 8000,
    device: Device = "cpu",
    precision: Precision = "float32",
    api_key: Annotated[
        str | None,
        typer.Option(envvar="SERCT_API_KEY", help="Key that clients must send as X-API-Key."),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            envvar="SERCT_API_KEYS_FILE",
            help="File of keys with names and limits, which `serct keys` makes; it is read again "
            "when it changes.",
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Site whose pages may use the service from a browser, such as https://a.example, "
            "or * for all; may be repeated. If left out, only pages of the service's own address."
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Name by which clients reach the service, beside localhost and addresses; may be "
            "repeated. If left out, any name, unless --host is this machine's loopback address."
        ),
    ] = None,
    log_format: Annotated[
        LogFormat, typer.Option(help="text, or json: an object in each line.")
    ] = "text",
    replicas: Annotated[
        int | None,
        typer.Option(
            min=1, help="Copies on the Ray cluster that params.yaml names under executor."
        ),
    ] = None,
    workspace: Workspace = None,
    **options: Any,
) -> None:
    """Serve predictions over HTTP and WebSocket.

    The page /docs of the service describes its routes.
    """
    from serct.serving.access.origins import check_origin
    from serct.serving.settings import Settings

    root, limits = _limits(model, workspace, options)
    if replicas is None:
        check_free(host, port)
    if model is None:
        model = default_address(root)
        with suppress(TrackingError):  # without a version the service starts, and says so
            announce_default(root)
    address = f"[{host}]" if ":" in host else host
    hosts = tuple(name.lower() for name in allow_host or ())
    settings = Settings(
        model, root, device, precision, api_key or None, keys,
        tuple(check_origin(each) for each in allow_origin or ()),
        hosts if hosts or is_loopback(f"http://{address}") else None, limits,
    )  # fmt: skip
    if replicas is None:
        from serct.serving.service import serve as run

        run(settings, host, port, log_format)
        return
    from serct.config.params import RayExecutor
    from serct.config.reader import read_params
    from serct.runtime.log import setup_logging
    from serct.serving.cluster import serve_on_cluster

    executor = read_params(root / "params.yaml").executor
    if not isinstance(executor, RayExecutor):
        raise ParamsError(
            f"{root / 'params.yaml'}: executor.name is {executor.name}, --replicas needs ray (see "
            "profiles/ray.yaml)"
        )
    setup_logging()
    serve_on_cluster(settings, host, port, executor, replicas)


@app.command("app")
@_with_limits
def open_app(
    service: Annotated[
        str | None, typer.Option(help="Address of a running service; without it, one is started.")
    ] = None,
    model: ModelAddress = None,
    host: Host = "127.0.0.1",
    port: Port = 8501,
    workspace: Workspace = None,
    **options: Any,
) -> None:
    """Open the demonstrator, a page that uses the service.

    Ctrl-C stops it.
    """
    from serct.app.launch import launch

    check_free(host, port)
    if service is None:
        root, limits = _limits(model, workspace, options)
        launch(None, model, root, limits, host, port)
        return
    if given := [name for name, value in options.items() if value is not None]:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ParamsError(f"{names}: only for a service that `serct app` starts, not for --service")
    launch(service, None, None, ServingParams(), host, port)
