"""Mends a dvc.lock that a full disk or a crash left empty or cut off."""

import subprocess
import time
from pathlib import Path

import yaml

from serct.config.reader import parse_yaml
from serct.runtime import atomic
from serct.runtime.log import logger

_NAME = "dvc.lock"
# DVC empties the file before it writes it, so what another process writes looks broken for a while.
_WAIT_S = 0.5


def mend_lock(workspace: Path) -> None:
    """Move a broken dvc.lock aside, since DVC refuses every command because of it.

    The committed one takes its place, if there is one. Without a lock DVC takes what it built
    before from its cache. One with conflict markers is left to its owner.
    """
    path = workspace / _NAME
    before = _problem(path)
    if before is None:
        return
    time.sleep(_WAIT_S)
    problem = _problem(path)
    if problem is None:
        return
    aside = next(
        each
        for number in range(1, 1000)
        if not (
            each := path.with_name(f"{_NAME}.broken" + (f"-{number}" if number > 1 else ""))
        ).exists()
    )
    path.rename(aside)
    committed = _committed(workspace)
    if committed is not None:
        atomic.write_text(path, committed)
    instead = "the committed one is used" if committed else "DVC's cache holds what was built"
    logger.warning("%s: %s, as after a full disk; moved to %s: %s", path, problem, aside, instead)


def _problem(path: Path) -> str | None:
    """Return what is wrong with a lock file, None if it can be used or there is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        return "not text"
    return None if "<<<<<<< " in text else _content_problem(text)


def _content_problem(text: str) -> str | None:
    if not text.strip("\0 \n"):
        return "empty"
    try:
        content = parse_yaml(text)
    except yaml.YAMLError:
        return "cut off or damaged, not valid YAML"
    # DVC takes a second to import, and the pipeline needs it anyway.
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(content)
    except Invalid as error:
        return f"cut off or damaged ({error})"
    return None


def _committed(workspace: Path) -> str | None:
    """Return the dvc.lock of the last commit, None if there is none that can be used."""
    command = ["git", "show", f"HEAD:./{_NAME}"]
    try:
        found = subprocess.run(command, cwd=workspace, capture_output=True, check=True)
        text = found.stdout.decode()
    except (OSError, subprocess.CalledProcessError, UnicodeDecodeError):
        return None
    return text if _content_problem(text) is None else None
