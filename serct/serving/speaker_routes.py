"""The HTTP routes that enrol speakers."""

import asyncio
from functools import reduce
from operator import add
from typing import Annotated

from fastapi import APIRouter, File, HTTPException, Path, Query, UploadFile

from serct.inference.enrolment import Speaker
from serct.serving import predicting, schemas
from serct.serving.echo import file_name
from serct.serving.models import LoadedModel
from serct.serving.routes import (
    FORMATS,
    ID_LENGTH,
    PROBLEMS,
    SPEAKER_PROBLEMS,
    UNPROCESSABLE,
    VersionQuery,
)
from serct.serving.state import ServiceState


def speaker_routes(state: ServiceState) -> APIRouter:
    """Return the routes that enrol a speaker, and forget it."""
    router = APIRouter(tags=["speakers"], responses=PROBLEMS)
    limits = state.settings.limits

    @router.post("/speakers", status_code=201, responses={**SPEAKER_PROBLEMS, **UNPROCESSABLE})
    async def enrol(
        files: Annotated[
            list[UploadFile],
            File(
                description="Recordings of one speaker in several moods, without labels. "
                f"{FORMATS}; up to {limits.max_clip_s:g} s."
            ),
        ],
        version: VersionQuery = None,
        speaker: Annotated[
            str | None,
            Query(description="Id of a speaker to whom these recordings are added.", **ID_LENGTH),
        ] = None,
    ) -> schemas.EnrolledSpeaker:
        """Enrol a speaker: `/v1/predict?speaker=ID` and others then adapt to it.

        Only sums of features are kept, in memory. If one of the files is not usable, nothing is
        enrolled.
        """
        state.check_speakers()
        if len(files) > limits.max_files:
            raise HTTPException(
                413, f"{len(files)} files, expected at most {limits.max_files} in a request"
            )
        model = await state.model(version)
        model.predictor.check_adapts()
        # Before the work, and again when it is done: that may take long.
        state.for_speaker(model, speaker)
        async with asyncio.timeout(limits.timeout_s):
            found = reduce(add, await asyncio.gather(*(enrol_one(model, file) for file in files)))
        if speaker is None:
            speaker = state.speakers.add(found)
        else:
            found = state.speakers.extend(speaker, found)
        adaptation = predicting.describe_adaptation(model.for_speaker(found))
        assert adaptation is not None  # noqa: S101  since it is for a speaker
        return schemas.EnrolledSpeaker(
            **adaptation.model_dump(), id=speaker, expires_s=limits.speaker_ttl_s,
            model=predicting.describe(model),
        )  # fmt: skip

    async def enrol_one(model: LoadedModel, file: UploadFile) -> Speaker:
        audio = await state.decode(file)
        return await predicting.enrol(model, state.batcher, audio, file_name(file))

    @router.delete(
        "/speakers/{speaker}",
        status_code=204,
        responses={501: SPEAKER_PROBLEMS[501], 422: {"description": "No id of a speaker."}},
    )
    async def forget(
        speaker: Annotated[str, Path(description="Id of the speaker.", **ID_LENGTH)],
    ) -> None:
        """Forget a speaker at once."""
        state.check_speakers()
        state.speakers.remove(speaker)

    return router
