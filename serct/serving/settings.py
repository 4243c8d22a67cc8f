"""What a service is told when it starts."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Which model, and how much a client may ask for.

    Attributes:
        model: A registry address such as "models:/serct@champion", followed while the service
            runs, or a model's folder.
        workspace: Whose registry that is.
        device: "auto", "cpu", "cuda" or "mps".
        precision: See `serct.Predictor.load`.
        api_key: What clients must send; None: nothing.
        poll_s: How often the registry is asked for another champion.
        max_body_bytes: Of one request.
        max_files: Of one request.
        max_clip_s: Longest file to predict.
        max_recording_s: Longest file to divide into segments.
        max_in_flight: Requests at once; more are asked to come back.
        max_streams: Live streams at once.
        max_batch: Clips that the model answers for at once.
        body_timeout_s: How long a client may take for each part of a body.
        timeout_s: How long an answer may take.
        idle_s: How long a stream may be silent on the wire.
        drain_s: How long open requests may take after the order to stop.
    """

    model: str
    workspace: Path
    device: str = "cpu"
    precision: str = "float32"
    api_key: str | None = None
    poll_s: float = 1.0
    max_body_bytes: int = 20_000_000
    max_files: int = 16
    max_clip_s: float = 60.0
    max_recording_s: float = 600.0
    max_in_flight: int = 64
    max_streams: int = 16
    max_batch: int = 16
    body_timeout_s: float = 10.0
    timeout_s: float = 60.0
    idle_s: float = 30.0
    drain_s: float = 30.0
