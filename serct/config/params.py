"""Typed hyperparameters: the shape of params.yaml.

Every key is required and checked; an unknown, missing or ill-typed key is a `ParamsError` that
names it. Meaning, unit, range and source of each value stand beside it in params.yaml;
`serct.config.reader` reads it. What an entry under ``models`` or ``corpora`` may hold is said by
the file of that model or corpus.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Generic, Literal, Self, TypeVar, overload

from pydantic import Field, JsonValue, field_validator, model_validator

from serct.config.search import SearchParams
from serct.config.section import Name, Positive, PositiveInt, Probability, Section, merge, validate
from serct.config.serving import ServingParams
from serct.errors import ParamsError

T = TypeVar("T")
Entries = dict[Name, dict[str, JsonValue]]
UPGRADE_HINT = "; `serct repro` adds the keys that an older file lacks"

Fraction = Annotated[float, Field(gt=0, lt=1)]
Protocol = Literal["random", "speaker", "text", "speaker_text", "corpus", "file", "emobox"]
BalanceKey = Literal["corpus", "speaker", "emotion"]
SampleRate = Annotated[int, Field(ge=4000, le=192_000)] | Literal["native"]


class PipelineParams(Section):
    """Which corpora and models the pipeline builds."""

    corpora: tuple[Name, ...]
    train_corpora: tuple[Name, ...]
    zero_shot_corpora: tuple[Name, ...]
    encoders: tuple[Name, ...] = ()
    models: tuple[Name, ...]


class SplitParams(Section):
    """How utterances are divided into train, validation and test.

    Files of version 0.2 and older have no ``path``.
    """

    protocol: Protocol
    path: str | None = None
    test_fraction: Fraction
    validation_fraction: Fraction
    num_folds: Annotated[int, Field(ge=2)] | None
    fold: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.num_folds is not None and self.fold >= self.num_folds:
            raise ValueError(f"fold is {self.fold}, expected 0 to num_folds - 1")
        if self.num_folds is None and self.fold:
            raise ValueError(f"fold is {self.fold}, but num_folds is null")
        if self.num_folds is None and self.protocol == "speaker_text":
            raise ValueError("the speaker_text protocol needs num_folds")
        if self.path is not None and self.protocol not in ("file", "emobox"):
            raise ValueError(f"path is for the protocols file and emobox, not {self.protocol}")
        if self.path is None and self.protocol == "emobox":
            raise ValueError("the emobox protocol needs path, the folder of an EmoBox checkout")
        if self.path is None and self.protocol == "file" and self.num_folds is not None:
            raise ValueError("num_folds needs path: a corpus' own division has no folds")
        return self


class CheckParams(Section):
    """What makes a recording unusable, and how many unusable ones are tolerated."""

    silence_peak: Annotated[float, Field(ge=0, lt=1)] | None
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
    """How a model is trained; `serct.training.augmentation` checks what ``augment`` holds.

    Files of version 0.2 and older have no ``balance``.
    """

    epochs: PositiveInt
    batch_size: PositiveInt
    bucket_batches: PositiveInt
    learning_rate: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    schedule: Annotated[StepSchedule | CosineSchedule, Field(discriminator="name")]
    gradient_clip: Positive | None
    label_smoothing: Probability
    weight_average: Fraction | None
    augment: dict[str, JsonValue] | None
    balance: tuple[BalanceKey, ...] | None = None
    max_error: Probability
    select_by: Name
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["auto", "float32", "tf32", "bfloat16"]
    deterministic: bool

    @field_validator("balance")
    @classmethod
    def _each_once(cls, keys: tuple[BalanceKey, ...] | None) -> tuple[BalanceKey, ...] | None:
        """Check that no key is named twice; none at all is the same as null."""
        if keys is not None and len(set(keys)) < len(keys):
            raise ValueError("expected each of corpus, speaker, emotion at most once")
        return keys or None


class EvaluateParams(Section):
    """How a trained model is scored."""

    batch_size: PositiveInt


class RobustnessParams(Section):
    """Under which conditions a model is tested; `serct.evaluation.conditions` checks them."""

    max_utterances: PositiveInt
    conditions: dict[Name, dict[str, JsonValue] | None]


# Why a version may have nothing to be compared with.
SkippableGate = Literal["no_champion", "other_data"]


class PromotionParams(Section):
    """What a version must reach before people are served with it.

    Files of version 0.2 and older have no ``may_skip``; its default is their behaviour.
    """

    min_test_ua: Probability
    min_zero_shot_ua: Probability
    margin: Probability
    confidence: Fraction
    max_changed: Probability
    may_skip: tuple[SkippableGate, ...] = ("no_champion", "other_data")


class TrackingParams(Section):
    """Names in MLflow."""

    experiment: str
    registered_model: str
    system_metrics: bool


class LocalExecutor(Section):
    """Stages work on this machine."""

    name: Literal["local"]


class RayExecutor(Section):
    """Preprocessing, training and search work on a Ray cluster."""

    name: Literal["ray"]
    address: str | None
    workers: PositiveInt
    cpus: PositiveInt
    gpus: Annotated[int, Field(ge=0, le=1)]
    max_failures: Annotated[int, Field(ge=0)]


class _Checked(Generic[T]):
    """A section of `Params`, checked when it is first asked for and then kept."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, params: None, owner: type) -> Self: ...
    @overload
    def __get__(self, params: "Params", owner: type) -> T: ...
    def __get__(self, params: "Params | None", owner: type) -> Self | T:
        if params is None:
            return self
        if self.name not in params.data:
            raise ParamsError(f"{params.where}: {self.name} is missing{UPGRADE_HINT}")
        try:
            value: T = validate(self.kind, params.data[self.name], params.where, self.name)
        except ParamsError as error:
            hint = UPGRADE_HINT if "is missing" in str(error) else ""
            raise ParamsError(f"{error}{hint}") from error
        params.__dict__[self.name] = value
        return value


