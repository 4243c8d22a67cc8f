"""Shards: the same bytes from any source, bounded memory, honest rejections, fast reading."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serct.config.params import AudioParams, CheckParams, Params
from serct.data.dataset import ShardDataset
from serct.data.manifest import Scan, Utterance, inspect_recordings
from serct.data.preprocessing import ShardPlan, write_shards
from serct.data.shards import read_meta
from serct.data.splitting import split_utterances
from serct.errors import ManifestError, ShardError
from tests.edited import edit_record


def plan_of(params: Params, **changes: object) -> ShardPlan:
    return ShardPlan(
        corpus="tones", synthetic=True, protocol="random", audio=params.audio,
        checks=params.checks, rows_per_shard=16, **changes,  # type: ignore[arg-type]
    )  # fmt: skip


def manifest_of(root: Path, params: Params) -> list[Utterance]:
    clips = tuple(
        Utterance(
            path=str(path.relative_to(root)), speaker=path.stem[:2], gender="", text_id="",
            emotion=path.parent.name,
        )
        for path in root.rglob("*.*")
    )  # fmt: skip
    utterances, rejections = inspect_recordings(root, Scan(clips), "tones", "en", params.checks)
    assert not rejections
    return split_utterances(utterances, params.split, params.seed)


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_the_same_bytes_from_wav_and_flac_and_twice(
    tones: Path, tmp_path: Path, tiny_params: Params
) -> None:
    flac = tmp_path / "flac"
    for path in tones.rglob("*.wav"):
        target = flac / path.relative_to(tones).with_suffix(".flac")
        target.parent.mkdir(parents=True, exist_ok=True)
        samples, rate = soundfile.read(path, dtype="int16")
        soundfile.write(target, samples, rate)
    results = []
    for name, root in (("a", tones), ("b", flac), ("c", tones)):
        write_shards(root, manifest_of(root, tiny_params), tmp_path / name, plan_of(tiny_params))
        results.append(digests(tmp_path / name))
    assert results[0] == results[1] == results[2]
    assert set(results[0]) == {
        "index.csv", "meta.json", "wave-00000.npy", "wave-00001.npy", "wave-00002.npy",
    }  # fmt: skip


def test_rows_hold_the_recordings(tones: Path, tmp_path: Path, tiny_params: Params) -> None:
    write_shards(tones, manifest_of(tones, tiny_params), tmp_path / "s", plan_of(tiny_params))
    dataset = ShardDataset(tmp_path / "s", ["train", "validation", "test"])
    assert len(dataset) == 36
    assert dataset.emotions == ("angry", "happy", "sad")
    picked = [35, 0, 17]
    batch = dataset.batch(picked)
    assert batch.waveforms.dtype == np.float32
    assert batch.waveforms.shape == (3, batch.num_valid.max())
    for place, index in enumerate(picked):
        row = dataset.rows[index]
        samples, _ = soundfile.read(tones / f"{row.utterance}.wav", dtype="float32")
        assert batch.num_valid[place] == len(samples)
        np.testing.assert_array_equal(batch.waveforms[place, : len(samples)], samples)
        assert not batch.waveforms[place, len(samples) :].any()
        assert dataset.emotions[batch.labels[place]] == row.utterance.split("/")[0]


def test_splits_add_up(tones: Path, tmp_path: Path, tiny_params: Params) -> None:
    meta = write_shards(
        tones, manifest_of(tones, tiny_params), tmp_path / "s", plan_of(tiny_params)
    )
    assert read_meta(tmp_path / "s") == meta
    sizes = {s: len(ShardDataset(tmp_path / "s", [s])) for s in ("train", "validation", "test")}
    assert sizes == {s: sum(c.values()) for s, c in meta.counts.items()}
    assert sum(sizes.values()) == 36


def test_foreign_labels_are_dropped_and_counted(
    tones: Path, tmp_path: Path, tiny_params: Params
) -> None:
    write_shards(tones, manifest_of(tones, tiny_params), tmp_path / "s", plan_of(tiny_params))
    dataset = ShardDataset(tmp_path / "s", ["train"], emotions=("sad", "neutral", "angry"))
    assert set(dataset.dropped) == {"happy"}
    assert {dataset.rows[i].label for i in range(len(dataset)) if dataset.labels[i] == 0} == {"sad"}
    with pytest.raises(ShardError, match="no train rows labelled bored"):
        ShardDataset(tmp_path / "s", ["train"], emotions=("bored",))


def spoil(root: Path) -> dict[str, str]:
    (root / "angry" / "s0_00.wav").unlink()
    (root / "happy" / "s1_01.wav").write_bytes(b"text")
    shutil.copy(root / "sad" / "s2_02.wav", root / "sad" / "s3_03.wav")
    return {
        "angry/s0_00.wav": "cannot be opened",
        "happy/s1_01.wav": "not readable as audio",
        "sad/s3_03.wav": "changed since the manifest was made",
    }


def test_files_spoilt_since_the_manifest_are_named_and_nothing_is_left(
    tones: Path, tmp_path: Path, tiny_params: Params
) -> None:
    root = tmp_path / "raw"
    shutil.copytree(tones, root)
    manifest = manifest_of(root, tiny_params)
    expected = spoil(root)
    with pytest.raises(ManifestError, match="3 unusable files") as caught:
        write_shards(root, manifest, tmp_path / "s", plan_of(tiny_params))
    for path, reason in expected.items():
        assert f"{path}: {reason}" in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["raw"]


def test_tolerated_files_are_left_out_and_recorded(
    tones: Path, tmp_path: Path, tiny_params: Params
) -> None:
    root = tmp_path / "raw"
    shutil.copytree(tones, root)
    manifest = manifest_of(root, tiny_params)
    expected = spoil(root)
    checks = CheckParams(silence_peak=1e-4, max_duration_s=10.0, max_rejected=3)
    plan = replace(plan_of(tiny_params), checks=checks)
    meta = write_shards(root, manifest, tmp_path / "s", plan)
    assert {r["path"] for r in meta.rejections} == set(expected)
    dataset = ShardDataset(tmp_path / "s", ["train", "validation", "test"])
    assert len(dataset) == 33
    for row, index in zip(dataset.rows, range(33), strict=True):
        samples, _ = soundfile.read(root / f"{row.utterance}.wav", dtype="float32")
        np.testing.assert_array_equal(dataset.batch([index]).waveforms[0, : len(samples)], samples)


def test_native_keeps_each_file_at_its_own_rate(
    make_mixed: Callable[[], Path], tmp_path: Path, tiny_params: Params
) -> None:
    root = make_mixed()
    native = AudioParams(sample_rate="native", num_samples=8000, resampler="soxr")
    plan = replace(plan_of(tiny_params), audio=native)
    meta = write_shards(root, manifest_of(root, tiny_params), tmp_path / "s", plan)
    assert meta.sample_rate_hz == 16000
    dataset = ShardDataset(tmp_path / "s", ["train", "validation", "test"])
    fast = next(i for i, row in enumerate(dataset.rows) if row.utterance == "angry/fast")
    assert dataset.batch([fast]).num_valid[0] == 8000
    resampled = AudioParams(sample_rate=16000, num_samples=8000, resampler="soxr")
    plan = replace(plan_of(tiny_params), audio=resampled)
    write_shards(root, manifest_of(root, tiny_params), tmp_path / "r", plan)
    assert (
        abs(
            ShardDataset(tmp_path / "r", ["train", "validation", "test"]).batch([fast]).num_valid[0]
            - 3200
        )
        <= 1
    )


@pytest.fixture
def make_mixed(tones: Path, tmp_path: Path) -> Callable[[], Path]:
    def make() -> Path:
        root = tmp_path / "mixed"
        shutil.copytree(tones, root)
        noise = np.random.default_rng(5).uniform(-0.3, 0.3, 19200)
        soundfile.write(root / "angry" / "fast.wav", noise, 96000, subtype="PCM_16")
        return root

    return make


def test_a_recording_whose_row_would_be_silent_is_rejected(
    tones: Path, tmp_path: Path, tiny_params: Params
) -> None:
    root = tmp_path / "late"
    shutil.copytree(tones, root)
    tone, rate = soundfile.read(root / "sad" / "s2_02.wav", dtype="float32")
    lead = tiny_params.audio.num_samples
    # An offset makes no sound either.
    late = np.concatenate([np.full(lead + 100, 0.1), tone])
    soundfile.write(root / "sad" / "s2_02.wav", late, rate, subtype="FLOAT")
    manifest = manifest_of(root, tiny_params)
    assert "sad/s2_02" in {utterance.name for utterance in manifest}
    reason = f"silent in the first {lead / 16000:.3g} s, of which its row is made"
    with pytest.raises(ManifestError, match=f"sad/s2_02.wav: {reason}"):
        write_shards(root, manifest, tmp_path / "s", plan_of(tiny_params))
    plan = plan_of(tiny_params)
    native = replace(plan, audio=plan.audio.model_copy(update={"sample_rate": "native"}))
    with pytest.raises(ManifestError, match=reason):
        write_shards(root, manifest, tmp_path / "s", native)
    unchecked = plan.checks.model_copy(update={"silence_peak": None})
    write_shards(root, manifest, tmp_path / "s", replace(plan, checks=unchecked))


def test_rows_of_channels_that_cancel_each_other_sound(
    tones: Path, tmp_path: Path, tiny_params: Params
) -> None:
    root = tmp_path / "inverted"
    for path in tones.rglob("*.wav"):
        target = root / path.relative_to(tones)
        target.parent.mkdir(parents=True, exist_ok=True)
        samples, rate = soundfile.read(path, dtype="float32")
        soundfile.write(target, np.stack([samples, -samples], axis=1), rate, subtype="PCM_16")
    for source, name in ((tones, "a"), (root, "b")):
        manifest = manifest_of(source, tiny_params)
        write_shards(source, manifest, tmp_path / name, plan_of(tiny_params))
    rows = [np.load(tmp_path / name / "wave-00000.npy") for name in "ab"]
    np.testing.assert_array_equal(*rows)


def test_broken_shards_are_errors(tones: Path, tmp_path: Path, tiny_params: Params) -> None:
    with pytest.raises(ShardError, match="no such file; the preprocess stage writes it"):
        read_meta(tmp_path)
    folder = tmp_path / "s"
    write_shards(tones, manifest_of(tones, tiny_params), folder, plan_of(tiny_params))
    (folder / "wave-00001.npy").write_bytes(b"x" * 100)
    with pytest.raises(ShardError, match="unreadable shard"):
        ShardDataset(folder, ["train"]).batch([0])
    edit_record(folder / "meta.json", format_version=9)
    with pytest.raises(ShardError, match=r"format version 9, but serct .* reads up to 3"):
        read_meta(folder)


def test_a_recording_longer_than_a_row_goes_on_in_the_next(
    tmp_path: Path, tiny_params: Params
) -> None:
    rng = np.random.default_rng(0)
    lengths = {
        "angry/a": 8000, "angry/b": 8001, "happy/c": 30_000, "happy/d": 2000, "sad/e": 24_000,
        "angry/f": 4000, "happy/g": 6000, "sad/h": 7000, "sad/i": 40_000,
    }  # fmt: skip
    for number, (name, length) in enumerate(lengths.items()):
        path = tmp_path / "raw" / f"{name}{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rng.uniform(-0.5, 0.5, length), 16_000, subtype="PCM_16")
    root = tmp_path / "raw"
    plan = replace(plan_of(tiny_params), rows_per_shard=4)
    meta = write_shards(root, manifest_of(root, tiny_params), tmp_path / "s", plan)
    dataset = ShardDataset(tmp_path / "s", ["train", "validation", "test"])
    assert sum(sum(each.values()) for each in meta.counts.values()) == len(dataset) == 9
    for index, row in enumerate(dataset.rows):
        samples, _ = soundfile.read(root / f"{row.utterance}.wav", dtype="int16")
        np.testing.assert_array_equal(dataset.recording(index), samples)
        np.testing.assert_array_equal(dataset.clip(index), samples[:8000])
        assert dataset.lengths[index] == len(samples)
        assert dataset.num_valid[index] == min(8000, len(samples))
    sizes = [len(np.load(path)) for path in sorted((tmp_path / "s").glob("wave-*.npy"))]
    assert sum(sizes) == 1 + 2 + 4 + 1 + 3 + 1 + 1 + 1 + 5
    assert max(sizes) == 5, "a recording is never divided between shards"
