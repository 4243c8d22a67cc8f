"""`encoder_network`: a pretrained encoder, frozen or learning too, and a small network behind it.

Shapes: B batch, M samples of a cut row, S hidden states in use, T frames, D width, K emotions.
"""

from typing import Any, Literal

import torch
from pydantic import JsonValue
from torch import Tensor, nn

from serct.config.section import PositiveInt, Probability, validate
from serct.errors import ParamsError
from serct.models.encoders.params import FramesParams, UsesEncoder
from serct.models.encoders.pooled import EncoderFrames
from serct.models.encoders.pooling import mean_and_deviation
from serct.models.encoders.weights import read_config, read_weights
from serct.models.interface import TorchParams
from serct.models.layers.neutral import without_zeros_behind
from serct.models.records import ENCODER


class NetworkParams(FramesParams):
    """What is made of an encoder's hidden states."""

    freeze: bool
    pooling: Literal["mean", "mean_deviation"]
    hidden: PositiveInt
    dropout: Probability


class StandaloneNetworkParams(NetworkParams):
    """Params of a network whose encoder has no folder: all its weights come later.

    Attributes:
        encoder_config: See `serct.models.encoders.weights.read_config`.
    """

    encoder_config: dict[str, JsonValue]

    def build(self, num_samples: int, sample_rate_hz: int, num_emotions: int) -> nn.Module:
        """See `TorchParams.build`."""
        return EncoderNetwork(self.encoder_config, self, num_emotions)


class EncoderNetworkParams(TorchParams, UsesEncoder, NetworkParams):
    """A pretrained encoder with learned weights of its layers, and a small network."""

    architecture: Literal["encoder_network"]

    @property
    def masks_padding(self) -> bool:
        """Whether the encoder takes a mask; False as well where its folder cannot be read."""
        try:
            config = read_config(self.encoder_folder)
        except ParamsError:
            return False
        return config["model_type"] == "whisper" or config.get("feat_extract_norm") == "layer"

    def build(self, num_samples: int, sample_rate_hz: int, num_emotions: int) -> nn.Module:
        """See `TorchParams.build`."""
        self.check_rate(sample_rate_hz)
        network = EncoderNetwork(read_config(self.encoder_folder), self, num_emotions)
        # A saved model has the encoder's weights among its own.
        if not (self.encoder_folder / ENCODER).exists():
            network.load_encoder(read_weights(self.encoder_folder))
        return network

    def standalone(self, module: nn.Module) -> StandaloneNetworkParams:
        """See `TorchParams.standalone`."""
        own = self.model_dump(mode="json", include=set(NetworkParams.model_fields))
        assert isinstance(module, EncoderNetwork)  # noqa: S101  `build` returns no other
        config = module.encoder_config
        return validate(
            StandaloneNetworkParams, own | {"encoder_config": config}, "encoder_network"
        )


class EncoderNetwork(EncoderFrames):
    """Hidden states added with learned weights, pooled over speech, and classified.

    A frozen encoder stays in evaluation mode.

    Source:
        Yang et al., SUPERB, Interspeech 2021, section 3 (weighted sum, frozen encoder, mean).
    """

    def __init__(self, config: dict[str, Any], params: NetworkParams, num_emotions: int) -> None:
        """Build it with random weights, the encoder's among them."""
        super().__init__(config, params)
        self.is_frozen, self.pooling = params.freeze, params.pooling
        self.encoder.requires_grad_(not params.freeze)
        self.layer_scores = nn.Parameter(torch.zeros(len(self.layers)))
        width = self.hidden_states.width * (2 if params.pooling == "mean_deviation" else 1)
        self.head = nn.Sequential(
            nn.Linear(width, params.hidden),
            nn.ReLU(),
            nn.Dropout(params.dropout),
            nn.Linear(params.hidden, num_emotions),
        )

    def train(self, mode: bool = True) -> "EncoderNetwork":
        """Switch the mode; a frozen encoder stays in evaluation."""
        super().train(mode)
        self.encoder.train(mode and not self.is_frozen)
        return self

    def forward(self, waveforms: Tensor, num_valid: Tensor) -> Tensor:  # type: ignore[override]
        """Score waveforms, see `TorchParams.build`."""
        if self.neutral is not None:
            num_valid = without_zeros_behind(waveforms, num_valid)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.is_frozen):
            states, weights = super().forward(waveforms, num_valid)
        layer_weights = self.layer_scores.softmax(dim=0)
        frames = (states * layer_weights[:, None, None, None]).sum(dim=0)  # [B, T, D]
        pooled = (
            mean_and_deviation(frames[None], weights)
            if self.pooling == "mean_deviation"
            else (frames * weights[..., None]).sum(dim=1)
        )
        logits: Tensor = self.head(pooled)
        return logits
