"""Commands that check and measure this machine."""

from pathlib import Path
from typing import Annotated

import typer

from serct.cli.shared import Workspace, app, print_table, workspace_root


@app.command()
def doctor(workspace: Workspace = None) -> None:
    """Check what this machine lacks, and print what to do about it."""
    from serct.experiments.doctor import examine

    findings = examine(workspace_root(workspace))
    rows = [
        {"check": f.check, "verdict": "ok" if f.is_good else "PROBLEM", "found": f.found}
        for f in findings
    ]
    print_table("Doctor", rows)
    if not all(f.is_good for f in findings):
        raise typer.Exit(1)


@app.command()
def bench(
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not measure how time and memory grow with size.")
    ] = False,
    as_json: Annotated[Path | None, typer.Option("--json", help="File for all figures.")] = None,
    model: Annotated[str, typer.Option(help="An entry of architecture serct.")] = "serct",
    params: Annotated[
        Path | None, typer.Option(help="A params.yaml; if left out, the one of the checkout.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    repeats: Annotated[int, typer.Option(min=1, help="Rounds of each measurement.")] = 3,
) -> None:
    """Measure the model's speed beside its direct formulation.

    The exit code is 1 if their results are not equal.
    """
    from serct.config.reader import read_params
    from serct.experiments.bench.suite import Suite, as_text
    from serct.experiments.workspace import project_root
    from serct.runtime.atomic import write_json
    from serct.runtime.devices import pick_device

    suite = Suite(
        read_params(params or project_root() / "params.yaml"),
        model,
        pick_device(device),
        repeats,
        on_progress=lambda task: typer.echo(f"... {task}", err=True),
    )
    benchmark = suite.run(quick)
    if as_json:
        write_json(as_json, benchmark.as_json())
    typer.echo(as_text(benchmark))
    if not benchmark.is_equal:
        raise typer.Exit(1)
