"""The loop: learns, repeats itself, survives a kill, stops on nonsense."""

import math
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.utils._python_dispatch import TorchDispatchMode

from serct.config.params import CosineSchedule, Params, TrainParams
from serct.data.dataset import ShardDataset
from serct.errors import TrainingError
from serct.models import read_model_params
from serct.models.records import EpochRow
from serct.training import loop as training
from serct.training.batches import PackedClips, TensorBatch, epoch_batches
from serct.training.fitted import Fitted
from serct.training.fitting import fingerprint, fit
from serct.training.loop import is_better, learning_rate, make_learner, train_step
from serct.training.state import Learner, load_state

TORCH_MODELS = ["serct", "cnn", "cnn_bilstm", "lstm"]
CLASSICAL_MODELS = ["mlp", "svm", "mfcc_svm", "functionals_lda", "functionals_lda_speaker"]


def fit_tones(
    params: Params, shards: Path, state: Path, name: str = "serct", **changes: Any
) -> Fitted:
    train = params.train_params(name).model_copy(update=changes)
    on_epoch = changes.pop("on_epoch", lambda row: None)
    sets = (ShardDataset(shards, [split]) for split in ("train", "validation"))
    return fit(read_model_params(params, name), train, params.seed, *sets, state, on_epoch)


def weights(fitted: Fitted) -> dict[str, torch.Tensor]:
    assert isinstance(fitted.model, torch.nn.Module)
    return fitted.model.state_dict()


def assert_same_weights(a: Fitted, b: Fitted) -> None:
    first, second = weights(a), weights(b)
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TORCH_MODELS, *CLASSICAL_MODELS])
def test_every_model_beats_chance_on_its_own_training_set(
    name: str, tiny_params: Params, tone_shards: Path, tmp_path: Path
) -> None:
    fitted = fit_tones(tiny_params, tone_shards, tmp_path / "s", name, epochs=30)
    assert max(row.train_wa for row in fitted.history) > 0.6
    assert fitted.num_parameters > 0


def test_the_same_seed_gives_the_same_weights_and_another_does_not(
    tiny_params: Params, tone_shards: Path, tmp_path: Path
) -> None:
    first = fit_tones(tiny_params, tone_shards, tmp_path / "a")
    assert_same_weights(first, fit_tones(tiny_params, tone_shards, tmp_path / "b"))
    other = tiny_params.replace(seed=4)
    third = fit_tones(other, tone_shards, tmp_path / "c")
    assert not all(torch.equal(weights(first)[n], weights(third)[n]) for n in weights(first))


PLUS = {
    "weight_average": 0.9,
    "augment": {
        "gain_db": 6.0,
        "speed": 0.1,
        "pitch": {"probability": 0.5, "semitones": 1.0},
        "shift_ms": 20.0,
        "noise": {"probability": 0.5, "snr_db": [10.0, 30.0]},
        "reverb": {"probability": 0.5, "decay_s": [0.01, 0.1], "direct_db": [0.0, 10.0]},
        "telephone": {"probability": 0.5},
    },
}


