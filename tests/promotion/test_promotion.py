"""A version becomes champion through its gates or not at all, and can be taken back."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from serct import Predictor, tracking
from serct.config.params import Params
from serct.config.reader import read_params
from serct.errors import ParamsError, SerctError, TrackingError
from serct.evaluation.evaluate import evaluate
from serct.promotion import Promotion, decision, gates, promote, rollback
from serct.promotion.gates import examine
from serct.tracking import Store, read_promotions
from serct.tracking.models import as_global
from tests.cli.test_cli import serct
from tests.conftest import add_version, make_workspace
from tests.edited import edit_record

pytestmark = pytest.mark.slow


@pytest.fixture
def root(trained: dict[str, Path], tone_shards: Path, new_database: Path, tmp_path: Path) -> Path:
    make_workspace(tmp_path, trained["serct"], tone_shards, new_database)
    return tmp_path


@pytest.fixture
def store(root: Path) -> Store:
    return tracking.open_store(root, "serct", "serct")


def put(
    root: Path, store: Store, which: str, *, may_replace_unusable: bool = False, **bounds: object
) -> Promotion:
    params = with_bounds(read_params(root / "params.yaml"), **bounds)
    return promote(
        params, root / "data", store, which, "a test", may_replace_unusable=may_replace_unusable
    )


def with_bounds(params: Params, **bounds: object) -> Params:
    changed = params.promotion.model_copy(update=bounds)
    return params.replace(promotion=changed)


def aliases(store: Store) -> dict[str, str]:
    return {alias: found.version for found in store.versions() for alias in found.aliases}


def verdicts(found: Promotion) -> dict[str, str]:
    return {gate.gate: gate.verdict for gate in found.gates}


def test_promote_then_promote_another_then_roll_back(root: Path, store: Store) -> None:
    second = add_version(root, 2, 0.001)
    first = put(root, store, "1")
    assert first.is_done
    assert verdicts(first)["UA lost against the champion"] == "skipped"
    assert put(root, store, second).is_done
    assert {"champion": second, "previous": "1"}.items() <= aliases(store).items()

    dry = rollback(root / "data", store, "it was worse", is_dry=True)
    assert not dry.is_done
    assert aliases(store)["champion"] == second
    back = rollback(root / "data", store, "it was worse")
    assert back.is_done
    assert back.champion is not None
    assert (back.version.version, back.champion.version) == ("1", second)
    assert set(verdicts(back).values()) == {"passed"}
    assert {"champion": "1", "previous": second}.items() <= aliases(store).items()

    entries = read_promotions(root / "data")
    assert [entry.action for entry in entries] == ["promote", "promote", "rollback"]
    assert [entry.champion.version for entry in entries] == ["1", second, "1"]
    assert all(entry.by and entry.at for entry in entries)
    assert all(entry.gates[0]["verdict"] == "passed" for entry in entries)
    with pytest.raises(
        TrackingError, match=r"version 1 \(serct on tones, \w+\) is the champion alr"
    ):
        put(root, store, "1")


def test_of_two_promotions_at_once_the_second_is_compared_with_the_first(
    root: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = add_version(root, 2, 0.001)
    worse = add_version(root, 3, 3.0)
    put(root, store, "1")
    is_examined, may_go_on = threading.Event(), threading.Event()

    def examined(*arguments: Any, **named: Any) -> Iterator[gates.Gate]:
        yield from examine(*arguments, **named)
        is_examined.set()
        assert may_go_on.wait(60)

    monkeypatch.setattr(decision, "examine", examined)
    command = [sys.executable, "-m", "serct.cli", "promote", worse, "--json", "--workspace", root]
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(put, root, store, second)
        assert is_examined.wait(60)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as other:
            assert other.stderr is not None
            said = iter(other.stderr.readline, b"")
            assert any(b"waiting for a promotion that goes on" in line for line in said)
            assert serct("promote", worse, "--dry-run", "--workspace", str(root)).returncode == 0
            may_go_on.set()
            assert first.result().is_done
            shown = json.loads(other.communicate(timeout=60)[0])
    assert shown["champion"]["version"] == second
    assert {"champion": worse, "previous": second}.items() <= aliases(store).items()


def test_a_killed_promotion_keeps_no_other_from_going_on(root: Path, store: Store) -> None:
    code = (
        "import sys, time; from pathlib import Path; from serct.tracking import open_store\n"
        "with open_store(Path(sys.argv[1]), 'serct', 'serct').moving_champion():\n"
        "    print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, root], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"\n"
        other.kill()
    assert put(root, store, "1").is_done


def test_a_champion_that_another_machine_moved_meanwhile_is_left_alone(
    root: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    second, third = add_version(root, 2, 0.001), add_version(root, 3, 0.001)
    put(root, store, "1")

    def examined(*arguments: Any, **named: Any) -> Iterator[gates.Gate]:
        yield from examine(*arguments, **named)
        store.set_aliases(third, "1", {})

    monkeypatch.setattr(decision, "examine", examined)
    expected = (
        rf"the champion is version {third} \(serct on tones, seed3\) now, and version {second} "
        r"\(serct on tones, seed2\) was examined when it was version 1 \(.*\); nothing was changed"
    )
    with pytest.raises(TrackingError, match=expected):
        put(root, store, second)
    assert {"champion": third, "previous": "1"}.items() <= aliases(store).items()
    assert len(read_promotions(root / "data")) == 1


def test_any_user_may_promote_for_any_reason(
    root: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One without a name, as in a container; a reason from a terminal that is not UTF-8."""

    def fail() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr("getpass.getuser", fail)
    params = read_params(root / "params.yaml")
    assert promote(params, root / "data", store, "1", "gr\udcfc\udcdfe 情感").is_done
    (entry,) = read_promotions(root / "data")
    assert entry.why == r"gr\xfc\xdfe 情感"
    assert entry.by.startswith(f"user {os.getuid()}@")


