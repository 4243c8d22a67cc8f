"""How a model behaves where the right answer is not needed: gain, silence behind, odd input."""

from collections.abc import Callable, Sequence

import numpy as np

from serct.arrays import PCM_SCALE, Floats, Pcm
from serct.predictor import Predictor

_SOFTER = (0.5, 0.25)
_TRAILING_S = 1.0
_BATCH = 16


def changed_by_gain(predictor: Predictor, clips: Sequence[Pcm], rate_hz: int) -> float:
    """Share of clips whose emotion changes when they are made 6 or 12 dB softer, 0..1."""

    def softer(gain: float) -> Callable[[Floats], Floats]:
        return lambda waveform: waveform * np.float32(gain)

    return max(_changed(predictor, clips, rate_hz, softer(gain)) for gain in _SOFTER)


def changed_by_silence(predictor: Predictor, clips: Sequence[Pcm], rate_hz: int) -> float:
    """Share of clips whose emotion changes when a second of silence follows them, 0..1."""
    silence = np.zeros(int(_TRAILING_S * rate_hz), np.float32)
    return _changed(predictor, clips, rate_hz, lambda waveform: np.append(waveform, silence))


def smoke_problem(predictor: Predictor) -> str | None:
    """Let a model answer for odd but legal input; says what is wrong with an answer, or None."""
    rng = np.random.default_rng(0)
    seconds = np.arange(20 * 8000) / 8000
    for name, waveform, rate in (
        ("one sample", np.full(1, 0.5), 16_000),
        ("silence", np.zeros(8000), 16_000),
        ("noise at 44.1 kHz", rng.uniform(-1, 1, 88_200), 44_100),
        ("20 s of a tone at 8 kHz", 0.5 * np.sin(2 * np.pi * 220 * seconds), 8000),
    ):
        answer = predictor.predict(waveform, rate)
        values = np.array(list(answer.values()))
        if list(answer) != list(predictor.card.emotions):
            return f"{name}: emotions {list(answer)}, expected {list(predictor.card.emotions)}"
        if not (np.isfinite(values).all() and abs(values.sum() - 1) < 1e-6 and values.min() >= 0):
            return f"{name}: {answer} are no probabilities"
    return None


def _changed(
    predictor: Predictor,
    clips: Sequence[Pcm],
    rate_hz: int,
    change: Callable[[Floats], Floats],
) -> float:
    num_changed = 0
    for start in range(0, len(clips), _BATCH):
        waveforms: list[Floats] = [
            clip.astype(np.float32) / np.float32(PCM_SCALE)
            for clip in clips[start : start + _BATCH]
        ]
        before = predictor.predict_batch(waveforms, rate_hz)
        after = predictor.predict_batch([change(each) for each in waveforms], rate_hz)
        num_changed += sum(
            max(one, key=one.__getitem__) != max(other, key=other.__getitem__)
            for one, other in zip(before, after, strict=True)
        )
    return num_changed / len(clips)
