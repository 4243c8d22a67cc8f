"""Typed hyperparameters: the shape of params.yaml.

Every key is required and checked; an unknown, missing or ill-typed key is a `ParamsError` that
names it. Meaning, unit, range and source of each value stand beside it in params.yaml;
`serct.params_file` reads it.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from serct.emotions import EMOTIONS
from serct.errors import ParamsError

PositiveInt = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]
# A name that is safe in a path, a stage name and a metric name alike.
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
SampleRate = Annotated[int, Field(ge=4000, le=192_000)] | Literal["native"]
S = TypeVar("S", bound="Section")
# Channels, kernel, stride, padding.
ConvLayer = tuple[PositiveInt, PositiveInt, PositiveInt, Annotated[int, Field(ge=0)]]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]


class Section(BaseModel):
    """One mapping of params.yaml: frozen, without unknown keys, without type guessing."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PipelineParams(Section):
    """Which corpora and models the pipeline builds."""

    corpora: tuple[Name, ...]
    train_corpora: tuple[Name, ...]
    zero_shot_corpora: tuple[Name, ...]
    models: tuple[Name, ...]


class SplitParams(Section):
    """How utterances are divided into train, validation and test."""

    protocol: Literal["random", "speaker", "text"]
    test_fraction: Fraction
    validation_fraction: Fraction


class CheckParams(Section):
    """What makes a recording unusable, and how many unusable ones are tolerated."""

    silence_peak: Annotated[float, Field(ge=0, lt=1)]
    max_duration_s: Positive
    max_rejected: Annotated[int, Field(ge=0)]


class AudioParams(Section):
    """The form in which every model sees audio."""

    sample_rate: SampleRate
    num_samples: Annotated[int, Field(ge=400)]
    resampler: Literal["soxr", "librosa", "torchaudio"]


class PreprocessParams(Section):
    """How shards are written."""

    rows_per_shard: PositiveInt


class StepSchedule(Section):
    """Multiply the learning rate by ``gamma`` every ``step_epochs``."""

    name: Literal["step"]
    step_epochs: PositiveInt
    gamma: Positive


class CosineSchedule(Section):
    """Rise linearly over the first part of all steps, then fall to zero along half a cosine."""

    name: Literal["cosine"]
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)]


class TrainParams(Section):
    """How a model is trained."""

    epochs: PositiveInt
    batch_size: PositiveInt
    learning_rate: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    schedule: Annotated[StepSchedule | CosineSchedule, Field(discriminator="name")]
    gradient_clip: Positive | None
    label_smoothing: Probability
    select_by: Literal["ua", "wa", "wf1", "loss"]
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["auto", "float32", "bfloat16"]
    deterministic: bool


class EvaluateParams(Section):
    """How a trained model is scored."""

    batch_size: PositiveInt


class TrackingParams(Section):
    """Names in MLflow."""

    experiment: str
    registered_model: str
    system_metrics: bool


class ModelSection(Section):
    """What every entry under ``models`` may hold besides its architecture's own keys."""

    # Values of `train` for this model alone, so that tuning one model retrains only that one.
    train: dict[str, JsonValue] = {}


class SerctParams(ModelSection):
    """The thesis' model: strided convolutions, then a deformable transformer."""

    architecture: Literal["serct"]
    conv_layers: tuple[ConvLayer, ...]
    conv_norm: Literal["group_first", "layer"]
    conv_bias: bool
    width: PositiveInt
    num_layers: PositiveInt
    num_heads: PositiveInt
    feed_forward: PositiveInt
    bias: bool
    dropout: Probability
    half_width_min_ms: Positive
    half_width_max_ms: Positive
    classifier_widths: tuple[PositiveInt, ...]
    mask_padding: bool

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.width % self.num_heads:
            raise ValueError(f"width {self.width} must be a multiple of num_heads {self.num_heads}")
        if self.width % 2:
            raise ValueError(f"width {self.width} must be even (sine and cosine positions)")
        if self.half_width_min_ms > self.half_width_max_ms:
            raise ValueError("half_width_min_ms must not exceed half_width_max_ms")
        return self


class CnnParams(ModelSection):
    """Baseline: plain convolutions with pooling and a dense head."""

    architecture: Literal["cnn"]
    channels: tuple[PositiveInt, ...]
    kernel_size: PositiveInt
    pool: PositiveInt
    num_pooled_steps: PositiveInt
    hidden: PositiveInt
    dropout: Probability


class CnnBilstmParams(ModelSection):
    """Baseline: convolution and pooling stages, then a bidirectional LSTM."""

    architecture: Literal["cnn_bilstm"]
    channels: tuple[PositiveInt, ...]
    kernel_size: PositiveInt
    pool: PositiveInt
    hidden: PositiveInt
    dropout: Probability


