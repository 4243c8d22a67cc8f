"""The command line: `serct --help`.

Imports stand inside the commands, so that help and errors come at once.
"""

import sys

from serct.cli import corpora, inference, machine, pipeline, registry, serving
from serct.cli.app import app
from serct.errors import SerctError

# Their import adds the commands.
COMMANDS = (pipeline, inference, registry, serving, corpora, machine)


def main() -> None:
    """Run the command line; a problem the user can mend is one line, not a traceback."""
    try:
        app()
    except SerctError as error:
        sys.exit(f"error: {error}")
