"""`encoder_network`: a small network behind any encoder, here behind tiny ones."""

from pathlib import Path
from typing import Any

import pytest
import torch

from serct.config.params import Params
from serct.data.dataset import ShardDataset
from serct.errors import DownloadError, ParamsError
from serct.models import restore_model_params
from serct.models.encoder_network import EncoderNetwork, EncoderNetworkParams
from serct.models.encoders.params import EncoderParams
from serct.training.fitting import fit
from tests.models.encoders import KINDS, write_encoder


def params_of(folder: Path, **changes: Any) -> EncoderNetworkParams:
    given = {
        "architecture": "encoder_network", "encoder": EncoderParams.in_folder(str(folder)),
        "layers": None, "noise_floor_db": None, "speech_range_db": 30.0,
        "freeze": True, "pooling": "mean_deviation", "hidden": 8, "dropout": 0.0,
    }  # fmt: skip
    return EncoderNetworkParams.model_validate(given | changes)


def network(folder: Path, **changes: Any) -> EncoderNetwork:
    built = params_of(folder, **changes).build(4000, 16_000, 5)
    assert isinstance(built, EncoderNetwork)
    return built


def clips() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    num_valid = torch.tensor([4000, 2500, 100])
    return 0.1 * torch.randn(3, 4000) * (torch.arange(4000) < num_valid[:, None]), num_valid


# WavLM in transformers mixes two kinds of masks.
@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
@pytest.mark.parametrize(
    ("kind", "norm"),
    [("whisper", "layer"), *((k, n) for k in KINDS[1:] for n in ("layer", "group"))],
)
def test_every_kind_predicts_clips_of_any_length(tmp_path: Path, kind: str, norm: str) -> None:
    folder = write_encoder(tmp_path / kind, kind, norm)
    model = network(folder, pooling="mean").eval()
    waveforms, num_valid = clips()
    with torch.inference_mode():
        found = model(waveforms, num_valid)
        softer = model(0.1 * waveforms, num_valid)
        shortest = model(waveforms[:, :7], torch.tensor([7, 3, 1]))
        longer = model(torch.nn.functional.pad(waveforms, (0, 1500)), num_valid)
    assert found.shape == (3, 5)
    assert torch.isfinite(shortest).all()
    if kind != "whisper":
        torch.testing.assert_close(softer, found, rtol=1e-3, atol=1e-3)
    # The encoders with group norm never saw a mask: they take padding as silence.
    is_exact = norm == "layer"
    assert params_of(folder).masks_padding == model.hidden_states.is_exact == is_exact
    if is_exact:
        torch.testing.assert_close(longer, found, rtol=1e-3, atol=1e-4)


def test_a_frozen_encoder_stays_as_it_is_and_a_free_one_learns(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "whisper")
    for freeze in (True, False):
        model = network(folder, freeze=freeze).train()
        assert model.encoder.training == (not freeze)
        model(*clips()).square().sum().backward()
        moved = [parameter.grad is not None for parameter in model.encoder.parameters()]
        assert any(moved) == (not freeze)
        assert model.layer_scores.grad is not None
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_it_trains_in_the_one_loop(tiny_params: Params, tone_shards: Path, tmp_path: Path) -> None:
    model = params_of(write_encoder(tmp_path / "encoder"))
    train = tiny_params.train.model_copy(update={"epochs": 2})
    sets = (ShardDataset(tone_shards, [split]) for split in ("train", "validation"))
    fitted = fit(model, train, 3, *sets, tmp_path / "state")
    assert len(fitted.history) == 2
    assert fitted.best.train_loss > 0


def test_what_does_not_fit_is_refused(
    tiny_params: Params, tone_shards: Path, tmp_path: Path
) -> None:
    sets = [ShardDataset(tone_shards, [split]) for split in ("train", "validation")]
    with pytest.raises(DownloadError, match=r"expected a folder with config\.json"):
        fit(params_of(tmp_path / "no"), tiny_params.train, 3, *sets, tmp_path / "state")
    assert not params_of(tmp_path / "no").masks_padding
    with pytest.raises(ParamsError, match=r"sample_rate 16000, found 8000"):
        params_of(write_encoder(tmp_path / "a")).build(4000, 8_000, 5)


def test_a_card_of_ssl_has_todays_keys(tmp_path: Path) -> None:
    """The fixtures of version 0.2 hold a whole model: tests/models/test_old_formats.py."""
    from serct.models.records import as_encoder_network

    old = {"architecture": "ssl", "encoder": "a/b", "freeze": True, "hidden": 8, "dropout": 0.0}
    content = {**as_encoder_network(old), "encoder": EncoderParams.in_folder("a/b")}
    restored = restore_model_params(content, "card.json")
    assert isinstance(restored, EncoderNetworkParams)
    assert restored.pooling == "mean"
    assert restored.encoder_folder == Path("a/b")
