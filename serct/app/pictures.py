"""The picture of a recording and its predicted emotions."""

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy.signal import spectrogram

from serct.data.audio import Limits, read_recording
from serct.runtime.arrays import Floats

# Each emotion has its own hatch as well as its own colour, for readers who see no colours.
_STYLES = (
    ("#2f7de1", ""), ("#d9730d", "//"), ("#1a9850", "\\\\"), ("#9b5de5", "xx"), ("#e0457b", ".."),
    ("#0e9aa7", "--"), ("#a98600", "++"),
)  # fmt: skip
_MAX_HZ = 8000
_MIN_POWER = 1e-12
_OTHERS = {"uncertain": ("#9aa0a8", "oo"), "no_speech": ("#eceef1", "")}
# The service has already checked the length.
_CHECKS = Limits(silence_peak=None, max_duration_s=math.inf)


def decode(content: bytes, name: str) -> tuple[Floats, int]:
    """Read a file: the mean of its channels, float32 [N], and its rate in Hz."""
    recording = read_recording(io.BytesIO(content), _CHECKS, name, mono=True)
    return recording.waveform, recording.sample_rate


def timeline_figure(
    waveform: Floats,
    rate_hz: int,
    segments: Sequence[dict[str, Any]],
    emotions: Sequence[str],
    stretches: Sequence[dict[str, Any]] = (),
) -> Figure:
    """Draw emotions, waveform and spectrogram below each other, on one time axis.

    With stretches there is a bar for each between the emotions and the waveform, upwards if the
    predicted emotion depends on it.

    Args:
        waveform: In [-1, 1]. float32 [N]
        rate_hz: Of the waveform.
        segments: From the service: start_s, end_s, emotion.
        emotions: All emotions of the model, in its order; each has its own colour.
        stretches: From the service: start_s, end_s, lost.
    """
    heights = (1, 1.5, 2, 3) if stretches else (1, 2, 3)
    figure = Figure(figsize=(9, 4.6 + len(heights) - 3), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(heights), 1, sharex=True, gridspec_kw={"height_ratios": heights})
    top, *between, middle, bottom = rows
    for axis in between:
        _draw_stretches(axis, stretches)
    styles = {**dict(zip(emotions, _STYLES, strict=False)), **_OTHERS}
    for segment in segments:
        start, end, emotion = segment["start_s"], segment["end_s"], segment["emotion"]
        top.axvspan(start, end, **_fill(styles[emotion]))
    shown = dict.fromkeys(segment["emotion"] for segment in segments)
    figure.legend(
        handles=[Patch(label=each.replace("_", " "), **_fill(styles[each])) for each in shown],
        loc="outside upper center", ncols=len(shown), frameon=False,
    )  # fmt: skip
    top.set_yticks([])
    top.set_ylabel("emotion")
    # Minimum and maximum of each of 2,000 parts: a screen cannot show more.
    step = max(1, len(waveform) // 2000)
    cut = waveform[: len(waveform) // step * step].reshape(-1, step)
    seconds = np.arange(len(cut)) * step / rate_hz
    middle.fill_between(seconds, cut.min(axis=1), cut.max(axis=1), color="#1b1d21", linewidth=0.4)
    middle.set_ylabel("waveform")
    window = min(512, len(waveform))
    hertz, moments, power = spectrogram(
        waveform, rate_hz, nperseg=window, noverlap=window // 2, nfft=512
    )
    low = hertz <= _MAX_HZ
    bottom.imshow(
        10 * np.log10(np.maximum(power[low], _MIN_POWER)), origin="lower", aspect="auto",
        cmap="magma", extent=(0, moments[-1] + moments[0], 0, hertz[low][-1]),
    )  # fmt: skip
    bottom.set_ylabel("Hz")
    bottom.set_xlabel("seconds")
    bottom.set_xlim(0, len(waveform) / rate_hz)
    return figure


def _draw_stretches(axis: Axes, stretches: Sequence[dict[str, Any]]) -> None:
    """Draw what the emotion loses without each stretch, in points."""
    starts, ends, lost = (
        np.array([each[key] for each in stretches]) for key in ("start_s", "end_s", "lost")
    )
    axis.bar(starts, 100 * lost, ends - starts, align="edge", color="#1b1d21", edgecolor="white")
    axis.axhline(0, color="#1b1d21", linewidth=0.6)
    axis.set_ylabel("points lost")


def _fill(style: tuple[str, str]) -> dict[str, Any]:
    colour, hatch = style
    return {"facecolor": colour, "hatch": hatch, "edgecolor": "white", "alpha": 0.75}
