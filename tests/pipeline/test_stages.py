"""The real pipeline under the real DVC, on tones: what a change touches, and what survives."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml

from serct.config.reader import read_yaml
from serct.config.section import merge
from serct.evaluation.records import RobustnessMetrics
from serct.experiments.recipes.stages import SPARED
from serct.experiments.workspace import prepare_workspace, stage_environment
from serct.runtime.source import is_within, source_digest
from tests.conftest import TINY, write_tones

pytestmark = pytest.mark.slow

# Imported and not used: augmentation and balance, since these models have none, and for a network
# what fits scikit-learn's models.
_NOT_ASKED_FOR = {
    "serct.training.augmentation", "serct.training.balance", "serct.training.effects",
}  # fmt: skip
_CLASSICAL = {"serct.models.classical", "serct.training.classical"}
_LOOP = {"serct.training.batches", "serct.training.loop", "serct.training.state"}
# Loaded by what is spared: `serct.tracking` shows what others computed, and a corpus' reader, of
# which preprocessing takes one fact that its recipe holds, reads tables of labels.
_LOADED_ONLY = {
    "serct.config.spelling", "serct.config.tables", "serct.evaluation.records",
    "serct.evaluation.significance", "serct.reports",
}  # fmt: skip
# The report takes only the licence from a reader, which loads its room; MLflow loads the models.
_WITH_OTHERS = {"report": {"serct.data", "serct.models", "serct.runtime.distributed"}}


def write_params(workspace: Path, **sections: Any) -> None:
    """Change a workspace's params.yaml as a user's editor would."""
    path = workspace / "params.yaml"
    path.write_text(yaml.safe_dump(merge(read_yaml(path), sections), sort_keys=False))


def dvc(workspace: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = stage_environment(os.environ) | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=workspace,
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
    )


def repro(workspace: Path, *arguments: str) -> list[str]:
    """Run `dvc repro` and give the stages that ran."""
    result = dvc(workspace, "repro", *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return re.findall(r"Running stage '([^']+)'", result.stdout)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two folder corpora of tones and two tiny models, built once."""
    base = tmp_path_factory.mktemp("pipeline")
    pitches = {"angry": 1500.0, "happy": 600.0, "sad": 200.0}
    first = write_tones(base / "first", pitches)
    second = write_tones(base / "second", {**pitches, "bored": 100.0}, num_each=5, rate=22050)
    folder, _ = prepare_workspace(base / "ws", None, ["seed=3"])
    corpora = {
        name: {"reader": "folder", "path": str(path), "language": "en"}
        for name, path in (("first", first), ("second", second))
    }
    lists = {
        "corpora": ["first", "second"],
        "train_corpora": ["first"],
        "zero_shot_corpora": ["second"],
        "models": ["serct", "svm"],
    }
    write_params(folder, **merge(TINY, {"corpora": corpora, "pipeline": lists}))
    ran = repro(folder)
    assert ran[-1] == "report"
    assert len(ran) == 2 + 2 * 3 + 2 + 2 + 1 + 2 + 1
    return folder


def metrics(workspace: Path, stage: str, model: str) -> dict[str, Any]:
    path = workspace / "data" / "reports" / stage / f"first-{model}" / "metrics.json"
    return dict(json.loads(path.read_text()))


def test_results_are_there_and_add_up(workspace: Path) -> None:
    for model in ("serct", "svm"):
        found = metrics(workspace, "evaluate", model)
        assert found["n"] == 3
        tested = workspace / "data/reports/evaluate" / f"first-{model}" / "robustness.json"
        robustness = RobustnessMetrics.read(tested)
        assert (robustness.n, robustness.ua) == (3, found["ua"])
        assert [each.label[:9] for each in robustness.conditions] == ["telephone", "level -20"]
        target = metrics(workspace, "zero_shot", model)["targets"]["second"]
        assert target["n"] == 15
        assert target["dropped"] == {"bored": 5}
        assert target["shared"] == ["angry", "happy", "sad"]
    reports = workspace / "data" / "reports"
    page = (reports / "index.html").read_text()
    assert (
        f"{metrics(workspace, 'zero_shot', 'serct')['targets']['second']['masked']['ua']:.4f}"
        in page
    )
    assert "telephone, 300 to 3,400 Hz, mu-law" in page
    assert {p.name for p in reports.iterdir()} >= {"report.md", "results.csv", "curves"}


