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

from serct.config.params import Params, SkippableGate
from serct.data.dataset import ShardDataset
from serct.data.shards import read_meta
from serct.errors import CheckpointError, SerctError
from serct.evaluation.classifiers import without_enrolment
from serct.evaluation.evaluate import Evaluation, check_rows, evaluate, evaluate_zero_shot
from serct.evaluation.probes import probe_model
from serct.evaluation.significance import ua_difference_bound
from serct.inference.predictor import Predictor
from serct.tracking.folders import ModelFolder

# Of the changes of `probe_model`: only these must not change the emotion.
_SHOULD_NOT_MATTER = ("12 dB softer", "0.5 s of zeros behind")


@dataclass(frozen=True)
class Gate:
    """One check of a version, and its result.

    Attributes:
        gate: Its name.
        found: What was measured.
        expected: What passes.
        verdict: "skipped" if the check does not apply and `promotion.may_skip` allows that;
            "overridden" if it refused and the user asked to go on. Neither refuses.
    """

    gate: str
    found: str
    expected: str
    verdict: Literal["passed", "REFUSED", "skipped", "overridden"]


@dataclass(frozen=True)
class Unusable:
    """A champion that cannot be compared with.

    Attributes:
        problem: Why.
    """

    problem: str


def load_checked(folder: Path, weights: str) -> tuple[Predictor | None, tuple[Gate, ...]]:
    """Load a version and check that it predicts and is what was registered.

    Args:
        folder: Its model folder.
        weights: Digest of its weights, as the registry holds it.

    Returns:
        The model, None if it cannot be loaded, and the gates. Whatever goes wrong is a refusal.
    """
    name, expected = "loads without pickle", "a usable model"
    try:
        predictor = Predictor.load(folder)
    except Exception as error:  # of a damaged file any library may raise an error of its own
        return None, (_gate(name, _first_line(error), expected, False),)
    problem = smoke_problem(predictor)
    return predictor, (
        _gate(name, "yes", expected, True),
        _gate("odd but legal input", problem or "predicted", "probabilities", problem is None),
        _registered(folder, weights),
    )


def _registered(folder: Path, weights: str) -> Gate:
    name, expected = "the registered weights", f"SHA-256 {weights[:12]}"
    try:
        found = ModelFolder.read(folder).weights_digest
    except Exception as error:  # as above
        return _gate(name, _first_line(error), expected, False)
    return _gate(name, f"SHA-256 {found[:12]}", expected, found == weights)


def examine(
    params: Params,
    data: Path,
    predictor: Predictor,
    champion: Predictor | Unusable | None,
    *,
    may_replace_unusable: bool = False,
) -> Iterator[Gate]:
    """Check the predictions of a version that can be used.

    Args:
        params: The bounds of the gates.
        data: The workspace's data folder.
        predictor: The version.
        champion: What it is compared with, None if there is no champion.
        may_replace_unusable: Whether a champion that is not usable refuses nothing.
    """
    wanted = predictor.card.digests.manifest
    try:
        shards = data / "shards" / predictor.card.corpus
        check_rows(predictor.card, shards)
        test = ShardDataset(shards, ["test"], predictor.card.emotions)
        found = test.meta.manifest_digest
    except SerctError as error:
        yield _gate("its own test data", str(error), f"manifest {wanted[:12]}", False)
        return
    yield _gate("its own test data", f"manifest {found[:12]}", wanted[:12], found == wanted)
    if found == wanted:
        yield from _tested(params, predictor, test, champion, may_replace_unusable)
    for name in params.pipeline.zero_shot_corpora:
        if not predictor.card.has_seen(name):
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
        try:
            probabilities = predictor.predict(waveform, rate)
        except Exception as error:  # a model may fail in any way
            return f"{name}: {_first_line(error)}"
        values = np.array(list(probabilities.values()))
        if list(probabilities) != list(predictor.card.emotions):
            return (
                f"{name}: emotions {list(probabilities)}, expected {list(predictor.card.emotions)}"
            )
        if not (np.isfinite(values).all() and abs(values.sum() - 1) < 1e-6 and values.min() >= 0):
            return f"{name}: {probabilities} are not probabilities"
    return None


