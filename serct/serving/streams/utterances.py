"""Utterances of a stream: where they begin and end, by voice activity, and their samples.

Times are counted in frames of 32 ms from the start of the stream, so that each is a whole number of
milliseconds.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from serct.data.voice_activity import FRAME_S
from serct.data.windows import LEAST_SPEECH_S
from serct.runtime.arrays import Floats
from serct.serving.streams.speech import SpeechProbabilities

EndedBy = Literal["silence", "length", "stream"]

# Within speech the network is unsure for some frames: what has begun goes on until it is less
# probable. Source: `VADIterator` of Silero VAD.
_BEGINS_FROM, _GOES_ON_FROM = 0.5, 0.35
# Enough speech for a prediction: 7 frames.
_LEAST_FRAMES = math.ceil(LEAST_SPEECH_S / FRAME_S)
# A longer pause before there is that much speech: it was a click.
_MAX_GAP_FRAMES = 6
# Sounds begin softly before and end softly behind what the network finds: 0.19 s.
_PAD_FRAMES = 6
# 0.61 s: longer than most pauses within a sentence.
_PAUSE_FRAMES = 19
# 30 s.
MAX_FRAMES = 938
MAX_UTTERANCE_S = round(MAX_FRAMES * FRAME_S, 3)


@dataclass(frozen=True)
class Started:
    """An utterance began.

    Attributes:
        number: From 1.
        start: In samples from the start of the stream.
    """

    number: int
    start: int


@dataclass(frozen=True, eq=False)
class Ended:
    """An utterance is complete.

    Attributes:
        number: From 1.
        start: In samples from the start of the stream.
        waveform: float32 [N]
        ended_by: Why it ended.
    """

    number: int
    start: int
    waveform: Floats
    ended_by: EndedBy

    @property
    def end(self) -> int:
        """In samples from the start of the stream."""
        return self.start + len(self.waveform)


class SampleQueue:
    """The samples of a stream that may still be needed."""

    def __init__(self) -> None:
        self._blocks: deque[Floats] = deque()
        self._start = 0
        self.end = 0

    def add(self, waveform: Floats) -> None:
        """Add the next samples, float32 [n]."""
        self._blocks.append(waveform)
        self.end += len(waveform)

    def drop_before(self, sample: int) -> None:
        """Forget whole blocks before a sample."""
        while self._blocks and self._start + len(self._blocks[0]) <= sample:
            self._start += len(self._blocks.popleft())

    def cut(self, start: int, end: int) -> Floats:
        """Return samples that were not dropped. float32 [end - start]."""
        parts, place = [], self._start
        for block in self._blocks:
            if place + len(block) > start and place < end:
                parts.append(block[max(0, start - place) : end - place])
            place += len(block)
        return np.concatenate(parts) if parts else np.empty(0, np.float32)


class UtteranceFinder:
    """Divides a stream into utterances and the silence between them.

    An utterance begins 0.19 s before its speech, when there are 0.2 s of that, and ends 0.19 s
    after the last speech before a pause of 0.6 s. After 30 s it ends in any case, and another one
    begins. Utterances do not overlap. Memory holds the current one, or the last second of silence.

    Attributes:
        current: The utterance that goes on; None in silence.
        number: Of the current utterance, or the last one; 0 before the first.
    """

    def __init__(self, sample_rate: int, hop_s: float) -> None:
        """Begin a stream.

        Args:
            sample_rate: In Hz.
            hop_s: From one partial prediction to the next.
        """
        self._rate = sample_rate
        self._hop = round(hop_s * sample_rate)
        self._due_at = 0  # samples
        self.current: Started | None = None
        self.number = 0
        self._speech = SpeechProbabilities(sample_rate)
        self._samples = SampleQueue()
        self._frame = 0  # that comes next
        self._start = 0  # of the utterance, in frames
        self._earliest = 0  # no utterance begins before: the end of the last one
        self._onset: int | None = None
        self._num_speech = 0
        self._last_speech = 0

    def add(self, waveform: Floats) -> Iterator[Started | Ended]:
        """Add the next samples, float32 [n], and yield what happened in them, in order."""
        self._samples.add(waveform)
        for probability in self._speech.add(waveform).tolist():
            yield from self._step(probability)
            self._frame += 1
        self._samples.drop_before(self._sample(self._needed_from))

    def end(self) -> Iterator[Ended]:
        """Yield the current utterance, if there is one: the stream is over."""
        if self.current is not None:
            yield self._end(self._samples.end, "stream")

    @property
    def is_due(self) -> bool:
        """Whether the current utterance went on for a hop since it began or the last `take`."""
        return self.current is not None and self._samples.end >= self._due_at

    def take(self, seconds: float) -> tuple[int, Floats]:
        """Return the last part of the current utterance: its first sample, and float32 [N]."""
        assert self.current is not None  # noqa: S101  the caller looked
        end = self._samples.end
        self._due_at = end + self._hop
        start = max(self.current.start, end - round(seconds * self._rate))
        return start, self._samples.cut(start, end)

    def _step(self, probability: float) -> Iterator[Started | Ended]:
        frame = self._frame
        has_begun = self._onset is not None
        is_speech = probability > (_GOES_ON_FROM if has_begun else _BEGINS_FROM)
        if is_speech:
            if self._onset is None:
                self._onset, self._num_speech = frame, 0
            self._num_speech += 1
            self._last_speech = frame
        if self.current is not None:
            if frame - self._last_speech >= _PAUSE_FRAMES:
                end = self._last_speech + 1 + _PAD_FRAMES
                yield self._end(self._sample(end), "silence")
                self._earliest = end
            elif frame + 1 - self._start >= MAX_FRAMES:
                yield self._end(self._sample(frame + 1), "length")
                self._earliest = frame + 1
        elif self._onset is not None:
            if self._num_speech >= _LEAST_FRAMES:
                self._start = max(self._onset - _PAD_FRAMES, self._earliest)
                self.number += 1
                self.current = Started(self.number, self._sample(self._start))
                self._due_at = self._sample(frame + 1) + self._hop
                yield self.current
            elif frame - self._last_speech > _MAX_GAP_FRAMES:
                self._onset = None

    def _end(self, end: int, ended_by: EndedBy) -> Ended:
        assert self.current is not None  # noqa: S101  the caller looked
        current, self.current, self._onset = self.current, None, None
        waveform = self._samples.cut(current.start, end)
        return Ended(current.number, current.start, waveform, ended_by)

    @property
    def _needed_from(self) -> int:
        """The first frame that the current or the next utterance may begin with."""
        if self.current is not None:
            return self._start
        onset = self._frame if self._onset is None else self._onset
        return max(onset - _PAD_FRAMES, self._earliest, 0)

    def _sample(self, frame: int) -> int:
        return min(round(frame * FRAME_S * self._rate), self._samples.end)
