"""The command line: `serct --help`.

Each command imports what it needs itself, so that help and errors appear at once.
"""

import sys

from serct.cli import inference, machine, pipeline, registry, serving
from serct.cli.shared import app
from serct.errors import SerctError

# Importing a module adds its commands.
COMMANDS = (pipeline, inference, registry, serving, machine)


def main() -> None:
    """Run the command line; an error that the user can correct is one line, not a traceback."""
    try:
        app()
    except SerctError as error:
        sys.exit(f"error: {error}")
