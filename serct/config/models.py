"""The entries under ``models`` in params.yaml, one kind an architecture."""

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from serct.config.section import Positive, PositiveInt, Probability, Section

# Channels, kernel, stride, padding.
ConvLayer = tuple[PositiveInt, PositiveInt, PositiveInt, Annotated[int, Field(ge=0)]]


class ModelSection(Section):
    """What every entry under ``models`` may hold besides its architecture's own keys."""

    architecture: str
    # Values of `train` for this model alone, so that tuning one model retrains only that one.
    train: dict[str, JsonValue] = Field(default_factory=dict)


class SerctParams(ModelSection):
    """The thesis' model: strided convolutions, then a deformable transformer."""

    architecture: Literal["serct"]
    conv_layers: tuple[ConvLayer, ...]
    conv_norm: Literal["group_first", "layer"]
    conv_bias: bool
    width: PositiveInt
    num_layers: Annotated[int, Field(ge=0)]
    num_heads: PositiveInt
    attention: Literal["deformable", "full"]
    feed_forward: PositiveInt
    bias: bool
    dropout: Probability
    half_width_min_ms: Positive
    half_width_max_ms: Positive
    classifier_widths: tuple[PositiveInt, ...]
    mask_padding: bool
    neutral_input: bool
    noise_floor_db: Annotated[float, Field(lt=0)]

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


class MfccSvmParams(ModelSection):
    """Reference: an SVM with an RBF kernel on statistics of cepstral coefficients."""

    architecture: Literal["mfcc_svm"]
    num_coefficients: PositiveInt
    num_mels: PositiveInt
    noise_floor_db: Annotated[float, Field(lt=0)]
    regularisation: Positive

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.num_coefficients > self.num_mels:
            raise ValueError("num_coefficients must not exceed num_mels")
        return self


class FunctionalsLdaParams(ModelSection):
    """Linear discriminant analysis of functionals of timbre, pitch, energy and rhythm."""

    architecture: Literal["functionals_lda"]
    num_mels: Annotated[int, Field(ge=8)]
    noise_floor_db: Annotated[float, Field(lt=0)]
    relevance_factor: Positive | None


class MelConformerParams(ModelSection):
    """A neutral log-mel spectrogram, 2-D convolutions and a small Conformer."""

    architecture: Literal["mel_conformer"]
    num_mels: PositiveInt
    window_ms: Positive
    hop_ms: Positive
    noise_floor_db: Annotated[float, Field(lt=0)]
    remove_average: bool
    channels: Annotated[tuple[PositiveInt, ...], Field(min_length=2)]
    width: PositiveInt
    num_layers: Annotated[int, Field(ge=0)]
    num_heads: PositiveInt
    kernel_frames: PositiveInt
    dropout: Probability
    classifier_dropout: Probability
    num_masks: Annotated[int, Field(ge=0)]
    mask_mels: PositiveInt
    mask_ms: Positive

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.width % self.num_heads:
            raise ValueError(f"width {self.width} must be a multiple of num_heads {self.num_heads}")
        if self.mask_mels > self.num_mels:
            raise ValueError("mask_mels must not exceed num_mels")
        if self.hop_ms > self.window_ms:
            raise ValueError("hop_ms must not exceed window_ms")
        return self


class SslParams(ModelSection):
    """An encoder pretrained on unlabelled speech, from a folder, and a small head."""

    architecture: Literal["ssl"]
    encoder: str
    freeze: bool
    hidden: PositiveInt
    dropout: Probability


ModelParams = (
    SerctParams
    | CnnParams
    | CnnBilstmParams
    | LstmParams
    | MelConformerParams
    | SslParams
    | MlpParams
    | SvmParams
    | MfccSvmParams
    | FunctionalsLdaParams
)
