"""What all routes share."""

import secrets
from dataclasses import dataclass

import anyio
from fastapi import HTTPException, UploadFile

from serct.errors import TrackingError
from serct.inference.voice_activity import VoiceActivity
from serct.serving.batching import Batcher
from serct.serving.hearing import Heard, hear
from serct.serving.models import Loaded, Models
from serct.serving.observation import Observation
from serct.serving.settings import Settings


@dataclass(frozen=True, eq=False)
class Parts:
    """One service's state.

    Attributes:
        decoders: How many files are decoded at once.
        long_decoders: The same of long ones, which take much memory.
    """

    settings: Settings
    models: Models
    batcher: Batcher
    observation: Observation
    voice_activity: VoiceActivity
    decoders: anyio.CapacityLimiter
    long_decoders: anyio.CapacityLimiter

    async def model(self, version: str | None) -> Loaded:
        """Give the model in use, or one version."""
        if version is not None:
            try:
                return await anyio.to_thread.run_sync(self.models.version, version)
            except TrackingError as error:
                raise HTTPException(404, str(error)) from error
        if self.models.current is None:
            reason = self.models.problem or "it is being loaded"
            raise HTTPException(503, f"no model yet: {reason}", {"Retry-After": "5"})
        return self.models.current

    async def hear(self, file: UploadFile, *, is_long: bool) -> Heard:
        """Decode a file; long ones one at a time, since they take much memory."""
        settings = self.settings
        longest = settings.max_recording_s if is_long else settings.max_clip_s
        limiter = self.long_decoders if is_long else self.decoders
        name = file.filename or "file"
        return await anyio.to_thread.run_sync(
            hear, file.file, name, longest, self.voice_activity, limiter=limiter
        )

    def is_welcome(self, key: str | None) -> bool:
        """Tell whether a client with this API key may enter, in constant time."""
        if self.settings.api_key is None:
            return True
        return secrets.compare_digest((key or "").encode(), self.settings.api_key.encode())
