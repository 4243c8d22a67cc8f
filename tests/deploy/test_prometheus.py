"""A real Prometheus fires the drift alert when calls come by telephone, and not before."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serct import Predictor
from serct.config.serving import ServingParams
from serct.data.corpora import demo
from serct.data.preparing import resample
from serct.evaluation.conditions import Scene, read_conditions
from serct.models.reference import Reference
from serct.runtime.arrays import Floats
from serct.serving.models import LoadedModel
from serct.serving.monitoring.metrics import ServiceMetrics
from tests.deploy.prometheus_process import (
    Prometheus,
    predict_all,
    running_prometheus,
    served_metrics,
)

RATE = 16_000
NUM = 105  # the rule wants 100


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> list[Floats]:
    """Synthetic speech of several speakers in several manners, with some noise, shuffled."""
    folder, random = tmp_path_factory.mktemp("speech"), np.random.default_rng(0)
    demo._speak(
        [
            demo._request("en", speaker, number, text, emotion)
            for speaker in ("f1", "m1", "f2", "m2")
            for number, text in enumerate(demo.SENTENCES["en"][:9])
            for emotion in ("angry", "happy", "neutral", "sad", "surprised", "fearful", "calm")
        ],
        folder,
    )
    found = list[Floats]()
    for path in sorted(folder.glob("*.wav")):
        samples, rate = soundfile.read(path, dtype="float32")
        padded = np.pad(samples, rate // 4)
        noise = 10 ** random.uniform(-4, -2.5) * random.standard_normal(len(padded))
        noisy = padded + noise.astype(np.float32)
        found.append(resample(noisy, rate, RATE, "soxr"))
    return [found[place] for place in random.permutation(len(found))[: 2 * NUM]]


def drifting(prometheus: Prometheus) -> set[str]:
    return {quantity for name, quantity in prometheus.firing() if name == "SerctDrift"}


@pytest.mark.slow
def test_the_alert_fires_for_the_telephone_band_and_not_before(
    trained: dict[str, Path], speech: list[Floats], tmp_path: Path
) -> None:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("Prometheus is not installed: apt-get install prometheus")
    predictor = Predictor.load(trained["cnn"])
    limits = ServingParams(drift_predictions=len(speech) - NUM)
    # What the train stage would have noted of recordings like these.
    noted, unknown = ServiceMetrics(limits), LoadedModel(predictor, None)
    predict_all(noted, unknown, speech[:NUM], RATE)
    (found,) = noted.drift.drift()
    counts = {
        each.quantity.name: dict(zip(each.bins, each.current, strict=True))
        for each in found.quantities
    }
    num = found.num_predictions
    reference = Reference(recordings=num, of=num, counts=counts)
    predictor.card = predictor.card.model_copy(update={"reference": reference})
    metrics, model = ServiceMetrics(limits), LoadedModel(predictor, None)
    (telephone,) = read_conditions({"telephone": {"condition": "telephone"}})
    scene = Scene(np.random.default_rng(0), lambda num: [])
    with (
        served_metrics(metrics, model) as target,
        running_prometheus(program, tmp_path, target, hold_s=1) as prometheus,
    ):
        predict_all(metrics, model, speech[NUM:], RATE)
        full = f"serct_drift_predictions == {len(speech) - NUM}"
        prometheus.wait(lambda: prometheus.query(full))
        before = prometheus.num_evaluations()
        # Long enough for an alert that would fire.
        prometheus.wait(lambda: prometheus.num_evaluations() >= before + 3)
        # A reading that came late leaves a gap.
        prometheus.wait(lambda: prometheus.query('serct_drift{quantity="snr"}'))
        assert drifting(prometheus) == set()
        changed = [telephone.apply(each, RATE, scene) for each in speech[NUM:]]
        predict_all(metrics, model, changed, RATE)
        prometheus.wait(lambda: "snr" in drifting(prometheus))
        assert "duration" not in drifting(prometheus)
