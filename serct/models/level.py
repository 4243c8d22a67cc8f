"""The level at which the baselines hear a corpus."""

from torch import nn


def level_norm() -> nn.BatchNorm1d:
    """Build a norm that brings waveforms [B, 1, N] to about unit variance.

    Speech is quiet, 0.01 to 0.1 of full scale: too quiet for the gates of an LSTM, and so far
    from the 1 at which batch norm's running variance starts that evaluation would be off for a
    hundred steps. One factor serves all clips, so that loud stays louder than soft, within a clip
    and between clips. The factor is the plain average over all steps so far, right from the
    first one, since a corpus' level does not change as weights do.
    """
    # eps: 80 dB below full scale; the default would be as large as the variance of quiet speech.
    return nn.BatchNorm1d(1, eps=1e-8, momentum=None, affine=False)
