"""The gates that a version must pass before people are served with it.

Everything is measured anew, from the version as the registry holds it and the shards of the
workspace, and for voices never heard, as a service answers; scores noted elsewhere are not trusted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from serct.config.params import Params
from serct.data.shards import ShardDataset, read_meta
from serct.errors import SerctError
from serct.evaluation.evaluate import evaluate, evaluate_zero_shot, for_strangers
from serct.evaluation.probes import probe_model
from serct.evaluation.significance import ua_difference_bound
from serct.inference.predictor import Predictor
from serct.promotion.smoke import smoke_problem

# Of what `probe_model` tries: a constant or a telephone band may well be heard as something else.
_SHOULD_NOT_MATTER = ("12 dB softer", "0.5 s of zeros behind")


@dataclass(frozen=True)
class Gate:
    """One question, and how it came out.

    Attributes:
        gate: The question.
        found: What was measured.
        expected: What would do.
        verdict: "skipped" where the question does not arise; that refuses nothing.
    """

    gate: str
    found: str
    expected: str
    verdict: Literal["passed", "REFUSED", "skipped"]


def examine(params: Params, data: Path, candidate: Path, champion: Path | None) -> Iterator[Gate]:
    """Put a version before the gates; what cannot be asked of an unusable one is left out.

    Args:
        params: Hold the bounds.
        data: The workspace's data folder.
        candidate: The version's model folder.
        champion: That of the version in use, None if there is none.
    """
    try:
        predictor = Predictor.load(candidate)
        problem = smoke_problem(predictor)
    except SerctError as error:
        yield _gate("loads without pickle", str(error), "a usable model", False)
        return
    yield _gate("loads without pickle", "yes", "a usable model", True)
    yield _gate("odd but legal input", problem or "answered", "probabilities", problem is None)
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


def _tested(
    params: Params, predictor: Predictor, test: ShardDataset, champion: Path | None
) -> Iterator[Gate]:
    """Ask all that needs the test part which belongs to the candidate."""
    bounds = params.promotion
    answers = evaluate(for_strangers(predictor.classify), test, params.evaluate.batch_size)
    ua, least = answers.scores.ua, bounds.min_test_ua
    found = f"{ua:.4f}, n = {answers.scores.n}"
    yield _gate(f"UA on {predictor.card.corpus}", found, f">= {least:g}", ua >= least)
    is_right = answers.probabilities.argmax(axis=1) == test.labels
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
    """Ask whether it is no worse than the champion, utterance by utterance."""
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
        # It may have been trained on what is test data here.
        return Gate(name, "the champion is of other data", expected, "skipped")
    answers = evaluate(for_strangers(other.classify), test, params.evaluate.batch_size)
    was_right = answers.probabilities.argmax(axis=1) == test.labels
    lost = -ua_difference_bound(test.labels, is_right, was_right, bounds.confidence)
    found = f"<= {max(lost, 0.0):.4f} (its UA: {answers.scores.ua:.4f})"
    return _gate(name, found, expected, lost <= bounds.margin)


def _zero_shot(params: Params, predictor: Predictor, name: str, shards: Path) -> Gate:
    question, least = f"zero-shot UA on {name}", params.promotion.min_zero_shot_ua
    try:
        splits = tuple(read_meta(shards).counts)
        found = evaluate_zero_shot(
            for_strangers(predictor.classify),
            predictor.card.emotions,
            shards,
            splits,
            params.evaluate.batch_size,
        )
    except SerctError as error:
        return _gate(question, str(error), f">= {least:g}", False)
    ua = found.masked.ua
    return _gate(question, f"{ua:.4f}, n = {found.masked.n}", f">= {least:g}", ua >= least)


def _gate(name: str, found: str, expected: str, is_good: bool) -> Gate:
    return Gate(name, found, expected, "passed" if is_good else "REFUSED")
