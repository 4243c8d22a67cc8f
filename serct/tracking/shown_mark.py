"""The mark beside MLflow's database that says which files it shows already."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from serct import __version__
from serct.config.params import TrackingParams
from serct.errors import DiskError
from serct.evaluation.records import METRICS_FILE
from serct.models.records import CARD, HISTORY, RUN
from serct.runtime import atomic
from serct.tracking.connection import Connection
from serct.tracking.promotions import FILE as PROMOTIONS
from serct.tracking.sync import card_file


@dataclass(frozen=True)
class ShownMark:
    """Whether a database shows a pipeline's models and results; unknown for any other store.

    A database that was deleted, replaced, cut off or moved has no mark. What people delete on
    MLflow's pages is not noticed: `serct sync` looks at everything.

    Attributes:
        data: The folder that holds ``models`` and ``reports``.
        names: Folders of models.
    """

    store: Connection
    tracking: TrackingParams
    data: Path
    names: Sequence[str]

    def is_set(self) -> bool:
        """Check whether these very files were shown in this very database."""
        if (path := self._path) is None:
            return False
        with suppress(OSError, ValueError):
            state, _, size = path.read_text(encoding="utf-8").rpartition(" ")
            return state == self._state() and self._database.stat().st_size >= int(size)
        return False

    def set(self) -> None:
        """Note that they are shown now; without the mark all is only looked at once more."""
        if (path := self._path) is not None:
            with suppress(OSError, DiskError):
                size = self._database.stat().st_size  # it never shrinks
                atomic.write_text(path, f"{self._state()} {size}")

    @property
    def _path(self) -> Path | None:
        has_file = self.store.database is not None
        return self._database.with_name(f"{self._database.name}.shown") if has_file else None

    @property
    def _database(self) -> Path:
        return self.store.database or Path()

    def _state(self) -> str:
        """Return a digest of the files, and which database it is.

        The files that are read hold the digests of all others, such as of the weights.

        Raises:
            OSError: If there is no database.
        """
        digest = hashlib.sha256()
        names = (self.tracking.experiment, self.tracking.registered_model)
        for text in (__version__, self.store.uri, *names):
            digest.update(f"{text}\n".encode(errors="surrogateescape"))
        for path in self._files():
            content = path.read_bytes() if path.is_file() else b""
            digest.update(f"{path.name} {len(content)}\n".encode(errors="surrogateescape"))
            digest.update(content)
        found = self._database.stat()
        return f"{digest.hexdigest()} {found.st_dev} {found.st_ino}"

    def _files(self) -> Iterator[Path]:
        for name in self.names:
            yield from (self.data / "models" / name / each for each in (CARD, RUN, HISTORY))
            for stage in ("evaluate", "zero_shot"):
                yield self.data / "reports" / stage / name / METRICS_FILE
            yield card_file(self.data, name)
        yield self.data / PROMOTIONS
