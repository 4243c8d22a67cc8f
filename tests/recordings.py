"""Tiny recordings on disk, as readers and checks meet them."""

import struct
import zlib

import numpy as np
import soundfile


def write_recording(path, rate=16000, channels=1, audio_format=None, seconds=0.05):
    """Write noise that differs from name to name; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(zlib.crc32(path.stem.encode()))
    samples = random.integers(-9000, 9000, (round(rate * seconds), channels), dtype=np.int16)
    audio_format = audio_format or ("FLAC" if path.suffix == ".flac" else "WAV")
    with path.open("wb") as file:
        soundfile.write(file, samples, rate, format=audio_format, subtype="PCM_16")
    return path


def insert_chunk(path, tag=b"FLLR", num_bytes=4044):
    """Put a chunk that means nothing before a wav's samples, as some recorders do."""
    data = path.read_bytes()
    start = data.index(b"data")
    chunk = tag + struct.pack("<I", num_bytes) + b"\0" * num_bytes
    riff_size = struct.pack("<I", len(data) - 8 + len(chunk))
    path.write_bytes(data[:4] + riff_size + data[8:start] + chunk + data[start:])
