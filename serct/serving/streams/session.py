"""One session of live speech: audio comes in, predictions and events go out.

Two tasks share it. One reads messages, decodes them and finds utterances (`StreamInput`); the other
predicts and sends. If the model is late, partial predictions are skipped. Utterances that are
complete wait, and after a few of them the client has to wait too, so that none is lost and memory
is bounded.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from fastapi import WebSocket
from pydantic import BaseModel

from serct.data.decoding.opus_packets import OPUS_RATE_HZ
from serct.inference.recording import RecordingPrediction
from serct.runtime.arrays import Floats
from serct.serving.decoding.process import DecodedAudio
from serct.serving.models import LoadedModel
from serct.serving.predicting import analyse, describe
from serct.serving.state import ServiceState
from serct.serving.streams.audio import AudioSource, open_audio
from serct.serving.streams.input import StreamInput
from serct.serving.streams.messages import (
    POLICY,
    WINDOW_S,
    Final,
    Partial,
    RefusedError,
    SessionEnd,
    SessionStart,
    SessionStarted,
    UtteranceEnd,
    UtterancePartial,
    UtteranceStart,
)
from serct.serving.streams.speaker import StreamSpeaker
from serct.serving.streams.utterances import MAX_UTTERANCE_S, Ended, Started, UtteranceFinder
from serct.serving.streams.windows import AudioBuffer

# A time says which sample it is, at any rate.
_DIGITS = 6


class StreamSession:
    """A session, from its first message to its last."""

    def __init__(
        self,
        state: ServiceState,
        socket: WebSocket,
        start: SessionStart,
        check_access: Callable[[], object],
        speaker: StreamSpeaker,
        pinned: LoadedModel | None,
    ) -> None:
        self._state, self._socket, self._start = state, socket, start
        self._check_access = check_access
        self._speaker, self._pinned = speaker, pinned
        self._input = StreamInput(start)
        self._announced = 0  # the last utterance whose start was sent

    @classmethod
    async def begin(
        cls,
        state: ServiceState,
        socket: WebSocket,
        start: SessionStart,
        check_access: Callable[[], object],
    ) -> Self:
        """Check what a client asks for, before any sound comes.

        Args:
            state: Of the service.
            socket: Of the client.
            start: What it asks for.
            check_access: Called at each message; raises a `RefusedError` once its key is removed.

        Raises:
            HTTPException: If there is no such model or speaker.
            SpeakerError: If the model does not adapt to that speaker.
        """
        enrolled = None
        if start.speaker is not None:
            state.check_speakers()
            enrolled = state.speakers.get(start.speaker)
        speaker = StreamSpeaker(enrolled, adapts=start.adapt, window_s=WINDOW_S)
        pinned = None if start.model is None else await state.model(start.model)
        session = cls(state, socket, start, check_access, speaker, pinned)
        if start.speaker is not None or start.adapt:
            await session._model()
        return session

    async def confirm(self) -> None:
        """Send `session.started`.

        Raises:
            HTTPException: If there is no model yet.
        """
        start, is_pcm = self._start, self._start.encoding.startswith("pcm")
        rate = OPUS_RATE_HZ if start.encoding == "opus" else start.sample_rate
        message = SessionStarted(
            model=describe(await self._model()), encoding=start.encoding, sample_rate=rate,
            channels=start.channels if is_pcm else None, mode=start.mode, hop_s=start.hop_s,
            window_s=WINDOW_S, max_utterance_s=MAX_UTTERANCE_S,
        )  # fmt: skip
        await self._send(message)

    async def run(self) -> None:
        """Serve the session until the client ends it.

        Raises:
            WebSocketDisconnect: If the client leaves before.
            SerctError: If the session cannot go on.
        """
        incoming, idle_s = self._input, self._state.settings.limits.idle_s
        on_failure = incoming.has_news.set
        async with open_audio(self._state, self._start, incoming.add, on_failure) as audio:
            reading = asyncio.create_task(
                incoming.read(self._socket, audio, idle_s, self._check_access)
            )
            try:
                await self._predict_until_done(audio, reading)
            finally:
                reading.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await reading
        if incoming.steps is not None and incoming.num_samples:
            await self._send_step(incoming.steps, is_last=True)

    async def conclude(self) -> None:
        """Send `session.end`."""
        found = self._input
        message = SessionEnd(
            duration_s=round(found.num_samples / found.rate, _DIGITS) if found.rate else 0.0,
            utterances=found.utterances.number if found.utterances else 0,
        )
        await self._send(message)

    async def _predict_until_done(self, audio: AudioSource, reading: "asyncio.Task[None]") -> None:
        incoming = self._input
        while True:
            await incoming.has_news.wait()
            incoming.has_news.clear()
            is_done = reading.done()
            while not incoming.events.empty():
                await self._send_event(incoming.events.get_nowait())
            audio.check()
            if is_done:
                reading.result()
                return
            # Samples that arrive during a prediction belong to the next window.
            if incoming.steps is not None and incoming.steps.is_due:
                await self._send_step(incoming.steps, is_last=False)
            finder = incoming.utterances
            # The start of an utterance comes first, and may still wait.
            if finder is not None and finder.is_due and finder.number == self._announced:
                await self._send_utterance_partial(finder)

    async def _send_event(self, event: Started | Ended) -> None:
        if isinstance(event, Started):
            start_s = self._seconds(event.start)
            await self._send(UtteranceStart(utterance=event.number, start_s=start_s))
            self._announced = event.number
            return
        model, audio, found = await self._predict(event.waveform)
        message = UtteranceEnd(
            **self._describe(model, found, self._seconds(event.start), self._seconds(event.end)),
            utterance=event.number, ended_by=event.ended_by, notes=list(found.notes),
        )  # fmt: skip
        await self._send(message)
        self._state.metrics.drift.observe(model, found)
        await self._speaker.enrol(model, self._state.batcher, audio, found)

    async def _send_utterance_partial(self, finder: UtteranceFinder) -> None:
        number = finder.number
        start, waveform = finder.take(WINDOW_S)
        model, _, found = await self._predict(waveform)
        start_s, end_s = self._seconds(start), self._seconds(start + len(waveform))
        described = self._describe(model, found, start_s, end_s)
        await self._send(UtterancePartial(**described, utterance=number))

    async def _send_step(self, steps: AudioBuffer, *, is_last: bool) -> None:
        start_s, end_s, window = steps.take()
        model, audio, found = await self._predict(window)
        message = Final if is_last else Partial
        described = self._describe(model, found, round(start_s, 3), round(end_s, 3))
        await self._send(message(**described))
        if self._input.utterances is not None:
            return
        # Partial predictions overlap, so that one stream would count as hundreds of recordings.
        if is_last:
            self._state.metrics.drift.observe(model, found)
        else:
            await self._speaker.add(model, self._state.batcher, audio, (start_s, end_s), found)

    async def _model(self) -> LoadedModel:
        """Return the model, for the speaker as enrolled now."""
        return self._speaker.adapt(self._pinned or await self._state.model(None))

    async def _predict(
        self, waveform: Floats
    ) -> tuple[LoadedModel, DecodedAudio, RecordingPrediction]:
        model = await self._model()
        audio = DecodedAudio(waveform, self._rate)
        return model, audio, await analyse(model, self._state.batcher, audio)

    def _describe(
        self, model: LoadedModel, found: RecordingPrediction, start_s: float, end_s: float
    ) -> dict[str, Any]:
        return {
            "start_s": start_s, "end_s": end_s, "emotion": found.emotion,
            "confidence": found.confidence, "probabilities": found.probabilities,
            "analysed_s": found.analysed_s, "speech_s": found.speech_s, "model": describe(model),
            "adaptation": self._speaker.describe(model),
        }  # fmt: skip

    @property
    def _rate(self) -> int:
        assert self._input.rate is not None  # noqa: S101  there are samples
        return self._input.rate

    def _seconds(self, sample: int) -> float:
        return round(sample / self._rate, _DIGITS)

    async def _send(self, message: BaseModel) -> None:
        idle_s = self._state.settings.limits.idle_s
        try:
            async with asyncio.timeout(idle_s):
                await self._socket.send_json(message.model_dump(mode="json"))
        except TimeoutError as error:
            raise RefusedError(POLICY, f"no message was read for {idle_s:g} s") from error
