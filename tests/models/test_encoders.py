"""Pretrained encoders: files, hidden states of clips of their own length, and pooling."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import BertConfig, BertModel, WhisperFeatureExtractor, WhisperModel

from serct.data.reading.sources import Sources
from serct.errors import CheckpointError, DownloadError, ParamsError
from serct.models.encoders.params import EncoderParams, FramesParams
from serct.models.encoders.pooled import EncoderFrames, PooledEncoder
from serct.models.encoders.pooling import mean_and_deviation, speech_frames
from serct.models.encoders.weights import read_config, read_weights, weights_digest
from serct.training.encoders import find_encoder
from serct.training.encoders import write_encoder as obtain
from tests.models.encoders import KINDS, write_encoder

ORIGIN = {"licence": "MIT", "trained_on": "noise"}


def frames_of(layers: Any = None, floor_db: Any = None, range_db: Any = None) -> FramesParams:
    return FramesParams(layers=layers, noise_floor_db=floor_db, speech_range_db=range_db)


def pooled(folder: Path, *chosen: Any) -> PooledEncoder:
    model = PooledEncoder(read_config(folder), frames_of(*chosen))
    model.load_encoder(read_weights(folder))
    return model.eval()


def clips() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    num_valid = torch.tensor([4000, 2500, 100])
    return 0.1 * torch.randn(3, 4000) * (torch.arange(4000) < num_valid[:, None]), num_valid


# WavLM in transformers mixes two kinds of masks.
@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_has_the_same_features_alone_and_in_a_batch(tmp_path: Path, kind: str) -> None:
    model = pooled(write_encoder(tmp_path / kind, kind), None, -40.0, 30.0)
    waveforms, num_valid = clips()
    with torch.inference_mode():
        together = model(torch.nn.functional.pad(waveforms, (0, 1500)), num_valid)
        alone = [model(waveforms[[i], :n], num_valid[[i]]) for i, n in enumerate(num_valid)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-3, atol=1e-4)
    assert together[0].std() > 0.01


def test_whisper_has_the_hidden_states_of_its_authors_library(tmp_path: Path) -> None:
    """Of 30 s, the only length that transformers takes."""
    folder = write_encoder(tmp_path / "whisper")
    samples = np.zeros(480_000, np.float32)
    # Silence at both ends: there the library repeats samples, mirrored, where here are zeros.
    samples[400:-400] = 0.1 * np.random.default_rng(0).standard_normal(479_200)
    mel = WhisperFeatureExtractor(feature_size=80)(
        samples, sampling_rate=16_000, return_tensors="pt"
    )
    frames = EncoderFrames(read_config(folder), frames_of())
    frames.load_encoder(read_weights(folder))
    whole = WhisperModel.from_pretrained(folder).encoder.eval()
    with torch.inference_mode():
        expected = whole(mel.input_features, output_hidden_states=True).hidden_states
        found, weights = frames.eval()(torch.from_numpy(samples)[None], torch.tensor([480_000]))
    assert found.shape == (4, 1, 1500, 16)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(weights, torch.full((1, 1500), 1 / 1500))


def test_layers_are_those_of_all_and_no_more_are_computed(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "whisper")
    waveforms, num_valid = clips()
    with torch.inference_mode():
        every = pooled(folder)(waveforms, num_valid).unflatten(1, (2, 4, 16))
        chosen = pooled(folder, (2, 0))
        chosen.encoder.layers[2] = None  # type: ignore[index]
        found = chosen(waveforms, num_valid).unflatten(1, (2, 2, 16))
    torch.testing.assert_close(found, every[:, :, [2, 0]])
    with pytest.raises(ParamsError, match="layers holds 4, expected 0 to 3"):
        EncoderFrames(read_config(folder), frames_of((1, 4)))


def test_silence_between_words_is_left_out() -> None:
    waveforms = torch.zeros(2, 100)
    waveforms[0, :30] = 0.5
    waveforms[0, 60:70] = 0.05  # 20 dB softer
    waveforms[1, 10:20] = 0.1
    frames = torch.tensor([10, 4])
    loud = speech_frames(waveforms, frames, 10, 10, range_db=10.0)
    assert loud.tolist() == [pytest.approx([1 / 3] * 3 + [0.0] * 7), [0.0, 1.0, *[0.0] * 8]]
    soft = speech_frames(waveforms, frames, 10, 10, range_db=25.0)
    assert soft[0].tolist() == pytest.approx([0.25] * 3 + [0.0] * 3 + [0.25] + [0.0] * 3)
    whole = speech_frames(waveforms, frames, 10, 10, range_db=None)
    assert whole[1].tolist() == pytest.approx([0.25] * 4 + [0.0] * 6)


def test_pooling_is_numpys_mean_and_deviation() -> None:
    states = torch.randn(2, 1, 5, 3, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([[0.5, 0.0, 0.0, 0.5, 0.0]])
    kept = states[:, 0, [0, 3]].numpy()
    expected = np.concatenate([kept.mean(axis=1).ravel(), kept.std(axis=1).ravel()])
    found = mean_and_deviation(states, weights)[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_neither_level_nor_mean_of_a_clip_changes_its_features(tmp_path: Path) -> None:
    model = pooled(write_encoder(tmp_path / "whisper"), None, -40.0, 30.0)
    waveforms, num_valid = clips()
    is_valid = torch.arange(4000) < num_valid[:, None]
    with torch.inference_mode():
        before = model(waveforms, num_valid)
        after = model((0.1 * waveforms + 0.05) * is_valid, num_valid)
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)


def test_rows_beyond_whispers_thirty_seconds_are_refused(tmp_path: Path) -> None:
    model = pooled(write_encoder(tmp_path / "whisper"))
    with pytest.raises(ParamsError, match=r"rows of 30\.02 s, expected at most 30 s"):
        model(torch.zeros(1, 480_001), torch.tensor([480_001]))


def spoil_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"x" * 20)


def pickle_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def take_bert(folder: Path) -> None:
    config = BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9
    )
    BertModel(config).save_pretrained(folder)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (spoil_weights, r"model\.safetensors cannot be read"),
        (pickle_weights, r"model\.safetensors cannot be read"),
        (take_bert, r"expected an array feature_projection.* found 0"),
        (lambda folder: (folder / "config.json").unlink(), r"expected a folder with config\.json"),
        (lambda folder: (folder / "config.json").write_text("{"), r"config\.json: cannot be read"),
        (lambda folder: (folder / "config.json").write_text("{}"), "model_type is missing"),
    ],
)
def test_what_is_no_encoder_is_refused(
    tmp_path: Path, spoil: Callable[[Path], object], problem: str
) -> None:
    folder = write_encoder(tmp_path / "whisper")
    spoil(folder)
    entry = EncoderParams(name="tiny", path=str(folder), sha256="0" * 64, **ORIGIN)
    with pytest.raises(DownloadError, match=problem):
        find_encoder(entry)


def test_weights_of_another_encoder_are_refused(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "wavlm", "wavlm")
    model = PooledEncoder(read_config(write_encoder(tmp_path / "hubert", "hubert")), frames_of())
    with pytest.raises(CheckpointError, match="weights of another encoder"):
        model.load_encoder(read_weights(folder))


def test_names_of_the_hubs_older_files_are_understood(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "new", "wav2vec2")
    path = folder / "model.safetensors"
    older = {
        "wav2vec2." + name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): array
        for name, array in load_file(path).items()
    }  # fmt: skip
    assert sum(name.endswith("weight_g") for name in older) == 1
    before = pooled(folder).state_dict()
    save_file({**older, "wav2vec2.masked_spec_embed": np.zeros(16, np.float32)}, path)
    after = pooled(folder).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_digest_is_of_values_and_not_of_files(tmp_path: Path) -> None:
    weights = read_weights(write_encoder(tmp_path / "whisper"))
    rounded = {name: array.astype(np.float16) for name, array in weights.items()}
    digest = weights_digest(rounded)
    assert weights_digest({n: a.astype(np.float32) for n, a in reversed(rounded.items())}) == digest
    assert weights_digest(weights) != digest
    assert not any("decoder" in name for name in weights)


@pytest.fixture
def mirrored(tmp_path: Path) -> tuple[EncoderParams, Sources]:
    """An encoder of the hub that lies in a mirror, and no network."""
    folder = write_encoder(tmp_path / "mirror" / "encoders" / "tiny.en")
    digest = weights_digest(read_weights(folder))
    entry = EncoderParams(
        name="tiny", repository="somebody/tiny.en", revision="0" * 40, sha256=digest, **ORIGIN
    )
    return entry, Sources(tmp_path / "mirror", tmp_path / "cache", offline=True)


def test_the_mirror_comes_first_and_its_weights_are_verified(
    mirrored: tuple[EncoderParams, Sources], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, sources = mirrored
    found = find_encoder(entry, sources=sources)
    assert found == tmp_path / "mirror" / "encoders" / "tiny.en"
    monkeypatch.setenv("SERCT_MIRROR", str(tmp_path / "mirror"))
    obtain(entry, tmp_path / "own")
    assert sorted(path.name for path in (tmp_path / "own").iterdir()) == [
        "config.json", "model.safetensors",
    ]  # fmt: skip
    assert find_encoder(entry, tmp_path / "own", sources) == tmp_path / "own"
    config = json.loads((found / "config.json").read_text())
    write_encoder(found.with_name("other"), "wav2vec2")
    (found / "model.safetensors").write_bytes(
        (found.with_name("other") / "model.safetensors").read_bytes()
    )
    assert config["model_type"] == "whisper"
    with pytest.raises(DownloadError, match=f"SHA-256 of its weights .*, expected {entry.sha256}"):
        find_encoder(entry, sources=sources)


def test_without_network_the_error_says_where_it_was_looked_for(tmp_path: Path) -> None:
    entry = EncoderParams(name="tiny", repository="somebody/tiny.en", revision="0" * 40, **ORIGIN)
    with pytest.raises(DownloadError, match=r"(?s)SERCT_OFFLINE forbids.*tiny\.en.*somebody/tiny"):
        find_encoder(entry, sources=Sources(None, tmp_path, offline=True))
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({}, "expected either repository, with revision, or path"),
        ({"repository": "a/b"}, "expected a revision"),
        ({"path": "a", "revision": "0" * 40}, "expected a revision"),
        ({"repository": "a/b", "revision": "main"}, "should match pattern"),
    ],
)
def test_an_entry_names_one_source(keys: dict[str, str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        EncoderParams(name="tiny", **keys, **ORIGIN)
