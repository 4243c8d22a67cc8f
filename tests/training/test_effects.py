"""Effects: what each does to signals whose answer is known."""

import math

import pytest
import torch

from serct.training.effects import babble, codec
from serct.training.effects.babble import BabbleParams, draw_babble
from serct.training.effects.noise import add_noise
from serct.training.effects.pitch import shift_pitch
from serct.training.effects.reverb import reverberate
from serct.training.effects.shift_ms import delay
from serct.training.effects.speed import change_speed
from serct.training.effects.telephone import send_by_telephone

RATE = 16_000


def tone(hertz, seconds=2.0, amplitude=0.5):
    steps = torch.arange(round(seconds * RATE))
    return amplitude * torch.sin(2 * math.pi * hertz * steps / RATE)


def batch(*clips):
    num_valid = torch.tensor([len(clip) for clip in clips])
    return torch.nn.utils.rnn.pad_sequence(clips, batch_first=True), num_valid


def loudest_hz(clip):
    spectrum = torch.fft.rfft(clip * torch.hann_window(len(clip))).abs()
    return spectrum.argmax().item() * RATE / len(clip)


def level(clip):
    return clip.square().mean().sqrt().item()


def test_faster_is_shorter_and_higher():
    waveforms, num_valid = batch(tone(400.0), tone(400.0, seconds=1.0))
    changed, lengths = change_speed(waveforms, num_valid, torch.tensor([1.25, 0.8]), 1.25)
    assert lengths.tolist() == [25_600, 20_000]
    assert loudest_hz(changed[0, :25_600]) == pytest.approx(500, abs=1)
    assert loudest_hz(changed[1, :20_000]) == pytest.approx(320, abs=1)
    assert changed.shape == (2, 40_000)
    assert not changed[0, 25_600:].any()


def test_unchanged_speed_changes_nothing():
    waveforms, num_valid = batch(tone(400.0))
    changed, lengths = change_speed(waveforms, num_valid, torch.ones(1), 1.0)
    assert torch.equal(changed, waveforms)
    assert torch.equal(lengths, num_valid)


@pytest.mark.parametrize("semitones", [-2.0, 1.0, 2.0])
def test_pitch_moves_and_tempo_stays(semitones):
    # Two tones, one after the other: the border between them must stay where it was.
    clip = torch.cat((tone(400.0, 1.0), tone(1000.0, 1.0)))
    factor = 2 ** (semitones / 12)
    waveforms, num_valid = batch(clip)
    changed = shift_pitch(waveforms, num_valid, torch.tensor([factor]), 2 ** (2 / 12), RATE)[0]
    assert changed.shape == clip.shape
    assert loudest_hz(changed[:15_000]) == pytest.approx(400 * factor, rel=0.01)
    assert loudest_hz(changed[17_000:]) == pytest.approx(1000 * factor, rel=0.01)


def test_unchanged_pitch_gives_the_clip_back():
    waveforms, num_valid = batch(tone(400.0), tone(250.0, 1.0))
    changed = shift_pitch(waveforms, num_valid, torch.ones(2), 1.0, RATE)
    assert torch.allclose(changed, waveforms, atol=1e-4)


def test_noise_has_the_ratio_asked_for():
    waveforms, num_valid = batch(tone(400.0), tone(400.0, 1.0, amplitude=0.01))
    noisy = add_noise(waveforms, num_valid, torch.tensor([20.0, 0.0]))
    for row, snr_db in ((0, 20.0), (1, 0.0)):
        clip, noise = waveforms[row], (noisy - waveforms)[row]
        found = 10 * math.log10(clip.square().sum() / noise.square().sum())
        assert found == pytest.approx(snr_db, abs=0.01)
    assert not noisy[1, 16_000:].any()


def test_noise_on_silence_is_none():
    waveforms, num_valid = batch(torch.zeros(1000))
    assert not add_noise(waveforms, num_valid, torch.zeros(1)).any()


