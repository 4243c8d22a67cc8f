"""Whether a model answers at all, before anyone is given its answers."""

import numpy as np

from serct.inference.predictor import Predictor


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