def _tested(
    params: Params,
    predictor: Predictor,
    test: ShardDataset,
    champion: Predictor | Unusable | None,
    may_replace_unusable: bool,
) -> Iterator[Gate]:
    """Check the scores on the test part of the candidate's own corpus."""
    bounds = params.promotion
    name, expected = f"UA on {predictor.card.corpus}", f">= {bounds.min_test_ua:g}"
    try:
        scored = _evaluated(params, predictor, test)
    except SerctError as error:
        yield _gate(name, str(error), expected, False)
        return
    ua = scored.scores.ua
    yield _gate(name, f"{ua:.4f}, n = {scored.scores.n}", expected, ua >= bounds.min_test_ua)
    is_right = scored.probabilities.argmax(axis=1) == test.labels
    yield _compared(params, test, is_right, champion, may_replace_unusable)
    changes = probe_model(predictor.classify, test, _SHOULD_NOT_MATTER)
    for change in _SHOULD_NOT_MATTER:
        changed, most = changes[change]["changed"], bounds.max_changed
        yield _gate(
            f"other emotion when {change}", f"{changed:.1%}", f"<= {most:.1%}", changed <= most
        )


def _evaluated(params: Params, predictor: Predictor, test: ShardDataset) -> Evaluation:
    """Evaluate a model on the test part.

    Raises:
        CheckpointError: If a prediction is not finite: the most probable emotion is then chance.
    """
    scored = evaluate(without_enrolment(predictor.classify), test, params.evaluate.batch_size)
    if not np.isfinite(scored.probabilities).all():
        raise CheckpointError(f"predicts NaN on the test part of {predictor.card.corpus}")
    return scored


def _compared(
    params: Params,
    test: ShardDataset,
    is_right: npt.NDArray[np.bool_],
    champion: Predictor | Unusable | None,
    may_replace_unusable: bool,
) -> Gate:
    """Check that it is not worse than the champion, utterance by utterance."""
    name = "UA lost against the champion"
    bounds = params.promotion
    expected = f"<= {bounds.margin:g} at {bounds.confidence:.0%} confidence"
    if champion is None:
        return _skipped(params, name, "no_champion", "there is no champion", expected)
    if isinstance(champion, Unusable):
        return _unusable(name, champion.problem, may_replace_unusable)
    if (champion.card.digests.manifest, champion.card.emotions) != (
        test.meta.manifest_digest,
        test.emotions,
    ):
        # Its training data may contain the test data here.
        return _skipped(params, name, "other_data", "the champion is of other data", expected)
    try:
        check_rows(champion.card, test.folder)
    except SerctError as error:
        return _skipped(
            params, name, "other_data", f"the champion is of other data: {error}", expected
        )
    try:
        scored = _evaluated(params, champion, test)
    except Exception as error:  # a champion that cannot be evaluated must not open the gate
        return _unusable(name, _first_line(error), may_replace_unusable)
    was_right = scored.probabilities.argmax(axis=1) == test.labels
    lost = -ua_difference_bound(test.labels, is_right, was_right, bounds.confidence)
    found = f"<= {max(lost, 0.0):.4f} (its UA: {scored.scores.ua:.4f})"
    return _gate(name, found, expected, lost <= bounds.margin)


def _skipped(params: Params, name: str, what: SkippableGate, found: str, expected: str) -> Gate:
    if what in params.promotion.may_skip:
        return Gate(name, found, expected, "skipped")
    return Gate(name, found, f"{expected}, or {what} in promotion.may_skip", "REFUSED")


def _unusable(name: str, problem: str, may_replace: bool) -> Gate:
    found = f"the champion is unusable: {problem}"
    expected = "a usable champion: mend it, or give --replace-unusable-champion and --why"
    return Gate(name, found, expected, "overridden" if may_replace else "REFUSED")


def _zero_shot(params: Params, predictor: Predictor, corpus: str, shards: Path) -> Gate:
    name, least = f"zero-shot UA on {corpus}", params.promotion.min_zero_shot_ua
    try:
        check_rows(predictor.card, shards)
        splits = tuple(read_meta(shards, corpus).counts)
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


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
