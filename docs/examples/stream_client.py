"""Send audio to `WS /v1/stream` of a SERCT service, and print what it finds.

    python stream_client.py hello.wav
    arecord -f S16_LE -r 16000 -t raw | python stream_client.py - --sample-rate 16000

It needs `pip install websockets` alone. `converse` is what other programs want of it.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, BinaryIO

import websockets


async def converse(
    url: str, start: dict[str, Any], audio: AsyncIterable[bytes]
) -> AsyncIterator[dict[str, Any]]:
    """Send audio and yield the messages of the service, as they come.

    Args:
        url: Of the service, such as ws://127.0.0.1:8000/v1/stream
        start: What session.start says: encoding, sample_rate, mode and so on.
        audio: Binary messages: samples of any number, Opus packets, or parts of a file.

    Raises:
        RuntimeError: If the service refuses the session, or ends it early.
    """
    # Whoever sends faster than the model predicts has to wait, for pongs as well.
    async with websockets.connect(url, ping_interval=None) as socket:

        async def send() -> None:
            try:
                async for part in audio:
                    await socket.send(part)
                await socket.send(json.dumps({"type": "end"}))
            except websockets.ConnectionClosed:
                pass  # the service's last message says why

        await socket.send(json.dumps({"type": "session.start", "version": 1, **start}))
        sending = None
        try:
            async for text in socket:
                message = json.loads(text)
                if message["type"] == "error":
                    raise RuntimeError(f"closed with {message['code']}: {message['reason']}")
                if message["type"] == "session.started":
                    sending = asyncio.create_task(send())
                yield message
                if message["type"] == "session.end":
                    return
            raise RuntimeError("the service ended the session early")
        finally:
            if sending is not None:
                sending.cancel()


async def parts_of(source: BinaryIO, num_bytes: int = 4000) -> AsyncIterator[bytes]:
    """Yield what an open file, or a pipe, gives next."""
    while part := await asyncio.to_thread(source.read1, num_bytes):  # type: ignore[attr-defined]
        yield part


def describe(message: dict[str, Any]) -> str:
    """Return a line about a message."""
    kind = message["type"]
    if kind == "session.started":
        return f"{kind}: {message['model']['name']}, version {message['model']['version']}"
    if kind == "session.end":
        return f"{kind}: {message['utterances']} utterances in {message['duration_s']:.1f} s"
    if kind == "utterance.start":
        return f"{message['start_s']:8.2f} s           {kind}"
    times = f"{message['start_s']:8.2f} to {message['end_s']:.2f} s"
    return f"{times}  {kind}: {message['emotion']} ({message['confidence'] or 0:.0%})"


async def main() -> None:
    """Send the file, or standard input, that the command line names."""
    parser = argparse.ArgumentParser(description="Predict the emotion of each utterance.")
    parser.add_argument("file", help="any audio file; - for samples from standard input")
    parser.add_argument("--url", default="ws://127.0.0.1:8000/v1/stream")
    parser.add_argument("--sample-rate", type=int, help="of samples: 16-bit, mono")
    parser.add_argument("--mode", default="utterances", help="steps, utterances or both")
    parser.add_argument("--adapt", action="store_true", help="adapt to the speaker")
    options = parser.parse_args()
    start = {"mode": options.mode, "adapt": options.adapt}
    if key := os.environ.get("SERCT_API_KEY"):
        start["api_key"] = key
    if options.sample_rate:
        start |= {"encoding": "pcm_s16le", "sample_rate": options.sample_rate}
    else:
        start |= {"encoding": "file"}
    source = sys.stdin.buffer if options.file == "-" else open(options.file, "rb")  # noqa: PTH123, SIM115
    with source:
        async for message in converse(options.url, start, parts_of(source)):
            print(describe(message), flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (OSError, RuntimeError) as error:
        sys.exit(str(error))