class Params:
    """The content of params.yaml.

    Each section is checked when it is first used, so a file of an older version serves every
    command that uses only what the file has. `serct.experiments.checking.check_params` checks
    everything.

    Attributes:
        data: The content as the file has it.
        where: What errors call the file.
        encoders: Entries by name; `serct.models.read_model_params` types the one of a model.
        models: Entries by name; `serct.models.read_model_params` types one.
        corpora: Entries by name; `serct.data.corpora.read_corpus_params` types one.
    """

    seed = _Checked[int](Annotated[int, Field(ge=0)])
    pipeline = _Checked[PipelineParams](PipelineParams)
    corpora = _Checked[Entries](Entries)
    split = _Checked[SplitParams](SplitParams)
    checks = _Checked[CheckParams](CheckParams)
    audio = _Checked[AudioParams](AudioParams)
    preprocess = _Checked[PreprocessParams](PreprocessParams)
    train = _Checked[TrainParams](TrainParams)
    encoders = _Checked[Entries](Entries)
    models = _Checked[Entries](Entries)
    evaluate = _Checked[EvaluateParams](EvaluateParams)
    robustness = _Checked[RobustnessParams](RobustnessParams)
    tracking = _Checked[TrackingParams](TrackingParams)
    promotion = _Checked[PromotionParams](PromotionParams)
    search = _Checked[SearchParams](SearchParams)
    serving = _Checked[ServingParams](ServingParams)
    executor = _Checked[LocalExecutor | RayExecutor](
        Annotated[LocalExecutor | RayExecutor, Field(discriminator="name")]
    )

    def __init__(self, data: Mapping[str, Any], where: str = "params.yaml") -> None:
        self.data = dict(data)
        self.where = where

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Params) and self.data == other.data

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def sections(cls) -> tuple[str, ...]:
        """Return the names of all sections."""
        return tuple(name for name, value in vars(cls).items() if isinstance(value, _Checked))

    def replace(self, **sections: Any) -> "Params":
        """Return a copy with other sections, as `Section` objects or plain data."""
        changed = {
            name: json.loads(value.model_dump_json()) if isinstance(value, Section) else value
            for name, value in sections.items()
        }
        return Params({**self.data, **changed}, self.where)

    def split_params(self, corpus: str) -> SplitParams:
        """Return the `split` section with the overrides of ``corpus`` laid over it."""
        overrides: Any = self.corpora[corpus].get("split") or {}
        merged = merge(self.data["split"], overrides)
        return validate(SplitParams, merged, self.where, f"corpora.{corpus}.split")

    def train_params(self, model: str) -> TrainParams:
        """Return the `train` section with the overrides of ``model`` laid over it."""
        overrides: Any = self.models[model].get("train") or {}
        merged = merge(self.data["train"], overrides)
        return validate(TrainParams, merged, self.where, f"models.{model}.train")
