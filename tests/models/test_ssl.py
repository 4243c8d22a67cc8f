"""`ssl`: wraps any encoder of the family from a folder, here tiny ones with random weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
)

from serct.config.params import Params
from serct.data.dataset import ShardDataset
from serct.errors import ParamsError
from serct.models.ssl import Ssl, SslParams
from serct.training.fitting import fit

TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": [8, 8],
    "conv_kernel": [10, 8],
    "conv_stride": [5, 8],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "hidden_dropout": 0.1,
    "mask_time_prob": 0.0,
    "layerdrop": 0.0,
}
FAMILY = {
    "wav2vec2": (Wav2Vec2Config, Wav2Vec2Model),
    "hubert": (HubertConfig, HubertModel),
    "wavlm": (WavLMConfig, WavLMModel),
}


def write_encoder(folder: Path, kind: str = "wav2vec2", norm: str = "layer") -> Path:
    torch.manual_seed(0)
    config_class, model_class = FAMILY[kind]
    config = config_class(
        **TINY, feat_extract_norm=norm, do_stable_layer_norm=norm == "layer", conv_bias=False
    )
    model_class(config).save_pretrained(folder)
    return folder


def params_of(folder: Path, **changes: Any) -> SslParams:
    given = {"architecture": "ssl", "encoder": str(folder), "freeze": True, "hidden": 8}
    return SslParams.model_validate(given | {"dropout": 0.0} | changes)


def clips() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    num_valid = torch.tensor([4000, 2500, 100])
    return 0.1 * torch.randn(3, 4000) * (torch.arange(4000) < num_valid[:, None]), num_valid


# WavLM in transformers mixes two kinds of masks.
@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
@pytest.mark.parametrize("kind", FAMILY)
@pytest.mark.parametrize("norm", ["layer", "group"])
def test_every_member_of_the_family_answers(tmp_path: Path, kind: str, norm: str) -> None:
    model = Ssl(params_of(write_encoder(tmp_path, kind, norm)), 4000, 16_000, 5).eval()
    waveforms, num_valid = clips()
    with torch.inference_mode():
        answers = model(waveforms, num_valid)
        softer = model(0.1 * waveforms, num_valid)
        shortest = model(waveforms[:, :7], torch.tensor([7, 3, 1]))
    assert answers.shape == (3, 5)
    assert torch.isfinite(shortest).all()
    torch.testing.assert_close(softer, answers, rtol=1e-3, atol=1e-3)


def test_zeros_behind_a_clip_change_nothing_where_the_encoder_takes_a_mask(tmp_path: Path) -> None:
    model = Ssl(params_of(write_encoder(tmp_path)), 4000, 16_000, 5).eval()
    waveforms, num_valid = clips()
    with torch.inference_mode():
        answers = model(waveforms, num_valid)
        longer = model(torch.nn.functional.pad(waveforms, (0, 1500)), num_valid)
        alone = model(waveforms[1:2, :2500], num_valid[1:2])
    torch.testing.assert_close(longer, answers, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(alone, answers[1:2], rtol=1e-3, atol=1e-4)


def test_padding_is_masked_where_the_encoder_takes_a_mask(tmp_path: Path) -> None:
    for norm in ("layer", "group"):
        params = params_of(write_encoder(tmp_path / norm, norm=norm))
        model = Ssl(params, 4000, 16_000, 5)
        assert (params.masks_padding, model.takes_mask) == (norm == "layer", norm == "layer")
    assert not params_of(tmp_path / "missing").masks_padding


def test_a_frozen_encoder_stays_as_it_is_and_a_free_one_learns(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path)
    for freeze in (True, False):
        model = Ssl(params_of(folder, freeze=freeze), 4000, 16_000, 5).train()
        assert model.encoder.training == (not freeze)
        model(*clips()).square().sum().backward()
        moved = [parameter.grad is not None for parameter in model.encoder.parameters()]
        assert any(moved) == (not freeze)
        assert model.layer_scores.grad is not None


def test_it_trains_in_the_one_loop(tiny_params: Params, tone_shards: Path, tmp_path: Path) -> None:
    model = params_of(write_encoder(tmp_path / "encoder"))
    train = tiny_params.train.model_copy(update={"epochs": 2})
    sets = (ShardDataset(tone_shards, [split]) for split in ("train", "validation"))
    fitted = fit(model, train, 3, *sets, tmp_path / "state")
    assert len(fitted.history) == 2
    assert fitted.best.train_loss > 0


def test_what_is_no_such_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"expected a folder with config\.json"):
        params_of(tmp_path / "missing").build(4000, 16_000, 5)
    folder = write_encoder(tmp_path / "a")
    with pytest.raises(ParamsError, match=r"sample_rate 16000, found 8000"):
        params_of(folder).build(4000, 8_000, 5)
    (folder / "model.safetensors").write_bytes(b"x" * 20)
    with pytest.raises(ParamsError, match="cannot be read"):
        params_of(folder).build(4000, 16_000, 5)
    config = BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
        vocab_size=16,
    )  # fmt: skip
    BertModel(config).save_pretrained(tmp_path / "bert")
    with pytest.raises(ParamsError, match="is a bert, expected wav2vec2, hubert or wavlm"):
        params_of(tmp_path / "bert").build(4000, 16_000, 5)


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(ParamsError, match="cannot be read"):
        params_of(folder).build(4000, 16_000, 5)
