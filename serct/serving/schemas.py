"""The bodies of the service's responses, as OpenAPI shows them."""

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

_PROBABILITIES: JsonDict = {"angry": 0.02, "happy": 0.91, "neutral": 0.04, "sad": 0.03}
_MODEL: JsonDict = {
    "name": "serct", "version": "3", "corpus": "tess", "language": "en", "synthetic": False,
    "corpora": {"tess": {"language": "en", "utterances": 2240, "speakers": 2}},
    "fingerprint": "4f2a91c" + "0" * 57, "adapts_to_speaker": False,
}  # fmt: skip
_ADAPTATION = "To the speaker of `?speaker=`; null without it."
_FINGERPRINT = "Of its params, data and seed: the same in every registry, unlike the number."


class TrainedOn(BaseModel):
    """A corpus in the training part of a model."""

    language: str
    utterances: int = Field(description="Of it.")
    speakers: int = Field(description="Of those utterances; 0 if none is known.")


class Model(BaseModel):
    """The model that made a prediction."""

    name: str = Field(description="Entry of params.yaml from which the model was trained.")
    version: str | None = Field(description="In the registry; null for a model from a folder.")
    corpus: str = Field(description="Corpus on which the model was trained.")
    language: str = Field(description="Language of that corpus.")
    corpora: dict[str, TrainedOn] = Field(
        description="What its training part was of, by corpus; none for a model of version 0.2."
    )
    synthetic: bool = Field(description="Trained on synthetic speech: not valid for people.")
    fingerprint: str = Field(description=_FINGERPRINT)
    adapts_to_speaker: bool = Field(description="Whether speakers can be enrolled.")


class Adaptation(BaseModel):
    """How much the model adapted to a speaker."""

    recordings: int = Field(
        description="That the speaker was enrolled with; an utterance, or a window of 3 s, of a "
        "stream counts as one."
    )
    windows: int = Field(description="Windows of the model's length with speech in them.")
    speech_s: float = Field(description="Length of the speech in them.")
    counts_as: float = Field(
        description="For how many windows they count: all if they are varied, one if they sound "
        "like one mood."
    )
    warning: str | None = Field(
        description="Why the speaker should add recordings; null if they are well."
    )


class EnrolledSpeaker(Adaptation):
    """A speaker that was enrolled."""

    id: str = Field(description="Secret name of the speaker, for `?speaker=`.")
    expires_s: float = Field(description="Time without use after which the speaker is forgotten.")
    model: Model


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
    analysed_s: float = Field(
        description="Length of what the model was given: all windows with speech."
    )
    speech_s: float = Field(description="Length of the speech in the recording.")
    notes: list[str] = Field(
        description="What was done to make the recording usable, such as scaling; most have none."
    )


class Unusable(BaseModel):
    """In place of a prediction, for a file among several that is not usable audio."""

    file: str = Field(description="Name of the file.")
    error: str = Field(description="Why it is not usable.")


class Predictions(BaseModel):
    """The predictions for all files of a request, in their order, by one model."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": _MODEL,
                "adaptation": None,
                "predictions": [
                    {
                        "file": "hello.wav", "emotion": "happy", "confidence": 0.91,
                        "probabilities": _PROBABILITIES, "duration_s": 2.1, "analysed_s": 2.1,
                        "speech_s": 1.8, "notes": [],
                    }
                ],
            }
        }
    )  # fmt: skip

    model: Model
    adaptation: Adaptation | None = Field(description=_ADAPTATION)
    predictions: list[Prediction | Unusable]


class TimedPrediction(EmotionPrediction):
    """The prediction for a part of a recording."""

    start_s: float
    end_s: float
    speech_s: float = Field(description="Length of the speech in this part.")


class Timeline(Prediction):
    """The prediction for a recording, as of /v1/predict, and along it.

    A step has the mean of all windows with speech that cover its middle. Neighbouring steps of the
    same emotion are joined into a segment. The mean of the steps, each weighted by its speech, is
    the prediction for the recording.
    """

    model: Model
    adaptation: Adaptation | None = Field(description=_ADAPTATION)
    window_s: float = Field(description="Length of each window.")
    hop_s: float = Field(description="Length of a step.")
    segments: list[TimedPrediction]
    steps: list[TimedPrediction]


class Timelines(BaseModel):
    """The timeline of each channel of a recording."""

    file: str = Field(description="Name of the file.")
    channels: list[Timeline] = Field(description="In the order of the channels.")


class Stretch(BaseModel):
    """A part of a recording."""

    start_s: float
    end_s: float
    lost: float = Field(
        description="Probability that the emotion loses if noise replaces this part; below 0 if it "
        "gains."
    )


class Importance(BaseModel):
    """How much the prediction for a recording depends on each part of it."""

    file: str = Field(description="Name of the file.")
    model: Model
    adaptation: Adaptation | None = Field(description=_ADAPTATION)
    emotion: str = Field(description="The most probable emotion, or `no_speech`.")
    probability: float | None = Field(description="Of that emotion; null without speech.")
    stretches: list[Stretch] = Field(
        description="All of the recording, in parts of about 0.25 s; none without speech."
    )


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
    fingerprint: str = Field(description=_FINGERPRINT)
    validation_ua: float
    test_ua: float | None


class Bin(BaseModel):
    """How many recordings fell into one bin of a quantity."""

    name: str
    reference: int | None = Field(description="Of the validation part; null without a reference.")
    current: int = Field(description="Of the last predictions.")


class QuantityDrift(BaseModel):
    """How far one quantity of the last predictions is from the validation part."""

    quantity: str
    title: str
    unit: str
    distance: float | None = Field(
        description="Jensen-Shannon distance to base 2, 0 to 1; null without a reference, or with "
        "too few predictions or recordings that have a value."
    )
    threshold: float | None = Field(
        description="The distance that chance alone exceeds, for any quantity, in 0.1 % of cases."
    )
    is_drifting: bool = Field(description="Whether the distance is above the threshold.")
    bins: list[Bin]


class Drift(BaseModel):
    """What a version met and predicted, beside its validation part."""

    version: str | None = Field(description="In the registry; null for a model from a folder.")
    model: Model
    predictions: int = Field(description="That are compared: the last ones.")
    reference: int | None = Field(
        description="Recordings of the validation part; null if the model's card has none."
    )
    least: int = Field(description="Predictions and recordings below which nothing is compared.")
    problem: str | None = Field(description="Why nothing is compared; null if something is.")
    quantities: list[QuantityDrift]


class Problem(BaseModel):
    """Why a request failed."""

    detail: str
