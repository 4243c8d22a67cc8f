"""The log-mel front end and `mel_conformer`: what must not matter does not."""

import librosa
import numpy as np
import pytest
import torch
from torch.nn import functional

from serct.config.section import merge, validate
from serct.errors import ParamsError
from serct.models.layers.log_mel import LogMel, mel_bands
from serct.models.mel_conformer import (
    MaskedBatchNorm,
    MelConformer,
    MelConformerParams,
    SpectrogramMasking,
)

RATE = 16_000
SMALL = {
    "architecture": "mel_conformer",
    "num_mels": 24,
    "window_ms": 32.0,
    "hop_ms": 10.0,
    "noise_floor_db": -45.0,
    "remove_average": True,
    "channels": [4, 8],
    "width": 16,
    "num_layers": 1,
    "num_heads": 2,
    "kernel_frames": 5,
    "dropout": 0.1,
    "classifier_dropout": 0.1,
    "num_masks": 2,
    "mask_mels": 4,
    "mask_ms": 50.0,
}


def build(**changes):
    torch.manual_seed(0)
    params = validate(MelConformerParams, merge(SMALL, changes), "model")
    model = MelConformer(params, RATE, RATE, 5)
    # Running statistics as after training, so that batch norm is no identity.
    model.train()
    for _ in range(3):
        model(*clips())
    return model.eval()


def clips():
    waveforms = 0.1 * torch.randn(3, 12_000)
    num_valid = torch.tensor([12_000, 7_000, 9_123])
    return waveforms * (torch.arange(12_000) < num_valid[:, None]), num_valid


@pytest.mark.parametrize(("num_bands", "rate"), [(40, 16_000), (64, 16_000), (24, 8_000)])
def test_bands_are_librosas(num_bands, rate):
    expected = librosa.filters.mel(sr=rate, n_fft=512, n_mels=num_bands, fmin=60)
    np.testing.assert_allclose(mel_bands(num_bands, 512, rate).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("remove_average", [True, False])
def test_the_spectrogram_follows_its_definition(remove_average):
    front = LogMel(24, 32.0, 10.0, -45.0, remove_average, RATE)
    waveform = 0.1 * np.random.default_rng(0).standard_normal(8000)
    found = front(torch.from_numpy(waveform).float()[None], torch.tensor([8000]))[0].numpy()
    centred = waveform - waveform.mean()
    padded = np.pad(centred, (512 - 160) // 2)
    window = np.hanning(513)[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(padded, 512)[::160]
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    bands = librosa.filters.mel(sr=RATE, n_fft=512, n_mels=24, fmin=60)
    energies = bands @ power.T
    logs = np.log(energies / energies.mean() + 10**-4.5)
    average = logs.mean(axis=1, keepdims=True) if remove_average else 0.0
    np.testing.assert_allclose(found, logs - average, atol=1e-3)


@pytest.mark.parametrize("change", ["gain", "dc", "zeros", "recorded zeros", "alone", "autocast"])
def test_what_should_not_matter_does_not(change):
    model = build()
    waveforms, num_valid = clips()
    with torch.inference_mode():
        expected = model(waveforms, num_valid)
        if change == "gain":
            found = model(0.01 * waveforms, num_valid)
        elif change == "dc":
            is_spoken = torch.arange(12_000) < num_valid[:, None]
            found = model(waveforms + 0.05 * is_spoken, num_valid)
        elif change == "zeros":
            found = model(functional.pad(waveforms, (0, 4321)), num_valid)
        elif change == "recorded zeros":
            found = model(functional.pad(waveforms, (0, 4321)), num_valid + 4321)
        elif change == "alone":
            found = torch.cat(
                [
                    model(waveforms[i : i + 1, :n], num_valid[i : i + 1])
                    for i, n in enumerate(num_valid)
                ]
            )
        else:
            with torch.autocast("cpu", torch.bfloat16):
                found = model(waveforms, num_valid)
    tolerance = 0.1 if change == "autocast" else 1e-4
    assert torch.allclose(found.float(), expected, atol=tolerance)
    assert expected.std() > 1e-3


@pytest.mark.parametrize("num_samples", [1, 100, 161, 5000])
def test_any_length_gives_an_answer(num_samples):
    model = build()
    waveforms = 0.1 * torch.randn(2, num_samples)
    with torch.inference_mode():
        assert torch.isfinite(model(waveforms, torch.tensor([num_samples, 1]))).all()
        assert torch.isfinite(model(0 * waveforms, torch.tensor([num_samples, 1]))).all()


def test_no_layers_is_a_model_too():
    assert len(build(num_layers=0).blocks) == 0


def test_masks_hide_no_more_than_they_may():
    torch.manual_seed(0)
    masking = SpectrogramMasking(num_masks=1, most_bands=4, most_frames=10)
    features = torch.ones(200, 24, 50)
    num_frames = torch.full((200,), 50)
    hidden = masking(features, num_frames) == 0
    bands, frames = hidden.all(dim=2).sum(dim=1), hidden.all(dim=1).sum(dim=1)
    assert (bands.max().item(), frames.max().item()) == (4, 10)
    assert (bands.min().item(), frames.min().item()) == (0, 0)


def test_masks_stay_within_the_clip():
    masking = SpectrogramMasking(num_masks=3, most_bands=1, most_frames=100)
    features = torch.ones(50, 8, 60)
    num_frames = torch.full((50,), 20)
    assert (masking(features, num_frames)[:, :, 20:].sum(dim=(1, 2)) >= 5 * 40).all()


def test_gradients_reach_every_weight():
    model = build().train()
    model(*clips()).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_too_many_bands_for_the_rate_are_refused():
    with pytest.raises(ParamsError, match="some bands are empty"):
        build(num_mels=200, mask_mels=4)


def test_learns_whether_pitch_rises_or_falls():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(16) % 2
    seconds = torch.arange(RATE // 2) / RATE
    slopes = torch.where(labels == 0, 400.0, -400.0)
    base = 600 + 100 * torch.rand(16, generator=generator)
    phase = 2 * torch.pi * (base[:, None] * seconds + slopes[:, None] * seconds**2 / 2)
    waveforms = 0.01 * torch.sin(phase)
    num_valid = torch.full((16,), RATE // 2)
    model = build(num_masks=0).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(25):
        loss = functional.cross_entropy(model(waveforms, num_valid), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        answers = model.eval()(waveforms, num_valid).argmax(dim=1)
    assert (answers == labels).float().mean() >= 0.9


def test_masked_norm_is_batch_norm_over_what_is_valid():
    torch.manual_seed(0)
    maps = torch.randn(3, 4, 5, 6) + 2
    is_valid = (torch.arange(6) < torch.tensor([6, 3, 1])[:, None])[:, None, None]
    masked, plain = MaskedBatchNorm(4), torch.nn.BatchNorm1d(4)
    found = masked(maps, is_valid)
    flat = maps.permute(0, 3, 2, 1)[is_valid[:, 0, 0]].flatten(0, 1)  # [valid * bands, 4]
    wanted = plain(flat)
    torch.testing.assert_close(
        found.permute(0, 3, 2, 1)[is_valid[:, 0, 0]].flatten(0, 1), wanted, rtol=1e-4, atol=1e-5
    )
    assert not (found * ~is_valid).any()
    torch.testing.assert_close(masked.running_mean, plain.running_mean)
    torch.testing.assert_close(masked.running_var, plain.running_var)
