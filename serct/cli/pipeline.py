"""Commands that run the pipeline and print its results."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serct.cli.output import AsJson, json_alone, print_json, print_rows, print_table
from serct.cli.shared import Workspace, app, print_results, workspace_root

if TYPE_CHECKING:
    from serct.config.params import Params

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One value of params.yaml; repeatable."),
]
Profile = Annotated[str | None, typer.Option(help="Overlay on params.yaml, e.g. demo or cpu.")]
Jobs = Annotated[int, typer.Option(min=1, help="Stages that run at the same time.")]

# Columns that a narrow terminal does without, the first one first.
EXPENDABLE_OF_STUDIES = (
    "UA of each fold (first seed)", "parameters", "training time of one cell", "validation UA",
    "gain over the first model, 95 %", "95 % (first seed)",
)  # fmt: skip
# Where docs/start/thesis.md has the measurement; `serct.training.estimate` measures this machine.
_FULL_SIZE = """\
No GPU found. The full-size SERCT of params.yaml took about 10 hours to train on two CPU cores
(AMD EPYC, Zen 4), 6 in bfloat16; each training says after its first steps what it takes here. In
under 40 minutes two cores train a smaller one: `serct repro --profile cpu`."""


def _prepare(
    workspace: Path | None, profile: str | None, settings: list[str] | None
) -> tuple[Path, "Params"]:
    """Make a workspace ready to run in and return its params; messages appear on stderr."""
    from serct.experiments.workspace import find_workspace, prepare_workspace, project_root
    from serct.runtime.log import setup_logging

    setup_logging()
    if not (workspace or profile or settings):
        found = find_workspace(Path.cwd())
        workspace = None if found == project_root() else found
    folder, params = prepare_workspace(workspace, profile, settings or [])
    typer.echo(f"workspace: {folder}", err=True)
    return folder, params


def _announce_full_size(folder: Path, params: "Params") -> None:
    """Say before hours are spent what the networks of the checkout's params take without a GPU."""
    from serct.experiments.workspace import project_root
    from serct.runtime.devices import may_have_gpu

    if folder != project_root() or may_have_gpu():
        return
    cards = (
        folder / "data/models" / f"{corpus}-{model}" / "card.json"
        for corpus in params.pipeline.train_corpora
        for model in params.pipeline.models
    )
    if not all(card.exists() for card in cards):
        typer.echo(_FULL_SIZE, err=True)


@app.command()
def repro(
    profile: Profile = None,
    workspace: Workspace = None,
    settings: Settings = None,
    target: Annotated[
        list[str] | None, typer.Option(help="Only this stage and what it needs, e.g. train@serct.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Run stages even if nothing changed.")] = False,
    jobs: Jobs = 1,
) -> Path:
    """Rebuild whatever changed, then print the results."""
    from serct.experiments.parallel import rebuild
    from serct.experiments.plot_page import write_plot_page

    folder, params = _prepare(workspace, profile, settings)
    write_plot_page(folder)
    if not target:
        _announce_full_size(folder, params)
    if code := rebuild(folder, jobs, target or [], ["--force"] if force else [], typer.echo):
        raise typer.Exit(code)
    if not target:
        print_results(folder)
    return folder


@app.command()
def demo(workspace: Workspace = None) -> None:
    """Run the whole pipeline on synthetic speech, in minutes."""
    made = repro(profile="demo", workspace=workspace, settings=None, target=None, jobs=1)
    folder = workspace or Path(os.path.relpath(made))
    steps = {
        f"open {folder}/data/reports/index.html": "read the report",
        f"serct ui --workspace {folder}": "compare the runs in MLflow",
        f"serct predict --model {folder}/data/models/demo_en-serct FILE...": "predict emotions",
        f"serct promote 1 --workspace {folder}": "make version 1 the champion, if gates allow it",
        f"serct app --workspace {folder}": "use the champion on a page",
        "SERCT_MIRROR=DIR serct repro --profile cpu": "run the same on real recordings",
    }
    width = max(map(len, steps))
    typer.echo("\nNext:")
    for command, purpose in steps.items():
        typer.echo(f"  {command:{width}}  {purpose}")


@app.command()
def study(
    name: Annotated[
        str | None, typer.Argument(help="A file in studies/; if left out, all are listed.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Folder of its workspaces; if left out, build/studies/NAME.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Replace a value of the study's file (leave_out.corpora=[tess, emodb]) or of "
            "params.yaml (train.epochs=2); may be repeated.",
        ),
    ] = None,
    jobs: Jobs = 1,
    as_json: AsJson = False,
) -> None:
    """Run a study: its folds, seeds and models, pooled into one table."""
    from serct.experiments.studies.page import corpora_tables, published_tables, scores_table
    from serct.experiments.studies.run import list_studies, run_study
    from serct.runtime.log import setup_logging

    if name is None:
        rows = [{"study": each, "question": text} for each, text in list_studies().items()]
        print_rows("Studies", rows, as_json=as_json)
        return
    setup_logging()
    with json_alone(as_json):
        found, result = run_study(
            name, folder, jobs, lambda cell: typer.echo(f"--- {cell}", err=True), changes or ()
        )
    if as_json:
        print_json({"folder": found, **result.as_json()})
        return
    tables = [scores_table(result, test) for test in result.tests]
    for table in [*tables, *published_tables(result), *corpora_tables(result)]:
        rows = [
            {name: cell.text for name, cell in zip(table.header, row, strict=True)}
            for row in table.rows
        ]
        print_table(table.caption, rows, EXPENDABLE_OF_STUDIES)
    typer.echo(f"\nAll numbers, with runs and digests: {found / 'study.json'}")
    typer.echo(f"Tables, figures and all studies beside it: {found.parent / 'index.html'}")


@app.command()
def search(
    trials: Annotated[int, typer.Option(min=1, help="Ended trials, of all processes together.")],
    profile: Profile = None,
    workspace: Workspace = None,
    settings: Settings = None,
    storage: Annotated[
        str | None,
        typer.Option(
            envvar="SERCT_SEARCH_STORAGE",
            help="Database that several machines share, e.g. postgresql://...; else a file.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Search hyperparameters on the validation split.

    A second call goes on where the first one stopped.
    """
    from dataclasses import asdict

    from serct.experiments.lock_file import mend_lock
    from serct.experiments.search.run import run_search
    from serct.experiments.workspace import run_dvc

    folder, params = _prepare(workspace, profile, settings)
    mend_lock(folder)
    with json_alone(as_json):
        # Another search may be preparing the same corpus.
        command = ["--wait-for-lock", "repro", f"preprocess@{params.search.corpus}"]
        if code := run_dvc(folder, command):
            raise typer.Exit(code)
        found = run_search(folder, params, trials, storage)
    if as_json:
        print_json(asdict(found))
        return
    ranked = sorted(found.trials, key=lambda row: -(row["validation_ua"] or 0))
    shown = [
        {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in row.items()}
        for row in ranked[:10]
    ]
    print_table("The best trials", shown)
    for key, share in found.importance.items():
        typer.echo(f"{key} explains {share:.0%} of how validation UA varies")
    best = found.folder / "best.yaml"
    typer.echo(f"\nAll trials: {found.folder / 'index.html'}")
    typer.echo(f"Train and test the best: serct repro --profile {best} --workspace DIR")


@app.command()
def report(as_json: AsJson = False, workspace: Workspace = None) -> None:
    """Print the results of a workspace."""
    print_results(workspace_root(workspace), as_json=as_json)
