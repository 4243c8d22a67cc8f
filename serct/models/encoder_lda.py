"""`encoder_lda`: linear discriminants of a pretrained encoder's hidden states, pooled over a clip.

Shapes: B batch, M samples of a cut row, S hidden states in use, T frames, D width, F = 2 S D
features, K emotions.
"""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from serct.config.params import TrainParams
from serct.config.section import Positive, PositiveInt
from serct.models.classical.decisions import linear_discriminants
from serct.models.classical.estimator import Array, ClassicalModel, LabelledRows, Progress
from serct.models.classical.feature_classifier import FeatureClassifier, FeatureName, last_step
from serct.models.classical.speaker_normalization import SpeakerNormalization
from serct.models.encoders.params import FramesParams, UsesEncoder
from serct.models.encoders.weights import read_config, read_weights, weights_digest
from serct.models.interface import ClassicalParams
from serct.models.records import ENCODER
from serct.runtime import atomic
from serct.runtime.arrays import Floats

# Imported late: what only reads a card, or finds all features in the cache, runs without torch.
if TYPE_CHECKING:
    from serct.models.encoders.pooled import PooledEncoder
    from serct.models.encoders.standalone import EncoderHeadParams

# The names of its arrays in saved models.
_PREFIX = "encoder."
# Threads that share a model want its encoder at once.
_READING = threading.Lock()


class EncoderLdaParams(ClassicalParams, UsesEncoder):
    """Linear discriminant analysis of a frozen encoder's hidden states, pooled over a clip."""

    architecture: Literal["encoder_lda"]
    changed_copies: PositiveInt
    shrinkage: Annotated[float, Field(ge=0, le=1)]
    normalize_length: bool
    relevance_factor: Positive | None

    masks_padding: ClassVar[bool] = True
    is_faster_exported: ClassVar[bool] = True

    @property
    def num_changed(self) -> int:
        """See `ClassicalParams`."""
        return self.changed_copies

    @property
    def adapts_to_speaker(self) -> bool:
        """See `ClassicalParams`."""
        return self.relevance_factor is not None

    def build(self, train: TrainParams, seed: int, sample_rate_hz: int) -> ClassicalModel:
        """See `ClassicalParams.build`; the encoder is read when it is first needed."""
        self.check_rate(sample_rate_hz)
        return EncoderLda(self, seed)


