"""Which model is in use, and what a registry that fails or was rebuilt changes."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from serct.errors import TrackingError, UnknownVersionError
from serct.serving import models
from serct.serving.models import ModelManager
from serct.serving.service import create_service
from serct.serving.settings import Settings
from serct.tracking import Identity

SETTINGS = Settings("models:/serct@champion", Path("nowhere"))


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, Identity]:
    """A registry whose addresses a test can change; a model predicts nothing and has a name."""
    found: dict[str, Identity] = {}

    def load(folder: str, *_: str) -> SimpleNamespace:
        return SimpleNamespace(card=SimpleNamespace(name=folder))

    monkeypatch.setattr(models, "find_version", lambda address, root: found[address])
    monkeypatch.setattr(models, "find_model", lambda address, root: found[address].model)
    monkeypatch.setattr(models, "faster_form", lambda folder, device, precision: None)
    monkeypatch.setattr(models, "Predictor", SimpleNamespace(load=load))
    monkeypatch.setattr(models, "smoke_problem", lambda predictor: None)
    return found


def test_a_number_that_a_rebuilt_registry_gave_to_another_model(
    registry: dict[str, Identity],
) -> None:
    manager = ModelManager(SETTINGS)
    for first, second in (("a", "b"), ("b", "a")):
        registry["models:/serct@champion"] = registry["models:/serct/1"] = Identity("1", first)
        registry["models:/serct/2"] = Identity("2", second)
        manager.refresh()
        assert manager.problem is None
        assert manager.current is not None
        assert (manager.current.version, manager.current.predictor.card.name) == ("1", first)
        assert manager.version("1") is manager.current
        other = manager.version("2")
        assert (other.version, other.predictor.card.name) == ("2", second)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnknownVersionError("registered model 'serct' has no '3', it has version 1"), 404),
        (TrackingError("mlflow.db: cannot find version 3: database is locked"), 503),
    ],
)
def test_only_a_version_that_does_not_exist_is_not_found(
    monkeypatch: pytest.MonkeyPatch, error: TrackingError, status: int
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(models, "find_version", fail)
    client = TestClient(create_service(SETTINGS))
    answer = client.post("/v1/predict?version=3", files={"files": ("a.wav", b"RIFF")})
    assert (answer.status_code, answer.json()["detail"]) == (status, str(error))
    assert answer.headers.get("retry-after") == ("1" if status == 503 else None)


def test_the_list_of_versions_of_a_registry_that_is_gone(tmp_path: Path) -> None:
    answers = [
        TestClient(create_service(Settings(model, tmp_path))).get("/v1/models")
        for model in ("models:/serct", "data/models/demo_en-serct")
    ]
    assert [answer.status_code for answer in answers] == [503, 404]
    assert "no tracking store here" in answers[0].json()["detail"]
    assert "a model folder, which has no versions" in answers[1].json()["detail"]
