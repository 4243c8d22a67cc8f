"""The HTTP route for long recordings."""

from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, HTTPException, Query, Request
from starlette.responses import Response

from serct.serving import schemas
from serct.serving.calls.body import FIELD, Body
from serct.serving.calls.call import Call
from serct.serving.calls.events import Event
from serct.serving.calls.formats import MEDIA_TYPES, Form
from serct.serving.calls.response import CallResponse
from serct.serving.routes import (
    FORMATS,
    PROBLEMS,
    SPEAKER_PROBLEMS,
    UNPROCESSABLE,
    SpeakerQuery,
    VersionQuery,
)
from serct.serving.state import ServiceState

_FORMS = (
    "json: all at the end. ndjson: an object a line while the recording arrives, see the schema. "
    "vtt: subtitles. rttm: lines of NIST's RTTM, with the emotion in place of the speaker's name. "
    "csv: a table of audformat."
)


def call_routes(state: ServiceState) -> APIRouter:
    """Return the route that predicts emotions along a recording of any length."""
    router = APIRouter(responses=PROBLEMS, tags=["emotions"])
    limits = state.settings.limits
    kinds = f"{FORMATS}; up to {limits.max_recording_s:g} s."

    @router.post(
        "/segments",
        response_model=schemas.Timeline | schemas.Timelines,
        responses={200: {"content": _responses()}, **UNPROCESSABLE, **SPEAKER_PROBLEMS},
        openapi_extra={"requestBody": _request(kinds)},
    )
    async def segments(
        request: Request,
        window_s: Annotated[
            float | None,
            Query(ge=0.5, le=600, description="Length of a window: that of the model's rows."),
        ] = None,
        hop_s: Annotated[
            float | None,
            Query(ge=0.25, le=600, description="Length of a step: a third of window_s."),
        ] = None,
        form: Annotated[Form, Query(alias="format", description=_FORMS)] = "json",
        channels: Annotated[
            Literal["mixed", "separate"],
            Query(description="separate: each channel is a speaker with a timeline."),
        ] = "mixed",
        version: VersionQuery = None,
        speaker: SpeakerQuery = None,
    ) -> Response:
        """Predict the emotion of a recording of up to hours, as /v1/predict does, and along it.

        The recording is the body, or a file in a form. It is decoded and predicted while it
        arrives, in bounded memory; when the client leaves, the work ends.
        """
        is_separate = channels == "separate"
        if is_separate and speaker is not None:
            raise HTTPException(422, "speaker is one person, expected channels=mixed")
        if is_separate and form == "csv":
            raise HTTPException(422, "format csv has no channels, expected json, ndjson or rttm")
        model = state.for_speaker(await state.model(version), speaker)

        def timing_s(row_s: float) -> tuple[float, float] | None:
            if window_s is None and hop_s is None:
                return None
            length_s = row_s if window_s is None else window_s
            return length_s, length_s / 3 if hop_s is None else hop_s

        body = Body(request.headers, request.receive)
        call = Call(state, model, body, timing_s, is_separate=is_separate)
        return CallResponse(call, form)

    return router


def _responses() -> dict[str, Any]:
    text = {"schema": {"type": "string"}}
    kinds = ", ".join(
        kind for each in get_args(Event) for kind in get_args(each.model_fields["type"].annotation)
    )
    lines = {"schema": {"type": "string", "description": f"An object a line, of a type: {kinds}."}}
    others = {MEDIA_TYPES[form]: text for form in ("vtt", "rttm", "csv")}
    return {MEDIA_TYPES["ndjson"]: lines, **others}


def _request(description: str) -> dict[str, Any]:
    file = {"type": "string", "format": "binary", "description": description}
    form = {"type": "object", "required": [FIELD], "properties": {FIELD: file}}
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": form},
            "application/octet-stream": {"schema": file},
        },
    }
