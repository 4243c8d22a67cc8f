"""Where a corpus comes from: first the user's mirror, then the cache folder, then the network."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from filelock import FileLock

from serct.data.archives import SUFFIXES, extract
from serct.data.download import Progress
from serct.data.reading.tree import is_audio, list_files, place
from serct.errors import CorpusError, DownloadError
from serct.runtime.cache import cache_folder

_FALSE = ("", "0", "false", "no", "off")


@dataclass(frozen=True)
class Sources:
    """The places to look in, and whether the network may be used.

    Attributes:
        mirror: A folder of corpora, as folders or archives; the first place to look, read only.
            None if there is none.
        cache: Keeps downloads, also unfinished ones; a copy put there by hand is used like one
            in the mirror.
        offline: Forbids the network.
    """

    mirror: Path | None
    cache: Path
    offline: bool

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Sources":
        """Read SERCT_MIRROR, SERCT_CACHE and SERCT_OFFLINE.

        Raises:
            DownloadError: If SERCT_MIRROR is not a folder.
        """
        mirror = environment.get("SERCT_MIRROR", "")
        if mirror and not Path(mirror).expanduser().is_dir():
            raise DownloadError(f"SERCT_MIRROR is {mirror!r}, expected an existing folder")
        return cls(
            mirror=Path(mirror).expanduser() if mirror else None,
            cache=cache_folder(environment),
            offline=environment.get("SERCT_OFFLINE", "").strip().lower() not in _FALSE,
        )


def own_folder(corpus: str, path: str) -> Path:
    """Return the folder of a user's own that a corpus' entry names.

    Raises:
        CorpusError: If there is no such folder.
    """
    source = Path(path).expanduser()
    if not source.is_dir():
        where = "" if source.is_absolute() else f", relative to {Path.cwd()}"
        raise CorpusError(f"corpora.{corpus}.path is {path!r}{where}: no such folder")
    return source


@dataclass(frozen=True)
class Copies:
    """How a copy of a corpus may be named in the mirror or the cache.

    Attributes:
        folders: Names of a folder; with a suffix, also of an archive.
        max_bytes: More than the unpacked corpus can have.
        archives: Further names of an archive, without its suffix.
    """

    folders: tuple[str, ...]
    max_bytes: int
    archives: tuple[str, ...] = ()


@dataclass(frozen=True)
class Search:
    """The search for one corpus, in the mirror, the cache and the network.

    Attributes:
        name: The corpus' name in params.yaml, which is also a name of its folder.
        copies: What a copy may be named.
        sources: Where to look.
        progress: Opens a progress bar.
    """

    name: str
    copies: Copies
    sources: Sources
    progress: Progress

    def take_copy(
        self, destination: Path, wanted: Callable[[PurePosixPath], bool] = is_audio
    ) -> Path | None:
        """Fill ``destination`` from the mirror or the cache.

        Returns:
            The folder or archive that was used, None if there is none.

        Raises:
            DownloadError: If an archive cannot be unpacked.
        """
        for candidate in self.candidates():
            if candidate.is_dir():
                paths = list_files(candidate, wanted)
                if paths:
                    with self.progress(len(paths), f"placing {self.name}", "files") as advance:
                        place(candidate, destination, paths, advance)
                    return candidate
            elif candidate.is_file():
                try:
                    extract(candidate, destination, self.copies.max_bytes, wanted)
                except DownloadError as error:
                    raise DownloadError(
                        f"{error}\nPut a whole copy in its place, or remove it, so that the next "
                        "place is tried"
                    ) from error
                return candidate
        return None

    @property
    def _folders(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.name, *self.copies.folders)))

    @property
    def _archives(self) -> tuple[str, ...]:
        return (*self._folders, *self.copies.archives)

    def candidates(self) -> list[Path]:
        """List every folder and archive to look for, the first choice first."""
        names = [*self._folders, *(stem + end for stem in self._archives for end in SUFFIXES)]
        places = [place for place in (self.sources.mirror, self.sources.cache) if place]
        return [place / name for place in places for name in names]

    def unpack(
        self, archive: Path, destination: Path, wanted: Callable[[PurePosixPath], bool] = is_audio
    ) -> None:
        """Unpack a fresh download; remove it if that fails, so that the next try downloads again.

        Raises:
            DownloadError: If it is no archive, or a damaged one.
        """
        try:
            extract(archive, destination, self.copies.max_bytes, wanted)
        except DownloadError:
            archive.unlink(missing_ok=True)
            raise

    def require_network(self, address: str, missing: str = "") -> None:
        """Check that the network may be used.

        Raises:
            DownloadError: If it may not, saying what is missing, where this looked for it, and
                how to get it.
        """
        if self.sources.offline:
            raise DownloadError(
                f"{self.name}: {missing or 'not found'}, and SERCT_OFFLINE forbids the network.\n"
                f"{self._where_to_put()}\nGet it from {address}, or unset SERCT_OFFLINE"
            )

    def by_hand(self, how: str) -> DownloadError:
        """Return the error for a corpus that only a person can get: how, and where to put it."""
        return DownloadError(f"{self.name}: {how}\n{self._where_to_put()}")

    def _where_to_put(self) -> str:
        mirror = self.sources.mirror or "(SERCT_MIRROR is not set)"
        return (
            f"Looked for a folder {' or '.join(self._folders)}, or an archive "
            f"{' or '.join(self._archives)} ending in {', '.join(SUFFIXES)}, in\n"
            f"  the mirror {mirror}\n  the cache {self.sources.cache}"
        )

    def lock_downloads(self) -> FileLock:
        """Return a lock that keeps two processes from downloading one corpus into one cache."""
        self.sources.cache.mkdir(parents=True, exist_ok=True)
        return FileLock(self.sources.cache / f".{self.name}.lock")