def client_of(workspace: Path) -> mlflow.MlflowClient:
    """Look at a copy: MLflow keeps connections open, and would go on reading a deleted file."""
    number = len(list(workspace.parent.glob("seen-*.db")))
    copy = workspace.parent / f"seen-{number}.db"
    shutil.copy(workspace / "mlflow.db", copy)
    return mlflow.MlflowClient(f"sqlite:///{copy}")


def runs_of(workspace: Path) -> list[Any]:
    client = client_of(workspace)
    experiment = client.get_experiment_by_name("serct")
    return list(client.search_runs([experiment.experiment_id]))


def test_each_training_is_a_finished_run_with_its_scores(workspace: Path) -> None:
    runs = runs_of(workspace)
    assert {run.info.status for run in runs} == {"FINISHED"}
    by_model = {run.data.tags["serct.model"]: run for run in runs}
    for model in ("serct", "svm"):
        logged = by_model[model].data.metrics
        assert logged["test_ua"] == metrics(workspace, "evaluate", model)["ua"]
        assert "zero_shot_second_ua" in logged
    versions = client_of(workspace).search_model_versions("name = 'serct'")
    assert len(versions) == 2
    assert client_of(workspace).get_model_version_by_alias("serct", "challenger")


def test_a_second_repro_does_nothing_and_is_quick(workspace: Path) -> None:
    started = time.monotonic()
    assert repro(workspace) == []
    assert time.monotonic() - started < 6  # 3 s on an idle machine; tests run side by side


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"models": {"svm": {"regularisation": 2.0}}},
            {"train@svm-first", "evaluate@svm-first", "zero_shot@svm-first", "report"},
        ),
        (
            {"evaluate": {"batch_size": 5}},
            {f"{stage}@{m}-first" for stage in ("evaluate", "zero_shot") for m in ("serct", "svm")},
        ),
        ({"tracking": {"experiment": "serct"}}, set()),
    ],
    ids=["a model's", "evaluation's", "none that matters"],
)
def test_a_change_reruns_what_it_touches(
    workspace: Path, change: dict[str, Any], expected: set[str]
) -> None:
    write_params(workspace, **change)
    # The report reruns only if a result changed, which a batch size cannot do.
    beside = {"report", "corpus_recipes", "model_recipes"}
    assert set(repro(workspace)) - beside == expected - beside


_LOADED = re.compile(r"^import time:.*\| +((?:serct|pipeline)[.\w]*)$", re.M)


