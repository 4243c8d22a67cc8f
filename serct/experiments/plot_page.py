"""The page that `dvc plots` writes, without the network.

DVC's own page loads Vega, which draws the plots, from a server. DVC fills another page if its
option `plots.html_template` names one; this module writes one that holds Vega. It and the option
belong to one machine, in `.dvc/tmp` and `.dvc/config.local`: without the page, the option would be
an error.
`.dvc/plots` holds what the plots look like.
"""

import hashlib
import shutil
from importlib import metadata
from pathlib import Path

from serct.experiments.workspace import project_root
from serct.runtime import atomic
from serct.runtime.log import logger

# Below the workspace's `.dvc`; git ignores it there.
_PAGE = "tmp/plots.html"

# Written for this major version, as DVC's own templates are.
_VEGA_LITE = "5.20"

# DVC puts its plots in place of {plot_divs}. The policy makes a browser refuse whatever a plot asks
# from the network. Vega compiles its expressions, hence 'unsafe-eval'.
_TEXT = """<!DOCTYPE html>
<!-- {made_by} -->
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src file: data: blob:">
{refresh_tag}
<title>Plots</title>
<style>body { font-family: sans-serif } body > div { margin: 1em }</style>
<script>"use strict"; (() => {
{vega}
})();</script>
</head>
<body>
{plot_divs}
</body>
</html>
"""

# No button that sends a plot to Vega's editor on the web.
_SNIPPET = """
const actions = {export: true, source: true, compiled: true, editor: false};
window.vegaEmbed = (place, plot) => vegaEmbed(place, plot, {mode: "vega-lite", actions});
"""


def write_plot_page(workspace: Path) -> None:
    """Let `dvc plots` write a page in this workspace that loads nothing from the network.

    Does nothing if DVC's options name a page already. Takes seconds the first time in a checkout.
    """
    from dvc.config import Config

    folder = workspace / ".dvc"
    named = Config(str(folder)).get("plots", {}).get("html_template")
    if named not in (None, _PAGE):
        return
    try:
        version = metadata.version("vl-convert-python")
    except metadata.PackageNotFoundError:
        logger.info("`dvc plots` needs the network: vl-convert-python is not installed")
        return
    digest = hashlib.sha256(f"{_TEXT}{_SNIPPET}{_VEGA_LITE}".encode()).hexdigest()
    made_by = f"SERCT, vl-convert {version}, {digest[:8]}"
    if not _is_made_by(folder / _PAGE, made_by):
        _write(folder / _PAGE, made_by)
    _copy_templates(folder / "plots")
    if named is None:
        with Config(str(folder)).edit("local") as options:
            options.setdefault("plots", {})["html_template"] = _PAGE


def _is_made_by(page: Path, made_by: str) -> bool:
    if not page.is_file():
        return False
    with page.open(encoding="utf-8") as lines:
        return [next(lines, ""), next(lines, "")][1] == f"<!-- {made_by} -->\n"


def _write(page: Path, made_by: str) -> None:
    """Write the page, or copy that of the checkout."""
    made = project_root() / ".dvc" / _PAGE
    if _is_made_by(made, made_by):
        text = made.read_text(encoding="utf-8")
    else:
        from vl_convert import javascript_bundle

        vega = javascript_bundle(_SNIPPET, vl_version=_VEGA_LITE)
        text = _TEXT.replace("{made_by}", made_by).replace("{vega}", vega)
    atomic.write_text(page, text)


def _copy_templates(folder: Path) -> None:
    templates = project_root() / ".dvc" / "plots"
    if templates.is_dir() and templates != folder:
        shutil.copytree(templates, folder, dirs_exist_ok=True)


if __name__ == "__main__":
    write_plot_page(project_root())
