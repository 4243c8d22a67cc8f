"""Recordings that are analysed together get what each would get alone."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from serct import Predictor
from serct.errors import AudioError
from serct.serving.analysis import Analysis
from serct.serving.decoding.process import DecodedAudio


@pytest.mark.parametrize("name", ["serct", "functionals_lda"])
def test_recordings_of_any_length_and_rate_at_once(
    trained: dict[str, Path], spoken: Path, name: str
) -> None:
    predictor = Predictor.load(trained[name])
    samples, rate = soundfile.read(spoken, dtype="float32")
    short, silence = samples[: rate // 2], np.zeros(rate, np.float32)
    broken = np.full(9, np.nan, np.float32)
    recordings = [
        DecodedAudio(samples, rate, ("a note",)),
        DecodedAudio(silence, rate),
        DecodedAudio(short, 16_000),
        DecodedAudio(broken, rate),
        DecodedAudio(np.tile(samples, 4), rate),
    ]
    found = Analysis(predictor)(recordings)
    assert isinstance(found[3], AudioError)
    assert "NaN" in str(found[3])
    for audio, together in zip(recordings, found, strict=True):
        if isinstance(together, Exception):
            continue
        alone = predictor.analyse(audio.waveform, audio.sample_rate)
        assert together.notes == audio.notes
        assert (together.emotion, together.speech_s) == (alone.emotion, alone.speech_s)
        assert [step.emotion for step in together.steps] == [step.emotion for step in alone.steps]
        assert together.probabilities == pytest.approx(alone.probabilities, abs=1e-6)
    assert [each.emotion for each in found[1:2]] == ["no_speech"]


def test_requests_share_a_batch_if_their_model_is_the_same(trained: dict[str, Path]) -> None:
    predictor = Predictor.load(trained["functionals_lda"])
    same = Predictor(predictor.classify, predictor.card)
    assert Analysis(predictor) == Analysis(predictor)
    assert Analysis(predictor) != Analysis(same)
