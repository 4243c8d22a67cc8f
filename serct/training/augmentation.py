"""Changes to training clips that leave the emotion as it is, drawn anew each time, on the device.

Everything is drawn from torch's global generator, which the training loop seeds for each epoch: so
a training is repeated, or resumed after a kill, with the same changes.

Shapes: B batch, M samples.
"""

import math

import torch
from torch import Tensor

from serct.config.augmentation import AugmentParams
from serct.training.effects import (
    add_noise,
    change_speed,
    delay,
    reverberate,
    shift_pitch,
    telephone,
)


class Augmentation:
    """Applies what params.yaml's ``augment`` switches on, in the order of recording a voice.

    Voice (speed, pitch), room (reverberation), then what the room and the line add (noise,
    telephone), then when and how loud it is recorded (shift, gain). Clips are changed one
    independently of another; each part with a probability leaves the others as they are.
    """

    def __init__(self, params: AugmentParams, sample_rate_hz: int) -> None:
        """Prepare for clips of one sample rate."""
        self.params = params
        self.rate_hz = sample_rate_hz

    def __call__(self, waveforms: Tensor, num_valid: Tensor) -> tuple[Tensor, Tensor]:
        """Change a batch.

        Args:
            waveforms: In [-1, 1], zero behind each clip. float32 [B, M]
            num_valid: Samples of each that are not padding. int64 [B]

        Returns:
            As given, but of other lengths if speed or shift is on. May exceed [-1, 1].
        """
        params, rate = self.params, self.rate_hz
        if params.pitch is not None:
            semitones = _spread(waveforms, params.pitch.semitones)
            largest = 2 ** (params.pitch.semitones / 12)
            shifted = shift_pitch(waveforms, num_valid, 2 ** (semitones / 12), largest, rate)
            waveforms = _mix(waveforms, shifted, params.pitch.probability)
        if params.speed is not None:
            factors = _spread(waveforms, math.log1p(params.speed)).exp()
            waveforms, num_valid = change_speed(waveforms, num_valid, factors, 1 + params.speed)
        if params.reverb is not None:
            decay_s = _between(waveforms, *params.reverb.decay_s)
            direct_db = _between(waveforms, *params.reverb.direct_db)
            num_taps = math.ceil(params.reverb.decay_s[1] * rate)
            echoed = reverberate(waveforms, num_valid, decay_s, direct_db, num_taps, rate)
            waveforms = _mix(waveforms, echoed, params.reverb.probability)
        if params.noise is not None:
            noisy = add_noise(waveforms, num_valid, _between(waveforms, *params.noise.snr_db))
            waveforms = _mix(waveforms, noisy, params.noise.probability)
        if params.telephone is not None:
            narrow = telephone(waveforms, num_valid, rate)
            waveforms = _mix(waveforms, narrow, params.telephone.probability)
        if params.shift_ms is not None:
            most = round(params.shift_ms * rate / 1000)
            shifts = (torch.rand(len(waveforms), device=waveforms.device) * most).long()
            waveforms, num_valid = delay(waveforms, num_valid, shifts, most)
        if params.gain_db is not None:
            waveforms = waveforms * 10 ** (_spread(waveforms, params.gain_db) / 20)[:, None]
        return waveforms, num_valid


def _spread(like: Tensor, reach: float) -> Tensor:
    """Draw a value in [-reach, reach] for each clip. [B]."""
    return _between(like, -reach, reach)


def _between(like: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(len(like), device=like.device)


def _mix(before: Tensor, after: Tensor, probability: float) -> Tensor:
    """Take each clip as changed with ``probability``, else as it was. [B, M] twice -> [B, M]."""
    is_changed = torch.rand(len(before), device=before.device) < probability
    return torch.where(is_changed[:, None], after, before)
