"""The audio of a stream: from binary messages in the declared encoding to one waveform."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import numpy as np

from serct.data.decoding.level import Level, Mixing
from serct.errors import AudioError
from serct.runtime.arrays import PCM_SCALE, Floats
from serct.serving.decoding.process import DecodingStream
from serct.serving.state import ServiceState
from serct.serving.streams.format import StreamFormat
from serct.serving.streams.messages import SessionStart

# Takes the next samples, float32 [n], and their rate; waits while there is too much to do.
Sink = Callable[[Floats, int], Awaitable[None]]
_DTYPES = {"pcm_s16le": "<i2", "pcm_f32le": "<f4"}
_NAMES = {"pcm_s16le": "raw 16-bit samples", "pcm_f32le": "raw 32-bit floats"}


class AudioSource(Protocol):
    """Takes the binary messages of a stream and gives their samples to a sink."""

    async def write(self, message: bytes) -> None:
        """Take the next message.

        Raises:
            AudioError: If it cannot be what was declared.
        """

    async def end(self) -> None:
        """Give what is left to the sink: no message follows.

        Raises:
            AudioError: If there is no audio in what came.
        """

    def check(self) -> None:
        """Check that nothing failed since the last call.

        Raises:
            AudioError: If the messages so far are not usable audio.
        """


class LiveMixer:
    """Mixes the channels of a stream.

    The mean is taken, or one channel where those so far cancel each other.
    """

    def __init__(self) -> None:
        self._level = Level()

    def apply(self, frames: Floats) -> Floats:
        """Return the next frames as the waveform. float32 [n, channels] -> float32 [n].

        Raises:
            AudioError: If a sample of several channels is not finite.
        """
        if frames.shape[1] == 1 or not len(frames):
            return Mixing().apply(frames)
        self._level.add(frames)
        return Mixing(self._level.channel()).apply(frames)


class SampleReader:
    """Reads interleaved little-endian samples from messages of any size.

    Samples that are split between two messages are joined, channels mixed.
    """

    def __init__(self, encoding: str, channels: int = 1) -> None:
        self._encoding = encoding
        self._dtype = np.dtype(_DTYPES[encoding])
        self._channels = channels
        self._format = StreamFormat(are_mono_16_bit=encoding == "pcm_s16le" and channels == 1)
        self._mixer = LiveMixer()
        self._rest = b""

    def read(self, message: bytes) -> Floats:
        """Return the samples that a message completes, mono, full scale = 1. float32 [n].

        Raises:
            AudioError: If the stream is something else.
        """
        self._format.add(message)
        if self._format.found:
            raise AudioError(f"expected {_NAMES[self._encoding]}, found {self._format.found}")
        message = self._rest + message
        size = self._dtype.itemsize * self._channels
        whole = len(message) // size * size
        frames = np.frombuffer(message[:whole], self._dtype).reshape(-1, self._channels)
        self._rest = message[whole:]
        waveform = self._mixer.apply(frames.astype(np.float32))
        return waveform / np.float32(PCM_SCALE) if self._dtype.kind == "i" else waveform


class RawSamples:
    """A stream of samples: nothing has to be decoded."""

    def __init__(self, start: SessionStart, sink: Sink) -> None:
        assert start.sample_rate is not None  # noqa: S101  `SessionStart` checks it
        self._rate = start.sample_rate
        self._reader = SampleReader(start.encoding, start.channels)
        self._sink = sink

    async def write(self, message: bytes) -> None:
        """See `AudioSource`."""
        await self._sink(self._reader.read(message), self._rate)

    async def end(self) -> None:
        """See `AudioSource`."""

    def check(self) -> None:
        """See `AudioSource`."""


class EncodedAudio:
    """A stream that a process of its own decodes: packets of Opus, or the parts of a file."""

    def __init__(self, decoding: DecodingStream, sink: Sink, max_bytes: float) -> None:
        """Begin to decode.

        Args:
            decoding: Of the process.
            sink: Gets the samples.
            max_bytes: Longest stream; the process may keep all that arrived.
        """
        self._decoding, self._sink = decoding, sink
        self._max_bytes, self._num_bytes = max_bytes, 0
        self.task = asyncio.create_task(self._pass_on())

    async def _pass_on(self) -> None:
        mixer = LiveMixer()
        async for block in self._decoding:
            await self._sink(mixer.apply(block.frames), block.sample_rate)

    async def write(self, message: bytes) -> None:
        """See `AudioSource`."""
        self.check()
        self._num_bytes += len(message)
        if self._num_bytes > self._max_bytes:
            raise AudioError(f"more than {self._max_bytes / 1e6:g} MB, expected fewer")
        await self._decoding.write(message)

    async def end(self) -> None:
        """See `AudioSource`."""
        if self._num_bytes == 0:
            self.task.cancel()
            return
        await self._decoding.end()
        await self.task

    def check(self) -> None:
        """See `AudioSource`."""
        if self.task.done() and not self.task.cancelled():
            self.task.result()


@asynccontextmanager
async def open_audio(
    state: ServiceState, start: SessionStart, sink: Sink, on_failure: Callable[[], None]
) -> AsyncIterator[AudioSource]:
    """Open the audio of a session.

    Args:
        state: Has the processes that decode.
        start: What the client declared.
        sink: Gets the samples.
        on_failure: Called when `AudioSource.check` may have something to say.

    Raises:
        AudioError: If the block fails since the audio is not usable.
    """
    if start.encoding != "file" and start.encoding != "opus":
        yield RawSamples(start, sink)
        return
    limits = state.settings.limits
    decoders = state.stream_decoders
    async with decoders.open_stream("stream", start.encoding, limits.max_recording_s) as decoding:
        audio = EncodedAudio(decoding, sink, 1e6 * limits.max_call_mb)
        audio.task.add_done_callback(lambda _: on_failure())
        try:
            yield audio
        finally:
            audio.task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await audio.task
