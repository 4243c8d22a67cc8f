"""What all routes of one service share."""

from dataclasses import dataclass

import anyio
from fastapi import HTTPException, UploadFile

from serct.errors import UnknownVersionError
from serct.serving.access.clients import Client, Clients
from serct.serving.batching import Batcher
from serct.serving.decoding.pool import DecoderPool
from serct.serving.decoding.process import DecodedAudio
from serct.serving.echo import file_name, printable
from serct.serving.models import LoadedModel, ModelManager
from serct.serving.monitoring.metrics import ServiceMetrics
from serct.serving.settings import Settings
from serct.serving.speakers import SpeakerStore

_LOADING_RETRY_S = 5
_MAX_PROBLEM = 1000


@dataclass(frozen=True, eq=False)
class ServiceState:
    """The state of one service.

    Attributes:
        decoders: Decode files.
        stream_decoders: Decode what is still arriving: long calls and live streams.
    """

    settings: Settings
    models: ModelManager
    batcher: Batcher
    metrics: ServiceMetrics
    decoders: DecoderPool
    stream_decoders: DecoderPool
    speakers: SpeakerStore
    clients: Clients

    async def model(self, version: str | None) -> LoadedModel:
        """Return a version of the model by number or alias, None for the one in use.

        Raises:
            HTTPException: 404 if there is no such version, 503 if no model is loaded yet.
            SerctError: If the version is unusable, or the registry cannot be read.
        """
        if version is not None:
            try:
                return await anyio.to_thread.run_sync(self.models.version, version)
            except UnknownVersionError as error:
                raise HTTPException(404, printable(str(error), _MAX_PROBLEM)) from error
        if self.models.current is None:
            reason = self.models.problem or "the model is loading"
            headers = {"Retry-After": str(_LOADING_RETRY_S)}
            raise HTTPException(503, f"no model yet: {reason}", headers)
        return self.models.current

    def check_speakers(self) -> None:
        """Check that a speaker that is enrolled here is found again.

        Raises:
            HTTPException: 501 if other copies of the service get some of the requests.
        """
        copies = self.settings.num_copies
        if copies > 1:
            raise HTTPException(
                501,
                f"{copies} copies of this service share no speakers, so one that is enrolled with "
                "one copy is unknown to the others: enrol with a service of one copy, or use "
                "adapt=true of /v1/stream",
            )

    def for_speaker(self, model: LoadedModel, speaker: str | None) -> LoadedModel:
        """Return a model for an enrolled speaker; itself if that is None.

        Raises:
            HTTPException: As `check_speakers`.
            UnknownSpeakerError: If there is no such speaker.
            SpeakerError: If the speaker was enrolled with another model.
        """
        if speaker is None:
            return model
        self.check_speakers()
        return model.for_speaker(self.speakers.get(speaker))

    async def decode(self, file: UploadFile) -> DecodedAudio:
        """Decode a file. Silence is accepted: it has no speech.

        Raises:
            AudioError: If the file is not usable audio, or too long.
        """
        content = await file.read()
        max_duration_s = self.settings.limits.max_clip_s
        return await self.decoders.decode(content, file_name(file), max_duration_s)

    def accepts_key(self, key: str | None) -> Client | None:
        """Return the client that holds an API key, None if the key is missing, wrong or expired."""
        return self.clients.find(key)
