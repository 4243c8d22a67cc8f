"""Array types. Letters in shapes: B batch, N samples, T frames, D width, H heads, K emotions."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

# int16 sample / PCM_SCALE = waveform in [-1, 1).
PCM_SCALE = 32768.0

Floats: TypeAlias = npt.NDArray[np.float32]
Pcm: TypeAlias = npt.NDArray[np.int16]
Integers: TypeAlias = npt.NDArray[np.int64]
Features: TypeAlias = npt.NDArray[np.float64]
Probabilities: TypeAlias = npt.NDArray[np.float64]
