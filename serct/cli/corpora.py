"""Commands that list and verify corpora."""

import typer

from serct.cli.shared import Workspace, app, print_table, workspace_root

corpora_app = typer.Typer(help="List and verify corpora.", no_args_is_help=True)
app.add_typer(corpora_app, name="corpora")


@corpora_app.command("list")
def corpora_list(workspace: Workspace = None) -> None:
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
    print_table("Corpora", rows)


@corpora_app.command("verify")
def corpora_verify(name: str, workspace: Workspace = None) -> None:
    """Check the files of a downloaded corpus against counts and known digests."""
    from serct.config.reader import read_params
    from serct.data.corpora import read_corpus_params, verify_corpus

    root = workspace_root(workspace)
    params = read_params(root / "params.yaml")
    corpus = read_corpus_params(params, name)
    typer.echo(verify_corpus(name, corpus, root / "data" / "raw" / name))
