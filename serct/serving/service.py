"""The service: the application, and the process that runs it."""

import asyncio
import logging
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Annotated

import anyio
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.security import APIKeyHeader
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles
from uvicorn.config import LOGGING_CONFIG

from serct import __version__
from serct.config.serving import ServingParams
from serct.data.voice_activity import load_network
from serct.errors import AudioError, SerctError, SpeakerError, UnknownSpeakerError
from serct.runtime.devices import pick_device
from serct.runtime.machine import keep_freed_memory, machine, num_threads, share_threads
from serct.serving.access.clients import Clients
from serct.serving.access.limits import KEY_HEADER, RETRY_AFTER_S, WRONG_KEY, RequestLimits
from serct.serving.access.origins import CrossSiteGuard
from serct.serving.access.request_context import (
    HEADERS,
    REQUEST_ID,
    LogFormat,
    RequestContext,
    setup_service_log,
)
from serct.serving.batching import Batcher
from serct.serving.calls.routes import call_routes
from serct.serving.decoding.decoder import DecodeFunction, decode
from serct.serving.decoding.pool import DecoderPool
from serct.serving.docs_page import add_docs_page
from serct.serving.echo import respond_to_invalid, respond_to_unreadable
from serct.serving.models import ModelManager
from serct.serving.monitoring.metrics import ServiceMetrics
from serct.serving.monitoring.routes import drift_routes
from serct.serving.routes import emotion_routes, state_routes
from serct.serving.settings import Settings
from serct.serving.speaker_routes import speaker_routes
from serct.serving.speakers import SpeakerStore
from serct.serving.state import ServiceState
from serct.serving.streams.route import stream_route

_DESCRIPTION = """
Predicts the emotion of speech. The model was trained on acted speech: it predicts how speech
sounds, not what a person feels. Do not use it to make decisions about people. The service keeps
and logs no recordings; of an enrolled speaker it keeps sums of features in memory, for a time.
"""
_KEEP_ALIVE_S = 15
_MAX_MESSAGE_BYTES = 1_000_000
_FORGET_S = 10.0
# They share Python's interpreter, which each of them needs between its computations.
_MAX_WORKERS = 4


def create_service(
    settings: Settings, decode_function: DecodeFunction = decode, models: ModelManager | None = None
) -> FastAPI:
    """Build the application; it loads its model when it starts.

    Args:
        settings: The model and the limits.
        decode_function: Decodes a file, in a process of its own that imports it by its name.
        models: Holds the model; None to make it.
    """
    limits, metrics = settings.limits, ServiceMetrics(settings.limits)

    def pool(num_processes: int) -> DecoderPool:
        return DecoderPool(
            num_processes, limits.decode_memory_mb, limits.decode_timeout_s, decode_function,
            lambda cause: metrics.lost_decoders.labels(cause).inc(),
        )  # fmt: skip

    num_cores, num_workers = machine().num_cores, _num_workers(settings.device)
    share_threads(num_workers)
    state = ServiceState(
        settings, models or ModelManager(settings),
        Batcher(limits.max_batch, metrics.batches.observe, num_workers), metrics,
        # Two a core: one file that hangs does not stop the others, and workers wait less for files.
        pool(2 * num_cores), pool(limits.max_calls + limits.max_streams),
        SpeakerStore(limits.max_speakers, limits.speaker_ttl_s),
        Clients(settings.api_key, settings.keys_file, limits),
    )  # fmt: skip
    app = FastAPI(
        title="SERCT", version=__version__, description=_DESCRIPTION,
        lifespan=lambda app: _lifespan(state), docs_url=None, redoc_url=None,
    )  # fmt: skip
    _add_middleware(app, state)
    app.add_exception_handler(RequestValidationError, respond_to_invalid)
    app.add_exception_handler(StarletteHTTPException, respond_to_unreadable)
    app.add_exception_handler(AudioError, _respond_with(422))
    app.add_exception_handler(SpeakerError, _respond_with(409))
    app.add_exception_handler(UnknownSpeakerError, _respond_with(404))
    timeout = f"no result within {limits.timeout_s:g} s"
    app.add_exception_handler(TimeoutError, _respond_with(504, timeout))
    busy = {"Retry-After": str(RETRY_AFTER_S)}
    app.add_exception_handler(SerctError, _respond_with(503, headers=busy))
    routers = (emotion_routes, call_routes, speaker_routes, drift_routes)
    for router in (each(state) for each in routers):
        app.include_router(router, prefix="/v1", dependencies=[Depends(_key_check(state))])
    app.include_router(state_routes(state))
    app.add_api_websocket_route("/v1/stream", stream_route(state))
    # A client of these routes; it needs no key, its visitors do.
    app.mount("/stream", StaticFiles(packages=[("serct.serving.streams", "pages")], html=True))
    add_docs_page(app)
    return app


