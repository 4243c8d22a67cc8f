"""Predict decoded recordings, whole or window by window, and build the responses."""

from collections.abc import Sequence
from itertools import groupby

import anyio

from serct.data.voice_activity import is_speech
from serct.inference.predictor import EmotionProbabilities
from serct.runtime.arrays import Floats
from serct.serving import schemas
from serct.serving.batching import Batcher
from serct.serving.decoding import DecodedAudio
from serct.serving.models import LoadedModel
from serct.serving.timeline import Plan, between, mean_probabilities, smooth

NO_SPEECH = "no_speech"
# Of one recording, so that other requests are served between them.
_WINDOWS_AT_ONCE = 16


def describe(model: LoadedModel) -> schemas.Model:
    """Return which model made a prediction."""
    card = model.predictor.card
    return schemas.Model(
        name=card.name,
        version=model.version,
        corpus=card.corpus,
        language=card.language,
        synthetic=card.synthetic,
    )


def decide(
    model: LoadedModel, probabilities: EmotionProbabilities | None
) -> schemas.EmotionPrediction:
    """Return the emotion that follows from probabilities; `NO_SPEECH` from None."""
    if probabilities is None:
        return schemas.EmotionPrediction(emotion=NO_SPEECH, confidence=None, probabilities=None)
    return schemas.EmotionPrediction(
        emotion=model.predictor.decide(probabilities),
        confidence=max(probabilities.values()),
        probabilities=probabilities,
    )


async def predict_waveforms(
    model: LoadedModel, batcher: Batcher, waveforms: Sequence[tuple[Floats, int]]
) -> list[EmotionProbabilities]:
    """Predict waveforms, each with its rate in Hz.

    They are resampled in a thread, so that the event loop serves other requests meanwhile.
    """
    prepare = model.predictor.prepare
    clips = await anyio.to_thread.run_sync(lambda: [prepare(*each) for each in waveforms])
    return await batcher.predict(model, clips)


async def predict_files(
    model: LoadedModel, batcher: Batcher, files: Sequence[tuple[str, DecodedAudio]]
) -> schemas.Predictions:
    """Predict each of several files, given with their names."""
    spoken = [(audio.waveform, audio.sample_rate) for _, audio in files if audio.is_speech]
    found = iter(await predict_waveforms(model, batcher, spoken))
    expected = model.predictor.card.audio
    predictions = []
    for name, audio in files:
        rate = audio.sample_rate if expected.sample_rate == "native" else expected.sample_rate
        predictions.append(
            schemas.Prediction(
                **decide(model, next(found) if audio.is_speech else None).model_dump(), file=name,
                duration_s=audio.duration_s,
                heard_s=min(audio.duration_s, expected.num_samples / rate), speech_s=audio.speech_s,
            )
        )  # fmt: skip
    return schemas.Predictions(model=describe(model), predictions=predictions)


async def predict_timeline(
    model: LoadedModel,
    batcher: Batcher,
    name: str,
    audio: DecodedAudio,
    window_s: float,
    hop_s: float,
) -> schemas.Timeline:
    """Predict the emotions along a recording."""
    plan = Plan(audio.duration_s, window_s, hop_s)
    windows = plan.windows()
    by_window: list[EmotionProbabilities | None] = [None] * len(windows)
    spoken = [
        index
        for index, (start, end) in enumerate(windows)
        if is_speech(between(audio.frames, start, end))
    ]
    for first in range(0, len(spoken), _WINDOWS_AT_ONCE):
        group = spoken[first : first + _WINDOWS_AT_ONCE]
        waveforms = [(audio.part(*windows[index]), audio.sample_rate) for index in group]
        found = await predict_waveforms(model, batcher, waveforms)
        for index, probabilities in zip(group, found, strict=True):
            by_window[index] = probabilities
    by_step = smooth(plan, by_window, audio.frames)
    steps = [_timed(model, each, *plan.step(number)) for number, each in enumerate(by_step)]
    return schemas.Timeline(
        model=describe(model), file=name, duration_s=audio.duration_s, speech_s=audio.speech_s,
        window_s=window_s, hop_s=hop_s, segments=_merge(model, plan, by_step), steps=steps,
    )  # fmt: skip


def _merge(
    model: LoadedModel, plan: Plan, by_step: Sequence[EmotionProbabilities | None]
) -> list[schemas.TimedPrediction]:
    """Join neighbouring steps of the same emotion into segments, with their mean."""
    segments = []
    steps = groupby(range(len(by_step)), lambda number: decide(model, by_step[number]).emotion)
    for emotion, group in steps:
        numbers = list(group)
        spoken = [found for number in numbers if (found := by_step[number]) is not None]
        mean = mean_probabilities(spoken) if spoken else None
        segment = _timed(model, mean, plan.step(numbers[0])[0], plan.step(numbers[-1])[1])
        segments.append(segment.model_copy(update={"emotion": emotion}))
    return segments


def _timed(
    model: LoadedModel, probabilities: EmotionProbabilities | None, start_s: float, end_s: float
) -> schemas.TimedPrediction:
    prediction = decide(model, probabilities).model_dump()
    return schemas.TimedPrediction(**prediction, start_s=start_s, end_s=end_s)
