"""Drift of what the service meets and predicts, for each model version, without any audio.

Of each prediction only the numbers of its bins are kept, of the last few hundred, in memory: a
restart begins anew, and Prometheus keeps what it has read.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from serct.evaluation.drift import LEAST, distance, threshold
from serct.evaluation.observation import QUANTITIES, Observation, Outcome, Quantity, Signal
from serct.inference.recording import RecordingPrediction
from serct.models.reference import Reference
from serct.serving import schemas
from serct.serving.models import LoadedModel
from serct.serving.predicting import describe

# Each has labels of its own in the metrics, so there is an end to them.
_MAX_VERSIONS = 8
NO_VERSION = "folder"  # the label of a model that is no version of a registry


@dataclass(frozen=True)
class QuantityDrift:
    """One quantity of one version.

    Attributes:
        quantity: Which.
        bins: Their names.
        reference: Counts of the validation part; None if the card has none for these bins.
        current: Counts of the last predictions.
        distance: Between both; None if there is no reference, or too few of either.
        threshold: What chance alone exceeds in few cases; None with `distance`.
    """

    quantity: Quantity
    bins: tuple[str, ...]
    reference: tuple[int, ...] | None
    current: tuple[int, ...]
    distance: float | None
    threshold: float | None

    @property
    def is_drifting(self) -> bool:
        """Whether the distance is above its threshold."""
        return self.distance is not None and self.distance > (self.threshold or 0)


@dataclass(frozen=True)
class VersionDrift:
    """All quantities of one version.

    Attributes:
        version: The number of the version, or `NO_VERSION`.
        model: What responses call its model.
        reference: In its card, if there is one.
        num_predictions: That `QuantityDrift.current` counts.
        quantities: In the order of `QUANTITIES`.
    """

    version: str
    model: schemas.Model
    reference: Reference | None
    num_predictions: int
    quantities: tuple[QuantityDrift, ...]


@dataclass(eq=False)
class _Version:
    """What is kept of one version.

    Attributes:
        model: What responses call its model, which is not kept in memory.
        reference: In its card, if there is one.
        bins: Of each quantity.
        total: Counts since the service started, by quantity and bin.
        sums: Of the numbers counted there.
        recent: When and in which bins the last predictions fell; -1 for no value.
    """

    model: schemas.Model
    reference: Reference | None
    bins: tuple[tuple[str, ...], ...]
    total: list[list[int]]
    sums: list[float]
    recent: deque[tuple[float, tuple[int, ...]]] = field(default_factory=deque)

    @classmethod
    def of(cls, model: LoadedModel) -> "_Version":
        card = model.predictor.card
        bins = tuple(each.bins(card.emotions) for each in QUANTITIES)
        zeros = [[0] * len(each) for each in bins]
        return cls(describe(model), card.reference, bins, zeros, [0.0] * len(bins))


class DriftMonitor(Collector):
    """Counts predictions, and compares the last ones with the reference in the model's card.

    Args:
        window: Predictions that are compared, the last ones.
        max_age_s: How old they may be.
        clock: Returns seconds.
    """

    def __init__(
        self, window: int, max_age_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._window, self._max_age_s, self._clock = window, max_age_s, clock
        self._versions: OrderedDict[str, _Version] = OrderedDict()
        # Metrics are read in another thread than predictions are made.
        self._lock = threading.Lock()

    def observe(self, model: LoadedModel, found: RecordingPrediction) -> None:
        """Count one prediction.

        One for an enrolled speaker is not compared: the reference is of the model without.
        """
        card, signal = model.predictor.card, found.signal or Signal(None, None)
        observation = Observation(
            found.emotion, found.confidence, found.duration_s, found.speech_s, signal
        )
        places = tuple(
            -1 if place is None else place
            for place in (each.place(observation, card.emotions) for each in QUANTITIES)
        )
        with self._lock:
            kept = self._of(model)
            for number, (quantity, place) in enumerate(zip(QUANTITIES, places, strict=True)):
                if place >= 0:
                    kept.total[number][place] += 1
                    kept.sums[number] += quantity.take(observation) or 0.0
            if model.predictor.speaker is None:
                kept.recent.append((self._clock(), places))
                while len(kept.recent) > self._window:
                    kept.recent.popleft()

    def _of(self, model: LoadedModel) -> _Version:
        name = model.version or NO_VERSION
        kept = self._versions.get(name)
        # A rebuilt registry may give a number to another model.
        if kept is None or kept.model.fingerprint != model.predictor.card.fingerprint:
            kept = self._versions[name] = _Version.of(model)
        self._versions.move_to_end(name)
        while len(self._versions) > _MAX_VERSIONS:
            self._versions.popitem(last=False)
        return kept

    def drift(self) -> list[VersionDrift]:
        """Compare every version with its reference; the one used last comes last."""
        with self._lock:
            oldest = self._clock() - self._max_age_s
            found = []
            for name, kept in self._versions.items():
                while kept.recent and kept.recent[0][0] < oldest:
                    kept.recent.popleft()
                current = [[0] * len(bins) for bins in kept.bins]
                for _, places in kept.recent:
                    for counts, place in zip(current, places, strict=True):
                        if place >= 0:
                            counts[place] += 1
                found.append((name, kept, current, len(kept.recent)))
        # Thresholds take a while, so predictions go on meanwhile.
        return [
            VersionDrift(
                name, kept.model, kept.reference, num,
                tuple(
                    _compare(kept.reference, quantity, bins, tuple(counts))
                    for quantity, bins, counts in zip(QUANTITIES, kept.bins, current, strict=True)
                ),
            )
            for name, kept, current, num in found
        ]  # fmt: skip

    def collect(self) -> Iterator[Metric]:
        """Return all metrics as they are now."""
        found = self.drift()
        yield from self._totals()
        labels = ("version", "quantity")
        measured = GaugeMetricFamily(
            "serct_drift",
            "Jensen-Shannon distance of the last predictions to the validation part, 0..1; none "
            f"below {LEAST} predictions, or without a reference in the card.",
            labels=labels,
        )
        bound = GaugeMetricFamily(
            "serct_drift_threshold",
            "The distance that chance alone exceeds for any quantity in 0.1 % of cases.",
            labels=labels,
        )
        compared = GaugeMetricFamily(
            "serct_drift_predictions", "Predictions that are compared.", labels=("version",)
        )
        known = GaugeMetricFamily(
            "serct_drift_reference",
            "Recordings of the validation part in the card; 0 if it has no reference.",
            labels=("version",),
        )
        for version in found:
            reference = version.reference
            compared.add_metric([version.version], version.num_predictions)
            known.add_metric([version.version], reference.recordings if reference else 0)
            for each in version.quantities:
                if each.distance is not None and each.threshold is not None:
                    names = [version.version, each.quantity.name]
                    measured.add_metric(names, each.distance)
                    bound.add_metric(names, each.threshold)
        yield from (measured, bound, compared, known)

    def _totals(self) -> Iterator[Metric]:
        """Return counters and histograms since the service started."""
        with self._lock:
            kept = {
                name: ([list(counts) for counts in each.total], list(each.sums), each.bins)
                for name, each in self._versions.items()
            }
        for number, quantity in enumerate(QUANTITIES):
            if isinstance(quantity, Outcome):
                counter = CounterMetricFamily(
                    quantity.metric, "Predictions of files and of finished streams.",
                    labels=("version", quantity.name),
                )  # fmt: skip
                for name, (totals, _, bins) in kept.items():
                    for emotion, total in zip(bins[number], totals[number], strict=True):
                        counter.add_metric([name, emotion], total)
                yield counter
                continue
            unit = f", in {quantity.unit}" if quantity.unit else ""
            histogram = HistogramMetricFamily(
                quantity.metric, f"Of predictions: {quantity.title}{unit}.", labels=("version",)
            )
            ends = [*map(float, quantity.edges), float("inf")]
            for name, (totals, sums, _) in kept.items():
                reached, buckets = 0, []
                for end, total in zip(ends, totals[number], strict=True):
                    reached += total
                    buckets.append(("+Inf" if end == float("inf") else str(end), reached))
                # A sum that may fall is none that Prometheus takes.
                total_sum = sums[number] if ends[0] >= 0 else None
                histogram.add_metric([name], buckets, total_sum)
            yield histogram


def _compare(
    known: Reference | None, quantity: Quantity, bins: tuple[str, ...], current: tuple[int, ...]
) -> QuantityDrift:
    counts = known.counts.get(quantity.name) if known else None
    # A card of another version may have other bins.
    if counts is None or tuple(counts) != bins:
        return QuantityDrift(quantity, bins, None, current, None, None)
    reference = tuple(counts.values())
    if min(sum(reference), sum(current)) < LEAST:
        return QuantityDrift(quantity, bins, reference, current, None, None)
    return QuantityDrift(
        quantity, bins, reference, current, float(distance(current, reference)),
        threshold(reference, sum(current), len(QUANTITIES)),
    )  # fmt: skip
