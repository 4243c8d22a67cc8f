"""Saved models come back the same, without pickle, and broken ones say what is wrong."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from serct.config.params import Params
from serct.data.dataset import ShardDataset
from serct.errors import CheckpointError
from serct.evaluation.classifiers import as_classifier
from serct.evaluation.evaluate import evaluate
from serct.models import read_model_params, restore_model_params
from serct.models.checkpoint import load_card, load_model
from serct.models.interface import ClassicalParams
from serct.models.lstm import LstmParams
from serct.models.serct import SerctParams
from tests.edited import edit_record


def test_every_model_comes_back_with_the_same_answers(
    trained: dict[str, Path], tiny_params: Params, tone_shards: Path
) -> None:
    for name, folder in trained.items():
        model, card = load_model(folder)
        assert card.name == name
        entry = read_model_params(tiny_params, name)
        assert restore_model_params(card.architecture, "a card") == entry
        dataset = ShardDataset(tone_shards, ["validation"], card.emotions)
        scores = evaluate(as_classifier(model, torch.device("cpu")), dataset, 4).scores
        if isinstance(entry, ClassicalParams):
            # The card tells of what it answered before it learned this part as well.
            assert scores.loss < card.validation.loss, name
        else:
            assert scores.loss == pytest.approx(card.validation.loss, rel=1e-4), name
            assert scores.ua == pytest.approx(card.validation.ua), name


def test_no_file_holds_a_pickle(trained: dict[str, Path]) -> None:
    for folder in trained.values():
        names = {path.name for path in folder.iterdir()}
        assert names <= {
            "weights.safetensors",
            "model.skops",
            "card.json",
            "history.csv",
            "importance.json",
            "run.json",
        }
        for path in folder.iterdir():
            with pytest.raises(
                (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError)
            ):
                pickle.loads(path.read_bytes())


@pytest.fixture
def folder(trained: dict[str, Path], tmp_path: Path) -> Path:
    shutil.copytree(trained["serct"], tmp_path / "m")
    return tmp_path / "m"


def test_missing_card(folder: Path) -> None:
    (folder / "card.json").unlink()
    with pytest.raises(
        CheckpointError, match=r"card\.json: no such file; expected the folder of a model"
    ):
        load_model(folder)


def test_card_of_another_version(folder: Path) -> None:
    edit_record(folder / "card.json", format_version=99)
    with pytest.raises(
        CheckpointError,
        match=r"format version 99, but serct .* reads up to 6: install a newer serct",
    ):
        load_card(folder)


def test_card_that_does_not_check(folder: Path) -> None:
    edit_record(folder / "card.json", emotions=7)
    with pytest.raises(CheckpointError, match="emotions"):
        load_card(folder)


def test_weights_that_are_cut_off_missing_or_of_another_shape(folder: Path) -> None:
    weights = folder / "weights.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: damaged: SHA-256"):
        load_model(folder)
    edit_record(folder / "card.json")
    with pytest.raises(CheckpointError, match="weights cannot be loaded"):
        load_model(folder)
    weights.unlink()
    expected = r"weights\.safetensors: no such file, but card\.json beside it lists it"
    with pytest.raises(CheckpointError, match=expected):
        load_model(folder)
    edit_record(folder / "card.json", format_version=3)  # lists no files
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: no such file"):
        load_model(folder)
    weights.write_bytes(content)
    edit_record(folder / "card.json", format_version=4)
    architecture = architecture_of(folder)
    change_card(folder, architecture={**architecture, "width": 2 * architecture["width"]})
    with pytest.raises(CheckpointError, match="size mismatch") as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def test_classes_that_are_not_the_cards_emotions(trained: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "m"
    shutil.copytree(trained["functionals_lda"], folder)
    change_card(folder, emotions=["angry", "happy"])
    expected = r"model\.skops: 3 classes, expected 2 as card\.json beside it has emotions"
    with pytest.raises(CheckpointError, match=expected):
        load_model(folder)
    change_card(folder, emotions=["angry", "happy", "angry"])
    with pytest.raises(CheckpointError, match=r"emotions: .*expected each emotion once"):
        load_model(folder)


@pytest.mark.parametrize("temperature", [np.nan, np.inf, -np.inf, 0.0, 1e-320, 1e308])
def test_a_temperature_that_leaves_no_probabilities(
    trained: dict[str, Path], tmp_path: Path, temperature: float
) -> None:
    folder = tmp_path / "m"
    shutil.copytree(trained["svm"], folder)
    change_card(folder, calibration={"temperature": temperature, "uncertain_below": 0.5})
    with pytest.raises(CheckpointError, match=r"card\.json: calibration\.temperature: "):
        load_model(folder)


def change_card(folder: Path, **changes: Any) -> None:
    edit_record(folder / "card.json", **changes)


def architecture_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "card.json").read_text())["architecture"])


@pytest.fixture
def older(
    trained: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, type[LstmParams]]:
    """An lstm that was saved before its params had `units` and `bias`, when they had `clip`."""

    class NewParams(LstmParams):
        units: int
        bias: bool = True

    monkeypatch.setattr("serct.models.lstm.LstmParams", NewParams)
    folder = tmp_path / "m"
    shutil.copytree(trained["lstm"], folder)
    change_card(folder, architecture={**architecture_of(folder), "clip": 0.5})
    return folder, NewParams


def test_a_key_that_came_or_went_since_is_no_obstacle(
    older: tuple[Path, type[LstmParams]], trained: dict[str, Path]
) -> None:
    folder, new_params = older
    model, card = load_model(folder)
    assert card.architecture == architecture_of(folder)  # as it was written
    params = restore_model_params(card.architecture, "a card")
    assert type(params) is new_params
    kept = json.loads(params.model_dump_json())
    assert kept == {**architecture_of(trained["lstm"]), "bias": True}
    assert isinstance(model, torch.nn.Module)
    weights = load_file(folder / "weights.safetensors")
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), weights[name])


def test_a_missing_key_that_the_model_needs_is_named(
    older: tuple[Path, type[LstmParams]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, new_params = older
    monkeypatch.setattr(new_params, "build", lambda params, *_: torch.nn.Linear(params.units, 1))
    with pytest.raises(CheckpointError, match=r"card\.json: architecture\.units is missing"):
        load_model(folder)


def test_from_a_newer_serct_every_key_must_fit(older: tuple[Path, type[LstmParams]]) -> None:
    folder, _ = older
    change_card(folder, versions={"serct": "99.1"})
    with pytest.raises(CheckpointError, match=r"units is missing.*saved by serct 99\.1"):
        load_model(folder)


def test_values_beside_a_missing_key_are_read_and_checked(trained: dict[str, Path]) -> None:
    content = architecture_of(trained["serct"])
    whole = restore_model_params(content, "a card")
    del content["bias"]
    params = restore_model_params(content, "a card")
    assert isinstance(params, SerctParams)
    assert isinstance(whole, SerctParams)
    assert (params.conv_layers, params.train) == (whole.conv_layers, whole.train)
    with pytest.raises(CheckpointError, match=r"^a card: architecture\.width is 0: .*greater"):
        restore_model_params({**content, "width": 0}, "a card")
    with pytest.raises(CheckpointError, match=r"a card: architecture\.architecture is 'gone'"):
        restore_model_params({**content, "architecture": "gone"}, "a card")


def test_history_and_run_are_written(trained: dict[str, Path], tiny_params: Params) -> None:
    history = (trained["serct"] / "history.csv").read_text().splitlines()
    assert len(history) == 1 + tiny_params.train.epochs
    run = json.loads((trained["serct"] / "run.json").read_text())
    assert run["run_id"] is None
    assert run["fingerprint"] == load_card(trained["serct"]).fingerprint
    assert np.isfinite(run["seconds"])
