"""One long recording: decoded while it arrives, predicted while it is decoded."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeAlias

import anyio
import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from serct.errors import AudioError
from serct.inference.arriving import ArrivingAnalysis
from serct.inference.recording import RecordingPrediction, TimedPrediction, joined
from serct.runtime.arrays import Floats
from serct.serving import predicting
from serct.serving.calls.body import Body
from serct.serving.calls.events import Event, Part, Progress, Result, Start
from serct.serving.calls.mixing import ArrivingMixer
from serct.serving.decoding.process import DecodingStream
from serct.serving.models import LoadedModel
from serct.serving.state import ServiceState

Emit: TypeAlias = Callable[[Event], Awaitable[None]]
# Of one recording, so that other requests are served between them, and steps come soon.
_WINDOWS_AT_ONCE = 8
_PROGRESS_S = 1.0
_MOST_CHANNELS = 8


class Call:
    """A recording on its way.

    Its body is taken in as fast as it comes, to the disk of this machine, however slowly the model
    is or the client reads; the samples wait there until they are predicted.

    Attributes:
        is_separate: Whether each channel is predicted by itself.
        found: The prediction for each channel, or for the mix of them; complete after `run`.
    """

    def __init__(
        self,
        state: ServiceState,
        model: LoadedModel,
        body: Body,
        timing_s: Callable[[float], tuple[float, float] | None],
        *,
        is_separate: bool,
    ) -> None:
        """Create a call.

        Args:
            state: The service.
            model: Predicts it.
            body: None of it was read.
            timing_s: Returns length of windows and steps for rows of a length, all in s.
            is_separate: Whether each channel is predicted by itself.
        """
        self.found: list[RecordingPrediction] = []
        self.body, self.model = body, model
        self._state, self._timing_s, self.is_separate = state, timing_s, is_separate
        self._tracks: list[_Track] = []
        self._failure: Exception | None = None
        self._decoded_s, self._reported = 0.0, time.monotonic()

    async def run(self, emit: Emit) -> None:
        """Predict it to its end, and hand over every event but a failure.

        Raises:
            AudioError: If it is not usable audio.
            HTTPException: If the body, or a parameter, is not what was expected.
            ClientDisconnect: If the client leaves.
            SerctError: If the decoder or the model fails.
        """
        limits, parts = self._state.settings.limits, self.body.parts()
        first = await anext(parts, b"")
        name = self.body.name  # which stands in front of the file
        if not first:
            raise AudioError(f"{name}: the file is empty")
        with anyio.CancelScope() as scope:
            async with self._state.stream_decoders.open_stream(
                name, max_duration_s=limits.max_recording_s
            ) as decoding:
                feeding = asyncio.create_task(self._feed(decoding, first, parts, scope))
                try:
                    # Its last block comes after the end of the body.
                    await self._predict(decoding, emit)
                finally:
                    feeding.cancel()
        if self._failure is not None:
            raise self._failure

    async def _feed(
        self, decoding: DecodingStream, first: bytes, parts: AsyncIterator[bytes],
        scope: anyio.CancelScope,
    ) -> None:  # fmt: skip
        """Hand the body to the decoder; whatever goes wrong with it ends the call."""
        try:
            await decoding.write(first)
            async for part in parts:
                await decoding.write(part)
            await decoding.end()
            await self.body.wait_for_disconnect()
            raise ClientDisconnect
        except Exception as error:  # who decodes would wait for ever
            self._failure = error
            scope.cancel()

    async def _predict(self, decoding: DecodingStream, emit: Emit) -> None:
        mixer: ArrivingMixer | None = None
        async for block in decoding:
            if mixer is None:
                mixer = await self._begin(block.sample_rate, block.frames.shape[1], emit)
            self._decoded_s += len(block.frames) / block.sample_rate
            with self._labelled():
                waveforms = mixer.add(block.frames)
            await self._add(waveforms, emit)
            await self._report(emit)
        assert mixer is not None  # noqa: S101  without a sample the decoder reports a problem
        with self._labelled():
            waveforms = mixer.end()
        await self._add(waveforms, emit)
        for number, track in enumerate(self._tracks):
            await anyio.to_thread.run_sync(track.analysis.end)
            await self._take(track, emit)
            await track.end(emit)
            notes = (*decoding.notes, *mixer.notes(number))
            found = await anyio.to_thread.run_sync(track.analysis.conclude, notes)
            self.found.append(found)
            self._state.metrics.drift.observe(self.model, found)
            plain = predicting.prediction(self.body.name, found).model_dump()
            await emit(Result(channel=track.channel, **plain))

    @contextmanager
    def _labelled(self) -> Iterator[None]:
        """Let errors of the samples begin with the file's name, as those of decoders do."""
        try:
            yield
        except AudioError as error:
            raise AudioError(f"{self.body.name}: {error}") from error

    async def _begin(self, sample_rate: int, num_channels: int, emit: Emit) -> ArrivingMixer:
        if self.is_separate and num_channels > _MOST_CHANNELS:
            raise HTTPException(
                422, f"{num_channels} channels, expected at most {_MOST_CHANNELS} to separate"
            )
        mixer = ArrivingMixer(sample_rate, num_channels, is_separate=self.is_separate)
        predictor = self.model.predictor
        timing_s = self._timing_s(predictor.row_s(sample_rate))
        try:
            self._tracks = [
                _Track(
                    ArrivingAnalysis(predictor, sample_rate, timing_s),
                    number + 1 if self.is_separate else None,
                )
                for number in range(mixer.num_waveforms)
            ]
            timing = predictor.timing(sample_rate, timing_s)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        rate = predictor.model_rate(sample_rate)
        await emit(
            Start(
                file=self.body.name, model=predicting.describe(self.model),
                adaptation=predicting.describe_adaptation(self.model),
                channels=mixer.num_waveforms, window_s=timing.window / rate,
                hop_s=timing.hop / rate,
            )
        )  # fmt: skip
        return mixer

    async def _add(self, waveforms: Sequence[Floats], emit: Emit) -> None:
        for track, waveform in zip(self._tracks, waveforms, strict=bool(waveforms)):
            await anyio.to_thread.run_sync(track.analysis.add, waveform)
            await self._take(track, emit)

    async def _take(self, track: "_Track", emit: Emit) -> None:
        """Predict the windows that are ready, and tell which steps are final."""
        predict = self.model.predictor.predict_prepared
        while windows := track.analysis.take_windows(_WINDOWS_AT_ONCE):
            found = await self._state.batcher.compute(predict, windows)
            await track.add(track.analysis.put(np.array(found)), emit)
            await self._report(emit)
        await track.add(track.analysis.put(np.empty((0, 0))), emit)

    async def _report(self, emit: Emit) -> None:
        if time.monotonic() - self._reported < _PROGRESS_S:
            return
        self._reported = time.monotonic()
        await emit(
            Progress(
                received_bytes=self.body.size, announced_bytes=self.body.announced,
                decoded_s=round(self._decoded_s, 3),
                predicted_s=min(track.reached_s for track in self._tracks),
            )
        )  # fmt: skip


class _Track:
    """The timeline of one waveform as far as it is final."""

    def __init__(self, analysis: ArrivingAnalysis, channel: int | None) -> None:
        self.analysis, self.channel = analysis, channel
        self.reached_s = 0.0
        self._open: list[TimedPrediction] = []

    async def add(self, steps: Sequence[TimedPrediction], emit: Emit) -> None:
        for step in steps:
            self.reached_s = step.end_s
            if self._open and self._open[0].emotion != step.emotion:
                await self.end(emit)
            self._open.append(step)
            await self._emit("step", step, emit)

    async def end(self, emit: Emit) -> None:
        """Tell the segment that ends here."""
        segment, self._open = joined(self._open), []
        await self._emit("segment", segment, emit)

    async def _emit(
        self, kind: Literal["step", "segment"], part: TimedPrediction, emit: Emit
    ) -> None:
        plain = predicting.timed(part).model_dump()
        await emit(Part(type=kind, channel=self.channel, **plain))
