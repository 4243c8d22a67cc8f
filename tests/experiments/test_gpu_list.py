"""The list of steps for a GPU that is lent for minutes: what can be shown without one."""

import json
import subprocess
import sys
import time

import psutil
import pytest
import torch
from torch.nn.attention import flex_attention

from docs._tables import results
from docs._tables.__main__ import written
from serct.models.layers.window_attention import attend
from serct.models.layers.windows import Windows
from tests.conftest import ROOT
from tests.recordings import write_recording

BENCHMARKS = ROOT / "benchmarks"
FULL_SIZE = json.loads((BENCHMARKS / "results/full_size-h200.json").read_text("utf-8"))


@pytest.fixture(autouse=True)
def _scripts(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


# --- FlexAttention in place of ours ---


def inputs(dtype):
    """Queries, keys and values of 20 frames, and windows of which one misses the clip."""
    torch.manual_seed(0)
    projected = torch.randn(3, 2, 3, 20, 4, dtype=dtype, requires_grad=True)
    anchor = torch.arange(20) + 3 * torch.randn(2, 3, 20, dtype=dtype)
    anchor[0, 0, 3] = 500
    half_width = 4 * torch.rand(2, 3, 20, dtype=dtype)
    bounds = (anchor, anchor - half_width, anchor + half_width)
    return projected, Windows(*(bound.requires_grad_() for bound in bounds))


def attended_and_gradients(attend, projected, windows):
    attended = attend(projected, windows)
    leaves = (projected, *windows)
    return attended, *torch.autograd.grad((attended * torch.arange(4)).sum(), leaves)


def formula(queries, keys, values, score_mod):
    """What `flex_attention` computes, without its compiler."""
    clips, heads, frames, width = queries.shape
    axes = (torch.arange(size) for size in (clips, heads, frames, frames))
    places = (axis.view([-1 if i == at else 1 for i in range(4)]) for at, axis in enumerate(axes))
    return score_mod(queries @ keys.mT * width**-0.5, *places).softmax(dim=-1) @ values


@pytest.mark.parametrize(
    ("flex", "dtype", "tolerance"),
    [
        (formula, torch.float64, 1e-12),
        pytest.param(flex_attention.flex_attention, torch.float32, 1e-5, marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore")  # of a way that is no longer, or not yet, meant for use
def test_flex_attention_equals_ours(monkeypatch, flex, dtype, tolerance):
    from gpu_ways import attend_by_flex

    # On a CPU its gradient exists, for tests alone.
    monkeypatch.setattr(flex_attention, "_validate_device", lambda *tensors: None)
    expected = attended_and_gradients(attend, *inputs(dtype))
    found = attended_and_gradients(lambda *given: attend_by_flex(flex, *given), *inputs(dtype))
    for got, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)


# --- The list ---


def script(folder, name, code):
    """Write a step that first counts its runs, and return it."""
    from gpu_runner import Step

    path = folder / f"{name}.py"
    path.write_text(
        "import sys, time, pathlib\n"
        f"runs = pathlib.Path({str(folder / name)!r})\n"
        "runs.write_text(runs.read_text() + 'x' if runs.exists() else 'x')\n"
        f"answer = pathlib.Path(sys.argv[-1])\n{code}\n"
    )
    return Step(name, [str(path)], useful_s=0.1, limit_s=30)


def test_every_step_is_recorded_and_only_what_is_missing_runs_again(tmp_path):
    from gpu_runner import run_steps

    steps = [
        script(tmp_path, "failing", "print('what went wrong'); sys.exit(3)"),
        script(tmp_path, "good", "answer.write_text('{\"score\": 1}')"),
        script(tmp_path, "half", "answer.write_text('{\"score\": 2}'); sys.exit(1)"),
        script(tmp_path, "late", "print('at work', flush=True); time.sleep(60)"),
    ]
    out, report = tmp_path / "report.json", {"steps": {}}
    run_steps(steps[:3], report, out, tmp_path / "work", time.monotonic() + 60)
    run_steps(steps[3:], report, out, tmp_path / "work", time.monotonic() + 0.5)
    found = json.loads(out.read_text())["steps"]
    states = {name: step["state"] for name, step in found.items()}
    assert states == {"failing": "error", "good": "done", "half": "error", "late": "out of time"}
    assert found["good"]["answer"] == {"score": 1}
    assert (found["failing"]["exit_code"], found["failing"]["error"]) == (3, ["what went wrong"])
    assert found["late"]["error"] == ["at work"]
    assert found["late"]["seconds"] < 10

    run_steps(steps, report, out, tmp_path / "work", time.monotonic())
    assert report["steps"]["late"]["state"] == "out of time"  # nothing starts without time left
    run_steps(steps[:2], report, out, tmp_path / "work", time.monotonic() + 60)
    runs = {step.name: len((tmp_path / step.name).read_text()) for step in steps}
    assert runs == {"failing": 2, "good": 1, "half": 1, "late": 1}


def write_corpora(folder):
    """Write noise under names of TESS and EMO-DB, ten and four recordings an emotion."""
    for actress in ("OAF", "YAF"):
        for emotion in ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad"):
            for word in ("bar", "base", "bath", "bean", "beg"):
                name = f"{actress}_{word}_{emotion}"
                write_recording(folder / "tess" / f"{actress}_{emotion}" / f"{name}.flac")
    for emotion in "WLEAFTN":
        for who in ("03a01", "03a02", "08a01", "08a02"):
            write_recording(folder / "emodb" / "wav" / f"{who}{emotion}a.flac")


def command(folder, *arguments):
    return [
        sys.executable, str(BENCHMARKS / "gpu.py"), "--tess", str(folder / "tess"),
        "--emodb", str(folder / "emodb"), "--work", str(folder / "work"),
        "--out", str(folder / "report.json"), "--device", "cpu", "--tiny", *arguments,
    ]  # fmt: skip


@pytest.fixture
def corpora(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("SERCT_MIRROR", raising=False)
    write_corpora(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a step ends with its parent on Linux alone")
def test_killed_in_a_training_the_list_goes_on_from_its_last_epoch(corpora):
    started = subprocess.Popen(command(corpora, "--steps", "cnn"))
    states = corpora / "work"
    while not list(states.glob("cnn-*.safetensors")):
        assert started.poll() is None
        time.sleep(0.01)
    children = psutil.Process(started.pid).children()
    started.kill()
    started.wait()
    assert children
    assert not psutil.wait_procs(children, timeout=5)[1]  # nor does its step go on
    assert json.loads((corpora / "report.json").read_text())["steps"]["cnn"]["state"] == "running"
    subprocess.run(command(corpora, "--steps", "wavlm_network", "cnn"), check=True)
    found = json.loads((corpora / "report.json").read_text())
    assert found["about"]["rehearsal"]
    assert "numpy" in found["about"]["packages"]
    trained, missing = found["steps"]["cnn"], found["steps"]["wavlm_network"]
    assert trained["answer"]["is_resumed"]
    assert len(trained["answer"]["train_loss"]) == trained["answer"]["epochs"] == 2
    assert trained["answer"]["zero_shot_emodb"]["masked"]["n"] == 24
    assert missing["state"] == "error"
    assert "encoders/wavlm-base" in missing["answer"]["error"]


@pytest.mark.long
def test_the_whole_list(corpora):
    subprocess.run(command(corpora), check=True)
    steps = json.loads((corpora / "report.json").read_text())["steps"]
    assert len(steps) > 20
    failed = {name for name, step in steps.items() if step["state"] != "done"}
    # Their encoders are not here, and nothing may be downloaded.
    assert failed == {"whisper_finetuned", "wavlm_network"}
    assert steps["bench"]["answer"]["is_equal"]
    variants = steps["step_flex_attention"]["answer"]["variants"]
    assert variants["flex_attention"]["forward in float32"]["logits"] < 1e-5
    assert "CUDA" in steps["step_cuda_graph"]["answer"]["variants"]["cuda_graph"]["step"]["error"]
    assert steps["no_cnn"]["answer"]["changes_to_serct"]["conv_layers"]


# --- From its report into the tables ---


def write_report(folder, **about):
    """Write a report with a training of which a row was published, and one of three epochs."""
    row = {**FULL_SIZE["results"][0], "test": {**FULL_SIZE["results"][0]["test"], "wa": 0.5}}
    content = {
        "about": {
            "rehearsal": False, "date": "2027-01-02", "commit": "0123456789ab", "torch": "2.12.0",
            "machine": FULL_SIZE["about"]["machine"], **about,
        },
        "steps": {
            "serct": {"state": "done", "answer": row},
            "serct_text_rate": {
                "state": "done", "answer": {**row, "learning_rate": 0.001, "epochs": 3}
            },
            "bench": {"state": "done", "answer": {"about": {"commit": None}, "is_equal": True}},
            "cnn": {"state": "out of time", "answer": {"model": "cnn"}},
        },
    }  # fmt: skip
    path = folder / "report.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_report_becomes_rows_of_the_table(tmp_path, monkeypatch):
    from gpu_results import put

    published = tmp_path / "full_size-h200.json"
    published.write_text(json.dumps(FULL_SIZE), encoding="utf-8")
    put(write_report(tmp_path), tmp_path)
    found = json.loads(published.read_text("utf-8"))
    assert found["about"] == FULL_SIZE["about"]
    first, *others, last = found["results"]
    assert (first["test"]["wa"], first["commit"]) == (0.5, "0123456789ab")
    assert others == FULL_SIZE["results"][1:]
    assert last["epochs"] == 3
    bench = json.loads((tmp_path / "bench-h200.json").read_text("utf-8"))
    assert bench["about"]["commit"] == "0123456789ab"

    original = results.measured

    def measured(name):
        return found if name == "full_size-h200" else original(name)

    monkeypatch.setattr(results, "measured", measured)
    page = dict(written())[ROOT / "docs/results/full-size.md"]
    assert "| `serct` | .001, 3 epochs |" in page
    assert "`serct` at .00001, seed 3: 2027-01-02, commit 0123456" in page


def test_rows_of_one_origin_need_not_say_so(tmp_path):
    from gpu_results import put

    put(write_report(tmp_path), tmp_path)
    found = json.loads((tmp_path / "full_size-h200.json").read_text("utf-8"))
    assert found["about"]["commit"] == "0123456789ab"
    assert [row["epochs"] for row in found["results"]] == [20, 3]
    assert not any("commit" in row for row in found["results"])


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"rehearsal": True}, "about.rehearsal is true"),
        ({"commit": None}, "about.commit is None"),
        ({"machine": {"gpu": None}}, "about.machine.gpu is None"),
    ],
)
def test_what_nobody_may_cite_goes_nowhere(tmp_path, about, message):
    from gpu_results import put

    path = write_report(tmp_path, **about)
    with pytest.raises(SystemExit, match=message):
        put(path, tmp_path)
    assert list(tmp_path.iterdir()) == [path]
