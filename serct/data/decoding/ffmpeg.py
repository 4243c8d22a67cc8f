"""Decode with FFmpeg what libsndfile cannot: what phones and browsers record, for example.

Lossy formats start where the library starts them, see `serct.data.decoding.libsndfile`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer

from serct.data.decoding.libsndfile import VALUES_AT_ONCE, Block
from serct.errors import AudioError
from serct.runtime.arrays import Floats

# A file may name others, in a playlist for example: FFmpeg reads nothing but the given bytes.
_FFMPEG_OPTIONS = {"protocol_whitelist": "none", "enable_drefs": "0"}
# How much FFmpeg reads before the first frame, in microseconds and bytes: else 5 s of samples.
_ARRIVING_OPTIONS = {"analyzeduration": "100000", "probesize": "20000"}
# Up to two frames of WMA at its lowest rates.
_DURATION_TOLERANCE_S = 0.5
# Errors that its decoders would otherwise only log.
_CODEC_OPTIONS = {"err_detect": "crccheck+bitstream+buffer+explode"}


class Readable(Protocol):
    """What FFmpeg reads; it jumps in it if it also has ``seek`` and ``tell``."""

    def read(self, size: int, /) -> bytes | None:
        """Return up to so many bytes, none at the end."""


def decode_with_ffmpeg(
    file: Readable, format_name: str, must_flush: Callable[[], bool] | None = None
) -> Iterator[Block]:
    """Yield the first audio stream in a file, from its place on.

    Args:
        file: The file.
        format_name: What FFmpeg calls its format.
        must_flush: For a file that arrives: returns whether to yield what is decoded now, and not
            to wait for more.

    Raises:
        AudioError: If it is not readable, there is no audio, or a part is damaged or missing.
    """
    try:
        yield from _decode(file, format_name, must_flush)
    except av.FFmpegError as error:
        raise AudioError(f"not readable as audio ({error})") from error


def _decode(
    file: Readable, format_name: str, must_flush: Callable[[], bool] | None
) -> Iterator[Block]:
    options = _FFMPEG_OPTIONS | (_ARRIVING_OPTIONS if must_flush is not None else {})
    with av.open(
        file, "r", format=format_name, options=options, metadata_errors="ignore"
    ) as container:
        stream = _audio_stream(container)
        num_streams = len(container.streams.audio)
        kept: list[Floats] = []
        num_values = num_frames = num_packets = rate = 0
        # The first frame goes ahead, so that a wrong rate ends it.
        wanted = 1
        for packet in container.demux(stream):
            num_packets += packet.size > 0
            for frame in _decode_packet(packet, num_frames / (rate or 1)):
                frames = as_floats(frame)
                # FFmpeg drops damaged frames of FLAC; their numbers show the gap.
                if format_name == "flac" and (frame.pts or 0) > num_frames:
                    raise AudioError(f"damaged after {num_frames / rate:.2f} s")
                is_other = kept and (rate, kept[0].shape[1]) != (frame.rate, frames.shape[1])
                is_flushed = must_flush is not None and must_flush()
                if kept and (is_other or is_flushed or num_values >= wanted):
                    yield Block(rate, np.concatenate(kept), num_streams)
                    kept, num_values, wanted = [], 0, VALUES_AT_ONCE
                rate = frame.rate
                kept.append(frames)
                num_values += frames.size
                num_frames += len(frames)
        # The table of an MP4 counts packets, but each one of uncompressed samples.
        is_counted = container.format.name.startswith("mov")
        if is_counted and max(num_packets, num_frames) < stream.frames:
            raise AudioError(f"cut off, found {num_packets} of {stream.frames} announced packets")
        seconds = _announced_s(container)
        if num_frames < (seconds - _DURATION_TOLERANCE_S) * rate:
            raise AudioError(f"cut off, found {num_frames / rate:.2f} of {seconds:.2f} announced s")
        if kept:
            yield Block(rate, np.concatenate(kept), num_streams)


def _announced_s(container: InputContainer) -> float:
    """Return the duration that the header of an ASF file announces, 0 for other files.

    Others announce the number of packets, or were walked through; that of a file with several
    streams is the longest one's.
    """
    is_known = container.format.name == "asf" and len(container.streams) == 1
    return (container.duration or 0) / av.time_base if is_known else 0.0


def _audio_stream(container: InputContainer) -> AudioStream:
    if not container.streams.audio:
        raise AudioError("holds no audio")
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise AudioError("holds audio of an unknown codec")
    stream.codec_context.options = _CODEC_OPTIONS
    return stream


def _decode_packet(packet: "av.Packet[AudioStream]", seconds: float) -> Sequence[av.AudioFrame]:
    try:
        if packet.is_corrupt:
            raise AudioError(f"cut off or damaged after {seconds:.2f} s")
        frames = packet.decode()
    except av.FFmpegError as error:
        raise AudioError(f"damaged after {seconds:.2f} s ({error.strerror})") from error
    return [frame for frame in frames if frame.samples]


def as_floats(frame: av.AudioFrame) -> Floats:
    """Return a decoded frame as float32 [n, channels], full scale = 1."""
    samples = frame.to_ndarray()
    num_channels = frame.layout.nb_channels
    frames = samples.T if frame.format.is_planar else samples.reshape(-1, num_channels)
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # infinite samples are refused
            return np.ascontiguousarray(frames, dtype=np.float32)
    if samples.dtype.kind == "u":
        frames = frames.astype(np.int16) - 128
    full_scale = 2.0 ** (8 * samples.dtype.itemsize - 1)
    return np.ascontiguousarray(frames / full_scale, dtype=np.float32)
