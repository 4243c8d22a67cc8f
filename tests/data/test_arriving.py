"""A file that is still arriving is decoded as if it were there, and refused as if it were there."""

import io
import threading
from collections.abc import Callable, Iterator

import av
import numpy as np
import pytest

from serct.data.audio import Limits, read_recording
from serct.data.decoding.arriving import ArrivingFile, ArrivingSource
from serct.data.decoding.libsndfile import Block
from serct.data.decoding.opus_packets import ArrivingPackets
from serct.errors import AudioError
from serct.runtime.arrays import Floats
from tests.data.recordings import MAKERS, encode, make, voice, write

LIMITS = Limits(silence_peak=None, max_duration_s=30.0)
# Their decoders differ where an encoder put samples in front or behind, or in the last bits.
LOSSY_FRAMES = 2304


def decode(content: bytes, longest_s: float = 30.0) -> Floats:
    """Decode a file whose parts come one by one, while it is decoded."""
    return np.concatenate([block.frames for block in blocks_of(content, longest_s)])


def blocks_of(content: bytes, longest_s: float = 30.0) -> list[Block]:
    file, part = ArrivingFile(), 997

    def send() -> None:
        for first in range(0, len(content), part):
            file.append(content[first : first + part])
        file.finish()

    thread = threading.Thread(target=send)
    thread.start()
    try:
        source = ArrivingSource(file, "call.bin", longest_s)
        with source.labelled():
            return list(source.blocks())
    finally:
        thread.join()
        file.close()


@pytest.mark.parametrize("name", MAKERS)
def test_every_container_gives_what_the_whole_file_gives(name: str) -> None:
    content = make(name)
    expected = read_recording(io.BytesIO(content), LIMITS)
    blocks = blocks_of(content)
    frames = np.concatenate([block.frames for block in blocks])
    if name == "opus":  # which FFmpeg decodes at 48 kHz whatever the encoder was given
        assert len(frames) / blocks[0].sample_rate == expected.duration_s
        return
    assert abs(len(frames) - len(expected.frames)) <= LOSSY_FRAMES
    length = min(len(frames), len(expected.frames))
    difference = frames[:length] - expected.frames[:length]
    if name == "wav ms adpcm":  # which libsndfile rounds
        assert np.sqrt(np.mean(difference**2)) < 0.01
    else:
        np.testing.assert_allclose(difference, 0, atol=2e-4)


@pytest.mark.parametrize("name", MAKERS)
def test_a_cut_is_refused_with_the_same_words(name: str) -> None:
    content = make(name)
    for share in (0.02, 0.5, 0.9):
        cut = content[: int(len(content) * share)]
        expected = outcome(lambda whole: read_recording(io.BytesIO(whole), LIMITS, "call.bin"), cut)
        assert outcome(decode, cut) == expected


def outcome(work: Callable[[bytes], object], content: bytes) -> str:
    try:
        work(content)
    except AudioError as error:
        return str(error)
    return "read"


@pytest.mark.parametrize("container", ["WAV", "AIFF", "FLAC", "OGG", "MP3"])
def test_samples_come_before_the_end_of_the_file(container: str) -> None:
    content = write(voice(16_000, 6.0), container=container)
    file, is_late = ArrivingFile(), threading.Event()
    part = len(content) * 2 // 3
    file.append(content[:part])

    def finish() -> None:
        is_late.wait(5)
        file.append(content[part:])
        file.finish()

    thread = threading.Thread(target=finish)
    thread.start()
    blocks = ArrivingSource(file, "call.bin", 30.0).blocks()
    first = next(blocks)
    assert thread.is_alive()
    is_late.set()
    assert sum(len(block.frames) for block in (first, *blocks)) == pytest.approx(96_000, abs=2304)
    thread.join()
    file.close()


def test_joined_files_are_decoded_to_the_end() -> None:
    for name in ("opus", "flac", "webm"):
        frames = decode(2 * make(name))
        assert abs(len(frames) - 2 * len(decode(make(name)))) <= LOSSY_FRAMES


def test_limits_hold_while_it_arrives() -> None:
    with pytest.raises(AudioError, match=r"longer than the 0\.5 s expected at most"):
        decode(make("wav"), longest_s=0.5)
    with pytest.raises(AudioError, match="the file is empty"):
        decode(b"")
    with pytest.raises(AudioError, match="no known format"):
        decode(b"no audio at all " * 1000)


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("serct.data.decoding.arriving.os.pwrite", refuse)
    with pytest.raises(AudioError, match="No space left on device"):
        decode(make("wav"))


def packets(content: bytes) -> Iterator[bytes]:
    with av.open(io.BytesIO(content)) as container:
        for packet in container.demux(audio=0):
            if packet.size:
                yield bytes(packet)


@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_packets_of_opus_give_what_their_container_gives(layout: str) -> None:
    content = encode("ogg", "libopus", 48_000, layout=layout)
    arriving = ArrivingPackets()
    for packet in packets(content):
        arriving.append(packet)
    arriving.finish()
    found = np.concatenate([block.frames for block in arriving.blocks()])
    expected = read_recording(io.BytesIO(content), LIMITS).frames
    skipped = 312  # that the container says an encoder put in front
    assert found.shape[1] == expected.shape[1]
    np.testing.assert_allclose(found[skipped : skipped + 40_000], expected[:40_000], atol=1e-4)


def test_what_is_no_packet_of_opus_is_refused() -> None:
    for packet, problem in ((b"\xff" * 20, "packet 1 of Opus is damaged"), (b"", "is empty")):
        arriving = ArrivingPackets()
        arriving.append(packet)
        arriving.finish()
        with pytest.raises(AudioError, match=problem):
            list(arriving.blocks())
