"""A clip of one level, one mean and one noise floor, in NumPy: classical models need no torch."""

from functools import lru_cache

import numpy as np

from serct.runtime.arrays import Features, Floats

# Root mean square of every clip afterwards: that of speech at a usual level.
LEVEL = 0.1


def neutral_clip(waveform: Floats, noise_floor_db: float, num_after: int) -> Features:
    """Compute one row as `serct.models.layers.neutral` does, cut after its last non-zero sample.

    So neither padding, DC, loudness nor how quiet the studio was gives away the emotion.

    Args:
        waveform: float32 [M]
        noise_floor_db: Of the noise, below the clip's level.
        num_after: Samples that hold only the noise, to append.

    Returns:
        float64 [clip + num_after]
    """
    spoken = np.flatnonzero(waveform)
    clip = waveform[: spoken[-1] + 1 if len(spoken) else 1].astype(np.float64)
    clip = clip - clip.mean()
    loudness = np.sqrt((clip**2).mean())
    clip = np.pad(clip * (LEVEL / loudness if loudness > 0 else 0.0), (0, num_after))
    floor = LEVEL * 10 ** (noise_floor_db / 20)
    clip += floor * draw_noise(len(clip))
    return clip


def draw_noise(num_samples: int) -> Features:
    """Return the noise of a clip, the same for each, before it is scaled to its floor. [N]."""
    return _noise(1 << (num_samples - 1).bit_length())[:num_samples]


@lru_cache(maxsize=4)
def _noise(num_samples: int) -> Features:
    """Draw the same noise for every clip, so that a clip always has the same features. [N].

    Shorter noise is the beginning of longer noise.
    """
    drawn = np.random.default_rng(0).standard_normal(num_samples)
    drawn.flags.writeable = False
    return drawn
