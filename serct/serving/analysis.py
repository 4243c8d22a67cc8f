"""The analysis of several short recordings at once, as one piece of work for a thread."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from serct.data.windows import Frames, Plan
from serct.errors import AudioError
from serct.evaluation.observation import Signal, measure_signal
from serct.inference.recording import RecordingPrediction, conclude
from serct.inference.window_model import WindowModel
from serct.runtime.arrays import Pcm
from serct.serving.decoding.process import DecodedAudio

_Planned = tuple[Pcm, Plan, Signal]


@dataclass(frozen=True)
class Analysis:
    """Does what `serct.Predictor.analyse` does with several recordings.

    Those of requests with an equal one may share a batch.

    Attributes:
        predictor: The model.
    """

    predictor: WindowModel

    def __call__(self, recordings: Sequence[DecodedAudio]) -> list[RecordingPrediction | Exception]:
        """Predict each recording; an AudioError in place of one that cannot be prepared."""
        card, decide = self.predictor.card, self.predictor.decide
        planned = self.plan(recordings)
        usable = [each for each in planned if not isinstance(each, AudioError)]
        found = iter(
            self.predictor.predict_windows(
                pcm[start:end] for pcm, plan, _ in usable for start, end in plan.windows
            )
        )

        def result(audio: DecodedAudio, plan: Plan, signal: Signal) -> RecordingPrediction:
            rows = np.array([next(found) for _ in plan.windows])
            return conclude(plan, rows, card.emotions, decide, audio.notes, signal)

        return [
            each if isinstance(each, AudioError) else result(audio, *each[1:])
            for audio, each in zip(recordings, planned, strict=True)
        ]

    def plan(self, recordings: Sequence[DecodedAudio]) -> list[_Planned | AudioError]:
        """Prepare each recording and plan its windows with speech, or return why it cannot be."""
        prepared = [self._prepare(each) for each in recordings]
        spoken = self._find_speech(
            [
                (pcm, audio.sample_rate)
                for pcm, audio in zip(prepared, recordings, strict=True)
                if not isinstance(pcm, AudioError)
            ]
        )

        def plan(pcm: Pcm, rate: int) -> _Planned:
            frames = next(spoken)
            found = self.predictor.plan(len(pcm), rate, frames)
            _ = found.windows  # computed in this thread, not in that of the event loop
            return pcm, found, measure_signal(pcm, frames, found.sample_rate)

        return [
            pcm if isinstance(pcm, AudioError) else plan(pcm, audio.sample_rate)
            for pcm, audio in zip(prepared, recordings, strict=True)
        ]

    def _prepare(self, audio: DecodedAudio) -> Pcm | AudioError:
        try:
            return self.predictor.prepare(audio.waveform, audio.sample_rate)
        except AudioError as error:
            return error

    def _find_speech(self, prepared: Sequence[tuple[Pcm, int]]) -> Iterator[Frames]:
        """Yield where somebody speaks in each recording, given with its rate before, in Hz."""
        # A row's length says the rate of the model's input, which most models have in common.
        for _, group in groupby(prepared, lambda each: self.predictor.row_s(each[1])):
            same = list(group)
            yield from self.predictor.find_speech_in([pcm for pcm, _ in same], same[0][1])