@pytest.mark.parametrize("changes", [{}, PLUS], ids=["thesis", "plus"])
def test_resuming_after_an_exception_equals_never_stopping(
    tiny_params: Params, tone_shards: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    whole = fit_tones(tiny_params, tone_shards, tmp_path / "whole", epochs=4, **changes)
    seen: list[int] = []

    def stop_after_two(row: EpochRow) -> None:
        seen.append(row.epoch)
        if row.epoch == 2:
            raise KeyboardInterrupt

    sets = [ShardDataset(tone_shards, [split]) for split in ("train", "validation")]
    train = tiny_params.train_params("serct").model_copy(update={"epochs": 4, **changes})
    arguments = (read_model_params(tiny_params, "serct"), train, 3, *sets, tmp_path / "state")
    with pytest.raises(KeyboardInterrupt):
        fit(*arguments, stop_after_two)
    resumed = fit(*arguments, lambda row: seen.append(row.epoch))
    assert seen == [1, 2, 1, 2, 3, 4]
    assert_same_weights(whole, resumed)
    strip = [{k: v for k, v in asdict(row).items() if k != "seconds"} for row in whole.history]
    assert strip == [
        {k: v for k, v in asdict(row).items() if k != "seconds"} for row in resumed.history
    ]


def test_the_average_of_weights_is_what_is_validated_and_kept(
    tiny_params: Params, tone_shards: Path, tmp_path: Path
) -> None:
    plain = fit_tones(tiny_params, tone_shards, tmp_path / "a", epochs=1)
    averaged = fit_tones(tiny_params, tone_shards, tmp_path / "b", epochs=1, weight_average=0.5)
    assert plain.best.train_loss == averaged.best.train_loss
    assert plain.best.validation_loss != averaged.best.validation_loss
    assert weights(plain).keys() == weights(averaged).keys()


def test_the_average_follows_its_closed_form(tiny_params: Params) -> None:
    train = tiny_params.train_params("serct").model_copy(update={"weight_average": 0.75})
    module = torch.nn.Linear(1, 1, bias=False)
    learner = make_learner(module, train)
    assert learner.averaged is not None
    for weight in (8.0, 4.0, 0.0):  # the first one is taken as it is
        torch.nn.init.constant_(module.weight, weight)
        learner.averaged.update_parameters(module)
    assert learner.eval_module.weight.item() == 0.75 * (0.75 * 8 + 0.25 * 4)


KILLED = """
import sys, pathlib, torch
from serct.config.reader import read_params
from serct.models import read_model_params
from serct.data.dataset import ShardDataset
from serct.training.fitting import fit
torch.set_num_threads(1)
params, shards, state = (pathlib.Path(a) for a in sys.argv[1:])
params = read_params(params)
train = params.train_params("serct").model_copy(update={"epochs": 200})
sets = [ShardDataset(shards, [s]) for s in ("train", "validation")]
model = read_model_params(params, "serct")
fit(model, train, 3, *sets, state, lambda row: print(row.epoch, flush=True))
"""


@pytest.mark.slow
def test_kill_9_in_the_middle_loses_at_most_an_epoch(
    tiny_params: Params, tone_shards: Path, tmp_path: Path
) -> None:
    import yaml

    (tmp_path / "params.yaml").write_text(yaml.safe_dump(tiny_params.data))
    state = tmp_path / "state.safetensors"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "params.yaml"), str(tone_shards), str(state)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while process.stdout.readline().strip() != "5":
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    sets = [ShardDataset(tone_shards, [split]) for split in ("train", "validation")]
    train = tiny_params.train_params("serct").model_copy(update={"epochs": 200})
    seen: list[float] = []

    def stop(row: EpochRow) -> None:
        seen.append(row.epoch)
        if len(seen) > 1 and row.epoch == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(read_model_params(tiny_params, "serct"), train, 3, *sets, state, stop)
    uninterrupted: list[EpochRow] = []

    def stop_at_eight(row: EpochRow) -> None:
        uninterrupted.append(row)
        if row.epoch == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(
            read_model_params(tiny_params, "serct"),
            train,
            3,
            *sets,
            tmp_path / "other",
            stop_at_eight,
        )
    first = load_state(
        state, fingerprint(read_model_params(tiny_params, "serct"), train, 3, sets[0].meta.digest),
        _blank(tiny_params, sets[0]),
    )  # fmt: skip
    assert first is not None
    assert [row.train_loss for row in first.history[:7]] == [
        row.train_loss for row in uninterrupted[:7]
    ]


def _blank(params: Params, dataset: ShardDataset) -> Learner:
    module = read_model_params(params, "serct").build(dataset.meta.num_samples, 16000, 3)
    return make_learner(module, params.train_params("serct"))