@pytest.mark.parametrize(
    ("bounds", "gate"),
    [
        ({"min_test_ua": 0.999}, "UA on tones"),
        ({"margin": 0.0, "confidence": 0.999}, "UA lost against the champion"),
    ],
)
def test_a_refused_version_changes_nothing(
    root: Path, store: Store, bounds: dict[str, float], gate: str
) -> None:
    worse = add_version(root, 3, 3.0)
    put(root, store, "1")
    before = aliases(store), read_promotions(root / "data")
    found = put(root, store, worse, **bounds)
    assert verdicts(found)[gate] == "REFUSED"
    assert found.is_refused
    assert not found.is_done
    assert (aliases(store), read_promotions(root / "data")) == before


LOST = "UA lost against the champion"


def other_bytes(folder: Path) -> None:
    """Weights of the same form with other values: they load, and predict something else."""
    path = folder / "weights.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-512] + bytes(np.random.default_rng(0).bytes(512)))


def nan_weights(folder: Path) -> None:
    weights = load_file(folder / "weights.safetensors")
    save_file({key: np.full_like(value, np.nan) for key, value in weights.items()},
              folder / "weights.safetensors")  # fmt: skip


DAMAGES: dict[str, Callable[[Path], object]] = {
    "card": lambda folder: (folder / "card.json").write_text("{"),
    "no card": lambda folder: (folder / "card.json").unlink(),
    "no weights": lambda folder: (folder / "weights.safetensors").unlink(),
    "cut weights": lambda folder: (folder / "weights.safetensors").write_bytes(b"cut"),
    "other bytes": other_bytes,
    "NaN": nan_weights,
    "no folder": shutil.rmtree,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_champion_does_not_open_the_gate(root: Path, store: Store, damage: str) -> None:
    second = add_version(root, 2, 0.001)
    put(root, store, "1")
    DAMAGES[damage](store.folder("1"))
    before = aliases(store), read_promotions(root / "data")
    found = put(root, store, second)
    assert verdicts(found)[LOST] == "REFUSED"
    [gate] = [gate for gate in found.gates if gate.gate == LOST]
    assert gate.found.startswith("the champion is unusable: version 1 (serct on tones, ")
    assert gate.expected == (
        "a usable champion: mend it, or give --replace-unusable-champion and --why"
    )
    assert (aliases(store), read_promotions(root / "data")) == before

    done = put(root, store, second, may_replace_unusable=True)
    assert done.is_done
    assert verdicts(done)[LOST] == "overridden"
    assert {"champion": second, "previous": "1"}.items() <= aliases(store).items()
    [*_, entry] = read_promotions(root / "data")
    assert {"gate": LOST, "verdict": "overridden"}.items() <= {
        key: value for row in entry.gates if row["gate"] == LOST for key, value in row.items()
    }.items()
    # The version it would return to is as unusable as before.
    back = rollback(root / "data", store, "")
    assert back.is_refused
    assert not back.is_done
    assert aliases(store)["champion"] == second


def test_a_champion_that_fails_on_the_test_part_does_not_open_the_gate(
    root: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its few clips for the smoke test are predicted; those of the test part give NaN."""
    second = add_version(root, 2, 0.001)
    put(root, store, "1")
    calls = []

    def evaluated(*arguments: Any) -> Any:
        found = evaluate(*arguments)
        calls.append(found)
        if len(calls) == 2:
            found.probabilities[0] = np.nan
        return found

    monkeypatch.setattr(gates, "evaluate", evaluated)
    found = put(root, store, second)
    assert verdicts(found)[LOST] == "REFUSED"
    [gate] = [gate for gate in found.gates if gate.gate == LOST]
    assert "predicts NaN on the test part of tones" in gate.found


def test_an_unusable_champion_is_replaced_with_a_reason_only(root: Path, store: Store) -> None:
    params = read_params(root / "params.yaml")
    with pytest.raises(TrackingError, match="--replace-unusable-champion needs --why"):
        promote(params, root / "data", store, "1", " ", may_replace_unusable=True)
    # A usable champion, or none, is compared with as ever.
    assert verdicts(put(root, store, "1", may_replace_unusable=True))[LOST] == "skipped"
    worse = add_version(root, 3, 3.0)
    found = put(root, store, worse, may_replace_unusable=True, margin=0.0, confidence=0.999)
    assert verdicts(found)[LOST] == "REFUSED"


def test_a_champion_that_the_registry_lost_does_not_open_the_gate(root: Path, store: Store) -> None:
    second = add_version(root, 2, 0.001)
    put(root, store, "1")
    store.client.delete_registered_model_alias("serct", "champion")
    found = put(root, store, second)
    [gate] = [gate for gate in found.gates if gate.gate == LOST]
    assert gate.verdict == "REFUSED"
    assert re.search(
        r"promotions.jsonl names serct on tones \(\w{7}\), the registry names none: run `serct",
        gate.found,
    )
    assert not tracking.sync_store(store, root / "data").problems
    assert put(root, store, second).is_done


def test_a_champion_that_serct_did_not_register_does_not_open_the_gate(
    root: Path, store: Store
) -> None:
    source = store.client.get_model_version("serct", "1").source
    with as_global(store.uri):
        made = store.client.create_model_version("serct", source)
    store.client.set_registered_model_alias("serct", "champion", made.version)
    found = put(root, store, "1")
    [gate] = [gate for gate in found.gates if gate.gate == LOST]
    assert gate.verdict == "REFUSED"
    assert f"version {made.version} was not registered by serct" in gate.found
    assert put(root, store, "1", may_replace_unusable=True).is_done


def test_the_policy_says_what_may_be_skipped(root: Path, store: Store) -> None:
    refused = put(root, store, "1", may_skip=())
    [gate] = [gate for gate in refused.gates if gate.gate == LOST]
    assert (gate.verdict, gate.found) == ("REFUSED", "there is no champion")
    assert gate.expected.endswith(", or no_champion in promotion.may_skip")
    assert put(root, store, "1", may_skip=("no_champion",)).is_done

    # A champion trained on another manifest.
    second = add_version(root, 2, 0.001)
    card = store.folder("1") / "card.json"
    digests = json.loads(card.read_text())["digests"] | {"manifest": "another"}
    edit_record(card, digests=digests)
    assert verdicts(put(root, store, second, may_skip=("no_champion",)))[LOST] == "REFUSED"
    assert verdicts(put(root, store, second))[LOST] == "skipped"


def test_params_without_the_policy_have_the_default(root: Path) -> None:
    params = read_params(root / "params.yaml")
    assert params.promotion.may_skip == ("no_champion", "other_data")
    old = {key: value for key, value in params.data["promotion"].items() if key != "may_skip"}
    assert params.replace(promotion=old).promotion == params.promotion
    wrong = params.replace(promotion={**old, "may_skip": ["all"]})
    with pytest.raises(ParamsError, match=r"promotion.may_skip.0 is 'all': .*'no_champion' or"):
        _ = wrong.promotion


@pytest.mark.parametrize("damage", ["card", "other bytes", "NaN", "no folder"])
def test_a_rollback_examines_the_version_that_it_returns_to(
    root: Path, store: Store, damage: str
) -> None:
    second = add_version(root, 2, 0.001)
    put(root, store, "1")
    put(root, store, second)
    DAMAGES[damage](store.folder("1"))
    before = aliases(store), read_promotions(root / "data")
    found = rollback(root / "data", store, "it was worse")
    assert found.is_refused
    assert (aliases(store), read_promotions(root / "data")) == before
    shown = serct("rollback", "--workspace", str(root))
    assert shown.returncode == 1
    assert "refused: version 1 (serct on tones, " in shown.stderr
    assert "REFUSED" in shown.stdout


def test_a_damaged_version_is_refused_by_name(root: Path, store: Store) -> None:
    (store.folder("1") / "weights.safetensors").write_bytes(b"not weights")
    found = put(root, store, "1")
    assert verdicts(found)["loads without pickle"] == "REFUSED"
    assert "weights.safetensors: damaged: SHA-256" in found.gates[0].found
    assert "champion" not in aliases(store)


def test_a_version_that_is_another_is_refused_by_name(root: Path, store: Store) -> None:
    other = store.folder(add_version(root, 2, 0.001))
    for path in store.folder("1").iterdir():
        shutil.copy(other / path.name, path)
    found = put(root, store, "1")
    assert found.is_refused
    assert "not the weights that were logged: SHA-256" in found.gates[0].found
    assert "champion" not in aliases(store)


@pytest.mark.parametrize("name", ["card.json", "weights.safetensors"])
def test_a_damaged_copy_in_the_registry_is_an_error(
    root: Path, store: Store, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = store.folder("1") / name
    content = path.read_bytes()
    monkeypatch.chdir(root)
    for seed in range(3):
        chance = np.random.default_rng(seed)
        first = int(chance.integers(len(content) - 500))
        path.write_bytes(content[:first] + chance.bytes(500) + content[first + 500 :])
        with pytest.raises(SerctError, match=rf"{name}: (damaged|not readable)"):
            Predictor.load("models:/serct/1")
        with pytest.raises(Exception, match=rf"{name}: (damaged|not readable)"):
            store.predict_as_served("1", b"")


def test_shards_of_another_manifest_are_no_test(root: Path, store: Store) -> None:
    meta = root / "data" / "shards" / "tones" / "meta.json"
    edit_record(meta, manifest_digest="another")
    assert verdicts(put(root, store, "1"))["its own test data"] == "REFUSED"


def test_a_level_that_decides_is_refused(root: Path, trained: dict[str, Path]) -> None:
    """The lstm depends on the level: at a quarter of it the emotion changes."""
    params = with_bounds(read_params(root / "params.yaml"), max_changed=0.0)
    lstm = Predictor.load(trained["lstm"])
    found = {g.gate: g.verdict for g in examine(params, root / "data", lstm, None)}
    assert found["other emotion when 12 dB softer"] == "REFUSED"


def test_sync_gives_a_lost_registry_its_champion_back(root: Path, store: Store) -> None:
    second = add_version(root, 2, 0.001)
    put(root, store, "1")
    put(root, store, second)
    kept = {v.version: v.weights for v in store.versions()}
    (root / "mlflow.db").unlink()
    synced = serct("sync", "--workspace", str(root))
    assert synced.returncode == 0, synced.stdout
    fresh = tracking.open_store(root, "serct", "serct")
    found = aliases(fresh)
    weights = {v.version: v.weights for v in fresh.versions()}
    last = read_promotions(root / "data")[-1]
    assert weights[found["champion"]] == last.champion.weights
    assert last.previous is not None
    assert weights[found["previous"]] == last.previous.weights
    assert set(kept.values()) == set(weights.values())


def test_promotions_of_another_clone_move_the_champion_by_its_weights(
    root: Path, store: Store, tmp_path_factory: pytest.TempPathFactory
) -> None:
    second = add_version(root, 2, 0.001)
    put(root, store, "1")
    clone = tmp_path_factory.mktemp("clone")
    shutil.copy(root / "params.yaml", clone)
    shutil.copytree(root / "data", clone / "data")
    # There the other model is registered first, so the numbers are swapped.
    hidden = (clone / "data/models/tones-serct").rename(clone / "hidden")
    other = tracking.open_store(clone, "serct", "serct")
    assert "names serct on tones (" in str(tracking.sync_store(other, clone / "data"))
    hidden.rename(clone / "data/models/tones-serct")
    assert "champion: version 2 (serct on tones, " in str(
        tracking.sync_store(other, clone / "data")
    )
    # Two moves at home, and then one of which the clone has not got the weights.
    weights = {found.version: found.weights for found in store.versions()}
    for number in (second, "1", second):
        assert put(root, store, weights[number][:7]).is_done
    shutil.copy(root / "data/promotions.jsonl", clone / "data")
    assert "champion: version 1 (serct on tones, seed2)" in str(
        tracking.sync_store(other, clone / "data")
    )
    assert {"champion": "1", "previous": "2"}.items() <= aliases(other).items()
    assert not tracking.sync_store(other, clone / "data").actions
    put(root, store, add_version(root, 3, 0.001))
    shutil.copy(root / "data/promotions.jsonl", clone / "data")
    assert "names serct on tones (seed3) as the champion, but no version has its weights" in str(
        tracking.sync_store(other, clone / "data")
    )
    assert aliases(other)["champion"] == "1"


def test_sync_says_that_the_champions_weights_are_gone(root: Path, store: Store) -> None:
    put(root, store, "1")
    (root / "mlflow.db").unlink()
    for folder in (root / "data" / "models").iterdir():
        shutil.rmtree(folder)
    synced = serct("sync", "--workspace", str(root))
    assert synced.returncode == 1
    assert "as the champion, but no version has its weights: `dvc pull` brings" in synced.stdout
    assert "--replace-unusable-champion" in synced.stdout


def test_a_crash_after_the_record_is_made_up_by_sync(
    root: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise TrackingError("the machine went down")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "set_aliases", crash)
        with pytest.raises(TrackingError, match="went down"):
            put(root, store, "1")
    assert "champion" not in aliases(store)
    assert "champion: version 1" in str(tracking.sync_store(store, root / "data"))
    assert aliases(store)["champion"] == "1"


def test_a_crash_in_a_later_promotion_is_made_up_too_but_no_move_from_elsewhere(
    root: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = add_version(root, 2, 0.001)
    put(root, store, "1")

    def crash(*_: object) -> None:
        raise TrackingError("the machine went down")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "set_aliases", crash)
        with pytest.raises(TrackingError, match="went down"):
            put(root, store, second)
    assert aliases(store)["champion"] == "1"
    assert f"champion: version {second}" in str(tracking.sync_store(store, root / "data"))
    assert {"champion": second, "previous": "1"}.items() <= aliases(store).items()
    # Another workspace of a team rolls back: this one's record does not know.
    store.set_aliases("1", second, {})
    assert "champion" not in str(tracking.sync_store(store, root / "data"))
    assert aliases(store)["champion"] == "1"


def test_a_line_cut_off_is_dropped_by_the_next(root: Path, store: Store) -> None:
    put(root, store, "1")
    record = root / "data" / "promotions.jsonl"
    whole = record.read_bytes()
    record.write_bytes(whole + whole[:50])
    assert len(read_promotions(root / "data")) == 1
    add_version(root, 2, 0.001)
    put(root, store, "2")
    assert [e.champion.version for e in read_promotions(root / "data")] == ["1", "2"]
    record.write_text("{}\n")
    with pytest.raises(
        TrackingError, match=r"promotions.jsonl, line 1: action is missing.*expected a promotion"
    ):
        read_promotions(root / "data")


def test_the_command_line(root: Path) -> None:
    dry = serct("promote", "1", "--dry-run", "--workspace", str(root))
    assert dry.returncode == 0, dry.stderr
    assert "would be promoted; nothing was changed" in dry.stdout
    done = serct("promote", "--why", "it is good", "--workspace", str(root))
    assert "champion: version 1 (serct on tones, " in done.stdout
    assert "champion" in serct("models", "--workspace", str(root)).stdout
    assert read_promotions(root / "data")[0].why == "it is good"
    nothing = serct("rollback", "--workspace", str(root))
    assert nothing.returncode == 1
    assert "nothing to roll back to" in nothing.stderr
    (root / "params.yaml").write_text(
        (root / "params.yaml").read_text().replace("min_test_ua: 0.0", "min_test_ua: 0.999")
    )
    add_version(root, 3, 3.0)
    refused = serct("promote", "2", "--workspace", str(root))
    assert refused.returncode == 1
    assert "refused: version 2" in refused.stderr


def test_gates_are_plain_rows(root: Path, store: Store) -> None:
    found = put(root, store, "1")
    for gate in found.gates:
        assert all(isinstance(value, str) for value in dataclasses.asdict(gate).values())
    assert np.unique([gate.gate for gate in found.gates]).size == len(found.gates)
