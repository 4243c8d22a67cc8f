"""How a live stream adapts to its speaker: before it begins, as it goes on, or both."""

from serct.errors import SpeakerError
from serct.inference.enrolment import Speaker
from serct.inference.recording import RecordingPrediction
from serct.serving import schemas
from serct.serving.batching import Batcher
from serct.serving.decoding.process import DecodedAudio
from serct.serving.models import LoadedModel
from serct.serving.predicting import describe_adaptation, enrol

# Of rounding.
_TINY_S = 1e-6


class StreamSpeaker:
    """The speaker of one stream; what it adds to an enrolled speaker ends with the stream."""

    def __init__(self, speaker: Speaker | None, *, adapts: bool, window_s: float) -> None:
        """Begin a stream.

        Args:
            speaker: Who was enrolled before; None for a speaker without recordings.
            adapts: Whether windows or utterances of the stream are enrolled as well.
            window_s: Length of a full window.
        """
        self._speaker, self._enrolled = speaker, speaker
        self._adapts = adapts
        self._window_s = window_s
        self._until_s = 0.0

    def adapt(self, model: LoadedModel) -> LoadedModel:
        """Return the model for the speaker as it is enrolled now.

        The model may be replaced during a stream. What it was enrolled with as it went begins anew
        then, since it is of no use to another model.

        Raises:
            SpeakerError: If the model does not adapt to a speaker, or the speaker was enrolled with
                another one.
        """
        if self._adapts:
            model.predictor.check_adapts()
        if self._speaker is None:
            return model
        try:
            return model.for_speaker(self._speaker)
        except SpeakerError:
            if self._enrolled is not None:
                raise
            self._speaker = None
            return model

    def describe(self, model: LoadedModel) -> schemas.Adaptation | None:
        """Return what the model, from `adapt`, adapts to; None if nobody asked for it."""
        if self._speaker is None and self._adapts:
            return schemas.Adaptation(
                recordings=0, windows=0, speech_s=0, counts_as=0, warning=None
            )
        return describe_adaptation(model)

    async def add(
        self,
        model: LoadedModel,
        batcher: Batcher,
        audio: DecodedAudio,
        times_s: tuple[float, float],
        found: RecordingPrediction,
    ) -> None:
        """Enrol a window that was predicted, if it is full of new sound and has speech.

        Windows of a stream overlap; those that are enrolled do not, so that no sound counts twice.
        """
        start_s, end_s = times_s
        is_full = end_s - start_s > self._window_s - _TINY_S
        is_new = is_full and start_s > self._until_s - _TINY_S
        if is_new and found.probabilities:
            self._until_s = end_s
            await self.enrol(model, batcher, audio, found)

    async def enrol(
        self, model: LoadedModel, batcher: Batcher, audio: DecodedAudio, found: RecordingPrediction
    ) -> None:
        """Enrol a part of the stream that was predicted, if it has speech; no sound comes twice."""
        if not (self._adapts and found.probabilities):
            return
        part = await enrol(model, batcher, audio, "stream")
        self._speaker = part if self._speaker is None else self._speaker + part
