"""Voice activity: a small network that finds speech in a recording."""

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from serct.data.preparing import resample
from serct.errors import BackendUnavailableError
from serct.runtime.arrays import Floats

FRAME_S = 0.032
_RATE_HZ = 16_000
_THRESHOLD = 0.5
# Anything shorter than a short syllable is a click or a false detection.
_LEAST_SPEECH_S = 0.2


class VoiceActivity:
    """Silero VAD, which takes neither tones, noise nor most music for speech.

    Source:
        Silero Team, Silero VAD, https://github.com/snakers4/silero-vad, MIT licence.
    """

    def __call__(self, waveform: Floats, sample_rate: int) -> npt.NDArray[np.bool_]:
        """Compute for each 32 ms whether somebody speaks.

        Args:
            waveform: Mono, in [-1, 1]. float32 [N]
            sample_rate: In Hz.

        Returns:
            bool [ceil(N / (0.032 * sample_rate))], the last frame filled up with silence.
        """
        at_16_khz = resample(waveform, sample_rate, _RATE_HZ, "soxr")
        probabilities: Floats = self._network.audio_forward(at_16_khz)
        return probabilities > _THRESHOLD

    def load(self) -> None:
        """Load the network now, not at the first call.

        Raises:
            BackendUnavailableError: If its package is not installed.
        """
        _ = self._network

    @cached_property
    def _network(self) -> Any:
        import torch

        num_threads = torch.get_num_threads()
        try:
            from silero_vad import load_silero_vad

            return load_silero_vad(sequence=True)
        except ImportError as error:
            raise BackendUnavailableError(
                f"voice activity needs a package: {error}: pip install silero-vad onnxruntime"
            ) from error
        finally:
            torch.set_num_threads(num_threads)  # the package sets it to one, for all


def speech_s(frames: npt.NDArray[np.bool_]) -> float:
    """Compute how long somebody speaks, in seconds."""
    return float(frames.sum() * FRAME_S)


def is_speech(frames: npt.NDArray[np.bool_]) -> bool:
    """Check whether there is enough speech to predict an emotion from."""
    return speech_s(frames) >= _LEAST_SPEECH_S
