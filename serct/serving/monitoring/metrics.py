"""Metrics for operators: counts, times and the state of the model, in the format of Prometheus."""

import threading

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from serct.config.serving import ServingParams
from serct.serving.batching import Batcher
from serct.serving.models import ModelManager
from serct.serving.monitoring.drift import DriftMonitor
from serct.serving.speakers import SpeakerStore

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_CLIPS = (1, 2, 4, 8, 16, 32, 64)


class ServiceMetrics:
    """Metrics of one service; they contain nothing that clients sent, but names of keys.

    Args:
        limits: Of the service; the defaults if None.

    Attributes:
        drift: Counts predictions by model version.
    """

    def __init__(self, limits: ServingParams | None = None) -> None:
        limits = limits or ServingParams()
        own = self._registry = CollectorRegistry()
        self._lock = threading.Lock()
        self.drift = DriftMonitor(limits.drift_predictions, limits.drift_max_age_s)
        own.register(self.drift)
        self.requests = Counter(
            "serct_requests", "Finished requests.", ("route", "status"), registry=own
        )
        # At most 1000 names, those in the file of keys.
        self.client_requests = Counter(
            "serct_client_requests", "Finished requests of the holders of keys.",
            ("client", "status"), registry=own,
        )  # fmt: skip
        self.seconds = Histogram(
            "serct_request_seconds", "Time from a request to the end of its response.", ("route",),
            buckets=_SECONDS, registry=own,
        )  # fmt: skip
        self.batches = Histogram(
            "serct_batch_clips", "Clips predicted in one batch.", buckets=_CLIPS, registry=own
        )
        self.lost_decoders = Counter(
            "serct_decoders_lost", "Decoders that a file ended, and that were replaced.",
            ("cause",), registry=own,
        )  # fmt: skip
        self.in_flight = Gauge("serct_requests_in_flight", "Open requests.", registry=own)
        self.uploads = Gauge("serct_uploads", "Bodies still arriving.", registry=own)
        self.calls = Gauge("serct_calls", "Long recordings on their way.", registry=own)
        self.streams = Gauge("serct_streams", "Live streams.", registry=own)
        self._speakers = Gauge("serct_speakers", "Enrolled speakers.", registry=own)
        self._waiting = Gauge("serct_clips_waiting", "Clips waiting for the model.", registry=own)
        self._model = Gauge(
            "serct_model_info", "The model in use.", ("name", "version"), registry=own
        )
        self._is_ready = Gauge("serct_model_ready", "1 if there is a model.", registry=own)
        self._has_problem = Gauge(
            "serct_model_problem", "1 if the registry's version cannot be used.", registry=own
        )

    def text(self, models: ModelManager, batcher: Batcher, speakers: SpeakerStore) -> bytes:
        """Return all metrics as they are now; two threads take turns."""
        with self._lock:
            return self._text(models, batcher, speakers)

    def _text(self, models: ModelManager, batcher: Batcher, speakers: SpeakerStore) -> bytes:
        self._speakers.set(len(speakers))
        self._waiting.set(batcher.num_waiting)
        self._is_ready.set(models.current is not None)
        self._has_problem.set(models.problem is not None)
        self._model.clear()
        if models.current:
            name = models.current.predictor.card.name
            self._model.labels(name, models.current.version or "folder").set(1)
        return generate_latest(self._registry)
