"""The network of Silero VAD in torch, for several recordings at once.

The package's own ONNX form takes one recording at a time, in twice the time: it multiplies a small
matrix for each frame, and its LSTM waits for one frame after another. Here a step is one product
for all frames, or for all recordings. The weights are the package's; the probabilities differ by
rounding alone.

Shapes: B recordings, F frames of 512 samples, R frames of all recordings, L places in a frame.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from serct.errors import BackendUnavailableError
from serct.runtime.arrays import Floats

_FRAME, _CONTEXT = 512, 64
_WINDOW, _HOP = 256, 128
_WIDTH = 128
# Of the first three convolutions along a frame.
_STRIDES = (1, 2, 2)
_PLACES = 1 + (_CONTEXT + _FRAME + _CONTEXT - _WINDOW) // _HOP


class SpeechNetwork:
    """Computes for each frame of recordings at 16 kHz how probable speech is.

    Source:
        Silero Team, Silero VAD, https://github.com/snakers4/silero-vad, MIT licence.
    """

    def __init__(self, weights: Path) -> None:
        """Load the weights.

        Args:
            weights: ``silero_vad.jit`` of the package. Its file in safetensors is another version.

        Raises:
            BackendUnavailableError: If the file is not there, or of another network.
        """
        try:
            found = _load(weights)
            basis = found["stft.forward_basis_buffer"][:, 0]
            # The basis is that of a Fourier transform under a window, which is its row of 0 Hz.
            self._window = basis[0].clone()
            if not torch.allclose(basis, _fourier_basis(self._window), atol=1e-5):
                raise ValueError("its first layer is no Fourier transform")
            names = [f"encoder.{number}.reparam_conv" for number in range(4)]
            kernels = [found[f"{name}.weight"] for name in names]
            self._biases = [found[f"{name}.bias"] for name in names]
            self._kernels = [each.permute(2, 1, 0).flatten(0, 1).contiguous() for each in kernels]
            # The last one has a single place, so only the middle of its kernel meets no padding.
            self._last_kernel = kernels[-1][:, :, 1].T.contiguous()
            self._lstm = nn.LSTM(_WIDTH, _WIDTH).requires_grad_(False)
            self._lstm.load_state_dict(
                {
                    f"{name}_l0": found[f"decoder.rnn.{name}"]
                    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                }
            )
            self._output = found["decoder.decoder.2.weight"].flatten()
            self._output_bias = found["decoder.decoder.2.bias"]
        except (OSError, KeyError, IndexError, RuntimeError, ValueError) as error:
            raise BackendUnavailableError(
                f"voice activity: {weights} is not usable: {error}: install the silero-vad of "
                "constraints.txt"
            ) from error

    @torch.inference_mode()
    def __call__(self, waveforms: Sequence[Floats]) -> list[Floats]:
        """Compute the probabilities of each recording, as if it were alone.

        Args:
            waveforms: At least one, at 16 kHz, in [-1, 1]. float32 [N > 0] each

        Returns:
            float32 [F] each, the last frame filled up with zeros.
        """
        lengths = [-(-len(each) // _FRAME) for each in waveforms]
        encoded = self._encode(_frames(waveforms, lengths))
        # What follows the end of a recording changes nothing before it.
        states, _ = self._lstm(nn.utils.rnn.pad_sequence(list(torch.split(encoded, lengths))))
        probabilities = self._decide(states)
        return [probabilities[:length, place].numpy() for place, length in enumerate(lengths)]

    @torch.inference_mode()
    def go_on(
        self, frames: Floats, state: tuple[Tensor, Tensor] | None
    ) -> tuple[Floats, tuple[Tensor, Tensor]]:
        """Compute the probabilities of the next frames of one recording.

        Args:
            frames: Each after the last 64 samples of the one before. float32 [F, 576], F > 0
            state: What this returned for the frames before; None for the first ones.

        Returns:
            float32 [F], and the state.
        """
        mirrored = np.concatenate((frames, frames[:, -2 : -_CONTEXT - 2 : -1]), axis=1)
        states, state = self._lstm(self._encode(torch.from_numpy(mirrored))[:, None], state)
        return self._decide(states)[:, 0].numpy(), state

    def _decide(self, states: Tensor) -> Tensor:
        """Return probabilities. [F, B, 128] -> [F, B]."""
        return torch.sigmoid(states.relu_() @ self._output + self._output_bias)

    def _encode(self, frames: Tensor) -> Tensor:
        """Compute features of frames. [R, 640] -> [R, 128]."""
        size = frames.shape[1]
        windows = frames.as_strided((len(frames), _PLACES, _WINDOW), (size, _HOP, 1))
        places = torch.fft.rfft(windows * self._window).abs()  # [R, L, 129]
        for kernel, bias, stride in zip(self._kernels, self._biases, _STRIDES, strict=False):
            places = _convolve(places, kernel, bias, stride)
        flat = places.flatten(1)
        return torch.addmm(self._biases[-1], flat, self._last_kernel).relu_()


def _load(weights: Path) -> dict[str, Tensor]:
    """Return the weights for 16 kHz of the package's file, which has those for 8 kHz too."""
    with warnings.catch_warnings():
        # Torch has a newer format; the package does not.
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.load(weights, map_location="cpu")  # type: ignore[no-untyped-call]
    prefix = "_model."
    return {
        name.removeprefix(prefix): tensor.detach()
        for name, tensor in scripted.state_dict().items()
        if name.startswith(prefix)
    }


def _frames(waveforms: Sequence[Floats], lengths: Sequence[int]) -> Tensor:
    """Return all frames, each after the end of the one before and mirrored at its own. [R, 640]."""
    frames = np.empty((sum(lengths), _CONTEXT + _FRAME + _CONTEXT), np.float32)
    first = 0
    for waveform, length in zip(waveforms, lengths, strict=True):
        own = frames[first : first + length, :-_CONTEXT]
        whole = len(waveform) // _FRAME
        own[:whole, _CONTEXT:] = waveform[: whole * _FRAME].reshape(whole, _FRAME)
        if whole < length:
            rest = waveform[whole * _FRAME :]
            own[whole, _CONTEXT : _CONTEXT + len(rest)] = rest
            own[whole, _CONTEXT + len(rest) :] = 0
        own[0, :_CONTEXT] = 0
        own[1:, :_CONTEXT] = own[:-1, -_CONTEXT:]
        first += length
    frames[:, -_CONTEXT:] = frames[:, -_CONTEXT - 2 : -2 * _CONTEXT - 2 : -1]
    return torch.from_numpy(frames)


def _convolve(places: Tensor, kernel: Tensor, bias: Tensor, stride: int) -> Tensor:
    """Convolve along a frame, as one product for all frames. [R, L, C] -> [R, L', D]."""
    num_frames, _, width = places.shape
    padded = functional.pad(places, (0, 0, 1, 1))
    length = (padded.shape[1] - 3) // stride + 1
    steps = (padded.stride(0), stride * width, 1)
    seen = padded.as_strided((num_frames, length, 3 * width), steps)
    found = torch.addmm(bias, seen.reshape(-1, 3 * width), kernel)
    return found.relu_().view(num_frames, length, -1)


def _fourier_basis(window: Tensor) -> Tensor:
    """Return the real, then the imaginary part of each bin, under a window. [258, 256]."""
    bins = torch.fft.rfft(torch.diag(window)).T  # [129, 256]
    return torch.cat((bins.real, bins.imag))
