"""Commands that check this machine, its speed and its corpora, and export corpora."""

from pathlib import Path
from typing import Annotated

import typer

from serct.cli.output import AsJson, print_json, print_rows
from serct.cli.shared import Workspace, app, workspace_root


@app.command()
def doctor(
    as_json: AsJson = False,
    workspace: Workspace = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every file that has a digest, and compare.")
    ] = False,
) -> None:
    """Check what this machine lacks, and print what to do about it."""
    from serct.experiments.doctor import examine

    findings = examine(workspace_root(workspace), deep)
    rows = [
        {"check": f.check, "verdict": "ok" if f.is_good else "PROBLEM", "found": f.found}
        for f in findings
    ]
    print_rows("Doctor", rows, as_json=as_json)
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
    from serct.experiments.bench.suite import Suite
    from serct.experiments.bench.tables import as_text
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


corpora_app = typer.Typer(help="List, verify and export corpora.", no_args_is_help=True)
app.add_typer(corpora_app, name="corpora")


@corpora_app.command("list")
def corpora_list(as_json: AsJson = False, workspace: Workspace = None) -> None:
    """List the corpora in params.yaml, their languages and licences."""
    from serct.config.reader import read_params
    from serct.data.corpora import build_corpus, read_corpus_params

    params = read_params(workspace_root(workspace) / "params.yaml")
    rows = []
    for name in params.corpora:
        corpus = build_corpus(name, read_corpus_params(params, name))
        rows.append(
            {
                "name": name,
                "corpus": corpus.title,
                "language": corpus.language,
                "synthetic": "yes" if corpus.is_synthetic else "no",
                "licence": corpus.licence,
            }
        )
    expendable = ("licence", "synthetic", "corpus")
    print_rows("Corpora", rows, as_json=as_json, expendable=expendable)


@corpora_app.command("verify")
def corpora_verify(name: str, as_json: AsJson = False, workspace: Workspace = None) -> None:
    """Check the files of a downloaded corpus against counts and known digests."""
    from serct.config.reader import read_params
    from serct.data.corpora import read_corpus_params, verify_corpus

    root = workspace_root(workspace)
    params = read_params(root / "params.yaml")
    corpus = read_corpus_params(params, name)
    found = verify_corpus(name, corpus, root / "data" / "raw" / name)
    if as_json:
        print_json({"corpus": name, "found": found})
    else:
        typer.echo(found)


@corpora_app.command("export")
def corpora_export(
    name: str,
    kind: Annotated[
        str,
        typer.Option(
            "--format",
            help="Such as audformat, or audiofolder for datasets; an unknown name lists all.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    as_json: AsJson = False,
    workspace: Workspace = None,
) -> None:
    """Write a prepared corpus in another format, with recordings, labels and splits."""
    from serct.config.reader import read_params
    from serct.data.corpora import build_corpus, read_corpus_params
    from serct.data.exporting import export_corpus

    root = workspace_root(workspace)
    params = read_params(root / "params.yaml")
    corpus = build_corpus(name, read_corpus_params(params, name))
    export = export_corpus(corpus, root / "data", kind, out)
    if as_json:
        found = {"corpus": name, "format": kind, "folder": out, "licence": export.licence}
        print_json(found | {"utterances": len(export.utterances)})
        return
    typer.echo(f"{out}: {len(export.utterances)} utterances of {name}")
    typer.echo(f"The licence binds copies as well: {export.licence}")
