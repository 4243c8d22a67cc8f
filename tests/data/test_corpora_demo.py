"""Synthetic speech: the same on every run, labelled, varied, and of speaking length."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import soundfile

from serct.config.params import CheckParams
from serct.data.corpora import Sources, build_corpus, obtain_corpus, scan_corpus
from serct.data.corpora.demo import SENTENCES, DemoParams
from serct.data.download import no_progress
from serct.data.manifest import inspect_recordings
from serct.data.reading import espeak
from serct.emotions import EMOTIONS
from serct.errors import BackendUnavailableError, CorpusError, DownloadError

CHECKS = CheckParams(silence_peak=0.0001, max_duration_s=600.0, max_rejected=0)
SEVEN = EMOTIONS[:7]


def params(language="en", num_speakers=2, num_texts=3, emotions=SEVEN):
    return DemoParams(
        reader="demo",
        language=language,
        num_speakers=num_speakers,
        num_texts=num_texts,
        emotions=emotions,
    )


def obtain(tmp_path, corpus, name="demo_en"):
    sources = Sources(mirror=None, cache=tmp_path / "cache", offline=True)
    obtain_corpus(name, corpus, tmp_path / name, sources, no_progress)
    return tmp_path / name


def test_two_runs_give_the_same_bytes(tmp_path):
    one, two = (obtain(tmp_path, params(num_speakers=8), name) for name in ("one", "two"))
    files = sorted(path.name for path in one.iterdir())
    assert len(files) == 8 * 3 * 7
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in files)


@pytest.mark.parametrize("language", ["en", "de", "zh"])
def test_every_speaker_says_every_text_in_every_emotion(tmp_path, language):
    corpus = params(language, num_texts=12, emotions=EMOTIONS)
    root = obtain(tmp_path, corpus)
    scan = scan_corpus(corpus, root)
    assert scan.rejections == ()
    assert Counter((clip.speaker, clip.emotion) for clip in scan.utterances) == {
        (speaker, emotion): 12 for speaker in ("f1", "m1") for emotion in EMOTIONS
    }
    assert {(clip.speaker, clip.gender) for clip in scan.utterances} == {("f1", "f"), ("m1", "m")}
    assert len({clip.text_id for clip in scan.utterances}) == 12
    assert all(
        clip.path == f"{clip.speaker}_{clip.text_id}_{clip.emotion}.wav" for clip in scan.utterances
    )
    utterances, rejections = inspect_recordings(root, scan, "demo", language, CHECKS)
    assert rejections == [], "none is silent or equal to another"
    durations = [u.duration_s for u in utterances if u.emotion != "bored"]
    assert 1.0 <= min(durations) <= max(durations) <= 3.0
    assert {u.sample_rate for u in utterances} == {22050}
    for utterance in utterances:
        samples, _ = soundfile.read(root / utterance.path, dtype="int16")
        assert np.abs(samples.astype(int)).max() < 32767, "clips at full scale"


def test_it_says_that_it_is_synthetic():
    about = build_corpus("demo_de", params("de"))
    assert (about.is_synthetic, about.language, about.num_utterances) == (True, "de", 42)
    assert "Synthetic" in about.title


def test_sentences_are_enough_and_distinct():
    assert {language: len(set(texts)) for language, texts in SENTENCES.items()} == {
        "en": 12,
        "de": 12,
        "zh": 12,
    }


def test_more_texts_than_there_are(tmp_path):
    with pytest.raises(
        CorpusError, match=r"corpora\.demo_en\.num_texts is 13, expected at most 12"
    ):
        obtain(tmp_path, params(num_texts=13))


def test_foreign_names_are_refused(tmp_path):
    corpus = params(num_speakers=1, num_texts=1)
    root = obtain(tmp_path, corpus)
    (root / "x1_t01_sad.wav").write_bytes(b"")
    (root / "f1_t01_proud.wav").write_bytes(b"")
    scan = scan_corpus(corpus, root)
    assert len(scan.utterances) == 7
    assert [r.path for r in scan.rejections] == ["f1_t01_proud.wav", "x1_t01_sad.wav"]


def fake_espeak(monkeypatch, tmp_path, program):
    """Put another program in the place of the one that speaks."""
    (tmp_path / "espeak.py").write_text(program)
    monkeypatch.setattr(espeak, "__file__", str(tmp_path / "espeak.py"))


def test_missing_library(tmp_path, monkeypatch):
    fake_espeak(monkeypatch, tmp_path, "import sys; sys.stderr.write('no library'); sys.exit(3)")
    with pytest.raises(BackendUnavailableError, match=r"no library\. Install .*espeakng-loader"):
        obtain(tmp_path, params())


def test_library_that_fails_or_says_nothing(tmp_path, monkeypatch):
    fake_espeak(monkeypatch, tmp_path, "import sys; sys.exit('bad data')")
    with pytest.raises(CorpusError, match="exit status 1: bad data"):
        obtain(tmp_path, params())
    fake_espeak(monkeypatch, tmp_path, "")
    with pytest.raises(DownloadError, match="found 0 usable utterances, expected 42"):
        obtain(tmp_path, params())
    assert not (tmp_path / "demo_en").exists()


def test_program_without_the_package(tmp_path):
    program = (
        "import runpy, sys; sys.modules['espeakng_loader'] = None; "
        f"sys.argv = ['espeak.py', {str(tmp_path)!r}]; "
        "runpy.run_module('serct.data.reading.espeak', run_name='__main__')"
    )
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], input="[]", capture_output=True, text=True
    )
    assert process.returncode == 3
    assert "espeakng_loader" in process.stderr
