"""Each version's predictions are counted in bins, and its last ones compared with its card."""

import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from serct.evaluation import observation
from serct.evaluation.drift import LEAST
from serct.evaluation.observation import NO_SPEECH, QUANTITIES, Observation, Quantity, Signal, count
from serct.inference.recording import RecordingPrediction
from serct.models.reference import Reference
from serct.serving.monitoring import drift
from serct.serving.monitoring.drift import DriftMonitor
from serct.serving.monitoring.routes import _response

EMOTIONS = ("angry", "sad")


def recording(random: np.random.Generator, level_dbfs: float = -20.0) -> RecordingPrediction:
    sad = float(random.uniform(0.5, 1))
    signal = Signal(level_dbfs + float(random.normal(0, 4)), float(random.normal(20, 5)))
    duration_s = float(random.uniform(1, 4))
    return RecordingPrediction(
        emotion="sad", probabilities={"angry": 1 - sad, "sad": sad}, duration_s=duration_s,
        analysed_s=duration_s, speech_s=duration_s / 2, window_s=9.0, hop_s=3.0, steps=(),
        signal=signal,
    )  # fmt: skip


def as_observation(found: RecordingPrediction) -> Observation:
    assert found.signal is not None
    return Observation(
        found.emotion, found.confidence, found.duration_s, found.speech_s, found.signal
    )


def model(
    version: str | None = "1",
    reference: Reference | None = None,
    mark: str = "f",
    speaker: Any = None,
) -> Any:
    """What the monitor reads of a loaded model; weights are none of its business."""
    card = SimpleNamespace(
        name="m", corpus="c", corpora={}, language="en", synthetic=False, fingerprint=mark,
        emotions=EMOTIONS, reference=reference,
    )  # fmt: skip
    predictor = SimpleNamespace(card=card, speaker=speaker, adapts_to_speaker=False)
    return SimpleNamespace(version=version, predictor=predictor)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def reference(random: np.random.Generator) -> Reference:
    counts = count((as_observation(recording(random)) for _ in range(300)), EMOTIONS)
    return Reference(recordings=300, of=300, counts=counts)


