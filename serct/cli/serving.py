"""Commands that put a model to use for others."""

from typing import Annotated

import typer

from serct.cli.app import app
from serct.cli.shared import Workspace, workspace_root
from serct.errors import ParamsError


@app.command()
def serve(
    model: Annotated[
        str, typer.Option(help="A registry address, followed while it runs, or a folder.")
    ] = "models:/serct@champion",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0: any free one.")] = 8000,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "cpu",
    precision: Annotated[str, typer.Option(help="float32, bfloat16 or auto.")] = "float32",
    api_key: Annotated[
        str | None,
        typer.Option(envvar="SERCT_API_KEY", help="What clients must send as X-API-Key."),
    ] = None,
    max_body_mb: Annotated[float, typer.Option(help="Largest request, in MB.")] = 20.0,
    max_clip_s: Annotated[float, typer.Option(help="Longest file to predict, in s.")] = 60.0,
    max_recording_s: Annotated[float, typer.Option(help="Longest to divide, in s.")] = 600.0,
    max_in_flight: Annotated[int, typer.Option(help="Requests at once.")] = 64,
    timeout_s: Annotated[float, typer.Option(help="Longest time for an answer.")] = 60.0,
    replicas: Annotated[
        int | None,
        typer.Option(min=1, help="Copies on the Ray cluster that params.yaml's executor names."),
    ] = None,
    workspace: Workspace = None,
) -> None:
    """Answer over HTTP and WebSocket: /v1/predict, /v1/segments, /v1/stream; see /docs."""
    from serct.serving.settings import Settings

    root = workspace_root(workspace)
    settings = Settings(
        model=model,
        workspace=root,
        device=device,
        precision=precision,
        api_key=api_key or None,
        max_body_bytes=int(max_body_mb * 1e6),
        max_clip_s=max_clip_s,
        max_recording_s=max_recording_s,
        max_in_flight=max_in_flight,
        timeout_s=timeout_s,
    )
    if replicas is None:
        from serct.serving.server import serve as run

        run(settings, host, port)
        return
    from serct.config.params import RayExecutor
    from serct.config.reader import read_params
    from serct.runtime.log import setup_logging
    from serct.serving.cluster import serve_on_cluster

    executor = read_params(root / "params.yaml").executor
    if not isinstance(executor, RayExecutor):
        raise ParamsError(
            f"{root / 'params.yaml'}: executor.name is {executor.name}, expected ray to serve in "
            "copies (see profiles/ray.yaml)"
        )
    setup_logging()
    serve_on_cluster(settings, host, port, executor, replicas)


@app.command("app")
def open_app(
    service: Annotated[
        str | None, typer.Option(help="Address of a service; one is started if left out.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="What that service serves.")
    ] = "models:/serct@champion",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8501,
    workspace: Workspace = None,
) -> None:
    """Open the demonstrator, a page that asks the service; stop with Ctrl-C."""
    from serct.app.launch import launch

    launch(service, model, workspace_root(workspace) if service is None else None, host, port)
