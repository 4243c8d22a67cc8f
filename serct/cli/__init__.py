"""The command line: `serct --help`.

Each command imports what it needs itself, so that help and errors appear at once.
"""

from serct.cli import evaluation, machine, monitoring, pipeline, prediction, registry, serving
from serct.cli.shared import app
from serct.runtime.disk import one_line_errors
from serct.runtime.log import accept_every_name
from serct.runtime.loopback import avoid_proxies

# Importing a module adds its commands.
COMMANDS = (pipeline, prediction, evaluation, registry, serving, monitoring, machine)


def main() -> None:
    """Run the command line; an error that the user can correct is one line, not a traceback."""
    accept_every_name()
    avoid_proxies()
    with one_line_errors():
        app()
