"""The bodies of the service's responses, as OpenAPI shows them."""

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

_PROBABILITIES: JsonDict = {"angry": 0.02, "happy": 0.91, "neutral": 0.04, "sad": 0.03}
_MODEL: JsonDict = {
    "name": "serct", "version": "3", "corpus": "tess", "language": "en", "synthetic": False,
}  # fmt: skip


class Model(BaseModel):
    """The model that made a prediction."""

    name: str = Field(description="Entry of params.yaml from which the model was trained.")
    version: str | None = Field(description="In the registry; null for a model from a folder.")
    corpus: str = Field(description="Corpus on which the model was trained.")
    language: str = Field(description="Language of that corpus.")
    synthetic: bool = Field(description="Trained on synthetic speech: not valid for people.")


class EmotionPrediction(BaseModel):
    """The predicted emotion."""

    emotion: str = Field(
        description="An emotion, `uncertain` if none is probable enough, or `no_speech`."
    )
    confidence: float | None = Field(
        description="Probability of the most probable emotion, 0 to 1; null without speech."
    )
    probabilities: dict[str, float] | None = Field(
        description="Calibrated on validation data, with sum 1; null without speech."
    )


class Prediction(EmotionPrediction):
    """The prediction for one file."""

    file: str = Field(description="Name of the file.")
    duration_s: float = Field(description="Length of the recording.")
    heard_s: float = Field(description="Length of the first part, which the model uses.")
    speech_s: float = Field(description="Length of the speech in the recording.")


class Predictions(BaseModel):
    """The predictions for all files of a request, in their order, by one model."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": _MODEL,
                "predictions": [
                    {
                        "file": "hello.wav", "emotion": "happy", "confidence": 0.91,
                        "probabilities": _PROBABILITIES, "duration_s": 2.1, "heard_s": 2.1,
                        "speech_s": 1.8,
                    }
                ],
            }
        }
    )  # fmt: skip

    model: Model
    predictions: list[Prediction]


class TimedPrediction(EmotionPrediction):
    """The prediction for a part of a recording."""

    start_s: float
    end_s: float


class Timeline(BaseModel):
    """Predictions along a recording.

    A step has the mean probabilities of all windows with speech that cover it. Neighbouring steps
    of the same emotion are joined into a segment.
    """

    model: Model
    file: str = Field(description="Name of the file.")
    duration_s: float = Field(description="Length of the recording.")
    speech_s: float = Field(description="Length of the speech in the recording.")
    window_s: float = Field(description="Length of each window.")
    hop_s: float = Field(description="Length of a step.")
    segments: list[TimedPrediction]
    steps: list[TimedPrediction]


class Ready(BaseModel):
    """Whether the service can predict, and with which model."""

    ready: bool
    model: Model | None
    problem: str | None = Field(
        description="Why the registry's version is not in use; the version before it stays in use."
    )


class Version(BaseModel):
    """A version in the registry."""

    version: str
    aliases: list[str]
    name: str = Field(validation_alias="model")
    corpus: str
    validation_ua: float
    test_ua: float | None


class Problem(BaseModel):
    """Why a request failed."""

    detail: str
