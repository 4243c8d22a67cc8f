"""What the service answers, as OpenAPI shows it."""

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

_PROBABILITIES: JsonDict = {"angry": 0.02, "happy": 0.91, "neutral": 0.04, "sad": 0.03}
_MODEL: JsonDict = {
    "name": "serct",
    "version": "3",
    "corpus": "tess",
    "language": "en",
    "synthetic": False,
}


class Model(BaseModel):
    """Who answered."""

    name: str = Field(description="Architecture entry the model was trained from.")
    version: str | None = Field(description="In the registry; null for a model from a folder.")
    corpus: str
    language: str
    synthetic: bool = Field(description="Trained on synthetic speech: says nothing about people.")


class Judgement(BaseModel):
    """What is heard in one stretch of sound."""

    emotion: str = Field(
        description="An emotion, `uncertain` if none is probable enough, or `no_speech`."
    )
    confidence: float | None = Field(description="Of the most probable emotion, 0..1.")
    probabilities: dict[str, float] | None = Field(
        description="Calibrated on validation data, summing to 1; null without speech."
    )


class Prediction(Judgement):
    """The answer for one file."""

    file: str
    duration_s: float
    heard_s: float = Field(description="How much of it, from its start, the model takes in.")
    speech_s: float


class Predictions(BaseModel):
    """The answers for all files of a request, in their order, by one model."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": _MODEL,
                "predictions": [
                    {
                        "file": "hello.wav",
                        "emotion": "happy",
                        "confidence": 0.91,
                        "probabilities": _PROBABILITIES,
                        "duration_s": 2.1,
                        "heard_s": 2.1,
                        "speech_s": 1.8,
                    }
                ],
            }
        }
    )

    model: Model
    predictions: list[Prediction]


class Stretch(Judgement):
    """A stretch of a recording."""

    start_s: float
    end_s: float


class Timeline(BaseModel):
    """Emotions along a recording.

    Every `hop_s` has the mean probabilities of all windows with speech that cover it; neighbours
    of equal emotion make a segment.
    """

    model: Model
    file: str
    duration_s: float
    speech_s: float
    window_s: float
    hop_s: float
    segments: list[Stretch]
    steps: list[Stretch]


class Ready(BaseModel):
    """Whether the service can answer, and with what."""

    ready: bool
    model: Model | None
    problem: str | None = Field(
        description="Why the registry's choice is not in use; the model before it answers on."
    )


class Version(BaseModel):
    """A version in the registry."""

    version: str
    aliases: list[str]
    name: str
    corpus: str
    validation_ua: float
    test_ua: float | None


class Problem(BaseModel):
    """Why a request was not answered."""

    detail: str
