"""params.yaml: the committed one is complete, and every mistake names its key."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from serct.config.params import Params
from serct.config.reader import read_params, read_yaml
from serct.config.section import merge
from serct.errors import ParamsError
from serct.experiments.checking import check_params
from serct.models import read_model_params
from tests.conftest import ROOT


def written(tmp_path: Path, change: dict[str, Any]) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(merge(read_yaml(ROOT / "params.yaml"), change)))
    return path


def test_committed_params_hold_the_thesis_values() -> None:
    params = read_params(ROOT / "params.yaml")
    assert params.seed == 3
    assert params.audio.num_samples == 144_000
    assert (params.train.epochs, params.train.batch_size, params.train.weight_decay) == (
        20,
        16,
        0.005,
    )
    serct = read_model_params(params, "serct")
    assert (serct.width, serct.num_layers, serct.num_heads) == (1024, 4, 8)


@pytest.mark.parametrize(
    "profile", sorted((ROOT / "profiles").glob("*.yaml")), ids=lambda p: p.stem
)
def test_profiles_hold_only_what_differs(profile: Path, tmp_path: Path) -> None:
    base, overlay = read_yaml(ROOT / "params.yaml"), read_yaml(profile)
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(merge(base, overlay)))
    check_params(read_yaml(path), str(path))

    def same(base: Any, overlay: Any, where: str) -> list[str]:
        if isinstance(base, dict) and isinstance(overlay, dict):
            return [
                s for k in overlay if k in base for s in same(base[k], overlay[k], f"{where}.{k}")
            ]
        return [where] if base == overlay else []

    assert same(base, overlay, "") == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": {"learing_rate": 1.0}}, r"train\.learing_rate is not a known key"),
        ({"train": {"epochs": "20"}}, r"train\.epochs is '20'"),
        ({"train": {"epochs": 0}}, r"train\.epochs is 0: .*greater than or equal to 1"),
        ({"train": {"epochs": 2.5}}, r"train\.epochs is 2\.5"),
        ({"train": {"learning_rate": -1.0}}, r"train\.learning_rate is -1\.0: .*greater than 0"),
        ({"train": {"schedule": {"name": "linear"}}}, r"train\.schedule is"),
        ({"split": {"protocol": "leaky"}}, r"split\.protocol is 'leaky'"),
        ({"audio": {"sample_rate": "natve"}}, r"audio\.sample_rate"),
        ({"models": {"serct": {"num_heads": 7}}}, r"width 1024 must be a multiple of num_heads 7"),
        (
            {"models": {"lstm": {"train": {"epoch": 1}}}},
            r"models\.lstm\.train\.epoch is not a known",
        ),
        (
            {"pipeline": {"models": ["serct", "gpt"]}},
            r"'gpt', expected one of .*models: .*cnn, cnn_bilstm",
        ),
        ({"pipeline": {"train_corpora": ["esd_en"]}}, r"'esd_en' is used but not listed"),
        ({"seed": None}, "seed is None"),
        (
            {"train": {"schedule": {"name": "cosine"}}},
            r": train\.schedule\.warmup_fraction is missing",
        ),
        ({"search": {"space": {"x": {"choices": [1]}}}}, r": search\.space\.x\.choices is \[1\]"),
        (
            {"search": {"space": {"x": {"low": 1}}}},
            r"params\.yaml: search\.space\.x\.high is missing;",
        ),
        (
            {"search": {"space": {"x": {"low": 3, "high": 2}}}},
            r"params\.yaml: search\.space\.x is .*: Value error, low is 3, expected less than high",
        ),
        ({"train": {"learning_rate": float("inf")}}, r"train\.learning_rate is inf: .*finite"),
        ({"checks": {"max_duration_s": float("nan")}}, r"checks\.max_duration_s is nan"),
    ],
)
def test_mistakes_name_their_key(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        check_params(read_yaml(written(tmp_path, change)), "params.yaml")


def test_missing_key_is_named(tmp_path: Path) -> None:
    data = read_yaml(ROOT / "params.yaml")
    del data["audio"]["num_samples"]
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(data))
    params = read_params(path)
    assert params.train.epochs == 20  # other sections are of use
    with pytest.raises(ParamsError, match=r"params\.yaml: audio\.num_samples is missing"):
        _ = params.audio


def test_missing_broken_and_shapeless_files(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="no such file"):
        read_params(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1,")
    with pytest.raises(ParamsError, match="not valid YAML"):
        read_params(tmp_path / "broken.yaml")
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    with pytest.raises(ParamsError, match="found nothing, expected a mapping"):
        read_params(tmp_path / "empty.yaml")
    (tmp_path / "merged.yaml").write_text("a: 1\n<<<<<<< HEAD\nb: 2\n=======\nb: 3\n>>>>>>> x\n")
    with pytest.raises(ParamsError, match=r"merged\.yaml: line 2: a conflict that git left"):
        read_params(tmp_path / "merged.yaml")
    (tmp_path / "twice.yaml").write_text("a: {b: 1}\na:\n  b: 2\n")
    with pytest.raises(ParamsError, match=r"YAML: line 2, column 1: the key 'a' is there twice$"):
        read_params(tmp_path / "twice.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"a: \xf5")
    with pytest.raises(ParamsError, match=r"bytes\.yaml: not readable: 'utf-8' codec can't decode"):
        read_params(tmp_path / "bytes.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ParamsError, match="found list, expected a mapping"):
        read_params(tmp_path / "list.yaml")


def test_exponents_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: 1e-5\nb: 2E3\nc: 16\nd: v1e5\ne: 1.5e-3\nf: -3e2\n")
    assert read_yaml(path) == {
        "a": 1e-5,
        "b": 2000.0,
        "c": 16,
        "d": "v1e5",
        "e": 0.0015,
        "f": -300.0,
    }


def test_a_key_may_replace_what_an_anchor_brings(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: &b {<<: *a, x: 3}\nc: {<<: *b, y: 4}\n")
    assert read_yaml(path)["c"] == {"x": 3, "y": 4}


def test_merge_replaces_a_mapping_of_another_kind() -> None:
    base = {"schedule": {"name": "step", "step_epochs": 10, "gamma": 0.1}}
    overlay = {"schedule": {"name": "cosine", "warmup_fraction": 0.1}}
    assert merge(base, overlay) == overlay


def test_overrides_touch_one_model_alone(tiny_params: Params) -> None:
    assert tiny_params.train_params("serct").learning_rate == 0.01
    assert tiny_params.train_params("cnn").learning_rate == 0.001
