"""What comes in during a session: messages, their samples, steps and utterances in them."""

import asyncio
from collections.abc import Callable

import numpy as np
from fastapi import WebSocket

from serct.data.decoding.source import check_rate
from serct.errors import AudioError
from serct.runtime.arrays import Floats
from serct.serving.streams.audio import AudioSource
from serct.serving.streams.messages import WRONG_DATA, RefusedError, SessionStart, is_end, receive
from serct.serving.streams.utterances import Ended, Started, UtteranceFinder
from serct.serving.streams.windows import AudioBuffer

# Events that wait for the model, at most: with the current one, three utterances.
_MAX_EVENTS = 4
# Voice activity of that much audio takes a millisecond or two of the event loop.
_PIECE_S = 0.5


class StreamInput:
    """The samples of a session, and what was found in them.

    Attributes:
        has_news: Set when there may be something to predict, or the end.
        events: Beginnings and ends of utterances, in order.
        rate: Of the samples, in Hz; None until the first ones come.
        num_samples: So far.
        steps: The window for steps; None in mode utterances, and until the first samples come.
        utterances: Finds them; None in mode steps, and until the first samples come.
    """

    def __init__(self, start: SessionStart) -> None:
        self._start = start
        self.has_news = asyncio.Event()
        self.events: asyncio.Queue[Started | Ended] = asyncio.Queue(_MAX_EVENTS)
        self.rate: int | None = None
        self.num_samples = 0
        self.steps: AudioBuffer | None = None
        self.utterances: UtteranceFinder | None = None

    async def read(
        self,
        socket: WebSocket,
        audio: AudioSource,
        idle_s: float,
        check_access: Callable[[], object],
    ) -> None:
        """Pass messages to the audio until the client ends the stream.

        Args:
            socket: Of the client.
            audio: Gives their samples to `add`.
            idle_s: Longest wait for a message, in s.
            check_access: Called at each message.

        Raises:
            WebSocketDisconnect: If the client leaves.
            RefusedError: If it sends something else, or nothing, or may not go on.
            AudioError: If what it sends is not usable audio.
        """
        try:
            while True:
                message = await receive(socket, idle_s, "message")
                check_access()
                if message.get("bytes") is not None:
                    await audio.write(message["bytes"])
                elif is_end(message.get("text") or ""):
                    break
                else:
                    raise RefusedError(WRONG_DATA, 'expected binary samples or {"type": "end"}')
            await audio.end()
            if self.utterances is not None:
                for event in self.utterances.end():
                    await self._put(event)
        finally:
            self.has_news.set()

    async def add(self, waveform: Floats, rate: int) -> None:
        """Take the next samples; wait while too many utterances wait for the model.

        Args:
            waveform: Mono, full scale = 1. float32 [n]
            rate: In Hz.

        Raises:
            AudioError: If no recording has that rate, it changes, or a sample is not finite.
        """
        if self.rate is None:
            self._open(rate)
        elif rate != self.rate:
            raise AudioError(f"the sample rate changes from {self.rate} to {rate} Hz")
        # Voice activity would find no speech ever after.
        if not np.isfinite(waveform).all():
            raise AudioError("holds NaN or infinite samples")
        self.num_samples += len(waveform)
        if self.steps is not None:
            self.steps.add(waveform)
            if self.steps.is_due:
                self.has_news.set()
        if self.utterances is not None:
            length = round(_PIECE_S * rate)
            for first in range(0, len(waveform), length):
                for event in self.utterances.add(waveform[first : first + length]):
                    await self._put(event)
                if self.utterances.current is not None:
                    self.has_news.set()
                await asyncio.sleep(0)  # let others work

    def _open(self, rate: int) -> None:
        check_rate(rate)
        self.rate = rate
        if self._start.mode != "utterances":
            self.steps = AudioBuffer(rate, self._start.hop_s)
        if self._start.mode != "steps":
            self.utterances = UtteranceFinder(rate, self._start.hop_s)

    async def _put(self, event: Started | Ended) -> None:
        await self.events.put(event)
        self.has_news.set()