def samples(monitor: DriftMonitor) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(monitor)
    text = generate_latest(registry).decode()
    return {
        f"{each.name}{{{','.join(f'{k}={v}' for k, v in sorted(each.labels.items()))}}}": each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


def drifting(monitor: DriftMonitor) -> set[str]:
    (found,) = monitor.drift()
    return {each.quantity.name for each in found.quantities if each.is_drifting}


def test_what_is_like_the_reference_does_not_drift_and_what_is_softer_does(
    reference: Reference, random: np.random.Generator
) -> None:
    monitor, served = DriftMonitor(500, 86_400), model(reference=reference)
    for _ in range(400):
        monitor.observe(served, recording(random))
    assert drifting(monitor) == set()
    for _ in range(300):
        monitor.observe(served, recording(random, level_dbfs=-30))
    assert drifting(monitor) == {"level"}
    found = samples(monitor)
    measured = found["serct_drift{quantity=level,version=1}"]
    assert measured > found["serct_drift_threshold{quantity=level,version=1}"] > 0
    assert found["serct_drift_predictions{version=1}"] == 500
    assert found["serct_drift_reference{version=1}"] == 300


def test_metrics_count_all_since_the_start_in_the_same_bins(random: np.random.Generator) -> None:
    monitor, served = DriftMonitor(10, 86_400), model()
    predictions = [recording(random) for _ in range(40)]
    nobody = replace(
        predictions[0], emotion=NO_SPEECH, probabilities=None, signal=Signal(None, None)
    )
    for each in (*predictions, nobody):
        monitor.observe(served, each)
    found = samples(monitor)
    assert found["serct_predictions_total{emotion=sad,version=1}"] == 40
    assert found["serct_predictions_total{emotion=no_speech,version=1}"] == 1
    assert found["serct_predictions_total{emotion=uncertain,version=1}"] == 0
    assert found["serct_prediction_confidence_count{version=1}"] == 40
    total = sum(each.confidence or 0 for each in predictions)
    assert found["serct_prediction_confidence_sum{version=1}"] == pytest.approx(total)
    for edge in next(each.edges for each in QUANTITIES if each.name == "level"):
        below = sum(each.signal.level_dbfs <= edge for each in predictions)  # type: ignore[union-attr]
        key = f"serct_prediction_level_dbfs_bucket{{le={float(edge)},version=1}}"
        assert found[key] == below
    assert found["serct_prediction_level_dbfs_bucket{le=+Inf,version=1}"] == 40


def test_without_a_reference_nothing_is_compared_and_it_says_so(
    random: np.random.Generator,
) -> None:
    monitor = DriftMonitor(500, 86_400)
    for _ in range(100):
        monitor.observe(model(), recording(random))
    found = samples(monitor)
    assert found["serct_drift_reference{version=1}"] == 0
    assert not any(key.startswith("serct_drift{") for key in found)
    response = _response(monitor.drift()[0])
    assert "card has no reference" in (response.problem or "")
    assert response.reference is None


def test_few_predictions_have_no_distance(
    reference: Reference, random: np.random.Generator
) -> None:
    monitor, served = DriftMonitor(500, 86_400), model(reference=reference)
    for _ in range(LEAST - 1):
        monitor.observe(served, recording(random, level_dbfs=-60))
    assert not any(key.startswith("serct_drift{") for key in samples(monitor))
    assert _response(monitor.drift()[0]).problem == (
        "49 predictions and 300 recordings in the reference, expected at least 50 of both"
    )
    monitor.observe(served, recording(random, level_dbfs=-60))
    assert drifting(monitor) == {"level"}
    assert _response(monitor.drift()[0]).problem is None


def test_bins_of_another_version_are_not_compared(
    reference: Reference, random: np.random.Generator
) -> None:
    older = reference.model_copy(update={"counts": {**reference.counts, "level": {"<= -3": 300}}})
    monitor = DriftMonitor(500, 86_400)
    for _ in range(LEAST):
        monitor.observe(model(reference=older), recording(random, level_dbfs=-60))
    measured = {each.quantity.name: each.distance for each in monitor.drift()[0].quantities}
    assert measured["level"] is None
    assert measured["snr"] is not None


def test_predictions_grow_old(reference: Reference, random: np.random.Generator) -> None:
    now = [0.0]
    monitor = DriftMonitor(500, 60, clock=lambda: now[0])
    for now[0] in range(100):
        monitor.observe(model(reference=reference), recording(random))
    assert monitor.drift()[0].num_predictions == 61
    now[0] = 1000.0
    assert monitor.drift()[0].num_predictions == 0
    assert samples(monitor)["serct_predictions_total{emotion=sad,version=1}"] == 100


def test_an_enrolled_speaker_is_counted_but_not_compared(random: np.random.Generator) -> None:
    monitor = DriftMonitor(500, 86_400)
    monitor.observe(model(speaker="somebody"), recording(random))
    assert monitor.drift()[0].num_predictions == 0
    assert samples(monitor)["serct_predictions_total{emotion=sad,version=1}"] == 1


def test_versions_that_come_and_go_leave_no_labels(random: np.random.Generator) -> None:
    monitor = DriftMonitor(500, 86_400)
    for number in range(50):
        monitor.observe(model(str(number)), recording(random))
    monitor.observe(model(None), recording(random))
    versions = set(re.findall(r"version=(\w+)", " ".join(samples(monitor))))
    assert versions == {"43", "44", "45", "46", "47", "48", "49", drift.NO_VERSION}


def test_a_number_that_another_model_got_begins_anew(random: np.random.Generator) -> None:
    monitor = DriftMonitor(500, 86_400)
    for mark in ("first", "first", "second"):
        monitor.observe(model(mark=mark), recording(random))
    assert monitor.drift()[0].num_predictions == 1


def test_a_further_quantity_is_one_entry_and_older_cards_lack_it(
    reference: Reference, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = Quantity(
        "share", "share of speech", "", "serct_prediction_speech_share", (0.25, 0.5, 0.75),
        lambda each: each.speech_s / each.duration_s,
    )  # fmt: skip
    for module in (observation, drift):
        monkeypatch.setattr(module, "QUANTITIES", (*QUANTITIES, share))
    newer = Reference(
        recordings=300, of=300,
        counts=count((as_observation(recording(random)) for _ in range(300)), EMOTIONS),
    )  # fmt: skip
    for known, has_it in ((newer, True), (reference, False)):
        monitor = DriftMonitor(500, 86_400)
        for _ in range(100):
            monitor.observe(model(reference=known), recording(random))
        found = samples(monitor)
        assert found["serct_prediction_speech_share_bucket{le=0.5,version=1}"] == 100
        assert ("serct_drift{quantity=share,version=1}" in found) is has_it
        assert "serct_drift{quantity=level,version=1}" in found
        assert _response(monitor.drift()[0]).quantities[-1].quantity == "share"
