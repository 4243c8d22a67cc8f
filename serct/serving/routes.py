"""The routes of the service over HTTP."""

import asyncio
from typing import Annotated, Literal

import anyio
from fastapi import APIRouter, File, HTTPException, Query, Response, UploadFile
from fastapi.responses import PlainTextResponse

from serct.errors import TrackingError
from serct.serving import answering, schemas
from serct.serving.parts import Parts
from serct.serving.timeline import webvtt
from serct.tracking import known_versions

_PROBLEMS: dict[int | str, dict[str, object]] = {
    status: {"model": schemas.Problem, "description": text}
    for status, text in {
        400: "The body is not what it says.",
        401: "The API key is missing or wrong.",
        404: "There is no such version.",
        408: "The body came too slowly.",
        413: "The body, the number of files or a recording is too large.",
        503: "No model yet, or too many requests: see Retry-After.",
        504: "It took too long.",
    }.items()
}
_UNPROCESSABLE: dict[int | str, dict[str, object]] = {
    422: {"description": "Not usable audio, or a parameter out of range."}
}


def emotion_routes(parts: Parts) -> APIRouter:
    """Give what clients ask of the model."""
    router = APIRouter(responses=_PROBLEMS)
    settings = parts.settings
    version_query = Query(
        description="A version to ask instead of the one in use.", pattern=r"^\d{1,9}$"
    )

    @router.post("/predict", tags=["emotions"], responses=_UNPROCESSABLE)
    async def predict(
        files: Annotated[
            list[UploadFile],
            File(description="wav, flac, ogg, mp3 or aiff; any rate, any number of channels."),
        ],
        version: Annotated[str | None, version_query] = None,
    ) -> schemas.Predictions:
        """Tell the emotion of one or more files."""
        if len(files) > settings.max_files:
            raise HTTPException(
                413, f"{len(files)} files, expected at most {settings.max_files} in a request"
            )
        model = await parts.model(version)
        async with asyncio.timeout(settings.timeout_s):
            heard = [
                (file.filename or "file", await parts.hear(file, is_long=False)) for file in files
            ]
            return await answering.predict(model, parts.batcher, heard)

    @router.post(
        "/segments",
        tags=["emotions"],
        response_model=schemas.Timeline,
        responses={
            200: {"content": {"text/vtt": {"schema": {"type": "string"}}}},
            **_UNPROCESSABLE,
        },
    )
    async def segments(
        file: Annotated[UploadFile, File(description="A recording, up to ten minutes.")],
        window_s: Annotated[float, Query(ge=0.5, le=9)] = 3.0,
        hop_s: Annotated[float, Query(ge=0.25, le=9)] = 1.0,
        form: Annotated[
            Literal["json", "vtt"], Query(alias="format", description="vtt: subtitles.")
        ] = "json",
        version: Annotated[str | None, version_query] = None,
    ) -> schemas.Timeline | Response:
        """Follow the emotions along a recording."""
        if hop_s > window_s:
            raise HTTPException(422, f"hop_s is {hop_s:g}, expected at most window_s, {window_s:g}")
        model = await parts.model(version)
        async with asyncio.timeout(settings.timeout_s):
            heard = await parts.hear(file, is_long=True)
            timeline = await answering.divide(
                model, parts.batcher, file.filename or "file", heard, window_s, hop_s
            )
        if form == "json":
            return timeline
        cues = [
            (each.start_s, each.end_s, _subtitle(each))
            for each in timeline.segments
            if each.confidence is not None
        ]
        return PlainTextResponse(webvtt(cues), media_type="text/vtt")

    @router.get("/models", tags=["models"])
    async def models() -> list[schemas.Version]:
        """List the versions in the registry."""
        try:
            found = await anyio.to_thread.run_sync(
                known_versions, settings.model, settings.workspace
            )
        except TrackingError as error:
            raise HTTPException(404, str(error)) from error
        return [
            schemas.Version(
                version=each.version,
                aliases=list(each.aliases),
                name=each.model,
                corpus=each.corpus,
                validation_ua=each.validation_ua,
                test_ua=each.test_ua,
            )
            for each in found
        ]

    return router


def state_routes(parts: Parts) -> APIRouter:
    """Give what tells how the service is."""
    router = APIRouter(tags=["state"])

    @router.get("/health")
    async def health() -> dict[str, str]:
        """Tell that the process answers."""
        return {"status": "ok"}

    @router.get("/ready", responses={503: {"model": schemas.Ready}})
    async def ready(response: Response) -> schemas.Ready:
        """Tell whether there is a model, which one, and why it may not be the registry's choice."""
        model = parts.models.current
        if model is None:
            response.status_code = 503
        described = answering.describe(model) if model else None
        return schemas.Ready(ready=model is not None, model=described, problem=parts.models.problem)

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Give counts and times for Prometheus."""
        text = parts.observation.text(parts.models, parts.batcher)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def _subtitle(stretch: schemas.Stretch) -> str:
    return f"{stretch.emotion} ({stretch.confidence:.0%})"
