"""Where a corpus comes from: the user's mirror, then the cache folder, then the network."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import platformdirs
from filelock import FileLock

from serct.data.archives import SUFFIXES, extract
from serct.data.corpora.tree import is_audio, list_files, place
from serct.data.download import Progress
from serct.errors import DownloadError

_FALSE = ("", "0", "false", "no", "off")


@dataclass(frozen=True)
class Sources:
    """The places to look in, and whether the network may be used.

    Attributes:
        mirror: A folder of corpora, as folders or archives; read before anything else, never
            written to. None if there is none.
        cache: Where downloads are kept and go on after a cut; a corpus put there by hand is found
            as in the mirror.
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
        cache = environment.get("SERCT_CACHE", "") or platformdirs.user_cache_dir("serct")
        return cls(
            mirror=Path(mirror).expanduser() if mirror else None,
            cache=Path(cache).expanduser(),
            offline=environment.get("SERCT_OFFLINE", "").strip().lower() not in _FALSE,
        )


@dataclass(frozen=True)
class Names:
    """How a corpus may be called in the mirror or the cache.

    Attributes:
        folders: Names of a folder; with a suffix, also of an archive.
        max_bytes: More than the corpus can be, unpacked.
        archives: Further names of an archive, without its suffix.
    """

    folders: tuple[str, ...]
    max_bytes: int
    archives: tuple[str, ...] = ()


@dataclass(frozen=True)
class Context:
    """What a reader needs to obtain a corpus.

    Attributes:
        name: The corpus' name in params.yaml.
        sources: Where to look.
        progress: Opens a progress bar.
    """

    name: str
    sources: Sources
    progress: Progress

    def take_local(
        self,
        names: Names,
        destination: Path,
        wanted: Callable[[PurePosixPath], bool] = is_audio,
    ) -> Path | None:
        """Fill ``destination`` from the mirror or the cache.

        Returns:
            The folder or archive found, None if there is none.

        Raises:
            DownloadError: If an archive cannot be unpacked.
        """
        for candidate in self.candidates(names):
            if candidate.is_dir():
                paths = list_files(candidate, wanted)
                if paths:
                    with self.progress(len(paths), f"placing {self.name}", "files") as advance:
                        place(candidate, destination, paths, advance)
                    return candidate
            elif candidate.is_file():
                extract(candidate, destination, names.max_bytes, wanted)
                return candidate
        return None

    def candidates(self, names: Names) -> list[Path]:
        """Every folder and archive that is looked for, in this order."""
        folders = list(dict.fromkeys((self.name, *names.folders)))
        file_names = [
            *folders,
            *(stem + suffix for stem in (*folders, *names.archives) for suffix in SUFFIXES),
        ]
        places = [place for place in (self.sources.mirror, self.sources.cache) if place]
        return [place / name for place in places for name in file_names]

    def unpack_download(
        self,
        archive: Path,
        destination: Path,
        names: Names,
        wanted: Callable[[PurePosixPath], bool] = is_audio,
    ) -> None:
        """Unpack what was just downloaded; what cannot be unpacked is not kept for the next try.

        Raises:
            DownloadError: If it is no archive, or a damaged one.
        """
        try:
            extract(archive, destination, names.max_bytes, wanted)
        except DownloadError:
            archive.unlink(missing_ok=True)
            raise

    def require_network(self, names: Names, homepage: str, missing: str = "") -> None:
        """Make sure that the network may be used.

        Raises:
            DownloadError: If it may not, saying what is missing, where it was looked for, and how
                to get it.
        """
        if self.sources.offline:
            raise DownloadError(
                f"{self.name}: {missing or 'not found'}, and SERCT_OFFLINE forbids the network.\n"
                f"{self.where_to_put(names)}\nGet it from {homepage}, or unset SERCT_OFFLINE"
            )

    def by_hand(self, names: Names, how: str) -> DownloadError:
        """The error for a corpus that only a person can get, saying how and where to put it."""
        return DownloadError(f"{self.name}: {how}\n{self.where_to_put(names)}")

    def where_to_put(self, names: Names) -> str:
        """Say which folders and archives are looked for."""
        folders = list(dict.fromkeys((self.name, *names.folders)))
        mirror = self.sources.mirror or "(SERCT_MIRROR is not set)"
        return (
            f"Looked for a folder {' or '.join(folders)}, or an archive "
            f"{' or '.join((*folders, *names.archives))} ending in {', '.join(SUFFIXES)}, in\n"
            f"  the mirror {mirror}\n  the cache {self.sources.cache}"
        )

    def download_lock(self) -> FileLock:
        """Keep two processes from downloading the same corpus into one cache."""
        self.sources.cache.mkdir(parents=True, exist_ok=True)
        return FileLock(self.sources.cache / f".{self.name}.lock")
