"""Where the processor time of a request goes: step by step alone, and by thread in the service.

    python benchmarks/request_cost.py --clip hello.wav --out FILE MODEL...

MODEL is a model's folder. Processor time, unlike the clock, hardly depends on what else runs.
"""

import argparse
import asyncio
import io
import json
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from load import Usage, form, saturate
from servers import process_of, serct_serve

from serct import Predictor
from serct.inference.recording import conclude
from serct.inference.serving_form import serving_form
from serct.runtime import machine
from serct.runtime.atomic import write_json
from serct.serving.decoding.decoder import decode

TOGETHER = 8
_TIMES = 50
_SERVED_S = 5.0
_WARM_S = 2.0
_LONGEST_S = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    content = arguments.clip.read_bytes()
    machine.share_threads(machine.num_threads())  # a thread each, as the workers of the service
    results = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": vars(machine.machine()),
        "commit": machine.git_commit(),
        "together": TOGETHER,
        "models": [measure(folder, content) for folder in arguments.models],
    }
    write_json(arguments.out, results)
    print(json.dumps(results, indent=2))


def measure(folder: Path, content: bytes) -> dict[str, Any]:
    predictor = Predictor.load(serving_form(folder, "cpu"))
    return {
        "model": predictor.card.name,
        "alone_ms": alone(predictor, content),
        "served_ms": served(folder, content),
    }


def alone(predictor: Predictor, content: bytes) -> dict[str, float]:
    """Measure each step by itself; those of several recordings for each of them."""
    audio = decode(io.BytesIO(content), "clip", _LONGEST_S)
    waveform, rate = audio.waveform, audio.sample_rate
    pcm = predictor.prepare(waveform, rate)
    several = [pcm] * TOGETHER
    frames = predictor.find_speech([pcm], rate)
    plan = predictor.plan(len(pcm), rate, frames)
    windows = [pcm[start:end] for start, end in plan.windows]
    assert windows, "nobody speaks in the clip"
    found = predictor.predict_windows(windows)
    card = predictor.card
    return {
        "decode and check": _cpu_ms(lambda: decode(io.BytesIO(content), "clip", _LONGEST_S)),
        "check and resample": _cpu_ms(lambda: predictor.prepare(waveform, rate)),
        "voice activity": _cpu_ms(lambda: predictor.find_speech([pcm], rate)),
        f"voice activity, {TOGETHER} together": _cpu_ms(
            lambda: predictor.find_speech_in(several, rate), TOGETHER
        ),
        "model": _cpu_ms(lambda: predictor.predict_windows(windows)),
        f"model, {TOGETHER} together": _cpu_ms(
            lambda: predictor.predict_windows(windows * TOGETHER), TOGETHER
        ),
        "plan and conclude": _cpu_ms(
            lambda: conclude(
                predictor.plan(len(pcm), rate, frames), found, card.emotions, predictor.decide
            )
        ),
    }


def served(folder: Path, content: bytes) -> dict[str, dict[str, float]]:
    """Measure the service's threads and its decoders at one and at 16 clients, for a request."""
    results = {}
    with serct_serve("--model", str(folder)) as url:
        pid = process_of(url)

        def send(clients: int, seconds: float) -> float:
            post = saturate(
                lambda s: s.post(f"{url}/v1/predict", data=form(content)), clients, seconds
            )
            return asyncio.run(post)["requests"]

        send(16, _WARM_S)
        for clients in (1, 16):
            before = _by_thread(pid)
            requests = send(clients, _SERVED_S)
            spent = {
                name: 1000 * (after - before.get(name, 0.0)) / requests
                for name, after in _by_thread(pid).items()
            }
            results[str(clients)] = {name: spent[name] for name in sorted(spent)}
    return results


def _by_thread(pid: int) -> dict[str, float]:
    """Return the processor time so far, in s, of each kind of thread and of the decoders."""
    process = psutil.Process(pid)
    threads = process.threads()
    workers = sorted((t for t in threads if t.id != pid), key=lambda t: t.user_time + t.system_time)
    num_workers = machine.num_threads()
    spent: dict[str, float] = defaultdict(float)
    for thread in threads:
        # The workers of the model are those that compute by far the most.
        is_worker = thread in workers[-num_workers:]
        kind = "event loop" if thread.id == pid else "workers" if is_worker else "other threads"
        spent[kind] += thread.user_time + thread.system_time
    spent["decoders"] = Usage(pid).cpu_s() - sum(process.cpu_times()[:2])
    return spent


def _cpu_ms(work: Callable[[], object], per: int = 1) -> float:
    """Return the processor time of a call in ms, divided by how many recordings it is for."""
    for _ in range(3):
        work()
    started = time.process_time()
    for _ in range(_TIMES):
        work()
    return 1000 * (time.process_time() - started) / _TIMES / per


if __name__ == "__main__":
    main()