def test_a_room_decays_by_60_db_in_its_time():
    torch.manual_seed(0)
    clip = torch.zeros(RATE)
    clip[0] = 1.0
    waveforms, num_valid = batch(clip.repeat(64, 1).flatten()[: 64 * RATE].view(64, -1)[0])
    waveforms = waveforms.expand(64, -1)
    decay_s, direct_db = torch.full((64,), 0.4), torch.full((64,), 6.0)
    heard = reverberate(
        waveforms, num_valid.expand(64), decay_s, direct_db, round(0.4 * RATE), RATE
    )
    assert torch.allclose(heard[:, 0], torch.ones(64), atol=1e-4)
    energy = heard[:, 1:].square()
    assert (10 * energy.sum(dim=1).log10()).mean().item() == pytest.approx(-6.0, abs=0.1)
    early = energy[:, : RATE // 50].mean()
    late = energy[:, round(0.2 * RATE) : round(0.2 * RATE) + RATE // 50].mean()
    assert 10 * math.log10(early / late) == pytest.approx(30.0, abs=1.0)


def test_a_telephone_passes_its_band_only():
    waveforms, num_valid = batch(tone(100.0), tone(1000.0), tone(5000.0))
    heard = send_by_telephone(waveforms, num_valid, RATE)
    levels = [level(clip[2000:-2000]) for clip in heard]
    assert levels[1] == pytest.approx(0.5 / math.sqrt(2), rel=0.02)
    assert max(levels[0], levels[2]) < 0.01
    assert not torch.equal(heard[1], waveforms[1])


def test_delay_puts_zeros_in_front():
    waveforms, num_valid = batch(tone(400.0, 0.1), tone(400.0, 0.05))
    moved, lengths = delay(waveforms, num_valid, torch.tensor([0, 30]), 50)
    assert lengths.tolist() == [1600, 830]
    assert moved.shape == (2, 1650)
    assert not moved[1, :30].any()
    assert torch.equal(moved[1, 30:830], waveforms[1, :800])
    assert torch.equal(moved[0, :1600], waveforms[0])


def test_babble_is_of_the_others_at_one_level():
    hertz = (400.0, 1000.0, 3000.0)
    clips = [tone(f, amplitude=a) for f, a in zip(hertz, (0.5, 0.01, 0.1), strict=True)]
    waveforms, num_valid = batch(*clips)
    torch.manual_seed(0)
    found = draw_babble(waveforms, num_valid, 5)
    for row, clip in enumerate(found):
        spectrum = torch.fft.rfft(clip * torch.hann_window(len(clip))).abs()
        sizes = [spectrum[round(2 * f)].item() for f in hertz]
        own = sizes.pop(row)
        assert own < 0.01 * min(sizes)
        assert sizes[0] == pytest.approx(sizes[1], rel=0.1)


def test_babble_has_its_ratio_and_ends_with_the_clip():
    waveforms, num_valid = batch(tone(400.0), tone(1000.0, 1.0), tone(3000.0, 0.5))
    params = BabbleParams(probability=1.0, num_clips=1, snr_db=(10.0, 10.0))
    noisy, lengths = babble.apply(waveforms, num_valid, params, RATE)
    assert torch.equal(lengths, num_valid)
    added = noisy - waveforms
    ratios = 10 * (waveforms.square().sum(1) / added.square().sum(1)).log10()
    assert ratios.tolist() == pytest.approx([10.0] * 3, abs=0.01)
    assert not noisy[1, 16_000:].any()
    alone, _ = babble.apply(waveforms[:1], num_valid[:1], params, RATE)
    assert torch.equal(alone, waveforms[:1])


def test_a_codec_changes_a_clip_and_keeps_its_time():
    waveforms, num_valid = batch(tone(400.0, 0.5), tone(1000.0, 0.3))
    params = codec.CodecParams(probability=1.0, kbit_s=(16.0, 16.0))
    changed, lengths = codec.apply(waveforms, num_valid, params, RATE)
    assert torch.equal(lengths, num_valid)
    assert not changed[1, 4800:].any()
    for row, length in enumerate(num_valid.tolist()):
        before, after = waveforms[row, :length], changed[row, :length]
        assert not torch.allclose(before, after, atol=1e-3)
        assert torch.nn.functional.cosine_similarity(before, after, dim=0) > 0.97
