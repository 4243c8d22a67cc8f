"""Typed hyperparameters: the shape of params.yaml.

Every key is required and checked; an unknown, missing or ill-typed key is a `ParamsError` that
names it. Meaning, unit, range and source of each value stand beside it in params.yaml;
`serct.config.reader` reads it.
"""

import json
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from serct.config.augmentation import AugmentParams
from serct.config.corpora import CorpusName, CorpusParams
from serct.config.models import ModelParams
from serct.config.search import SearchParams
from serct.config.section import Positive, PositiveInt, Probability, Section, merge, validate

Fraction = Annotated[float, Field(gt=0, lt=1)]
Name = CorpusName
Protocol = Literal["random", "speaker", "text", "speaker_text", "corpus"]
SampleRate = Annotated[int, Field(ge=4000, le=192_000)] | Literal["native"]


class PipelineParams(Section):
    """Which corpora and models the pipeline builds."""

    corpora: tuple[Name, ...]
    train_corpora: tuple[Name, ...]
    zero_shot_corpora: tuple[Name, ...]
    models: tuple[Name, ...]


class SplitParams(Section):
    """How utterances are divided into train, validation and test."""

    protocol: Protocol
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
    """How a model is trained."""

    epochs: PositiveInt
    batch_size: PositiveInt
    bucket_batches: PositiveInt
    learning_rate: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    schedule: Annotated[StepSchedule | CosineSchedule, Field(discriminator="name")]
    gradient_clip: Positive | None
    label_smoothing: Probability
    weight_average: Fraction | None
    augment: AugmentParams | None
    max_error: Probability
    select_by: Literal["ua", "wa", "wf1", "loss"]
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["auto", "float32", "tf32", "bfloat16"]
    deterministic: bool


class EvaluateParams(Section):
    """How a trained model is scored."""

    batch_size: PositiveInt


class PromotionParams(Section):
    """What a version must reach before people are served with it."""

    min_test_ua: Probability
    min_zero_shot_ua: Probability
    margin: Probability
    confidence: Fraction
    max_changed: Probability


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
    promotion: PromotionParams
    search: SearchParams
    executor: Annotated[LocalExecutor | RayExecutor, Field(discriminator="name")]

    def train_params(self, model: str) -> TrainParams:
        """Give the `train` section with the overrides of ``model`` laid over it."""
        overrides = self.models[model].train
        merged = merge(json.loads(self.train.model_dump_json()), overrides)
        return validate(TrainParams, merged, f"models.{model}.train")
