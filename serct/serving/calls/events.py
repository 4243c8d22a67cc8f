"""What is said about a long recording while it is predicted: an object a line, as NDJSON."""

import json
from typing import Literal

from pydantic import BaseModel, Field

from serct.serving.schemas import Adaptation, Model, Prediction, TimedPrediction

_CHANNEL = "From 1, if each channel is predicted by itself; else null."


class Start(BaseModel):
    """The first line: what is known before the first prediction."""

    type: Literal["start"] = "start"
    file: str
    model: Model
    adaptation: Adaptation | None
    channels: int = Field(description="Predicted by themselves; 1 if they are mixed.")
    window_s: float = Field(description="Length of each window.")
    hop_s: float = Field(description="Length of a step.")


class Part(TimedPrediction):
    """A step of the timeline, or a segment: neighbouring steps of one emotion.

    A step comes when nothing can change it any more, a segment when the next emotion is known.
    """

    type: Literal["step", "segment"]
    channel: int | None = Field(description=_CHANNEL)


class Progress(BaseModel):
    """How far the service is, about once a second while it works."""

    type: Literal["progress"] = "progress"
    received_bytes: int
    announced_bytes: int | None = Field(description="Of the whole body; null if not announced.")
    decoded_s: float
    predicted_s: float


class Result(Prediction):
    """The prediction for the whole recording, or for a channel: the last line of each."""

    type: Literal["result"] = "result"
    channel: int | None = Field(description=_CHANNEL)


class Failure(BaseModel):
    """The last line if something is wrong; what was said before holds for the part before."""

    type: Literal["error"] = "error"
    detail: str


Event = Start | Part | Progress | Result | Failure


def line_of(event: Event) -> str:
    """Return an event as a line, which begins with its type."""
    fields = event.model_dump()
    return json.dumps({"type": fields.pop("type"), **fields}) + "\n"
