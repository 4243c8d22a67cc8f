"""What all routes of one service share."""

import secrets
from dataclasses import dataclass

import anyio
from fastapi import HTTPException, UploadFile

from serct.errors import TrackingError
from serct.serving.batching import Batcher
from serct.serving.decoding import DecodedAudio, decode
from serct.serving.metrics import ServiceMetrics
from serct.serving.models import LoadedModel, ModelManager
from serct.serving.settings import Settings

_LOADING_RETRY_S = 5


@dataclass(frozen=True, eq=False)
class ServiceState:
    """The state of one service.

    Attributes:
        decoders: Limits how many files are decoded at once.
        long_decoders: The same for long files, which need much memory.
    """

    settings: Settings
    models: ModelManager
    batcher: Batcher
    metrics: ServiceMetrics
    decoders: anyio.CapacityLimiter
    long_decoders: anyio.CapacityLimiter

    async def model(self, version: str | None) -> LoadedModel:
        """Return a version of the model, None for the one in use.

        Raises:
            HTTPException: 404 if there is no such version, 503 if no model is loaded yet.
        """
        if version is not None:
            try:
                return await anyio.to_thread.run_sync(self.models.version, version)
            except TrackingError as error:
                raise HTTPException(404, str(error)) from error
        if self.models.current is None:
            reason = self.models.problem or "the model is loading"
            headers = {"Retry-After": str(_LOADING_RETRY_S)}
            raise HTTPException(503, f"no model yet: {reason}", headers)
        return self.models.current

    async def decode(self, file: UploadFile, *, is_long: bool) -> DecodedAudio:
        """Decode a file in a thread; long files one after another, since they need much memory."""
        limits = self.settings.limits
        max_duration_s = limits.max_recording_s if is_long else limits.max_clip_s
        limiter = self.long_decoders if is_long else self.decoders
        name = file.filename or "file"
        return await anyio.to_thread.run_sync(
            decode, file.file, name, max_duration_s, limiter=limiter
        )

    def accepts_key(self, key: str | None) -> bool:
        """Check an API key, in constant time."""
        if self.settings.api_key is None:
            return True
        return secrets.compare_digest((key or "").encode(), self.settings.api_key.encode())
