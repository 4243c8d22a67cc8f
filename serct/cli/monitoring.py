"""The command that watches a running service."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from serct.cli.output import AsJson, print_json, print_table
from serct.cli.shared import app


@app.command()
def monitor(
    service: Annotated[
        str, typer.Option(help="Address of a running service.")
    ] = "http://127.0.0.1:8000",
    api_key: Annotated[
        str | None, typer.Option(envvar="SERCT_API_KEY", help="Key of the service, if it has one.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="File for a page with all bins.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare what a service meets and predicts with the validation part of its models.

    The exit code is 1 if something drifts.
    """
    from serct.app.client import Client
    from serct.reports.drift import drift_page, drift_rows

    found = Client(service, api_key).drift()
    if page is not None:
        from serct.runtime.atomic import write_text

        at = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
        write_text(page, drift_page(found, service, at))
    if as_json:
        print_json(found)
    else:
        print_table("Drift", drift_rows(found), ("reference", "predictions", "model", "threshold"))
        for version in found:
            if version["problem"]:
                typer.echo(f"version {version['version'] or 'of a folder'}: {version['problem']}")
    if any(each["is_drifting"] for version in found for each in version["quantities"]):
        raise typer.Exit(1)
