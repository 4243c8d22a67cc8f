"""From what was heard to what is answered."""

from collections.abc import Sequence

import anyio

from serct.inference.predictor import Answer
from serct.inference.voice_activity import is_speech
from serct.runtime.arrays import Floats
from serct.serving import schemas
from serct.serving.batching import Batcher
from serct.serving.hearing import Heard
from serct.serving.models import Loaded
from serct.serving.timeline import Plan, between, smooth

NO_SPEECH = "no_speech"
# Of one recording, so that others are answered between them.
_WINDOWS_AT_ONCE = 16


def describe(model: Loaded) -> schemas.Model:
    """Say who answers."""
    card = model.predictor.card
    return schemas.Model(
        name=card.name,
        version=model.version,
        corpus=card.corpus,
        language=card.language,
        synthetic=card.synthetic,
    )


def judge(model: Loaded, answer: Answer | None) -> schemas.Judgement:
    """Put probabilities into words; None where nobody speaks."""
    if answer is None:
        return schemas.Judgement(emotion=NO_SPEECH, confidence=None, probabilities=None)
    return schemas.Judgement(
        emotion=model.predictor.decide(answer),
        confidence=max(answer.values()),
        probabilities=answer,
    )


async def ask(
    model: Loaded, batcher: Batcher, sounds: Sequence[tuple[Floats, int]]
) -> list[Answer]:
    """Wait for the answers to waveforms with their rates in Hz.

    They are resampled in a thread: meanwhile the loop serves others.
    """
    prepare = model.predictor.prepare
    clips = await anyio.to_thread.run_sync(lambda: [prepare(*sound) for sound in sounds])
    return await batcher.answer(model, clips)


async def predict(
    model: Loaded, batcher: Batcher, files: Sequence[tuple[str, Heard]]
) -> schemas.Predictions:
    """Answer for each of several files."""
    spoken = [(heard.waveform, heard.sample_rate) for _, heard in files if heard.is_speech]
    answers = iter(await ask(model, batcher, spoken))
    audio = model.predictor.card.audio
    predictions = []
    for name, heard in files:
        rate = heard.sample_rate if audio.sample_rate == "native" else audio.sample_rate
        predictions.append(
            schemas.Prediction(
                **judge(model, next(answers) if heard.is_speech else None).model_dump(),
                file=name,
                duration_s=heard.duration_s,
                heard_s=min(heard.duration_s, audio.num_samples / rate),
                speech_s=heard.speech_s,
            )
        )
    return schemas.Predictions(model=describe(model), predictions=predictions)


async def divide(
    model: Loaded, batcher: Batcher, name: str, heard: Heard, window_s: float, hop_s: float
) -> schemas.Timeline:
    """Follow the emotions along a recording."""
    plan = Plan(heard.duration_s, window_s, hop_s)
    windows = plan.windows()
    answers: list[Answer | None] = [None] * len(windows)
    spoken = [
        index
        for index, (start, end) in enumerate(windows)
        if is_speech(between(heard.frames, start, end))
    ]
    for first in range(0, len(spoken), _WINDOWS_AT_ONCE):
        group = spoken[first : first + _WINDOWS_AT_ONCE]
        sounds = [(heard.part(*windows[index]), heard.sample_rate) for index in group]
        for index, answer in zip(group, await ask(model, batcher, sounds), strict=True):
            answers[index] = answer
    smoothed = smooth(plan, answers, heard.frames)
    steps = [_stretch(model, answer, *plan.step(n)) for n, answer in enumerate(smoothed)]
    return schemas.Timeline(
        model=describe(model),
        file=name,
        duration_s=heard.duration_s,
        speech_s=heard.speech_s,
        window_s=window_s,
        hop_s=hop_s,
        segments=_merge(model, plan, smoothed),
        steps=steps,
    )


def _merge(model: Loaded, plan: Plan, smoothed: Sequence[Answer | None]) -> list[schemas.Stretch]:
    """Make one segment of neighbouring steps of equal emotion, with their mean."""
    groups: list[tuple[str, list[int]]] = []
    for number, answer in enumerate(smoothed):
        emotion = judge(model, answer).emotion
        if groups and groups[-1][0] == emotion:
            groups[-1][1].append(number)
        else:
            groups.append((emotion, [number]))
    segments = []
    for emotion, numbers in groups:
        known = [answer for number in numbers if (answer := smoothed[number]) is not None]
        mean = (
            {key: sum(each[key] for each in known) / len(known) for key in known[0]}
            if known
            else None
        )
        segment = _stretch(model, mean, plan.step(numbers[0])[0], plan.step(numbers[-1])[1])
        segments.append(segment.model_copy(update={"emotion": emotion}))
    return segments


def _stretch(model: Loaded, answer: Answer | None, start_s: float, end_s: float) -> schemas.Stretch:
    return schemas.Stretch(**judge(model, answer).model_dump(), start_s=start_s, end_s=end_s)
