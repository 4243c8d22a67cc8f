"""An encoder and what is made of its hidden states, as modules of torch.

Shapes: B batch, M samples of a cut row, S hidden states in use, T frames, D width, F = 2 S D
features.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from serct.errors import CheckpointError, ParamsError
from serct.models.encoders.params import RATE_HZ, FramesParams
from serct.models.encoders.pooling import mean_and_deviation, speech_frames
from serct.models.encoders.states import build_encoder
from serct.models.layers.neutral import NeutralInput, without_zeros_behind
from serct.runtime.arrays import Floats

Floats64 = npt.NDArray[np.float64]
# Of the noise floor, which repeats in longer clips.
_NOISE_SAMPLES = 10 * RATE_HZ


class EncoderFrames(nn.Module):
    """Some hidden states of an encoder, and which of their frames are speech.

    Attributes:
        encoder_config: Its configuration, which a saved model keeps.
        layers: The hidden states in use, S of them.
    """

    def __init__(self, config: dict[str, Any], params: FramesParams) -> None:
        """Build the encoder with random weights.

        Args:
            config: Of the encoder, see `serct.models.encoders.weights.read_config`.
            params: Which frames are used.

        Raises:
            ParamsError: If the encoder has no such layers, or is of no known kind.
            BackendUnavailableError: If the package transformers is not installed.
        """
        super().__init__()
        self.encoder_config = config
        self.encoder, self.hidden_states = build_encoder(config)
        num_states = self.hidden_states.num_states
        self.layers = list(range(num_states)) if params.layers is None else list(params.layers)
        if max(self.layers) >= num_states:
            raise ParamsError(
                f"layers holds {max(self.layers)}, expected 0 to {num_states - 1}: the encoder has "
                f"{num_states - 1} layers"
            )
        floor = params.noise_floor_db
        self.neutral = NeutralInput(_NOISE_SAMPLES, floor) if floor is not None else None
        self.speech_range_db = params.speech_range_db

    def load_encoder(self, weights: Mapping[str, npt.NDArray[Any]]) -> None:
        """Load the encoder's weights, by their names in it.

        Raises:
            CheckpointError: If they are not those of such an encoder.
        """
        # The hub's files have the older names of torch's weight normalisation.
        renamed = {
            name.replace(".weight_g", ".parametrizations.weight.original0").replace(
                ".weight_v", ".parametrizations.weight.original1"
            ): torch.from_numpy(array.astype(np.float32))
            for name, array in weights.items()
        }
        # Of masks in pretraining, which only some configurations make.
        needed = self.encoder.state_dict()
        renamed = {k: v for k, v in renamed.items() if k in needed or k != "masked_spec_embed"}
        try:
            self.encoder.load_state_dict(renamed)
        except RuntimeError as error:
            raise CheckpointError(f"weights of another encoder: {error}") from error

    def forward(self, waveforms: Tensor, num_valid: Tensor) -> tuple[Tensor, Tensor]:
        """Compute hidden states.

        Args:
            waveforms: In [-1, 1], zero behind each clip. float32 [B, M]
            num_valid: Samples of each that are not padding. int64 [B]

        Returns:
            [S, B, T, D], and the weight of each frame, see `speech_frames`, [B, T].
        """
        if self.neutral is not None:
            waveforms = self.neutral(waveforms, num_valid)
        states, num_frames = self.hidden_states(
            self.encoder, waveforms, num_valid, max(self.layers)
        )
        weights = speech_frames(
            waveforms, num_frames, states.shape[2], self.hidden_states.hop_samples,
            self.speech_range_db,
        )  # fmt: skip
        return states[self.layers], weights


class PooledEncoder(EncoderFrames):
    """Mean and deviation over a clip's frames of some hidden states: its features.

    Zeros at the end of a clip are no part of it.
    """

    def forward(self, waveforms: Tensor, num_valid: Tensor) -> Tensor:  # type: ignore[override]
        """Compute features, see `EncoderFrames.forward`. [B, M], [B] -> [B, F]."""
        num_valid = without_zeros_behind(waveforms, num_valid)
        return mean_and_deviation(*super().forward(waveforms, num_valid))


def clip_features(pooled: PooledEncoder, waveform: Floats) -> Floats64:
    """Compute the features of one clip. float32 [M] -> float64 [F]."""
    # To compute nothing for zeros that count for nothing.
    spoken = np.flatnonzero(waveform)
    clip = np.ascontiguousarray(waveform[: spoken[-1] + 1 if len(spoken) else 1])
    with torch.inference_mode():
        features = pooled(torch.from_numpy(clip)[None], torch.tensor([len(clip)]))
    return np.asarray(features[0].double().numpy())
