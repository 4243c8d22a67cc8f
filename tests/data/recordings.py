"""Recordings in every container that is read, made by libsndfile and by FFmpeg's encoders."""

import io
import struct
from collections.abc import Callable, Mapping
from functools import cache

import av
import numpy as np
import soundfile


def voice(rate: int, seconds: float = 1.0) -> np.ndarray:
    """Return a tone in noise. float32 [N]"""
    times = np.arange(int(rate * seconds)) / rate
    noise = np.random.default_rng(0).standard_normal(len(times))
    return (0.4 * np.sin(2 * np.pi * 220 * times) + 0.02 * noise).astype(np.float32)


def write(samples: np.ndarray, rate: int = 16000, container: str = "WAV", **options: str) -> bytes:
    """Return a file that libsndfile writes."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, **options)
    return file.getvalue()


def encode(
    container: str, codec: str, rate: int = 16000, options: Mapping[str, str] | None = None,
    num_streams: int = 1, bit_rate: int = 48000, layout: str = "mono",
) -> bytes:  # fmt: skip
    """Return a file that FFmpeg writes, which can seek only if its format needs to."""
    file = io.BytesIO()
    channels = np.repeat(voice(rate)[None], av.AudioLayout(layout).nb_channels, axis=0)
    source = av.AudioFrame.from_ndarray(channels, format="fltp", layout=layout)
    source.sample_rate = rate
    with av.open(file, "w", format=container, options=dict(options or {})) as output:
        streams = [output.add_stream(codec, rate=rate, layout=layout) for _ in range(num_streams)]
        for stream in streams:
            stream.bit_rate = 12200 if "amr" in codec else bit_rate
            context = stream.codec_context
            if not context.is_open:
                context.open()
            resampler = av.AudioResampler(context.format, layout, rate, context.frame_size or 1024)
            source.pts = place = 0
            for frame in (*resampler.resample(source), *resampler.resample(None)):
                frame.pts, place = place, place + frame.samples
                output.mux(stream.encode(frame))
        for stream in streams:
            output.mux(stream.encode(None))
    return file.getvalue()


def film(num_frames: int = 5) -> bytes:
    """Return an MP4 without sound."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(num_frames):
            output.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        output.mux(stream.encode(None))
    return file.getvalue()


def riff(*chunks: tuple[bytes, bytes], data_size: int | None = None) -> bytes:
    """Return a WAV of these chunks, whose data announces another size if one is given."""
    body = b"WAVE"
    for tag, content in chunks:
        size = data_size if tag == b"data" and data_size is not None else len(content)
        body += tag + struct.pack("<I", size) + content + b"\0" * (len(content) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _mp3_in_wav() -> bytes:
    frames = encode("mp3", "libmp3lame", options=NO_XING)
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, 16000, 6000, 1, 0, 12, 1, 2, 576, 1, 0)
    return riff((b"fmt ", form), (b"data", frames))


NO_XING = {"write_xing": "0", "id3v2_version": "0"}
_FRAGMENTS = {"movflags": "empty_moov+default_base_moof", "frag_duration": "300000"}

MAKERS: dict[str, Callable[[], bytes]] = {
    "wav": lambda: write(voice(16000)),
    "wav u8": lambda: write(voice(16000), subtype="PCM_U8"),
    "wav float": lambda: write(voice(16000), subtype="FLOAT"),
    "wav a-law": lambda: write(voice(8000), 8000, subtype="ALAW"),
    "wav ms adpcm": lambda: write(voice(16000), subtype="MS_ADPCM"),
    "wav gsm": lambda: write(voice(8000), 8000, subtype="GSM610"),
    "wav mp3": _mp3_in_wav,
    "rifx": lambda: write(voice(16000), subtype="PCM_16", endian="BIG"),
    "wavex": lambda: write(voice(16000), container="WAVEX", subtype="PCM_24"),
    "rf64": lambda: write(voice(16000), container="RF64", subtype="PCM_16"),
    "w64": lambda: write(voice(16000), container="W64", subtype="PCM_16"),
    "aiff": lambda: write(voice(16000), container="AIFF", subtype="PCM_16"),
    "aifc": lambda: write(voice(16000), container="AIFF", subtype="FLOAT"),
    "au": lambda: write(voice(16000), container="AU", subtype="PCM_16"),
    "caf": lambda: write(voice(16000), container="CAF", subtype="PCM_16"),
    "caf alac": lambda: write(voice(16000), container="CAF", subtype="ALAC_16"),
    "sphere": lambda: write(voice(16000), container="NIST", subtype="PCM_16"),
    "flac": lambda: write(voice(16000), container="FLAC", subtype="PCM_16"),
    "flac 24": lambda: write(voice(16000), container="FLAC", subtype="PCM_24"),
    "vorbis": lambda: write(voice(16000), container="OGG", subtype="VORBIS"),
    "opus": lambda: write(voice(24000), 24000, container="OGG", subtype="OPUS"),
    "ogg flac": lambda: encode("ogg", "flac"),
    "mp3": lambda: encode("mp3", "libmp3lame"),
    "mp3 without xing": lambda: encode("mp3", "libmp3lame", options=NO_XING),
    "mp2": lambda: encode("mp2", "mp2"),
    "webm": lambda: encode("webm", "libopus", 48000),
    "webm live": lambda: encode("webm", "libopus", 48000, {"live": "1"}),
    "mka": lambda: encode("matroska", "flac"),
    "mp4": lambda: encode("mp4", "aac"),
    "mp4 in fragments": lambda: encode("mp4", "aac", options=_FRAGMENTS),
    "m4a alac": lambda: encode("ipod", "alac"),
    "mov pcm": lambda: encode("mov", "pcm_s16le"),
    "aac": lambda: encode("adts", "aac"),
    "amr": lambda: encode("amr", "libopencore_amrnb", 8000),
    "3gp": lambda: encode("3gp", "libopencore_amrnb", 8000),
    "wma": lambda: encode("asf", "wmav2"),
}


@cache
def make(name: str) -> bytes:
    """Return a recording of about a second."""
    return MAKERS[name]()
