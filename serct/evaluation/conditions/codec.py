"""Codec: encoded at a low bit rate and decoded again, as on the way through the internet."""

import io
from typing import Literal

import numpy as np

from serct.config.section import Positive, Section
from serct.data.preparing import resample
from serct.evaluation.conditions import Scene, fit_length
from serct.runtime.arrays import Floats

CodecName = Literal["opus", "mp3"]
# FFmpeg's names of the encoder and of the file, and what the report says.
_ENCODERS = {"opus": ("libopus", "ogg", "Opus"), "mp3": ("libmp3lame", "mp3", "MP3")}
# Both take it, and neither keeps more than 8 kHz at a low bit rate.
_RATE_HZ = 16_000


class CodecParams(Section):
    """The encoder, and the bit rate that it is asked for."""

    codec: CodecName
    kbit_s: Positive


PARAMS = CodecParams


def describe(params: CodecParams) -> str:
    """See `Condition`."""
    return f"{_ENCODERS[params.codec][2]}, {params.kbit_s:g} kbit/s"


def apply(waveform: Floats, params: CodecParams, sample_rate_hz: int, scene: Scene) -> Floats:
    """See `Condition`; the bit rate of what was encoded is measured."""
    decoded, num_bytes = send(waveform, sample_rate_hz, params.codec, params.kbit_s)
    scene.measured["kbit/s"] = num_bytes * 8 / 1000 / (len(waveform) / sample_rate_hz)
    return decoded


def send(
    waveform: Floats, sample_rate_hz: int, codec: CodecName, kbit_s: float
) -> tuple[Floats, int]:
    """Encode and decode a recording.

    The file says how much the encoder put in front and behind, so what comes back begins and ends
    with the recording.

    Args:
        waveform: float32 [N]
        sample_rate_hz: Of the waveform.
        codec: Which encoder.
        kbit_s: What it is asked for; bit rates vary with the sound.

    Returns:
        float32 [N], and the bytes of all packets, without the file's own.
    """
    encoder, container, _ = _ENCODERS[codec]
    at_rate = resample(waveform, sample_rate_hz, _RATE_HZ, "soxr")
    at_rate = fit_length(at_rate, max(1, len(at_rate)))
    file, num_bytes = _encode(at_rate, encoder, container, round(kbit_s * 1000))
    decoded = fit_length(_decode(file, container), len(at_rate))
    return fit_length(resample(decoded, _RATE_HZ, sample_rate_hz, "soxr"), len(waveform)), num_bytes


def _encode(waveform: Floats, encoder: str, container: str, bit_s: int) -> tuple[io.BytesIO, int]:
    """Return a file of a waveform at 16 kHz, and the bytes of its packets."""
    import av
    from av.audio.stream import AudioStream

    file, num_bytes = io.BytesIO(), 0
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(waveform[None]), format="fltp", layout="mono"
    )
    frame.sample_rate = _RATE_HZ
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(encoder, rate=_RATE_HZ, layout="mono")
        assert isinstance(stream, AudioStream)  # noqa: S101  both encoders are of audio
        stream.bit_rate = bit_s
        assert stream.format is not None  # noqa: S101  an encoder's always is
        converter = av.AudioResampler(stream.format.name, "mono", _RATE_HZ)
        frames = [*converter.resample(frame), *converter.resample(None), None]
        for each in frames:
            for packet in stream.encode(each):
                num_bytes += packet.size
                output.mux(packet)
    file.seek(0)
    return file, num_bytes


def _decode(file: io.BytesIO, container: str) -> Floats:
    """Return the waveform in a file at 16 kHz; Opus decodes to 48 kHz."""
    import av

    pieces = []
    converter = av.AudioResampler("fltp", "mono", _RATE_HZ)
    with av.open(file, "r", format=container) as source:
        for frame in [*source.decode(audio=0), None]:
            pieces += [each.to_ndarray()[0] for each in converter.resample(frame)]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
