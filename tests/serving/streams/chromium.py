"""Chromium without a window, driven by its own protocol, for tests of pages."""

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import soundfile
import websockets


class Page:
    """One page of a running browser."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self._socket = socket
        self._numbers = count(1)

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the Chrome DevTools Protocol."""
        number = next(self._numbers)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        async for text in self._socket:
            message = json.loads(text)
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])
        raise AssertionError("the browser closed")

    async def open(self, address: str) -> None:
        await self.call("Page.navigate", url=address)
        await self.wait_for(f"location.href == {address!r} && document.readyState == 'complete'")

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript, as if a user had done something."""
        found = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True,
            userGesture=True,
        )  # fmt: skip
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def wait_for(self, expression: str, seconds: float = 30) -> Any:
        """Wait until an expression is true; return its value."""
        deadline = time.monotonic() + seconds
        while not (value := await self.evaluate(expression)):
            assert time.monotonic() < deadline, await self.evaluate("document.body.innerText")
            await asyncio.sleep(0.05)
        return value


def microphone(folder: Path, recording: Path) -> tuple[str, ...]:
    """Return options for a microphone that plays a second of a recording and one of silence."""
    samples, rate = soundfile.read(recording)
    played = folder / "microphone.wav"
    soundfile.write(played, np.concatenate([samples[:rate], np.zeros(rate)]), rate)
    return (
        "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={played}",
        "--autoplay-policy=no-user-gesture-required",
    )  # fmt: skip


@asynccontextmanager
async def chromium(folder: Path, *options: str) -> AsyncIterator[Page]:
    """Start Chromium with an empty page; its files go to a folder. Skips without Chromium."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed")
    command: Sequence[str] = [
        program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--remote-debugging-port=0", f"--user-data-dir={folder}", *options, "about:blank",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port_file, deadline = folder / "DevToolsActivePort", time.monotonic() + 30
        while not (port_file.exists() and port_file.read_text().strip()):
            assert process.poll() is None
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        port = port_file.read_text().split()[0]
        targets = requests.get(f"http://127.0.0.1:{port}/json", timeout=10).json()
        (address,) = (each["webSocketDebuggerUrl"] for each in targets if each["type"] == "page")
        async with websockets.connect(address, max_size=None) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        process.wait(30)
