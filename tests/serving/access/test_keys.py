"""API keys: the file holds hashes, follows changes, and appears in no message."""

import hashlib
import hmac
import json
import logging
import stat
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from starlette.exceptions import HTTPException
from typer.testing import CliRunner

from serct.cli.shared import app
from serct.config.serving import ServingParams
from serct.errors import KeysError
from serct.serving.access import keys as keys_module
from serct.serving.access.clients import Clients
from serct.serving.access.keys import ApiKey, find_key, hash_key, make_key, read_keys, write_keys
from tests.conftest import ROOT
from tests.serving.test_speakers import Clock

LIMITS = ServingParams(key_requests_per_minute=7, key_streams=3)


def run(*arguments: str) -> str:
    """Run `serct keys`; return stdout."""
    result = CliRunner().invoke(app, ["keys", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def make(path: Path, *names: str, **limits: object) -> dict[str, str]:
    """Write a file of keys; return the keys by name."""
    keys = {name: make_key() for name in names}
    entries = [ApiKey(name=name, sha256=hash_key(key), **limits) for name, key in keys.items()]  # type: ignore[arg-type]
    write_keys(path, entries)
    return keys


class TestCommands:
    def test_a_key_is_shown_once_and_its_hash_is_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "keys.yaml"
        key = run("add", "lab", "--file", str(path), "--expires", "2099-01-31").strip()
        assert len(key.removeprefix("serct_")) == 43  # 256 bits in base 64
        text = path.read_text()
        assert key not in text
        assert hashlib.sha256(key.encode()).hexdigest() in text
        (entry,) = read_keys(path)
        assert (entry.name, entry.expires) == ("lab", date(2099, 1, 31))
        shown = run("list", "--file", str(path)) + run("list", "--file", str(path), "--json")
        assert "lab" in shown
        assert key not in shown
        assert entry.sha256 not in shown
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_keys_are_added_and_removed_by_name(self, tmp_path: Path) -> None:
        path = tmp_path / "keys.yaml"
        for name in ("one", "two"):
            run("add", name, "--file", str(path), "--streams", "2", "--max-body-mb", "1.5")
        with pytest.raises(KeysError, match="there is a key one already"):
            run("add", "one", "--file", str(path))
        path.chmod(0o640)
        run("remove", "one", "--file", str(path))
        assert [(each.name, each.streams) for each in read_keys(path)] == [("two", 2)]
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        with pytest.raises(KeysError, match=r"no key one, found: two"):
            run("remove", "one", "--file", str(path))

    def test_a_day_that_is_over_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(KeysError, match="2020-01-01, expected today or later"):
            run("add", "lab", "--file", str(tmp_path / "k"), "--expires", "2020-01-01")
        assert not (tmp_path / "k").exists()


class TestFile:
    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("keys: [{name: lab, sha256: SECRET}]", r"keys\.0\.sha256: String should match"),
            ("keys: [{name: SECRET, sha256: SECRET}]", r"keys\.0\.name: .*; keys\.0\.sha256"),
            ("keys: [{name: lab, key: SECRET}]", r"sha256: Field required; keys\.0\.\(unknown\)"),
            ("keys: {SECRET: {}}", r"keys: "),
            ("SECRET", "top level: Input should be an object"),
            ("keys: [*SECRET]", "line 1, column 8: not valid YAML"),
            ("keys: [\nname: SECRET: 1", "line 2, column 13: not valid YAML"),
            ("{SECRET: 1, SECRET: 2}", "line 1, column 13: not valid YAML"),
            ("keys: [{name: lab, sha256: !!int SECRET}]", "not valid YAML"),
            ("keys: [{name: lab, sha256: '" + "a" * 64 + "', expires: SECRET}]", r"0\.expires: "),
        ],
    )
    def test_mistakes_are_named_without_what_was_written(
        self, tmp_path: Path, text: str, problem: str
    ) -> None:
        path = tmp_path / "keys.yaml"
        path.write_text(text)
        with pytest.raises(KeysError, match=problem) as error:
            read_keys(path)
        assert "SECRET" not in str(error.value)
        assert error.value.__cause__ is None

    def test_the_example_of_the_page_is_a_file(self, tmp_path: Path) -> None:
        page = (ROOT / "docs" / "start" / "service.md").read_text(encoding="utf-8")
        path = tmp_path / "keys.yaml"
        path.write_text(page.partition("```yaml\n")[2].partition("```")[0], encoding="utf-8")
        (entry,) = read_keys(path)
        assert (entry.name, entry.streams, entry.max_body_mb) == ("lab", 2, 5.0)

    def test_two_entries_of_one_name_or_one_key(self, tmp_path: Path) -> None:
        path, digests = tmp_path / "keys.json", [hash_key("a"), hash_key("b")]
        for names, hashes, field in (("aa", digests, "name"), ("ab", digests[:1] * 2, "sha256")):
            entries = [
                {"name": name, "sha256": each} for name, each in zip(names, hashes, strict=True)
            ]
            path.write_text(json.dumps({"keys": entries}))
            with pytest.raises(KeysError, match=f"two entries have the same {field}"):
                read_keys(path)

    def test_every_entry_is_compared_in_constant_time(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        compared = []

        def compare(one: str, other: str) -> bool:
            compared.append(one)
            return hmac.compare_digest(one, other)

        class Watched:
            compare_digest = staticmethod(compare)

        monkeypatch.setattr(keys_module, "hmac", Watched)
        entries = [ApiKey(name=name, sha256=hash_key(name)) for name in ("a", "b", "c")]
        for key, found in (("a", entries[0]), ("c", entries[2]), ("d", None), ("", None)):
            compared.clear()
            assert find_key(entries, key) is found
            assert compared == [each.sha256 for each in entries]


class TestClients:
    def test_without_keys_everybody_is_a_client_without_limits(self) -> None:
        client = Clients(None, None, LIMITS).find(None)
        assert client is not None
        for _ in range(1000):
            client.count_request()

    def test_the_one_key_goes_on_to_work_beside_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "keys.yaml"
        keys = make(path, "lab")
        clients = Clients("sesame", path, LIMITS)
        one, lab = clients.find("sesame"), clients.find(keys["lab"])
        assert one is not None
        assert lab is not None
        assert (one.name, one.limits.requests_per_minute) == ("SERCT_API_KEY", None)
        assert (lab.name, lab.limits.requests_per_minute, lab.limits.streams) == ("lab", 7, 3)
        for wrong in (None, "", "sesam", "sesame ", keys["lab"][:-1], hash_key("sesame"), "\ud800"):
            assert clients.find(wrong) is None

    def test_an_empty_file_lets_nobody_in(self, tmp_path: Path) -> None:
        write_keys(tmp_path / "keys.yaml", [])
        clients = Clients(None, tmp_path / "keys.yaml", LIMITS)
        assert clients.find(None) is clients.find("") is None

    def test_a_service_does_not_start_with_a_wrong_file(self, tmp_path: Path) -> None:
        with pytest.raises(KeysError, match="no such file; `serct keys add` makes it"):
            Clients(None, tmp_path / "keys.yaml", LIMITS)

    def test_a_key_is_valid_until_the_end_of_its_last_day(self, tmp_path: Path) -> None:
        path, time = tmp_path / "keys.yaml", [datetime(2027, 1, 31, 23, 59, tzinfo=UTC)]
        keys = make(path, "lab", expires=date(2027, 1, 31))
        clients = Clients(None, path, LIMITS, now=lambda: time[0])
        assert clients.find(keys["lab"])
        time[0] = datetime(2027, 2, 1, 0, 0, tzinfo=UTC)
        assert clients.find(keys["lab"]) is None

    def test_a_removed_key_is_refused_and_others_keep_their_counts(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path, clock = tmp_path / "keys.yaml", Clock()
        keys = make(path, "one", "two", requests_per_minute=1)
        clients = Clients(None, path, LIMITS, clock)
        two = clients.find(keys["two"])
        assert two is not None
        two.count_request()
        run("remove", "one", "--file", str(path))
        clock.now = 1.5
        with caplog.at_level(logging.INFO, "serct"):
            assert clients.find(keys["one"]) is None
        assert clients.find(keys["two"]) is two
        with pytest.raises(HTTPException, match="more than 1 requests a minute with the key two"):
            two.count_request()
        assert "1 keys in use" in caplog.text
        assert hash_key(keys["two"]) not in caplog.text

    @pytest.mark.parametrize("breaks", ["write", "unlink"])
    def test_a_broken_file_keeps_the_old_keys_until_it_is_mended(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, breaks: str
    ) -> None:
        path, clock = tmp_path / "keys.yaml", Clock()
        keys = make(path, "lab")
        clients = Clients(None, path, LIMITS, clock)
        if breaks == "write":
            path.write_text(f"keys: [{keys['lab']}]")
        else:
            path.unlink()
        clock.now = 2.0
        assert clients.find(keys["lab"])
        assert clients.problem is not None
        assert clients.problem.endswith("the keys of before stay in use")
        assert str(tmp_path) not in clients.problem
        assert f"{path}: " in caplog.text
        assert "the keys of before stay in use" in caplog.text
        assert keys["lab"] not in caplog.text
        others = make(path, "other")
        clock.now = 4.0
        assert clients.find(keys["lab"]) is None
        assert clients.find(others["other"])
        assert clients.problem is None

    @pytest.mark.parametrize(
        ("mode", "problem"),
        [(0o600, ""), (0o640, ""), (0o644, "everybody may read it"), (0o660, "its group may")],
    )
    def test_rights_that_let_others_in_are_warned_about(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, problem: str
    ) -> None:
        path = tmp_path / "keys.yaml"
        make(path, "lab")
        path.chmod(mode)
        Clients(None, path, LIMITS)
        assert problem in caplog.text
        assert bool(caplog.text) == bool(problem)
