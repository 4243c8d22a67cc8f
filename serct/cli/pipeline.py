"""Commands that run the pipeline and show what it made."""

from pathlib import Path
from typing import Annotated

import typer

from serct.cli.app import app
from serct.cli.shared import Profile, Settings, Workspace, print_results, workspace_root

Jobs = Annotated[int, typer.Option(min=1, help="Stages that may run at the same time.")]


@app.command()
def repro(
    profile: Profile = None,
    workspace: Workspace = None,
    settings: Settings = None,
    target: Annotated[
        list[str] | None, typer.Option(help="Only up to this stage, e.g. train@serct-tess.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Run stages even if nothing changed.")] = False,
    jobs: Jobs = 1,
) -> None:
    """Rebuild whatever changed, then show the results."""
    from serct.experiments.parallel import rebuild
    from serct.experiments.workspace import prepare_workspace

    folder, _ = prepare_workspace(workspace, profile, settings or [])
    flags = ["--force"] if force else []
    code = rebuild(folder, jobs, target or [], flags, typer.echo)
    if code:
        raise typer.Exit(code)
    if not target:
        print_results(folder)


@app.command()
def demo(workspace: Workspace = None) -> None:
    """Run the whole pipeline on synthetic speech, in minutes."""
    repro(profile="demo", workspace=workspace, settings=None, target=None, force=False, jobs=1)
    folder = workspace or Path("build/demo")
    typer.echo(
        f"""
Next:
  open {folder}/data/reports/index.html             the report
  serct ui --workspace {folder}                     compare the runs in MLflow
  serct predict --model {folder}/data/models/demo_en-serct FILE...
  serct promote 1 --workspace {folder}            make it the champion, if its gates let it pass
  serct app --workspace {folder}                  hear it answer, on a page
  SERCT_MIRROR=DIR serct repro --profile cpu           the same on real recordings
"""
    )


@app.command()
def study(
    name: Annotated[
        str | None, typer.Argument(help="One of studies/; left out: list them.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where its workspaces lie; build/studies/NAME if left out.")
    ] = None,
    jobs: Jobs = 1,
) -> None:
    """Run a study: folds, seeds or variants, pooled into one table."""
    from serct.cli.shared import print_table
    from serct.experiments.studies.page import scores_table
    from serct.experiments.studies.run import list_studies, run_study

    if name is None:
        rows = [{"study": each, "asks": text} for each, text in list_studies().items()]
        print_table("Studies", rows)
        return
    found, result = run_study(name, folder, jobs, lambda cell: typer.echo(f"--- {cell}", err=True))
    for test in result.tests:
        table = scores_table(result, test)
        rows = [
            {name: cell.text for name, cell in zip(table.header, row, strict=True)}
            for row in table.rows
        ]
        print_table(table.caption, rows)
    typer.echo(f"\nAll numbers, with runs and digests: {found / 'study.json'}")
    typer.echo(f"Tables, figures and all studies beside it: {found.parent / 'index.html'}")


@app.command()
def search(
    trials: Annotated[int, typer.Option(min=1, help="Ended trials, all processes together.")],
    profile: Profile = None,
    workspace: Workspace = None,
    settings: Settings = None,
    storage: Annotated[
        str | None,
        typer.Option(
            envvar="SERCT_SEARCH_STORAGE",
            help="Database for many machines, e.g. postgresql://...; else a journal.",
        ),
    ] = None,
) -> None:
    """Search hyperparameters on the validation part; goes on where an earlier one stopped."""
    from serct.cli.shared import print_table
    from serct.experiments.search.run import run_search
    from serct.experiments.workspace import prepare_workspace, run_dvc
    from serct.runtime.log import setup_logging

    folder, params = prepare_workspace(workspace, profile, settings or [])
    code = run_dvc(folder, ["repro", f"preprocess@{params.search.corpus}"])
    if code:
        raise typer.Exit(code)

    setup_logging()
    found = run_search(folder, params, trials, storage)
    ranked = sorted(found.trials, key=lambda row: -(row["validation_ua"] or 0))
    shown = [
        {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in row.items()}
        for row in ranked[:10]
    ]
    print_table("The best trials", shown)
    for key, share in found.importance.items():
        typer.echo(f"{key} explains {share:.0%} of how validation UA varies")
    best = found.folder / "best.yaml"
    typer.echo(f"\nHow it went: {found.folder / 'index.html'}")
    typer.echo(f"Train and test the best: serct repro --profile {best} --workspace DIR")


@app.command()
def report(workspace: Workspace = None) -> None:
    """Show the results of a workspace."""
    print_results(workspace_root(workspace))
