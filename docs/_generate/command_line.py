"""The page of the command line, by typer's own documentation command."""

import re
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


def markdown() -> str:
    """Return every command with its arguments and options, one section a command."""
    command = [sys.executable, "-m", "typer", "serct.cli", "utils", "docs", "--name", "serct"]
    text = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True).stdout
    # The page has a title of its own.
    text = text.partition("\n")[2]
    # typer cuts the texts of its list of commands: they stand whole in the sections below it.
    head, _, sections = text.partition("\n## ")
    head = head.partition("**Commands**:")[0]
    about = re.findall(r"^(?:## )?`(serct [\w-]+)`\n\n(.+)$", sections, re.MULTILINE)
    rows = "\n".join(
        f"| [`{name}`](#{name.replace(' ', '-')}) | {words} |" for name, words in about
    )
    return f"{head}\n| command | does |\n|---|---|\n{rows}\n\n## {sections}"
