"""Predict decoded recordings, enrol speakers with them, and build the responses."""

from dataclasses import asdict
from itertools import islice

import anyio
import numpy as np

from serct.data.windows import Plan
from serct.errors import AudioError
from serct.inference.enrolment import Speaker
from serct.inference.importance import Occlusion, TimeImportance
from serct.inference.recording import NO_SPEECH, RecordingPrediction, TimedPrediction, conclude
from serct.models.classical.enrolment import Enrolment
from serct.runtime.arrays import Pcm, Probabilities
from serct.serving import schemas
from serct.serving.analysis import Analysis
from serct.serving.batching import Batcher
from serct.serving.decoding.process import DecodedAudio
from serct.serving.models import LoadedModel

# Of one recording, so that other requests are served between them.
_WINDOWS_AT_ONCE = 16
# A recording of no more rows, which are four windows, is one piece of work.
_SHORT_ROWS = 2


def describe(model: LoadedModel) -> schemas.Model:
    """Return which model made a prediction."""
    card = model.predictor.card
    return schemas.Model(
        name=card.name,
        version=model.version,
        corpus=card.corpus,
        language=card.language,
        corpora={
            corpus: schemas.TrainedOn(**trained_on.model_dump())
            for corpus, trained_on in card.corpora.items()
        },
        synthetic=card.synthetic,
        fingerprint=card.fingerprint,
        adapts_to_speaker=model.predictor.adapts_to_speaker,
    )


def describe_adaptation(model: LoadedModel) -> schemas.Adaptation | None:
    """Return how much a model adapts to its speaker; None if it is for all speakers."""
    found = model.predictor.adaptation
    if found is None:
        return None
    return schemas.Adaptation(
        recordings=found.num_recordings, windows=found.num_windows, speech_s=found.speech_s,
        counts_as=found.counts_as, warning=found.warning,
    )  # fmt: skip


async def analyse(model: LoadedModel, batcher: Batcher, audio: DecodedAudio) -> RecordingPrediction:
    """Do what `serct.Predictor.analyse` does, in batches that requests share.

    Raises:
        AudioError: As that does.
    """
    predictor, rate = model.predictor, audio.sample_rate
    analysis = Analysis(predictor)
    if len(audio.waveform) <= _SHORT_ROWS * rate * predictor.row_s(rate):
        [whole] = await batcher.compute(analysis, [audio])
        return whole
    # In a thread, so that the event loop serves other requests meanwhile.
    [planned] = await anyio.to_thread.run_sync(analysis.plan, [audio])
    if isinstance(planned, AudioError):
        raise planned
    pcm, plan, signal = planned
    found: list[Probabilities] = []
    for first in range(0, len(plan.windows), _WINDOWS_AT_ONCE):
        windows = plan.windows[first : first + _WINDOWS_AT_ONCE]
        clips = [pcm[start:end] for start, end in windows]
        found += await batcher.compute(predictor.predict_prepared, clips)
    emotions = predictor.card.emotions
    return conclude(plan, np.array(found), emotions, predictor.decide, audio.notes, signal)


async def importance(
    model: LoadedModel, batcher: Batcher, audio: DecodedAudio
) -> TimeImportance | None:
    """Do what `serct.inference.importance` does, in batches that requests share.

    Returns:
        None if nobody speaks.
    """
    predictor, rate = model.predictor, audio.sample_rate

    def plan_windows() -> Occlusion | None:
        pcm = predictor.prepare(audio.waveform, rate)
        frames = predictor.find_speech([pcm], rate)
        has_speech = bool(predictor.plan(len(pcm), rate, frames).windows)
        return Occlusion(predictor, pcm, rate) if has_speech else None

    occlusion = await anyio.to_thread.run_sync(plan_windows)
    if occlusion is None:
        return None
    windows, found = occlusion.windows(), list[Probabilities]()
    # A few at a time: all windows together may take hundreds of MB.
    while clips := await anyio.to_thread.run_sync(lambda: list(islice(windows, _WINDOWS_AT_ONCE))):
        found += await batcher.compute(predictor.predict_prepared, clips)
    return occlusion.conclude(np.array(found))


async def enrol(model: LoadedModel, batcher: Batcher, audio: DecodedAudio, name: str) -> Speaker:
    """Do what `serct.Predictor.enrol` does with one recording.

    Raises:
        AudioError: If nobody speaks in it.
        SpeakerError: If the model does not adapt to a speaker.
    """
    predictor, rate = model.predictor, audio.sample_rate

    def plan_windows() -> tuple[Pcm, Plan]:
        pcm = predictor.prepare(audio.waveform, rate)
        return pcm, predictor.plan_speech(pcm, rate, name)

    pcm, plan = await anyio.to_thread.run_sync(plan_windows)
    found: list[Enrolment] = []
    for first in range(0, len(plan.windows), _WINDOWS_AT_ONCE):
        windows = plan.windows[first : first + _WINDOWS_AT_ONCE]
        clips = [pcm[start:end] for start, end in windows]
        found += await batcher.compute(predictor.enrol_prepared, clips)
    return predictor.as_speaker(found, 1, plan.speech_s)


def prediction(name: str, found: RecordingPrediction) -> schemas.Prediction:
    """Return the response for one file."""
    return schemas.Prediction(
        file=name, emotion=found.emotion, confidence=found.confidence,
        probabilities=found.probabilities, duration_s=found.duration_s,
        analysed_s=found.analysed_s, speech_s=found.speech_s, notes=list(found.notes),
    )  # fmt: skip


def timeline(model: LoadedModel, name: str, found: RecordingPrediction) -> schemas.Timeline:
    """Return the response for one file with its timeline."""
    return schemas.Timeline(
        **prediction(name, found).model_dump(), model=describe(model),
        adaptation=describe_adaptation(model), window_s=found.window_s, hop_s=found.hop_s,
        segments=[timed(each) for each in found.segments],
        steps=[timed(each) for each in found.steps],
    )  # fmt: skip


def describe_importance(
    model: LoadedModel, name: str, found: TimeImportance | None
) -> schemas.Importance:
    """Return the response for one file whose importance was asked for."""
    return schemas.Importance(
        file=name,
        model=describe(model),
        adaptation=describe_adaptation(model),
        emotion=found.emotion if found else NO_SPEECH,
        probability=found.probability if found else None,
        stretches=[schemas.Stretch(**asdict(each)) for each in found.stretches] if found else [],
    )


def timed(part: TimedPrediction) -> schemas.TimedPrediction:
    """Return the prediction for a part of a recording."""
    return schemas.TimedPrediction(
        emotion=part.emotion,
        confidence=max(part.probabilities.values()) if part.probabilities else None,
        probabilities=part.probabilities,
        start_s=part.start_s,
        end_s=part.end_s,
        speech_s=part.speech_s,
    )
