"""A long training says once, and early, how long it will take."""

from pathlib import Path

import pytest
import torch

from serct.config.params import Params
from serct.data.dataset import ShardDataset
from serct.models import read_model_params
from serct.models.records import EpochRow
from serct.runtime import devices
from serct.training import estimate
from serct.training.estimate import Estimate
from serct.training.fitting import fit

CPU = torch.device("cpu")


def messages_of(
    caplog: pytest.LogCaptureFixture,
    step_ends_s: list[float],
    num_epochs: int = 20,
    steps_an_epoch: int = 142,
    device: torch.device = CPU,
    precision: torch.dtype = torch.float32,
) -> list[str]:
    """Return what is logged when steps end at these times."""
    clock = iter([0.0, *step_ends_s])
    now_s = [next(clock)]
    found = Estimate(num_epochs, steps_an_epoch, device, precision, lambda: now_s[0])
    with caplog.at_level("INFO", "serct"):
        for now_s[0] in clock:
            found.count_step()
    return caplog.messages


def test_a_slow_first_step_is_enough(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "computes_bfloat16", lambda device: True)
    [first, *others] = messages_of(caplog, [12.0, 30.0, 50.0])
    # 20 epochs of 142 steps are 2,840 steps of 12 s: 34,080 s.
    assert "about 9 h 28 min for 20 epochs on this machine (cpu, 2840 steps of 12 s each)" in first
    assert "`serct repro --profile cpu`" in others[0]
    assert "train.precision: bfloat16" in others[1]
    assert len(others) == 2


@pytest.mark.parametrize(
    ("device", "precision", "has_bfloat16"),
    [("cpu", torch.bfloat16, True), ("cpu", torch.float32, False), ("cuda", torch.float32, True)],
)
def test_no_way_is_named_that_is_taken_or_closed(
    device: str,
    precision: torch.dtype,
    has_bfloat16: bool,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "computes_bfloat16", lambda device: has_bfloat16)
    found = messages_of(caplog, [12.0], device=torch.device(device), precision=precision)
    assert f"({device}, " in found[0]
    assert not any("bfloat16" in message for message in found)
    assert any("--profile cpu" in message for message in found) is (device == "cpu")


def test_the_first_of_fast_steps_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    # After 4 s of warm-up a step takes 0.5 s: 20 * 142 of them 1,420 s.
    ends = [4.0 + 0.5 * number for number in range(12)]
    [message] = messages_of(caplog, ends)
    assert "about 24 min for 20 epochs" in message


def test_a_short_training_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert messages_of(caplog, [6.0, 12.0], num_epochs=1, steps_an_epoch=19) == []


def test_the_loop_measures_its_steps(
    tiny_params: Params,
    tone_shards: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(estimate, "_ENOUGH_S", 0.0)

    def stop(row: EpochRow) -> None:
        raise KeyboardInterrupt

    sets = [ShardDataset(tone_shards, [split]) for split in ("train", "validation")]
    train = tiny_params.train_params("lstm").model_copy(update={"epochs": 10_000_000})
    model = read_model_params(tiny_params, "lstm")
    with caplog.at_level("INFO", "serct"), pytest.raises(KeyboardInterrupt):
        fit(model, train, 3, *sets, tmp_path / "state", stop)
    said = [message for message in caplog.messages if "training takes" in message]
    assert len(said) == 1
    assert "for 10000000 epochs on this machine (cpu, " in said[0]
