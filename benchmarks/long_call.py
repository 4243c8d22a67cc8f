"""A long recording through /v1/segments: when the first lines come, time, memory.

    python benchmarks/long_call.py MODEL CORPUS... --hours 2 --out FILE

MODEL is a model's folder. Recordings of the folders CORPUS, in random order with pauses between
them, make the call: 16 kHz, 16 bits. It is sent as fast as the service takes it, once as wav and
once as m4a.
"""

import argparse
import asyncio
import json
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import av
import numpy as np
import psutil
import soundfile
from servers import process_of, serct_serve

from serct.data.audio import Limits, read_recording
from serct.data.preparing import resample, to_pcm16
from serct.runtime import machine
from serct.runtime.arrays import Pcm
from serct.runtime.atomic import write_json

RATE = 16_000
SUFFIXES = (".wav", ".flac")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("corpora", type=Path, nargs="+", metavar="CORPUS")
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    results: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": vars(machine.machine()),
        "commit": machine.git_commit(),
        "model": arguments.model.name,
        "hours": arguments.hours,
    }
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "call.wav"
        write_call(wav, arguments.corpora, arguments.hours * 3600)
        for file in (wav, as_m4a(wav)):
            with serct_serve("--model", str(arguments.model)) as url:
                results[file.suffix[1:]] = measure(url, file)
    write_json(arguments.out, results)
    print(json.dumps(results, indent=2))


def write_call(path: Path, corpora: list[Path], seconds: float) -> None:
    files = sorted(file for each in corpora for file in each.rglob("*") if file.suffix in SUFFIXES)
    choose = random.Random(3)
    rng = np.random.default_rng(3)
    limits = Limits(silence_peak=None, max_duration_s=60.0)
    with soundfile.SoundFile(path, "w", RATE, 1) as call:
        while call.tell() < seconds * RATE:
            found = read_recording(choose.choice(files), limits)
            call.write(to_pcm16(resample(found.waveform, found.sample_rate, RATE, "soxr")))
            pause: Pcm = to_pcm16(rng.normal(0, 1e-4, round(choose.uniform(0.3, 2.0) * RATE)))
            call.write(pause)


def as_m4a(wav: Path) -> Path:
    """Write the same as FFmpeg makes it for phones: AAC, its table of samples at the end."""
    m4a = wav.with_suffix(".m4a")
    with av.open(str(m4a), "w", format="ipod") as output:
        stream = output.add_stream("aac", rate=RATE, layout="mono")
        for frames in soundfile.blocks(wav, RATE, dtype="float32"):
            frame = av.AudioFrame.from_ndarray(frames[None], format="fltp", layout="mono")
            frame.sample_rate = RATE
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return m4a


def measure(url: str, file: Path) -> dict[str, Any]:
    process = psutil.Process(process_of(url))
    before, peak, is_done = memory_mb(process), [0.0], threading.Event()

    def watch() -> None:
        while not is_done.wait(0.2):
            peak[0] = max(peak[0], memory_mb(process))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        found = asyncio.run(send(f"{url}/v1/segments?format=ndjson", file))
    finally:
        is_done.set()
        watching.join()
    return {
        "file_mb": round(file.stat().st_size / 1e6, 1),
        **found,
        "memory_before_mb": round(before),
        "memory_peak_mb": round(peak[0]),
    }


async def send(url: str, file: Path) -> dict[str, Any]:
    """Return when the first line of each type came, and how many there were."""
    first: dict[str, float] = {}
    counts: dict[str, int] = {}
    started = time.perf_counter()
    timeout = aiohttp.ClientTimeout(total=None)
    # Lines are read while the file is sent.
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(url, data=parts(file)) as answer,
    ):
        answer.raise_for_status()
        async for line in answer.content:
            event = json.loads(line)
            first.setdefault(event["type"], round(time.perf_counter() - started, 2))
            counts[event["type"]] = counts.get(event["type"], 0) + 1
    return {
        "first_step_s": first["step"],
        "first_segment_s": first["segment"],
        "total_s": round(time.perf_counter() - started, 1),
        "duration_s": event["duration_s"],
        "lines": counts,
    }


def parts(file: Path) -> Any:
    async def read() -> Any:
        with file.open("rb") as opened:
            while content := opened.read(2**16):
                yield content

    return read()


def memory_mb(process: psutil.Process) -> float:
    """Memory of the service and its decoders, without what they share."""
    return sum(each.memory_full_info().uss / 1e6 for each in running(process))


def running(process: psutil.Process) -> Iterator[psutil.Process]:
    for each in (process, *process.children(recursive=True)):
        if each.is_running() and each.status() != psutil.STATUS_ZOMBIE:
            yield each


if __name__ == "__main__":
    main()