def test_the_state_of_another_training_is_ignored(
    tiny_params: Params, tone_shards: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    fit_tones(tiny_params, tone_shards, state, epochs=2)
    seen: list[int] = []
    sets = [ShardDataset(tone_shards, [split]) for split in ("train", "validation")]
    train = tiny_params.train_params("serct").model_copy(
        update={"epochs": 1, "learning_rate": 0.02}
    )
    fit(
        read_model_params(tiny_params, "serct"),
        train,
        3,
        *sets,
        state,
        lambda row: seen.append(row.epoch),
    )
    assert seen == [1]


def test_a_damaged_state_is_an_error_and_not_another_training(
    tiny_params: Params, tone_shards: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"

    def stop(row: EpochRow) -> None:
        raise KeyboardInterrupt

    sets = [ShardDataset(tone_shards, [split]) for split in ("train", "validation")]
    arguments = (read_model_params(tiny_params, "serct"), tiny_params.train_params("serct"), 3)
    with pytest.raises(KeyboardInterrupt):
        fit(*arguments, *sets, state, stop)
    content = state.read_bytes()
    remedy = "; delete it to train from the first epoch again$"
    changed = bytearray(content)
    changed[-1] ^= 1
    for damaged, problem in (
        (bytes(changed), "SHA-256 of the state [0-9a-f]{64}, expected [0-9a-f]{64}"),
        (content[:-100], "not readable as the state of a training: .*"),
        (b"broken", "not readable as the state of a training: .*"),
        (content.replace(b'"fingerprint":"', b'"fingerprint":"a'), ".*"),
    ):
        state.write_bytes(damaged)
        with pytest.raises(TrainingError, match=f"^{state}: damaged: {problem}{remedy}"):
            fit(*arguments, *sets, state, stop)
        assert state.read_bytes() == damaged


def test_a_state_of_the_first_format_is_not_continued(tmp_path: Path, tiny_params: Params) -> None:
    metadata = {"format": "1", "fingerprint": "f"}
    save_file({"model.weight": torch.ones(1)}, tmp_path / "state", metadata)
    learner = make_learner(torch.nn.Linear(1, 1), tiny_params.train)
    assert load_state(tmp_path / "state", "f", learner) is None


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_epoch(
    tiny_params: Params, tone_shards: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"

    def poison(row: EpochRow) -> None:
        if row.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(TrainingError, match=r"no longer finite in epoch 1, step \d+, .* 1e\+30"):
        fit_tones(tiny_params, tone_shards, state, learning_rate=1e30, epochs=3)
    assert not state.exists()
    sets = [ShardDataset(tone_shards, [split]) for split in ("train", "validation")]
    train = tiny_params.train_params("serct")
    with pytest.raises(KeyboardInterrupt):
        fit(read_model_params(tiny_params, "serct"), train, 3, *sets, state, poison)
    saved = state.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        fit(read_model_params(tiny_params, "serct"), train, 3, *sets, state, poison)
    assert state.read_bytes() == saved


def test_the_kept_weights_are_those_of_the_best_epoch(
    tiny_params: Params, tone_shards: Path, tmp_path: Path
) -> None:
    fitted = fit_tones(tiny_params, tone_shards, tmp_path / "s", epochs=6)
    best = max(fitted.history, key=lambda r: (r.validation_ua, -r.validation_loss, -r.epoch))
    assert fitted.best == best
    validation = ShardDataset(tone_shards, ["validation"])
    assert isinstance(fitted.model, torch.nn.Module)
    classifier = training.TorchClassifier(fitted.model, torch.device("cpu"))
    scores = training.evaluate(classifier, validation, 8).scores
    assert scores.loss == pytest.approx(best.validation_loss, rel=1e-5)


def row(epoch: int, ua: float, loss: float) -> EpochRow:
    return EpochRow(epoch, 0.1, 1.0, 0.5, loss, {"wa": ua, "ua": ua, "wf1": ua}, 1.0)


def test_selection_rule() -> None:
    best = row(1, 0.5, 1.0)
    assert is_better(row(1, 0.0, 9.0), None, "ua")
    assert is_better(row(2, 0.6, 2.0), best, "ua")
    assert not is_better(row(2, 0.4, 0.1), best, "ua")
    assert is_better(row(2, 0.5, 0.9), best, "ua")
    assert not is_better(row(2, 0.5, 1.0), best, "ua")
    assert is_better(row(2, 0.1, 0.9), best, "loss")


def test_the_fingerprint_depends_on_what_augment_means_and_not_on_how_it_is_written(
    tiny_params: Params,
) -> None:
    def mark(gain_db: float) -> str:
        augment = {"gain_db": gain_db, "noise": {"probability": 1, "snr_db": [10, 40]}}
        train = tiny_params.train_params("serct").model_copy(update={"augment": augment})
        return fingerprint(read_model_params(tiny_params, "serct"), train, 3, "shards")

    assert mark(12) == mark(12.0) != mark(11.0)


def test_step_schedule_is_the_thesis_one(tiny_params: Params) -> None:
    train = tiny_params.train.model_copy(update={"epochs": 20, "learning_rate": 1.0})
    rates = [learning_rate(train, epoch - 1 + 0.5) for epoch in range(1, 21)]
    assert rates == pytest.approx([1.0] * 10 + [0.1] * 10)


def test_cosine_schedule_closed_form(tiny_params: Params) -> None:
    schedule = CosineSchedule(name="cosine", warmup_fraction=0.2)
    train: TrainParams = tiny_params.train.model_copy(
        update={"epochs": 10, "learning_rate": 2.0, "schedule": schedule}
    )
    assert learning_rate(train, 0) == 0
    assert learning_rate(train, 1) == pytest.approx(1.0)
    assert learning_rate(train, 2) == pytest.approx(2.0)
    assert learning_rate(train, 6) == pytest.approx(1.0)
    assert learning_rate(train, 10) == pytest.approx(0.0)
    assert learning_rate(train, 4) == pytest.approx(1 + math.cos(math.pi / 4))


@pytest.mark.parametrize(("rows", "size"), [(33, 16), (1, 16), (16, 16), (2268, 16)])
@pytest.mark.parametrize("bucket_batches", [1, 4])
def test_batches_hold_every_row_once_and_none_is_tiny(
    rows: int, size: int, bucket_batches: int
) -> None:
    num_valid = np.random.default_rng(0).integers(1, 1000, rows)
    batches = epoch_batches(num_valid, size, bucket_batches, seed=3, epoch=1)
    assert sorted(np.concatenate(batches).tolist()) == list(range(rows))
    lengths = {len(batch) for batch in batches}
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1
    again = epoch_batches(num_valid, size, bucket_batches, seed=3, epoch=1)
    assert all((a == b).all() for a, b in zip(batches, again, strict=True))


def test_buckets_bring_like_lengths_together() -> None:
    num_valid = np.random.default_rng(0).integers(1, 1000, 640)

    def padded(bucket_batches: int) -> int:
        batches = epoch_batches(num_valid, 16, bucket_batches, seed=3, epoch=1)
        return sum(len(batch) * int(num_valid[batch].max()) for batch in batches)

    assert padded(40) < 1.05 * num_valid.sum() < 1.5 * num_valid.sum() < padded(1)
    first, second = (epoch_batches(num_valid, 16, 8, seed=3, epoch=epoch) for epoch in (1, 2))
    assert [set(batch) for batch in first] != [set(batch) for batch in second]
    # Long and short batches come in no order.
    longest = [int(num_valid[batch].max()) for batch in first]
    assert longest != sorted(longest)


class NoWaiting(TorchDispatchMode):
    """Fails at whatever asks a tensor for its content."""

    waits = (
        torch.ops.aten._local_scalar_dense.default,
        torch.ops.aten.nonzero.default,
        torch.ops.aten.equal.default,
        torch.ops.aten.masked_select.default,
    )

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        assert func not in self.waits, f"{func} waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("mask_padding", [False, True])
def test_no_step_waits_for_the_device(
    tiny_params: Params, tone_shards: Path, monkeypatch: pytest.MonkeyPatch, mask_padding: bool
) -> None:
    # As on a GPU: rows are convolved together, and windows are not looked at.
    monkeypatch.setattr("serct.models.serct.takes_groups", lambda device: False)
    monkeypatch.setattr("serct.models.layers.window_attention.takes_slices", lambda device: False)
    train = tiny_params.train_params("serct").model_copy(update={"gradient_clip": 1.0})
    model = read_model_params(tiny_params, "serct").model_copy(
        update={"mask_padding": mask_padding}
    )
    dataset = ShardDataset(tone_shards, ["train"])
    module = model.build(dataset.meta.num_samples, 16000, len(dataset.emotions))
    optimizer = torch.optim.Adam(module.parameters(), fused=True)
    packed = PackedClips(dataset, torch.device("cpu"))
    order = epoch_batches(dataset.num_valid, 4, 1, seed=0, epoch=1)
    with NoWaiting():
        for indices in order[:2]:
            train_step(module, optimizer, train, 0.001, packed.batch(indices))
    with pytest.raises(AssertionError, match="waits for the device"), NoWaiting():
        torch.ones(1).item()


@pytest.mark.parametrize("name", ["serct", "serct_plus", "mel_conformer", "cnn", "lstm"])
def test_no_model_needs_a_value_from_another_device(
    tiny_params: Params, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """On "meta" no tensor has a value: whatever asks for one fails, as it would wait on a GPU."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it knows no "meta"
    train = tiny_params.train_params("serct").model_copy(update={"gradient_clip": 1.0})
    module = read_model_params(tiny_params, name).build(8000, 16000, 3).to("meta")
    counts = torch.empty(4, dtype=torch.long, device="meta")
    batch = TensorBatch(torch.empty(4, 5000, device="meta"), counts, counts)
    # Not Adam, which counts its steps on the CPU where it cannot run fused.
    loss, num_right = train_step(module, torch.optim.SGD(module.parameters()), train, 0.1, batch)
    assert loss.device.type == num_right.device.type == "meta"
    with pytest.raises(RuntimeError, match="meta"):
        loss.item()


def test_fingerprint_changes_with_what_decides_and_nothing_else(tiny_params: Params) -> None:
    model, train = read_model_params(tiny_params, "serct"), tiny_params.train_params("serct")
    mark = fingerprint(model, train, 3, "d")
    assert mark == fingerprint(model, train, 3, "d")
    changed = [
        fingerprint(model, train, 4, "d"),
        fingerprint(model, train, 3, "e"),
        fingerprint(model, train.model_copy(update={"epochs": 99}), 3, "d"),
        fingerprint(read_model_params(tiny_params, "lstm"), train, 3, "d"),
    ]
    assert len({mark, *changed}) == 5


def test_one_emotion_is_nothing_to_learn(
    tiny_params: Params, tone_shards: Path, tmp_path: Path
) -> None:
    sets = [ShardDataset(tone_shards, [split], ("sad",)) for split in ("train", "validation")]
    for name in ("cnn", "svm"):
        model, train = read_model_params(tiny_params, name), tiny_params.train_params(name)
        with pytest.raises(
            TrainingError, match="tones has only the emotion sad, expected at least"
        ):
            fit(model, train, 3, sets[0], sets[1], tmp_path / "s")


def test_a_device_that_is_not_there(tiny_params: Params, tone_shards: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(TrainingError, match=r"train\.device is 'cuda', but .* only: cpu"):
        fit_tones(tiny_params, tone_shards, tmp_path / "s", device="cuda")


def test_bfloat16_trains(tiny_params: Params, tone_shards: Path, tmp_path: Path) -> None:
    fitted = fit_tones(tiny_params, tone_shards, tmp_path / "s", precision="bfloat16", epochs=2)
    assert all(tensor.dtype != torch.bfloat16 for tensor in weights(fitted).values())
    assert math.isfinite(fitted.best.validation_loss)


def test_deterministic_mode_and_clipping(
    tiny_params: Params, tone_shards: Path, tmp_path: Path
) -> None:
    options = {"deterministic": True, "gradient_clip": 0.5, "label_smoothing": 0.1, "epochs": 2}
    first = fit_tones(tiny_params, tone_shards, tmp_path / "a", **options)
    assert_same_weights(first, fit_tones(tiny_params, tone_shards, tmp_path / "b", **options))
    torch.use_deterministic_algorithms(False)
