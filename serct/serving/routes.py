"""The HTTP routes of the service."""

import asyncio
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, File, HTTPException, Query, Request, Response, UploadFile
from fastapi.responses import PlainTextResponse

from serct import __version__
from serct.errors import AudioError
from serct.inference.recording import RecordingPrediction
from serct.serving import predicting, schemas
from serct.serving.echo import file_name
from serct.serving.models import NO_VERSIONS, LoadedModel
from serct.serving.state import ServiceState
from serct.serving.streams.asyncapi import describe_stream
from serct.tracking import known_versions

PROBLEMS: dict[int | str, dict[str, object]] = {
    status: {"model": schemas.Problem, "description": text}
    for status, text in {
        400: "The body does not match its content type.",
        401: "The API key is missing, wrong or expired.",
        403: "The request comes from a page of a site that is not allowed.",
        404: "There is no such version, or no such speaker.",
        408: "The body arrived too slowly.",
        413: "The body is too large, or there are too many files.",
        429: "Too many requests with this API key: see Retry-After.",
        503: "No model yet, an unusable version, a registry that cannot be read, or too many "
        "requests at the same time: see Retry-After.",
        504: "The response took too long.",
    }.items()
}
UNPROCESSABLE: dict[int | str, dict[str, object]] = {
    422: {"description": "Not usable audio, or a parameter out of range."}
}
# Of the requests that may have a speaker.
SPEAKER_PROBLEMS: dict[int | str, dict[str, object]] = {
    status: {"model": schemas.Problem, "description": text}
    for status, text in {
        401: "The API key is missing, wrong or expired.",
        404: "There is no such version, or no such speaker: enrol again.",
        409: "The model does not adapt to a speaker, or the speaker was enrolled with another "
        "model: enrol again.",
        501: "Several copies of the service run, which share no speakers.",
    }.items()
}
ID_LENGTH: dict[str, Any] = {"min_length": 1, "max_length": 64}

FORMATS = (
    "A recording as browsers, phones and recorders make it, such as wav, flac, ogg, mp3, m4a, webm "
    "or aiff; 4 to 192 kHz, any number of channels"
)


VersionQuery = Annotated[
    str | None,
    Query(
        description="Version to use for this request, instead of the one in use: its number, an "
        "alias such as @challenger, a name such as serct-tess, or digits of its fingerprint.",
        min_length=1,
        max_length=60,
    ),
]
SpeakerQuery = Annotated[
    str | None,
    Query(description="Id of the speaker to adapt to, from POST /v1/speakers.", **ID_LENGTH),
]


def emotion_routes(state: ServiceState) -> APIRouter:
    """Return the routes that predict emotions."""
    router = APIRouter(responses=PROBLEMS)
    settings, limits = state.settings, state.settings.limits

    @router.post("/predict", tags=["emotions"], responses={**UNPROCESSABLE, **SPEAKER_PROBLEMS})
    async def predict(
        files: Annotated[
            list[UploadFile], File(description=f"{FORMATS}; up to {limits.max_clip_s:g} s.")
        ],
        version: VersionQuery = None,
        speaker: SpeakerQuery = None,
    ) -> schemas.Predictions:
        """Predict the emotion of one or more files, each as a whole.

        A file among several that is not usable has an `error` in place of a prediction.
        """
        if len(files) > limits.max_files:
            raise HTTPException(
                413, f"{len(files)} files, expected at most {limits.max_files} in a request"
            )
        model = state.for_speaker(await state.model(version), speaker)
        async with asyncio.timeout(limits.timeout_s):
            found = await asyncio.gather(*(predict_one(model, file) for file in files))
        errors = [each for each in found if isinstance(each, AudioError)]
        if len(errors) == len(found):
            raise errors[0]
        return schemas.Predictions(
            model=predicting.describe(model),
            adaptation=predicting.describe_adaptation(model),
            predictions=[
                schemas.Unusable(file=file_name(file), error=str(each))
                if isinstance(each, AudioError)
                else predicting.prediction(file_name(file), each)
                for file, each in zip(files, found, strict=True)
            ],
        )

    async def predict_one(model: LoadedModel, file: UploadFile) -> RecordingPrediction | AudioError:
        try:
            audio = await state.decode(file)
            found = await predicting.analyse(model, state.batcher, audio)
            state.metrics.drift.observe(model, found)
            return found
        except AudioError as error:
            return error

    @router.post("/importance", tags=["emotions"], responses={**UNPROCESSABLE, **SPEAKER_PROBLEMS})
    async def importance(
        file: Annotated[UploadFile, File(description=f"{FORMATS}; up to {limits.max_clip_s:g} s.")],
        version: VersionQuery = None,
        speaker: SpeakerQuery = None,
    ) -> schemas.Importance:
        """Say which parts of a recording its prediction depends on.

        It costs a prediction for each 0.25 s, or three in recordings longer than the model's rows.
        """
        model = state.for_speaker(await state.model(version), speaker)
        async with asyncio.timeout(limits.timeout_s):
            audio = await state.decode(file)
            found = await predicting.importance(model, state.batcher, audio)
        return predicting.describe_importance(model, file_name(file), found)

    @router.get("/models", tags=["models"])
    async def models() -> list[schemas.Version]:
        """List the versions in the registry."""
        if not state.models.is_followed:
            raise HTTPException(404, NO_VERSIONS)
        found = await anyio.to_thread.run_sync(known_versions, settings.model, settings.workspace)
        return [schemas.Version.model_validate(each, from_attributes=True) for each in found]

    return router


def state_routes(state: ServiceState) -> APIRouter:
    """Return the routes for monitoring."""
    router = APIRouter(tags=["state"])

    @router.get("/")
    async def root(request: Request) -> dict[str, str]:
        """Return where to find what."""
        base = str(request.scope.get("root_path", "")).rstrip("/")
        places = (
            "docs", "openapi.json", "asyncapi.json", "stream/", "health", "ready", "metrics",
            "v1/models",
        )  # fmt: skip
        return {"service": "SERCT", "version": __version__} | {
            place.removeprefix("v1/").removesuffix(".json").rstrip("/"): f"{base}/{place}"
            for place in places
        }

    @router.get("/asyncapi.json", include_in_schema=False)
    async def asyncapi() -> dict[str, Any]:
        """Return the AsyncAPI document of live streams."""
        return describe_stream()

    @router.get("/health")
    async def health() -> dict[str, str]:
        """Confirm that the process runs."""
        return {"status": "ok"}

    @router.get("/ready", responses={503: {"model": schemas.Ready}})
    async def ready(response: Response) -> schemas.Ready:
        """Return which model is in use, and why the registry's version is not, if it is not."""
        model = state.models.current
        if model is None:
            response.status_code = 503
        described = predicting.describe(model) if model else None
        return schemas.Ready(
            ready=model is not None,
            model=described,
            problem=state.models.problem,
            keys_problem=state.clients.problem,
        )

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Return counts and times for Prometheus."""
        # In a thread: thresholds of drift take a while.
        text = await anyio.to_thread.run_sync(
            state.metrics.text, state.models, state.batcher, state.speakers
        )
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    # Many monitors, such as `wget --spider`, ask with HEAD.
    for path, endpoint in (("/", root), ("/health", health), ("/ready", ready)):
        router.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)
    return router
