"""Workspaces: one dvc.yaml, params from base, profile and settings; nothing else is touched."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from serct.config.reader import read_params, read_yaml
from serct.data.corpora import read_corpus_params
from serct.data.corpora.folder import FolderParams
from serct.errors import ParamsError, SerctError
from serct.experiments.settings import list_profiles, with_setting
from serct.experiments.workspace import prepare_workspace, stage_environment
from tests.conftest import ROOT


def test_a_profile_and_settings_make_the_params(tmp_path: Path) -> None:
    folder, params = prepare_workspace(
        tmp_path / "ws",
        "demo",
        ["train.epochs=2", 'pipeline.models=["svm"]', "split.protocol=text"],
    )
    assert params == read_params(folder / "params.yaml")
    assert params.train.epochs == 2
    assert params.pipeline.models == ("svm",)
    assert params.split.protocol == "text"
    assert params.pipeline.corpora == ("demo_en", "demo_de", "demo_zh")
    assert params.train.weight_decay == 0.005
    for name in ("serct", "pipeline"):
        assert (folder / name).resolve() == ROOT / name
    assert (folder / "dvc.yaml").read_bytes() == (ROOT / "dvc.yaml").read_bytes()
    local = ROOT / ".dvc" / "config.local"
    assert not local.exists() or not (ROOT / ".git").exists() or "no_scm" not in local.read_text()


def test_one_new_value_is_one_changed_line(tmp_path: Path) -> None:
    folder, _ = prepare_workspace(tmp_path / "ws", "cpu", ["train.epochs=2"])
    before = (folder / "params.yaml").read_text().splitlines()
    apply_overrides(folder / "params.yaml", ["train.epochs=5"])
    after = (folder / "params.yaml").read_text().splitlines()
    changed = [line for old, line in zip(before, after, strict=True) if old != line]
    assert changed == ["  epochs: 5"]


def test_a_workspace_in_a_git_checkout_is_a_dvc_project_of_it(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("/build/\n")
    shown, _ = prepare_workspace(tmp_path / "mine" / "small", "demo")
    ignored, _ = prepare_workspace(tmp_path / "build" / "small", "demo")
    assert "no_scm" not in (shown / ".dvc/config").read_text()
    assert "no_scm = true" in (ignored / ".dvc/config").read_text()
    for name in ("mlflow.db", "data/models/x/card.json", ".dvc/tmp/lock", ".dvc/config.local"):
        (shown / name).parent.mkdir(parents=True, exist_ok=True)
        (shown / name).write_text("not for git")
    (shown / "data/promotions.jsonl").write_text("")
    subprocess.run(["git", "add", "--all"], cwd=tmp_path, check=True)
    listing = subprocess.run(
        ["git", "ls-files", "mine"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    # The code is another checkout's, so git would keep links that hold on this machine alone.
    assert set(listing.stdout.split()) == {
        f"mine/small/{name}"
        for name in (
            ".dvc/.gitignore", ".dvc/config", ".dvcignore", ".gitignore", "data/promotions.jsonl",
            "dvc.yaml", "params.yaml",
        )
    }  # fmt: skip


def test_links_to_the_code_hold_in_every_clone_of_the_checkout(tmp_path: Path) -> None:
    inside, _ = prepare_workspace(ROOT / "build" / f"test-{tmp_path.name}", "demo")
    try:
        assert (inside / "serct").readlink() == Path("../../serct")
        outside, _ = prepare_workspace(tmp_path / "ws", "demo")
        assert (outside / "serct").readlink() == ROOT / "serct"
    finally:
        shutil.rmtree(inside)


def test_preparing_again_keeps_results_and_renews_params(tmp_path: Path) -> None:
    folder, _ = prepare_workspace(tmp_path / "ws", "demo")
    (folder / "data").mkdir()
    (folder / "data" / "result").write_text("x")
    _, params = prepare_workspace(tmp_path / "ws", "demo", ["seed=7"])
    assert params.seed == 7
    assert (folder / "data" / "result").exists()


def test_params_of_an_older_version_are_completed_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, _ = prepare_workspace(tmp_path / "ws", "demo", ["train.epochs=2"])
    old = read_yaml(folder / "params.yaml")
    del old["train"]["max_error"], old["promotion"], old["models"]["serct"]["attention"]
    old["models"]["mine"] = {**old["models"]["lstm"]}
    del old["models"]["mine"]["num_layers"]
    (folder / "params.yaml").write_text(yaml.safe_dump(old))
    # Commands that do not use what is missing work on.
    assert read_params(folder / "params.yaml").audio.num_samples == 48_000
    with pytest.raises(ParamsError, match="promotion is missing; `serct repro` adds the keys"):
        _ = read_params(folder / "params.yaml").promotion
    with caplog.at_level("INFO", "serct"):
        _, params = prepare_workspace(folder, None)
    assert params.train.epochs == 2
    assert params.train.max_error == 0.1
    assert params.models["mine"]["num_layers"] == 1
    added = {record.message.split(": added ")[1].split(",")[0] for record in caplog.records}
    assert added == {
        "train.max_error",
        "promotion",
        "models.serct.attention",
        "models.mine.num_layers",
    }


def test_a_model_under_its_old_name_is_understood(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, params = prepare_workspace(tmp_path / "ws", "demo", ['pipeline.models=["voice_lda"]'])
    assert params.pipeline.models == ("functionals_lda_speaker",)
    assert "voice_lda is now called functionals_lda_speaker" in caplog.text


@pytest.mark.parametrize("text", ["", "3", "yes", "[a]", "[[a]]"])
@pytest.mark.parametrize("key", ["corpora", "models", "pipeline", "pipeline.models"])
def test_a_setting_of_another_shape_names_its_key(tmp_path: Path, key: str, text: str) -> None:
    with pytest.raises(ParamsError, match=rf"{key}(\.\w+)* is|pipeline names"):
        prepare_workspace(tmp_path / "w", "demo", [f"{key}={text}"])


def test_params_of_another_shape_name_their_key(tmp_path: Path) -> None:
    folder, _ = prepare_workspace(tmp_path / "w", "demo")
    (folder / "params.yaml").write_text("models: 3\n")
    with pytest.raises(ParamsError, match="models is 3"):
        prepare_workspace(folder, None)


def test_bad_params_leave_the_old_ones(tmp_path: Path) -> None:
    folder, before = prepare_workspace(tmp_path / "ws", "demo")
    with pytest.raises(ParamsError, match=r"train\.epochs is -1"):
        prepare_workspace(folder, "demo", ["train.epochs=-1"])
    assert read_params(folder / "params.yaml") == before


def test_bad_params_make_no_workspace(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"params\.yaml with demo: train\.epochs is -1"):
        prepare_workspace(tmp_path / "ws", "demo", ["train.epochs=-1"])
    assert list(tmp_path.iterdir()) == []


def test_a_remote_set_in_a_workspace_stays(tmp_path: Path) -> None:
    folder, _ = prepare_workspace(tmp_path / "ws", "demo")
    config = folder / ".dvc" / "config"
    config.write_text(config.read_text() + "['remote \"mine\"']\n    url = /somewhere\n")
    prepare_workspace(tmp_path / "ws", "demo")
    assert "url = /somewhere" in config.read_text()


def test_links_follow_a_checkout_that_was_moved(tmp_path: Path) -> None:
    folder, _ = prepare_workspace(tmp_path / "ws", "demo")
    (folder / "serct").unlink()
    (folder / "serct").symlink_to(tmp_path / "old" / "serct")
    prepare_workspace(folder, "demo")
    assert (folder / "serct").resolve() == ROOT / "serct"


def test_a_relative_folder_corpus_is_relative_to_the_checkout(tmp_path: Path) -> None:
    mine = 'corpora.mine={"reader": "folder", "path": "recordings", "language": "en"}'
    _, params = prepare_workspace(tmp_path / "ws", None, [mine])
    entry = read_corpus_params(params, "mine")
    assert isinstance(entry, FolderParams)
    assert entry.path == str(ROOT / "recordings")


@pytest.mark.parametrize(
    ("folder", "profile", "settings", "message"),
    [
        ("ws", "nope", [], "no profile 'nope', expected one of: .*demo"),
        ("ws", None, ["train.epochs"], "expected KEY=VALUE"),
        (str(ROOT), "demo", [], "is the checkout itself"),
        ("full", "demo", [], "is not empty and not a workspace"),
    ],
)
def test_mistakes(
    tmp_path: Path, folder: str, profile: str | None, settings: list[str], message: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("x")
    with pytest.raises(SerctError, match=message):
        prepare_workspace(tmp_path / folder, profile, settings)
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["precious"]


def test_profiles_are_found() -> None:
    assert {"demo", "cpu"} <= set(list_profiles(ROOT))


def test_stages_get_this_interpreter_and_absolute_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = stage_environment({"PATH": "/bin", "SERCT_MIRROR": "../mirror", "OTHER": "x"})
    assert made["SERCT_MIRROR"] == str(tmp_path.parent / "mirror")
    assert made["PATH"].endswith(f"{os.pathsep}/bin")
    assert made["OTHER"] == "x"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[lstm,svm]", ["lstm", "svm"]),
        ('["lstm", "svm"]', ["lstm", "svm"]),
        ("null", None),
        ("1e-4", 0.0001),
        ("-3", -3),
        ("true", True),
        ("no", "no"),
        ("2024-01-31", "2024-01-31"),
        ("12:30", "12:30"),
        ("a=b", "a=b"),
        ('"1"', "1"),
        ("{a: 1, b: [x, null]}", {"a": 1, "b": ["x", None]}),
        ('{"a": 1}', {"a": 1}),
        ("~/my recordings", "~/my recordings"),
    ],
)
def test_a_setting_is_yaml(text: str, value: object) -> None:
    assert with_setting({"x": {"kept": 1}}, f"x.y={text}") == {"x": {"kept": 1, "y": value}}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.epochs", "--set 'train.epochs': expected KEY=VALUE such as train.epochs=3"),
        ("=3", "--set '=3': expected KEY=VALUE"),
        ("a..b=3", "--set 'a..b=3': expected KEY=VALUE"),
        ("x=[lstm", "--set 'x=[lstm': '[lstm' is not valid YAML (line 1, column 6: expected ','"),
        ("x={a: 1, a: 2}", "(line 1, column 8: the key 'a' is there twice)"),
        ("x=!!int seven", "(line 1, column 1: 'seven' cannot be read as int)"),
        ("x=!!binary aGk=", "could not determine a constructor for the tag"),
        ("x=!!python/object:os.system a", "could not determine a constructor for the tag"),
        ("x=&it [*it]", "found unconstructable recursive node"),
        (f"x={'[' * 3000}", "(nested too deeply)"),
        ("x={a: 1", "is not valid YAML (line 1, column 6: expected ',' or '}', but got"),
        (
            "x=@home",
            "is not valid YAML (line 1, column 1: found character '@' that cannot start any",
        ),
        ("x={low:0.1, high: 1}", "'low:0.1' has no value, expected a space after the colon"),
    ],
)
def test_a_setting_that_is_no_yaml_is_one_sentence(setting: str, message: str) -> None:
    with pytest.raises(ParamsError) as caught:
        with_setting({}, setting)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_space_and_an_augment_replace_the_old_one_and_other_mappings_merge(
    tmp_path: Path,
) -> None:
    space = "{train.learning_rate: {low: 1e-5, high: 1e-3, log: true}}"
    _, params = prepare_workspace(
        tmp_path / "ws",
        "demo",
        [
            f"search.space={space}",
            "models.serct_plus.train.augment={gain_db: 6.0}",
            "train={epochs: 2}",
        ],
    )
    assert list(params.search.space) == ["train.learning_rate"]
    assert params.train_params("serct_plus").augment == {"gain_db": 6.0}
    assert params.train.epochs == 2
    assert params.train.weight_decay == 0.005
    _, params = prepare_workspace(tmp_path / "ws", "demo", ["search.space.dropout.high=0.2"])
    assert len(params.search.space) == 4
    _, params = prepare_workspace(tmp_path / "ws", "demo", ["models.serct_plus.train.augment=null"])
    assert params.train_params("serct_plus").augment is None


def test_stages_print_what_their_encoding_lacks() -> None:
    inherited = {"PATH": "/bin", "PYTHONIOENCODING": "cp1252:strict"}
    assert stage_environment(inherited)["PYTHONIOENCODING"] == "cp1252:backslashreplace"
    environment = {**os.environ, **stage_environment({"PATH": os.environ["PATH"]})}
    environment["LC_ALL"] = "C"
    code = (
        "import sys; sys.argv[1:] = ['--params', sys.argv[1]]\n"
        "from pipeline.stage import run\n"
        "run('', lambda params: print('\\u60c5\\udce9'))"
    )
    for variables in ({}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "cp1252"}):
        command = [sys.executable, "-c", code, str(ROOT / "params.yaml")]
        found = subprocess.run(
            command, env={**environment, **variables}, capture_output=True, timeout=60
        )
        assert found.returncode == 0, found.stderr
        assert rb"\udce9" in found.stdout


def test_conditions_are_replaced_and_stay_replaced(tmp_path: Path) -> None:
    only = 'robustness.conditions={"phone": {"condition": "telephone"}}'
    for setting, expected in ((only, {"phone"}), ("robustness.conditions={}", set())):
        folder, params = prepare_workspace(tmp_path / "ws", "demo", [setting])
        assert params.robustness.conditions.keys() == expected
        _, params = prepare_workspace(folder, None)
        assert params.robustness.conditions.keys() == expected
