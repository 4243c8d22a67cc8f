"""Sphinx extension: write the reference from the code while the site is built.

A page that holds the line ``<!-- generated: NAME -->`` gets what the generator of that name writes
in Markdown. Nothing of it is kept in the repository.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError

from _generate import command_line, http, offline, parameters, rooms, signatures, stream

GENERATORS: dict[str, Callable[[], str]] = {
    "command_line": command_line.markdown,
    "http": http.markdown,
    "parameters": parameters.markdown,
    "rooms": rooms.markdown,
    "stream": stream.markdown,
}
_MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the generators and the check that no page needs the network."""
    app.connect("source-read", _fill)
    app.connect("env-get-outdated", _generated_pages)
    app.connect("build-finished", offline.check)
    app.connect("build-finished", stream.write)
    app.connect("autodoc-process-signature", signatures.shorten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _fill(app: Sphinx, page: str, source: list[str]) -> None:
    def generated(mark: re.Match[str]) -> str:
        if mark[1] not in GENERATORS:
            raise ExtensionError(
                f"{page}: no generator {mark[1]!r}, expected one of {', '.join(GENERATORS)}"
            )
        return GENERATORS[mark[1]]()

    source[0] = _MARK.sub(generated, source[0])


def _generated_pages(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> Iterable[str]:
    """Return the pages to read again: what they are generated from may have changed."""
    return [
        page
        for page in env.found_docs
        if page not in removed and _MARK.search(env.doc2path(page).read_text(encoding="utf-8"))
    ]
