"""The model in use becomes ONNX while it is in use, and stays as it is where that fails."""

import logging
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from serct.config.serving import ServingParams
from serct.inference.onnx_model import MODEL_FILE, OnnxClassifier
from serct.inference.serving_form import faster_form, serving_form
from serct.serving.conversion import Conversion
from serct.serving.models import ModelManager
from serct.serving.settings import Settings
from tests.waiting import wait_for


@contextmanager
def following(model: Path) -> Iterator[ModelManager]:
    """A manager that has loaded a model's folder, and converts it soon."""
    limits = ServingParams(poll_s=0.05, convert_after_s=0.05)
    manager = ModelManager(Settings(str(model), Path("nowhere"), limits=limits))
    manager.refresh()
    thread = threading.Thread(target=manager.follow)
    thread.start()
    try:
        yield manager
    finally:
        manager.stop()
        thread.join()


def probabilities(manager: ModelManager) -> list[float]:
    assert manager.current is not None
    noise = 0.1 * np.random.default_rng(0).standard_normal(16_000)
    return list(manager.current.predictor.predict(noise, 16_000).values())


@pytest.mark.slow
def test_a_model_in_use_is_converted_once_and_predicts_the_same(
    trained: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setenv("SERCT_CACHE", str(tmp_path / "cache"))
    model = shutil.copytree(trained["lstm"], tmp_path / "lstm")
    with following(model) as manager:
        first = manager.current
        assert first is not None
        own = probabilities(manager)
        wait_for(lambda: manager.current is not first)
        assert manager.current is not None
        assert isinstance(manager.current.predictor.classify, OnnxClassifier)
        assert manager.current.predictor.card.fingerprint == first.predictor.card.fingerprint
        assert probabilities(manager) == pytest.approx(own, abs=1e-5)
    with following(model) as manager:
        assert manager.current is not None
        assert manager.current.convertible is None
    form = faster_form(model, "cpu")
    assert form is not None
    (form / MODEL_FILE).write_bytes(b"damaged")
    with caplog.at_level(logging.WARNING), following(model) as manager:
        assert probabilities(manager) == pytest.approx(own)
        assert "not used and removed" in caplog.text
        wait_for(lambda: manager.current is not None and manager.current.convertible is None)
        assert probabilities(manager) == pytest.approx(own, abs=1e-5)


def test_a_model_that_cannot_be_converted_stays_and_is_not_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    conversion = Conversion(0.0)
    with caplog.at_level(logging.WARNING):
        wait_for(lambda: conversion.poll(tmp_path) or caplog.text)
    assert "stays in its own form" in caplog.text
    assert str(tmp_path / "card.json") in caplog.text
    for _ in range(3):
        assert not conversion.poll(tmp_path)
        assert conversion._process is None


def test_another_model_in_use_and_a_stop_end_what_is_under_way(tmp_path: Path) -> None:
    conversion = Conversion(0.0)
    other = tmp_path / "other"
    for folder in (tmp_path, None, other):
        conversion.poll(folder)
    running = conversion._process
    assert running is not None
    conversion.stop()
    assert running.returncode is not None
    assert not conversion.poll(tmp_path / "third")
    assert conversion._process is None


@pytest.mark.parametrize(("device", "precision"), [("cpu", "bfloat16"), ("meta", "float32")])
def test_where_torch_is_faster_or_what_was_asked_for(
    trained: dict[str, Path], device: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from serct.inference import serving_form as module

    monkeypatch.setattr(module, "pick_device", torch.device)
    assert faster_form(trained["lstm"], "cpu") is not None
    assert faster_form(trained["lstm"], device, precision) is None
    assert faster_form(trained["functionals_lda"], "cpu") is None
    assert serving_form(trained["functionals_lda"], "cpu") == trained["functionals_lda"]
