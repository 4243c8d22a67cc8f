"""Params of a pooled encoder's `FeatureHead` that build it without any file or scikit-learn."""

import numpy as np
from pydantic import JsonValue

from serct.models.encoders.params import FramesParams
from serct.models.encoders.pooled import PooledEncoder
from serct.models.graphs.heads import FeatureHead, linear_head


class EncoderHeadParams(FramesParams):
    """What decides a `FeatureHead` on a pooled encoder besides its weights.

    Attributes:
        encoder_config: See `serct.models.encoders.weights.read_config`.
        normalize_length: See `FeatureHead`.
    """

    encoder_config: dict[str, JsonValue]
    normalize_length: bool

    def build(self, num_samples: int, sample_rate_hz: int, num_emotions: int) -> FeatureHead:
        """Return the module with random weights, see `serct.models.interface.TorchParams.build`."""
        pooled = PooledEncoder(self.encoder_config, self)
        num_features = 2 * len(pooled.layers) * pooled.hidden_states.width
        zeros = np.zeros((num_emotions, num_features))
        return FeatureHead(
            pooled,
            centre=zeros[0],
            scale=np.ones(num_features),
            head=linear_head(zeros, zeros[:, 0]),
            normalize_length=self.normalize_length,
        )
