"""Tables fit their terminal without breaking a word; JSON stands alone on stdout."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from serct.cli.output import print_json, print_rows, print_table
from serct.cli.pipeline import EXPENDABLE_OF_STUDIES
from serct.cli.registry import EXPENDABLE_OF_VERSIONS
from serct.experiments.studies.page import scores_table
from tests.experiments import test_study_page as studies

ROWS: Sequence[Mapping[str, str]] = [
    {
        "version": "12",
        "aliases": "challenger, champion",
        "model": "functionals_lda_speaker",
        "corpus": "demo_en (synthetic)",
        "test UA": "0.8765",
        "fingerprint": "0123456789ab",
        "note": "[bold] is no markup here",
    },
    {
        "version": "3",
        "aliases": "",
        "model": "情感",
        "corpus": "tess",
        "test UA": "",
        "fingerprint": "ba9876543210",
        "note": "",
    },
]
VERSIONS = [{name: cell for name, cell in each.items() if name != "note"} for each in ROWS]
EXPENDABLE = ("fingerprint", "test UA", "corpus")


def printed(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    width: int | None,
    rows: Sequence[Mapping[str, str]] = ROWS,
    expendable: Sequence[str] = EXPENDABLE,
) -> str:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: width is not None, raising=False)
    monkeypatch.setenv("TERM", "dumb")  # without codes for bold
    monkeypatch.setenv("COLUMNS", str(width or 20))  # of a pipe it says nothing
    print_table("Versions", rows, expendable)
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [None, 200, 130, 100, 80, 70])
def test_no_word_is_broken(
    width: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.cells import cell_len

    text = printed(monkeypatch, capsys, width)
    table = [line for line in text.splitlines() if not line.startswith("left out")]
    assert width is None or max(map(cell_len, table)) <= width
    [note] = [line for line in text.splitlines() if "left out" in line] or [""]
    left_out = note.rpartition(": ")[2].split(", ") if note else []
    assert left_out == [name for name in ROWS[0] if name in left_out]
    # The least important ones first.
    assert sorted(left_out) == sorted(EXPENDABLE[: len(left_out)])
    for row in ROWS:
        for name, cell in row.items():
            if name not in left_out:
                assert all(word in text for word in (*name.split(), *cell.split()))
    if width in (None, 200):
        assert not left_out
        assert "challenger, champion" in text


def test_a_terminal_that_is_too_narrow_gets_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(monkeypatch, capsys, 40).splitlines()
    assert lines[0] == "Versions"
    assert "model: functionals_lda_speaker" in lines
    assert "fingerprint: ba9876543210" in lines


def studied() -> Sequence[Mapping[str, str]]:
    found = studies.study(
        "first",
        "random",
        (studies.row("functionals_lda_speaker", (0.9, 0.8)), studies.row("cnn", (0.7,))),
    )
    table = scores_table(found, found.tests[0])
    return [
        {name: cell.text for name, cell in zip(table.header, each, strict=True)}
        for each in table.rows
    ]


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize(
    ("rows", "expendable"), [(VERSIONS, EXPENDABLE_OF_VERSIONS), (studied(), EXPENDABLE_OF_STUDIES)]
)
def test_versions_and_studies_fit_without_cutting_a_name(
    rows: Sequence[Mapping[str, str]],
    expendable: Sequence[str],
    width: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = printed(monkeypatch, capsys, width, rows, expendable)
    assert max(map(len, text.splitlines())) <= width
    # A table still, not a line for each value.
    assert "│ functionals_lda_speaker " in text


def test_nothing_to_show(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Versions", [])
    assert capsys.readouterr().out == "Versions: none\n"
    print_rows("Versions", [], as_json=True)
    assert json.loads(capsys.readouterr().out) == []


def test_json_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"file": "情感 \udce9"})
    text = capsys.readouterr().out
    assert text.isascii()
    assert json.loads(text) == {"file": "情感 \udce9"}


@pytest.mark.parametrize("is_wanted", [True, False])
def test_what_children_print_goes_to_stderr(is_wanted: bool) -> None:
    code = (
        "import subprocess, sys\n"
        "from serct.cli.output import json_alone, print_json\n"
        f"with json_alone({is_wanted}):\n"
        "    subprocess.run([sys.executable, '-c', 'print(1)'], check=True)\n"
        "    print(2)\n"
        "print_json({})\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    expected = ("{}\n", "1\n2\n") if is_wanted else ("1\n2\n{}\n", "")
    assert (found.stdout, found.stderr) == expected


@pytest.mark.slow
def test_a_real_terminal_of_80_columns() -> None:
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    with subprocess.Popen(
        [sys.executable, "-m", "serct.cli", "corpora", "list"],
        stdout=inside,
        stderr=subprocess.DEVNULL,
        env={**environment, "TERM": "dumb", "PYTHONIOENCODING": "ascii"},
    ) as process:
        os.close(inside)
        shown = b""
        while True:
            try:
                part = os.read(terminal, 65536)
            except OSError:  # how Linux says that the other end is closed
                break
            if not part:
                break
            shown += part
        os.close(terminal)
    assert process.returncode == 0
    lines = shown.decode("ascii").splitlines()
    assert max(map(len, lines)) <= 80
    assert any("| tess_emodb " in line for line in lines)


@pytest.mark.parametrize(
    "closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"], ids=["stdin", "stdout", "stderr", "all"]
)
def test_a_stream_that_was_closed_ends_no_command(closed: str, tmp_path: Path) -> None:
    made = tmp_path / "made"
    program = f"""
import os, sys
from serct.runtime.log import accept_every_name
accept_every_name()
with open({str(made)!r}, "w") as file:
    assert file.fileno() > 2  # else what children print would land in it
    print("printed", flush=True)
    print("said", file=sys.stderr, flush=True)
    assert sys.stdin is not None
    file.write("whole")
"""
    command = f'exec "$0" -c "$1" {closed}'
    subprocess.run(["/bin/sh", "-c", command, sys.executable, program], check=True)
    assert made.read_text() == "whole"


def test_a_current_folder_that_was_removed_is_named(tmp_path: Path) -> None:
    command = 'rmdir "$PWD"; exec "$0" -m serct.cli study'
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    found = subprocess.run(
        ["/bin/sh", "-c", command, sys.executable],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert found.returncode == 1
    assert found.stderr.startswith("error: the current folder was removed")