def test_what_a_stage_loads_is_in_its_recipe_or_spared(workspace: Path) -> None:
    """The recipes come from reading imports; here the real stages say what they load."""
    models, corpora = "data/recipes/models", "data/recipes/corpora/first"
    for stage, name in (
        ("download", None), ("manifest", None), ("preprocess", None), ("train", "serct"),
        ("train", "svm"), ("evaluate", "serct"), ("zero_shot", "svm"),
        ("zero_shot_targets", None), ("report", None),
    ):  # fmt: skip
        folder = workspace / (f"{models}/{name}" if name else models)
        recipe = folder / f"{stage}.json"
        if not recipe.exists():
            recipe = workspace / corpora / f"{stage}.json"
        result = subprocess.run(
            [sys.executable, "-X", "importtime", *command_of(workspace, stage, name)],
            cwd=workspace, env=stage_environment(os.environ) | {"OMP_NUM_THREADS": "1"},
            capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr[-2000:]
        loaded = set(_LOADED.findall(result.stderr))
        assert f"pipeline.{stage}" not in loaded  # it is __main__
        known = set(json.loads(recipe.read_text())["code"]) | {"pipeline", "serct"}
        spared = SPARED[stage] | _NOT_ASKED_FOR | (_CLASSICAL if name == "serct" else _LOOP)
        spared |= _LOADED_ONLY | _WITH_OTHERS.get(stage, set())
        surprises = {
            module
            for module in loaded - known
            if not is_within(module, spared) and source_digest(module)
        }
        assert not surprises, f"{stage} {name or ''}: loaded, but not in {recipe.name}"


def command_of(workspace: Path, stage: str, model: str | None) -> list[str]:
    """Return the command of a stage, its output in a folder of its own."""
    body = yaml.safe_load((workspace / "dvc.yaml").read_text())["stages"][stage]
    command = str(body.get("do", body)["cmd"]).removeprefix("python ")
    command = command.replace("${item.model}", str(model)).replace("${item.corpus}", "first")
    command = command.replace("${item}", "first").replace("--metrics ", "--metrics again/")
    return re.sub(r"--(out|state) data/", r"--\1 again/", command).split()


def test_a_lost_database_is_rebuilt_from_the_files(workspace: Path) -> None:
    before = {run.data.tags["serct.fingerprint"]: run.data.metrics for run in runs_of(workspace)}
    for path in workspace.glob("mlflow.db*"):
        path.unlink()
    shutil.rmtree(workspace / "mlruns")
    command = [sys.executable, "-m", "serct.cli", "sync", "--workspace", str(workspace)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert result.returncode == 0, result.stderr
    current = json.loads((workspace / "data/models/first-svm/card.json").read_text())
    after = {run.data.tags["serct.fingerprint"]: run.data.metrics for run in runs_of(workspace)}
    assert current["fingerprint"] in after
    for fingerprint, logged in after.items():
        kept = {k: v for k, v in before[fingerprint].items() if not k.startswith("system/")}
        assert logged == kept


def test_predict_from_the_registry_and_a_folder(workspace: Path, spoken: Path) -> None:
    tone = next((workspace.parent / "first" / "sad").glob("*.wav"))
    broken = workspace.parent / "broken.wav"
    broken.write_text("not audio")
    command = [sys.executable, "-m", "serct.cli", "predict", "--json"]
    command += [str(spoken), str(tone), str(broken)]
    model = ["--model", str(workspace / "data" / "models" / "first-serct")]
    result = subprocess.run([*command, *model], capture_output=True, text=True, timeout=100)
    assert result.returncode == 1
    good, silent, bad = map(json.loads, result.stdout.splitlines())
    assert (silent["emotion"], silent["probabilities"]) == ("no_speech", None)
    assert sum(good["probabilities"].values()) == pytest.approx(1)
    assert "not readable as audio" in bad["error"]
    registry = subprocess.run(
        [*command[:-1], "--model", "models:/serct@challenger"],
        capture_output=True, text=True, timeout=100, cwd=workspace,
    )  # fmt: skip
    assert registry.returncode == 0, registry.stderr


def test_a_terminated_training_is_not_left_running_and_goes_on(workspace: Path) -> None:
    """Starting again resumes it; too short for a run in MLflow, it leaves none."""
    changes = {"epochs": 60, "learning_rate": 0.009}
    write_params(workspace, models={"serct": {"train": changes}})
    environment = stage_environment(os.environ) | {"OMP_NUM_THREADS": "1"}
    command = [
        "python", "-m", "pipeline.train", "--model", "serct", "--shards", "data/shards/first",
        "--state", "data/training/first-serct.safetensors", "--out", "data/killed/first-serct",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=workspace, env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    while "epoch 3/60" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert {run.info.status for run in runs_of(workspace)} == {"FINISHED"}
    assert not (workspace / "data" / "killed").exists()
    done = subprocess.run(
        command, cwd=workspace, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert "resuming after epoch" in done.stderr
    history = (workspace / "data/killed/first-serct/history.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in history] == list(range(1, 61))


def test_a_broken_folder_gives_one_report_and_leaves_nothing(
    workspace: Path, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(workspace.parent / "first", raw)
    whole = (raw / "angry" / "s0_00.wav").read_bytes()
    (raw / "angry" / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (raw / "angry" / "text.wav").write_text("hello " * 100)
    (raw / "angry" / "empty.wav").write_bytes(b"")
    shutil.copy(raw / "happy" / "s1_01.wav", raw / "happy" / "twice.wav")
    (raw / "hapy").mkdir()
    (raw / "hapy" / "wrong.wav").write_bytes(whole)
    write_params(
        workspace, corpora={"mine": {"reader": "folder", "path": str(raw), "language": "en"}}
    )
    command = [
        sys.executable, "-m", "pipeline.manifest", "--corpus", "mine", "--raw", str(raw),
        "--out", str(tmp_path / "out" / "mine.csv"),
    ]  # fmt: skip
    result = subprocess.run(command, cwd=workspace, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr.count("error:") == 1
    assert "Traceback" not in result.stderr
    expected = (
        "angry/cut.wav: cut off",
        "angry/text.wav: not readable",
        "angry/empty.wav: the file is empty",
        "happy/twice.wav: the same recording as happy/s1_01.wav",
        "hapy/wrong.wav:",
    )
    for words in expected:
        assert words in result.stderr
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