def _add_middleware(app: FastAPI, state: ServiceState) -> None:
    """Add what every request passes; what is added last sees it first."""
    settings = state.settings
    app.add_middleware(
        RequestLimits, limits=settings.limits, metrics=state.metrics,
        find_client=state.accepts_key,
    )  # fmt: skip
    app.add_middleware(
        CrossSiteGuard, allow_origins=settings.allow_origins, allow_hosts=settings.allow_hosts
    )
    headers = dict(HEADERS)
    if settings.allow_origins:
        headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        # No cookies, and so no credentials: a key is sent by a script that has it.
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.allow_origins,
            allow_methods=["GET", "POST", "DELETE"], allow_headers=[KEY_HEADER, REQUEST_ID],
            expose_headers=[REQUEST_ID, "Retry-After"],
        )  # fmt: skip
    app.add_middleware(RequestContext, headers=headers)


def serve(settings: Settings, host: str, port: int, log_format: LogFormat = "text") -> None:
    """Serve until SIGTERM or SIGINT; open requests finish first.

    Args:
        settings: The model and the limits.
        host: Address to listen on.
        port: Port to listen on; 0 for any free one, which the log names.
        log_format: Of the lines of the log.

    Raises:
        SerctError: If a model's folder cannot be used. A version in the registry may come later.
    """
    setup_service_log(log_format)
    keep_freed_memory()
    models = ModelManager(settings)
    app = create_service(settings, models=models)
    if not models.is_followed:
        models.refresh()
        if models.problem is not None:
            raise SerctError(models.problem)
    run(app, settings.limits, host, port, log_format)


def run(
    app: FastAPI, limits: ServingParams, host: str, port: int, log_format: LogFormat = "text"
) -> None:
    """Run an application as `serve` does."""
    # It would log what is wrong with a body, and with which bytes.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn.error").addFilter(_is_no_stream)
    uvicorn.Server(process_config(app, limits, host, port, log_format)).run()


def process_config(
    app: FastAPI, limits: ServingParams, host: str, port: int, log_format: LogFormat = "text"
) -> uvicorn.Config:
    """Return how uvicorn serves an application."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="info",
        log_config=LOGGING_CONFIG if log_format == "text" else None,
        # Requests are private, and so are streams, which uvicorn logs with its own messages.
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(limits.drain_s),
        ws_max_size=_MAX_MESSAGE_BYTES,
        ws="websockets-sansio",
        # A client that sends faster than the model predicts waits with its pongs as well. Limits of
        # the stream itself end those that are gone.
        ws_ping_interval=None,
    )


def _num_workers(device: str) -> int:
    """Return how many batches are computed at once.

    A thread of its own for each core, while there are few, spends less on a clip than all cores
    together on one batch. A GPU computes one after the other.
    """
    is_cpu = pick_device(device).type == "cpu"
    return min(num_threads(), _MAX_WORKERS) if is_cpu else 1


def _is_no_stream(record: logging.LogRecord) -> bool:
    return not re.match(r'%s - "WebSocket |connection (open|closed|rejected)', str(record.msg))


@asynccontextmanager
async def _lifespan(state: ServiceState) -> AsyncIterator[None]:
    # Load before the first request, and fail here if a package is missing.
    await anyio.to_thread.run_sync(load_network)
    await state.decoders.start()
    await anyio.to_thread.run_sync(state.models.refresh)
    tasks = [asyncio.create_task(each) for each in (state.batcher.run(), _forget(state))]
    threading.Thread(target=state.models.follow, name="serct-models", daemon=True).start()
    try:
        yield
    finally:
        state.models.stop()
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await state.decoders.close()
        await state.stream_decoders.close()


async def _forget(state: ServiceState) -> None:
    """Forget speakers soon after their time, also if no request comes."""
    while True:
        await asyncio.sleep(min(_FORGET_S, state.settings.limits.speaker_ttl_s))
        state.speakers.drop_expired()


def _key_check(state: ServiceState) -> Callable[..., Awaitable[None]]:
    header = APIKeyHeader(
        name=KEY_HEADER, auto_error=False, description="Needed if the service has keys."
    )

    async def check(key: Annotated[str | None, Depends(header)] = None) -> None:
        # As `RequestLimits` does before the body: no route is open if that should ever miss it.
        if state.accepts_key(key) is None:
            raise HTTPException(401, WRONG_KEY)

    return check


def _respond_with(
    status: int, default: str = "", headers: Mapping[str, str] | None = None
) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def respond(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error) or default}, status, headers)

    return respond
