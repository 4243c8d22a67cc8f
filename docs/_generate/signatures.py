"""Shorter signatures in the Python reference."""

from typing import Any

import numpy.typing as npt
from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation

# numpy's union of everything that can become an array fills three lines and says less.
_ARRAY_LIKE = stringify_annotation(npt.ArrayLike, "smart")


def shorten(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, returns: str
) -> tuple[str, str] | None:
    """Return a signature with `ArrayLike` by its name, or None if there is nothing to change."""
    if not signature or _ARRAY_LIKE not in signature:
        return None
    return signature.replace(_ARRAY_LIKE, "ArrayLike"), returns
