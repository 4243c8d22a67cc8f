"""The service: routes over one model, which follows the registry."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Annotated

import anyio
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from fastapi.security import APIKeyHeader

from serct import __version__
from serct.errors import AudioError, SerctError
from serct.inference.voice_activity import VoiceActivity
from serct.runtime.machine import machine
from serct.serving.batching import Batcher
from serct.serving.guard import Guard
from serct.serving.live import stream_route
from serct.serving.models import Models
from serct.serving.observation import Observation
from serct.serving.parts import Parts
from serct.serving.routes import emotion_routes, state_routes
from serct.serving.settings import Settings

_DESCRIPTION = """
Tells the emotion of speech. It was trained on acted speech: it tells how something sounds, not what
somebody feels, and must not decide about people. Nothing that is sent is kept or logged.
"""


def create_service(settings: Settings) -> FastAPI:
    """Build the application; it loads its model when it starts."""
    observation = Observation()
    parts = Parts(
        settings,
        Models(settings),
        Batcher(settings.max_batch, observation.batches.observe),
        observation,
        VoiceActivity(),
        anyio.CapacityLimiter(machine().num_cores or 1),
        anyio.CapacityLimiter(1),
    )
    app = FastAPI(
        title="SERCT",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lambda app: _lifespan(parts),
    )
    app.add_middleware(Guard, settings=settings, observation=observation)
    app.add_exception_handler(AudioError, _answer_with(422))
    app.add_exception_handler(TimeoutError, _answer_with(504))
    app.add_exception_handler(SerctError, _answer_with(503))
    app.include_router(
        emotion_routes(parts), prefix="/v1", dependencies=[Depends(_key_check(parts))]
    )
    app.include_router(state_routes(parts))
    app.add_api_websocket_route("/v1/stream", stream_route(parts))
    return app


@asynccontextmanager
async def _lifespan(parts: Parts) -> AsyncIterator[None]:
    # Loads what the first request would otherwise wait for, and fails here if it is missing.
    await anyio.to_thread.run_sync(parts.voice_activity.load)
    await anyio.to_thread.run_sync(parts.models.refresh)
    answering_task = asyncio.create_task(parts.batcher.run())
    if parts.models.is_followed:
        threading.Thread(target=parts.models.follow, name="serct-registry", daemon=True).start()
    try:
        yield
    finally:
        parts.models.stop()
        answering_task.cancel()
        with suppress(asyncio.CancelledError):
            await answering_task


def _key_check(parts: Parts) -> Callable[..., Awaitable[None]]:
    header = APIKeyHeader(
        name="X-API-Key", auto_error=False, description="If the service was started with one."
    )

    async def check(key: Annotated[str | None, Depends(header)] = None) -> None:
        if not parts.is_welcome(key):
            raise HTTPException(401, "the header X-API-Key is missing or wrong")

    return check


def _answer_with(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error) or "it took too long"}, status)

    return answer
