"""The command line itself; its commands join it where they are defined."""

from typing import Annotated

import typer

from serct import __version__

app = typer.Typer(
    name="serct",
    help="Speech emotion recognition: a reproducible pipeline, from recordings to a registry.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    pass
