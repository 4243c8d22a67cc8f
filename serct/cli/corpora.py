"""Commands that look at corpora."""

import typer

from serct.cli.app import app
from serct.cli.shared import Workspace, print_table, workspace_root
from serct.errors import SerctError

corpora_app = typer.Typer(help="Look at and verify corpora.", no_args_is_help=True)
app.add_typer(corpora_app, name="corpora")


@corpora_app.command("list")
def corpora_list(workspace: Workspace = None) -> None:
    """List the known corpora, their languages and licences."""
    from serct.config.reader import read_params
    from serct.data.corpora import describe

    entries = read_params(workspace_root(workspace) / "params.yaml").corpora
    rows = []
    for name, entry in entries.items():
        about = describe(name, entry)
        rows.append(
            {
                "name": name,
                "corpus": about.title,
                "language": about.language,
                "synthetic": "yes" if about.synthetic else "no",
                "licence": about.licence,
            }
        )
    print_table("Corpora", rows)


@corpora_app.command("verify")
def corpora_verify(name: str, workspace: Workspace = None) -> None:
    """Check a downloaded corpus' files against counts and known digests."""
    from serct.config.reader import read_params
    from serct.data.corpora import verify_corpus

    root = workspace_root(workspace)
    params = read_params(root / "params.yaml")
    if name not in params.corpora:
        raise SerctError(f"no corpus {name!r}, expected one of: {', '.join(params.corpora)}")
    typer.echo(verify_corpus(name, params.corpora[name], root / "data" / "raw" / name))
