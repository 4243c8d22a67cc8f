"""Codec: through Opus or MP3 at a low bit rate."""

import torch
from torch import Tensor

from serct.config.section import Section
from serct.evaluation.conditions.codec import CodecName, send
from serct.training.effects import Clips, PositiveRange, Share, Stage, draw_between

_CODECS: tuple[CodecName, ...] = ("opus", "mp3")


class CodecParams(Section):
    """The bit rate that the encoder is asked for."""

    probability: Share
    kbit_s: PositiveRange


STAGE = Stage.LINE
PARAMS = CodecParams


def apply(waveforms: Tensor, num_valid: Tensor, params: CodecParams, sample_rate_hz: int) -> Clips:
    """Encode and decode some of the clips, on the processor: about 20 ms of a core each."""
    kbit_s = draw_between(waveforms, *params.kbit_s).tolist()
    is_changed = torch.rand(len(waveforms), device=waveforms.device) < params.probability
    codecs = torch.randint(len(_CODECS), (len(waveforms),), device=waveforms.device).tolist()
    changed = waveforms.clone()
    for row in is_changed.nonzero()[:, 0].tolist():
        clip = waveforms[row, : num_valid[row]].cpu().numpy()
        decoded, _ = send(clip, sample_rate_hz, _CODECS[codecs[row]], kbit_s[row])
        changed[row, : num_valid[row]] = torch.from_numpy(decoded)
    return changed, num_valid
