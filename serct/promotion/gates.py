"""The gates that a version must pass to become the champion.

Everything is measured anew, on the version as the registry holds it and the shards of the
workspace, without speaker enrolment, as the service predicts. Recorded scores are not used.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from serct.config.params import Params
from serct.data.dataset import ShardDataset
from serct.data.shards import read_meta
from serct.errors import SerctError
from serct.evaluation.evaluate import evaluate, evaluate_zero_shot, without_enrolment
from serct.evaluation.probes import probe_model
from serct.evaluation.significance import ua_difference_bound
from serct.inference.predictor import Predictor

# Of the changes of `probe_model`: only these must not change the emotion.
_SHOULD_NOT_MATTER = ("12 dB softer", "0.5 s of zeros behind")


@dataclass(frozen=True)
class Gate:
    """One check of a version, and its result.

    Attributes:
        gate: Its name.
        found: What was measured.
        expected: What passes.
        verdict: "skipped" if the check does not apply; that refuses nothing.
    """

    gate: str
    found: str
    expected: str
    verdict: Literal["passed", "REFUSED", "skipped"]


def examine(params: Params, data: Path, candidate: Path, champion: Path | None) -> Iterator[Gate]:
    """Check a version; an unusable one is not checked further.

    Args:
        params: The bounds of the gates.
        data: The workspace's data folder.
        candidate: Model folder of the version.
        champion: Model folder of the champion, None if there is none.
    """
    try:
        predictor = Predictor.load(candidate)
        problem = smoke_problem(predictor)
    except SerctError as error:
        yield _gate("loads without pickle", str(error), "a usable model", False)
        return
    yield _gate("loads without pickle", "yes", "a usable model", True)
    yield _gate("odd but legal input", problem or "predicted", "probabilities", problem is None)
    wanted = predictor.card.digests.manifest
    try:
        shards = data / "shards" / predictor.card.corpus
        test = ShardDataset(shards, ["test"], predictor.card.emotions)
        found = test.meta.manifest_digest
    except SerctError as error:
        yield _gate("its own test data", str(error), f"manifest {wanted[:12]}", False)
        return
    yield _gate("its own test data", f"manifest {found[:12]}", wanted[:12], found == wanted)
    if found == wanted:
        yield from _tested(params, predictor, test, champion)
    for name in params.pipeline.zero_shot_corpora:
        if name != predictor.card.corpus:
            yield _zero_shot(params, predictor, name, data / "shards" / name)


def smoke_problem(predictor: Predictor) -> str | None:
    """Check the predictions for odd but legal input; return what is wrong with one, or None."""
    rng = np.random.default_rng(0)
    seconds = np.arange(20 * 8000) / 8000
    for name, waveform, rate in (
        ("one sample", np.full(1, 0.5), 16_000),
        ("silence", np.zeros(8000), 16_000),
        ("noise at 44.1 kHz", rng.uniform(-1, 1, 88_200), 44_100),
        ("20 s of a tone at 8 kHz", 0.5 * np.sin(2 * np.pi * 220 * seconds), 8000),
    ):
        probabilities = predictor.predict(waveform, rate)
        values = np.array(list(probabilities.values()))
        if list(probabilities) != list(predictor.card.emotions):
            return (
                f"{name}: emotions {list(probabilities)}, expected {list(predictor.card.emotions)}"
            )
        if not (np.isfinite(values).all() and abs(values.sum() - 1) < 1e-6 and values.min() >= 0):
            return f"{name}: {probabilities} are not probabilities"
    return None


def _tested(
    params: Params, predictor: Predictor, test: ShardDataset, champion: Path | None
) -> Iterator[Gate]:
    """Check the scores on the test part of the candidate's own corpus."""
    bounds = params.promotion
    scored = evaluate(without_enrolment(predictor.classify), test, params.evaluate.batch_size)
    ua, least = scored.scores.ua, bounds.min_test_ua
    found = f"{ua:.4f}, n = {scored.scores.n}"
    yield _gate(f"UA on {predictor.card.corpus}", found, f">= {least:g}", ua >= least)
    is_right = scored.probabilities.argmax(axis=1) == test.labels
    yield _compared(params, test, is_right, champion)
    changes = probe_model(predictor.classify, test, _SHOULD_NOT_MATTER)
    for change in _SHOULD_NOT_MATTER:
        changed, most = changes[change]["changed"], bounds.max_changed
        yield _gate(
            f"other emotion when {change}", f"{changed:.1%}", f"<= {most:.1%}", changed <= most
        )


def _compared(
    params: Params, test: ShardDataset, is_right: npt.NDArray[np.bool_], champion: Path | None
) -> Gate:
    """Check that it is not worse than the champion, utterance by utterance."""
    name = "UA lost against the champion"
    bounds = params.promotion
    expected = f"<= {bounds.margin:g} at {bounds.confidence:.0%} confidence"
    if champion is None:
        return Gate(name, "there is no champion", expected, "skipped")
    try:
        other = Predictor.load(champion)
    except SerctError as error:
        return Gate(name, f"the champion is unusable: {error}", expected, "skipped")
    if (other.card.digests.manifest, other.card.emotions) != (
        test.meta.manifest_digest,
        test.emotions,
    ):
        # Its training data may contain the test data here.
        return Gate(name, "the champion is of other data", expected, "skipped")
    scored = evaluate(without_enrolment(other.classify), test, params.evaluate.batch_size)
    was_right = scored.probabilities.argmax(axis=1) == test.labels
    lost = -ua_difference_bound(test.labels, is_right, was_right, bounds.confidence)
    found = f"<= {max(lost, 0.0):.4f} (its UA: {scored.scores.ua:.4f})"
    return _gate(name, found, expected, lost <= bounds.margin)


def _zero_shot(params: Params, predictor: Predictor, corpus: str, shards: Path) -> Gate:
    name, least = f"zero-shot UA on {corpus}", params.promotion.min_zero_shot_ua
    try:
        splits = tuple(read_meta(shards).counts)
        found = evaluate_zero_shot(
            without_enrolment(predictor.classify),
            predictor.card.emotions,
            shards,
            splits,
            params.evaluate.batch_size,
        )
    except SerctError as error:
        return _gate(name, str(error), f">= {least:g}", False)
    ua = found.masked.ua
    return _gate(name, f"{ua:.4f}, n = {found.masked.n}", f">= {least:g}", ua >= least)


def _gate(name: str, found: str, expected: str, is_good: bool) -> Gate:
    return Gate(name, found, expected, "passed" if is_good else "REFUSED")
