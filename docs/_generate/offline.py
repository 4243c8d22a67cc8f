"""The check that a built site loads no script, style, font or picture from the network."""

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

_LOADED_BY_PAGE = re.compile(
    r"""<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=["']?(?:https?:)?//[^"'>\s]+"""
    r"""|<link\b[^>]*\brel=["']?(?:stylesheet|preload|preconnect|icon)[^>]*href=["']?(?:https?:)?//"""
)
_LOADED_BY_STYLE = re.compile(r"""(?:url\(|@import)\s*["']?(?:https?:)?//[^"')\s]+""")


def check(app: Sphinx, error: Exception | None) -> None:
    """Check each page and each style sheet of a finished build.

    Raises:
        ExtensionError: Naming every file that loads something from the network.
    """
    if error is not None or app.builder.format != "html":
        return
    found = [
        f"{path.relative_to(app.outdir)}: {match[0]}"
        for suffix, pattern in (("html", _LOADED_BY_PAGE), ("css", _LOADED_BY_STYLE))
        for path in sorted(Path(app.outdir).rglob(f"*.{suffix}"))
        for match in pattern.finditer(path.read_text(encoding="utf-8"))
    ]
    if found:
        raise ExtensionError("pages load from the network:\n" + "\n".join(found))
