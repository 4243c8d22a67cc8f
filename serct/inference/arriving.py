"""The prediction for a recording that is still arriving, in the end the same as for a whole one.

`serct.data.windows` holds the rule. A step of the timeline is final when its speech and all windows
that cover it are known, which is about a minute later: voice activity looks at parts of a minute.
"""

from collections.abc import Sequence

import numpy as np

from serct.data.preparing import Preparer
from serct.data.voice_activity import PART_S
from serct.data.windows import Frames, Plan, geometric_mean
from serct.evaluation.observation import SignalMeter
from serct.inference.recording import RecordingPrediction, TimedPrediction, conclude
from serct.inference.window_model import WindowModel
from serct.runtime.arrays import Floats, Pcm, Probabilities


class ArrivingAnalysis:
    """Does what `serct.Predictor.analyse` does with a recording that comes in blocks.

    The caller computes the model, so that recordings may share batches: after each `add`, and
    after `end`, it predicts windows from `take_windows` and hands the result to `put`, until there
    are none.

    Memory holds a minute of samples, and a few numbers for each step.
    """

    def __init__(
        self, model: WindowModel, sample_rate: int, timing_s: tuple[float, float] | None = None
    ) -> None:
        """Begin a recording.

        Args:
            model: The model.
            sample_rate: Of the recording, in Hz.
            timing_s: As for `serct.Predictor.analyse`.

        Raises:
            ValueError: As `WindowModel.timing`.
        """
        self._model, self._rate, self._timing_s = model, sample_rate, timing_s
        self._timing = model.timing(sample_rate, timing_s)
        self._preparer = Preparer(sample_rate, model.card.audio)
        # A part for voice activity, in samples of the model's rate.
        rate = model.model_rate(sample_rate)
        self._part, self._meter = PART_S * rate, SignalMeter(rate)
        self._pcm, self._offset = np.empty(0, np.int16), 0
        self._frames: Frames = np.empty(0, bool)
        self._num_known = 0
        self._plan = self._new_plan()
        self._is_complete = False
        # The first step of the timeline that was not given yet.
        self._next_step = 0
        self._asked: list[int] = []
        self._found: dict[int, Probabilities] = {}

    @property
    def known_s(self) -> float:
        """Length of the part whose speech is known, in s."""
        return self._plan.duration_s

    def add(self, block: Floats) -> None:
        """Add the next samples, mono, in [-1, 1]. float32 [n]."""
        self._append(self._preparer.add(block))

    def end(self) -> None:
        """Say that all samples were added, at least one."""
        self._append(self._preparer.end())
        self._is_complete = True
        self._look(self._num_samples - self._num_known)

    def _append(self, pcm: Pcm) -> None:
        self._pcm = np.concatenate((self._pcm, pcm))
        while self._num_samples - self._num_known >= self._part:
            self._look(self._part)

    @property
    def _num_samples(self) -> int:
        return self._offset + len(self._pcm)

    def _look(self, size: int) -> None:
        """Find the speech of the next samples."""
        if size == 0:
            return
        start = self._num_known - self._offset
        part = self._pcm[start : start + size]
        frames = self._model.find_speech([part], self._rate)
        self._meter.add(part, frames)
        self._frames = np.concatenate((self._frames, frames))
        self._num_known += size
        self._plan = self._new_plan()

    def _new_plan(self) -> Plan:
        """Plan the part that is known, as if the recording ended there."""
        return self._model.plan(self._num_known, self._rate, self._frames, self._timing_s)

    @property
    def _num_decided(self) -> int:
        """The number of steps that nothing can change that is still to come.

        Those are covered by no window that reaches beyond the part that is known.
        """
        if self._is_complete:
            return self._plan.num_steps
        window, hop = self._timing.window, self._timing.hop
        return max(0, (self._num_known - window) // hop + 1)

    def take_windows(self, most: int) -> list[Pcm]:
        """Return the first windows that can be predicted now and were not; up to ``most``.

        Returns:
            int16 each, for `put`.
        """
        plan, num_decided = self._plan, self._num_decided
        wanted = set(plan.window_numbers)
        if not self._is_complete:
            spoken = plan.has_enough_speech[:num_decided]
            if not spoken.any():
                # If no step has enough speech in the end, those count that have any.
                spoken = plan.step_speech_s[:num_decided] > 0
            steps = np.flatnonzero(spoken)
            steps = steps[steps >= self._next_step]
            wanted = {each for step in steps.tolist() for each in range(*plan.cover(step))}
        missing = sorted(wanted - self._found.keys())
        self._asked = missing[:most]
        window, hop = self._timing.window, self._timing.hop
        starts = [number * hop - self._offset for number in self._asked]
        windows = [self._pcm[start : start + window] for start in starts]
        if not missing:
            unused = max(0, num_decided * hop - window - self._offset)
            self._pcm, self._offset = self._pcm[unused:].copy(), self._offset + unused
        return windows

    def put(self, probabilities: Probabilities) -> list[TimedPrediction]:
        """Take the calibrated probabilities of the windows taken last, float64 [W, K]; W may be 0.

        Returns:
            The steps of the timeline that are final now and were not before.
        """
        self._found |= zip(self._asked, probabilities, strict=True)
        plan, emotions = self._plan, self._model.card.emotions
        num_decided = self._num_decided
        spoken = plan.is_spoken if self._is_complete else plan.has_enough_speech[:num_decided]
        is_settled = self._is_complete or bool(spoken.any())
        edges, speech_s = plan.step_edges, plan.step_speech_s
        final = []
        for step in range(self._next_step, num_decided):
            found = None
            if spoken[step]:
                windows = range(*plan.cover(step))
                if not self._found.keys() >= set(windows):
                    break
                rows = np.array([self._found[number] for number in windows])
                mean = geometric_mean(rows, np.ones(len(rows)))
                found = dict(zip(emotions, mean.tolist(), strict=True))
            elif speech_s[step] > 0 and not is_settled:
                break  # it may still count, see `take_windows`
            final.append(
                TimedPrediction(
                    float(edges[step]), float(edges[step + 1]), float(speech_s[step]),
                    self._model.decide(found), found,
                )
            )  # fmt: skip
        self._next_step += len(final)
        return final

    def conclude(self, notes: Sequence[str] = ()) -> RecordingPrediction:
        """Return the prediction for the whole recording, after `end` and the last `put`.

        Args:
            notes: What was done to make it usable.
        """
        plan, card = self._plan, self._model.card
        rows = np.array([self._found[number] for number in plan.window_numbers])
        signal = self._meter.signal
        return conclude(plan, rows, card.emotions, self._model.decide, notes, signal)
