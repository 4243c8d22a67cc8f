"""The buffer holds the last three seconds, however the samples were cut into messages."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serct.serving.streams.audio import SampleReader
from serct.serving.streams.messages import HOP_S, WINDOW_S
from serct.serving.streams.windows import AudioBuffer


@given(st.lists(st.integers(0, 9001), max_size=40), st.integers(0, 1000))
def test_any_cut_gives_the_same_window(sizes: list[int], seed: int) -> None:
    pcm = np.random.default_rng(seed).integers(-32768, 32767, sum(sizes) // 2, dtype="<i2")
    data = pcm.tobytes() + b"\x01" * (sum(sizes) % 2)
    buffer, reader = AudioBuffer(8000), SampleReader("pcm_s16le")
    for size in sizes:
        buffer.add(reader.read(data[:size]))
        data = data[size:]
    start_s, end_s, window = buffer.take()
    expected = pcm[-round(WINDOW_S * 8000) :] / 32768
    np.testing.assert_allclose(window, expected)
    assert end_s == len(pcm) / 8000
    assert end_s - start_s == pytest.approx(len(window) / 8000)


@pytest.mark.parametrize("encoding", ["pcm_s16le", "pcm_f32le"])
def test_channels_are_mixed_unless_they_cancel_each_other(encoding: str) -> None:
    samples = np.random.default_rng(0).integers(-10_000, 10_000, 16_000).astype(np.float32)
    others = np.random.default_rng(1).integers(-10_000, 10_000, 16_000).astype(np.float32)
    for second, expected in (
        (samples, samples),
        (others, (samples + others) / 2),
        (0 * samples, samples / 2),
        (-0.5 * samples, samples),
    ):
        frames = np.stack((samples, second), axis=1)
        data = frames.astype("<i2") if encoding == "pcm_s16le" else (frames / 32768).astype("<f4")
        reader = SampleReader(encoding, channels=2)
        parts = [reader.read(part.tobytes()) for part in np.array_split(data, 7)]
        np.testing.assert_allclose(np.concatenate(parts), expected / 32768, atol=1 / 32768)


def test_due_after_each_hop_and_late_ones_are_skipped() -> None:
    buffer = AudioBuffer(16_000)
    hop = np.zeros(int(HOP_S * 16_000), np.float32)
    assert not buffer.is_due
    buffer.add(hop[:-1])
    assert not buffer.is_due
    buffer.add(hop[:1])
    assert buffer.is_due
    buffer.take()
    assert not buffer.is_due
    for _ in range(5):
        buffer.add(hop)
    assert buffer.is_due
    assert buffer.take()[1] == 3.0
    assert not buffer.is_due