class EncoderLda(FeatureClassifier):
    """Mean and deviation over time of hidden states, and linear discriminant analysis.

    An encoder that learned to recognise speech in thousands of recordings describes it in a way
    that depends little on speaker, language and microphone. The mean of its hidden states over a
    clip says what the clip sounds like, the deviation how much that changes. Linear discriminants
    take from both what tells emotions apart in every speaker of the training part.

    Their covariance is drawn towards a multiple of the identity far more than the number of clips
    asks for: clips of few speakers say little about how speakers differ. With ``normalize_length``
    standardised features are scaled to length 1, so that a recording unlike those of training is
    not beyond all of them.

    Source:
        Garcia-Romero & Espy-Wilson, Analysis of i-vector length normalization, 2011;
        Gong et al., Whisper-AT, Interspeech 2023 (Whisper's layers as features of other sounds);
        Snyder et al., X-vectors, 2018 (pooling by mean and deviation).
    """

    _decides_by = ("coef_", "intercept_")
    _libraries = ("numpy", "torch", "transformers")
    _computed_by = ("serct.models.encoders.pooled",)

    def __init__(self, params: EncoderLdaParams, seed: int) -> None:
        """Build the model, not yet fitted."""
        factor = params.relevance_factor
        super().__init__(seed, SpeakerNormalization(factor) if factor is not None else None)
        self._params = params
        # Of a saved model, or of the encoder's folder once they were needed.
        self._weights: Mapping[str, Array] | None = None
        self._pooled: PooledEncoder | None = None

    def _machine(self, num_emotions: int) -> Any:
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import Normalizer

        lda = linear_discriminants(num_emotions, self._params.shrinkage)
        return make_pipeline(Normalizer(), lda) if self._params.normalize_length else lda

    def _feature_params(self) -> dict[str, Any]:
        content = self._params.model_dump(mode="json", include=set(FramesParams.model_fields))
        encoder = self._params.encoder
        # A folder's files may change, and nothing else says which they are.
        is_known = encoder.sha256 or encoder.revision
        return {**content, "encoder": is_known or weights_digest(self._encoder_weights())}

    def _encoder_weights(self) -> Mapping[str, Array]:
        """Return the encoder's weights, by their names in it."""
        if self._weights is None:
            self._weights = read_weights(self._params.encoder_folder)
        return self._weights

    def pooled_encoder(self) -> "PooledEncoder":
        """Return the frozen encoder and its pooling, read at the first call.

        Raises:
            ParamsError: If the encoder's files are missing or damaged.
            BackendUnavailableError: If the package transformers is not installed.
        """
        with _READING:
            if self._pooled is None:
                from serct.models.encoders.pooled import PooledEncoder

                config = read_config(self._params.encoder_folder)
                pooled = PooledEncoder(config, self._params)
                pooled.load_encoder(self._encoder_weights())
                pooled.requires_grad_(False).eval()
                self._pooled = pooled
            return self._pooled

    def extract_features(self, waveforms: Floats, on_progress: Progress | None = None) -> Array:
        """See `ClassicalModel.extract_features`.

        Clips are shared between threads that compute one each: an encoder of this size gains little
        from several threads in one clip, and loses much where other programs use the cores too.
        """
        if self._extract is not None:
            return super().extract_features(waveforms)
        import torch

        num_threads = torch.get_num_threads()
        if len(waveforms) == 1 or num_threads == 1:
            return super().extract_features(waveforms, on_progress)
        self.pooled_encoder()
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(num_threads) as pool:
                rows = []
                for row in pool.map(self._features, waveforms):
                    rows.append(row)
                    if on_progress:
                        on_progress(len(rows), len(waveforms))
        finally:
            torch.set_num_threads(num_threads)
        return np.stack(rows)

    def _features(self, waveform: Floats) -> Array:
        from serct.models.encoders.pooled import clip_features

        return clip_features(self.pooled_encoder(), waveform)

    def feature_names(self) -> tuple[FeatureName, ...]:
        """See `FeatureClassifier.feature_names`."""
        pooled = self.pooled_encoder()
        width = self.num_features // (2 * len(pooled.layers))
        groups = [f"layer {n}, {what}" for what in ("mean", "deviation") for n in pooled.layers]
        return tuple(FeatureName(group, f"unit {n}") for group in groups for n in range(width))

    def fit(self, clips: LabelledRows, on_progress: Progress | None = None) -> None:
        """See `ClassicalModel.fit`."""
        super().fit(clips, on_progress)
        # No prediction needs it, and it would be most of a saved model.
        del last_step(self._estimator[-1]).covariance_

    def feature_module(self, num_samples: int) -> "PooledEncoder":
        """See `FeatureClassifier.feature_module`."""
        return self.pooled_encoder()

    def module_params(self) -> "EncoderHeadParams":
        """Return params that build what `as_module` returns, but for its weights."""
        from serct.models.encoders.standalone import EncoderHeadParams

        own = self._params.model_dump(include=set(FramesParams.model_fields))
        return EncoderHeadParams(
            **own,
            encoder_config=self.pooled_encoder().encoder_config,
            normalize_length=self._params.normalize_length,
        )

    def save(self, folder: Path) -> dict[str, Array]:
        """See `ClassicalModel.save`; the encoder's files too."""
        atomic.write_json(folder / ENCODER, read_config(self._params.encoder_folder))
        weights = {f"{_PREFIX}{name}": array for name, array in self._encoder_weights().items()}
        return {**self.save_head(folder), **weights}

    def load(self, folder: Path, tensors: Mapping[str, Array]) -> None:
        """See `ClassicalModel.load`."""
        self._weights = {
            name.removeprefix(_PREFIX): array
            for name, array in tensors.items()
            if name.startswith(_PREFIX)
        }
        super().load(folder, tensors)
