"""The readers of single corpora, by name."""

from pathlib import Path
from typing import Any, Protocol

from serct.data.corpora import (
    crema_d,
    demo,
    emodb,
    emovo,
    esd,
    folder,
    iemocap,
    ravdess,
    savee,
    tess,
)
from serct.data.corpora.sources import Context
from serct.data.corpora.verification import Original
from serct.data.manifest import Scan


class Reader(Protocol):
    """What a module must offer to be a reader; its params are those of its own section."""

    TITLE: str
    LICENCE: str
    CITATION: str
    HOMEPAGE: str

    def language(self, params: Any) -> str:
        """Language code, as in params.yaml."""

    def expected_count(self, params: Any) -> int | None:
        """Number of clips, None if any number above 0 will do."""

    def originals(self, params: Any) -> dict[str, Original]:
        """What is known of the files as published, by stem."""

    def obtain(self, destination: Path, params: Any, context: Context) -> str:
        """Fill an empty folder; say where the files came from."""

    def scan(self, root: Path, params: Any) -> Scan:
        """List the clips of a folder with their labels, in an order that depends on names alone."""


SINGLE_READERS: dict[str, Reader] = {
    "tess": tess,
    "emodb": emodb,
    "esd": esd,
    "ravdess": ravdess,
    "crema_d": crema_d,
    "savee": savee,
    "emovo": emovo,
    "iemocap": iemocap,
    "demo": demo,
    "folder": folder,
}