class LstmParams(ModelSection):
    """Baseline: an LSTM over frames of the waveform."""

    architecture: Literal["lstm"]
    frame_samples: PositiveInt
    hidden: PositiveInt
    num_layers: PositiveInt
    dropout: Probability


class MlpParams(ModelSection):
    """Baseline: scikit-learn's multi-layer perceptron on the padded series."""

    architecture: Literal["mlp"]
    pool: PositiveInt
    hidden: tuple[PositiveInt, ...]


class SvmParams(ModelSection):
    """Baseline: scikit-learn's support vector machine with an RBF kernel on the padded series."""

    architecture: Literal["svm"]
    pool: PositiveInt
    regularisation: Positive


ModelParams = SerctParams | CnnParams | CnnBilstmParams | LstmParams | MlpParams | SvmParams


class CorpusSection(Section):
    """What all corpora have in common."""

    @property
    def is_synthetic(self) -> bool:
        """Whether the speech was made by a machine: such scores say nothing about people."""
        return False


class TessParams(CorpusSection):
    """Toronto Emotional Speech Set."""

    reader: Literal["tess"]


class EmodbParams(CorpusSection):
    """Berlin Database of Emotional Speech."""

    reader: Literal["emodb"]


class EsdParams(CorpusSection):
    """One language of the Emotional Speech Dataset."""

    reader: Literal["esd"]
    language: Literal["en", "zh"]
    licence_signed: bool


class DemoParams(CorpusSection):
    """Synthetic speech made on this machine."""

    reader: Literal["demo"]
    language: Literal["en", "de", "zh"]
    num_speakers: Annotated[int, Field(ge=1, le=8)]
    num_texts: PositiveInt
    emotions: tuple[Literal[*EMOTIONS], ...]  # type: ignore[valid-type]

    @property
    def is_synthetic(self) -> bool:
        """Always."""
        return True


class FolderParams(CorpusSection):
    """Anyone's own recordings."""

    reader: Literal["folder"]
    path: str
    language: Language
    table: str | None = None


CorpusParams = TessParams | EmodbParams | EsdParams | DemoParams | FolderParams


class Params(Section):
    """The whole of params.yaml."""

    seed: Annotated[int, Field(ge=0)]
    pipeline: PipelineParams
    corpora: dict[Name, Annotated[CorpusParams, Field(discriminator="reader")]]
    split: SplitParams
    checks: CheckParams
    audio: AudioParams
    preprocess: PreprocessParams
    train: TrainParams
    models: dict[Name, Annotated[ModelParams, Field(discriminator="architecture")]]
    evaluate: EvaluateParams
    tracking: TrackingParams

    def train_params(self, model: str) -> TrainParams:
        """Give the `train` section with the overrides of ``model`` laid over it."""
        overrides = self.models[model].train
        merged = merge(json.loads(self.train.model_dump_json()), overrides)
        return validate(TrainParams, merged, f"models.{model}.train")


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Lay a profile over params: mappings merge key by key, anything else is replaced.

    A mapping that names another kind (``name``, ``architecture`` or ``reader`` differs) replaces
    the old one whole, since their keys do not belong together.

    Example:
        >>> merge({"train": {"epochs": 20, "batch_size": 16}}, {"train": {"epochs": 2}})
        {'train': {'epochs': 2, 'batch_size': 16}}
    """
    merged = dict(base)
    for key, value in overlay.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and _same_kind(old, value):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def _same_kind(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return all(
        new[key] == old[key]
        for key in ("name", "architecture", "reader")
        if key in new and key in old
    )


def validate(cls: type[S], data: Any, where: str) -> S:
    """Check a mapping against a section.

    Raises:
        ParamsError: Naming every key that is unknown, missing, ill-typed or out of range.
    """
    try:
        # Through JSON: in pydantic's strict mode a list is a tuple there, and nothing else is.
        return cls.model_validate_json(json.dumps(data))
    except ValidationError as error:
        problems = [_explain(item) for item in error.errors()]
        raise ParamsError(f"{where}: " + "; ".join(problems)) from error
    except TypeError as error:
        raise ParamsError(f"{where}: {error}") from error


def _explain(item: Any) -> str:
    parts = [str(part) for part in item["loc"]]
    # pydantic puts the chosen kind into the path of a tagged union; no such key exists in the file.
    if len(parts) > 3 and parts[0] in ("corpora", "models"):
        del parts[2]
    if "schedule" in parts[:-1]:
        parts = [*parts[: parts.index("schedule") + 1], parts[-1]]
    location = ".".join(parts) or "top level"
    if item["type"] == "missing":
        return f"{location} is missing"
    if item["type"] == "extra_forbidden":
        return f"{location} is not a known key"
    return f"{location} is {item['input']!r}: {item['msg']}"
