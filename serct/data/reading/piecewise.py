"""Download a corpus that is published file by file; a later run downloads only what is missing."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from serct.data.download import Remote, download
from serct.data.reading.sources import Search
from serct.data.reading.tree import place_file
from serct.data.reading.verification import Original
from serct.errors import DownloadError, list_problems
from serct.runtime.digests import file_digest

if TYPE_CHECKING:
    import requests

# Lists the server's files, by name without suffix, from the cache folder and a session.
ListRemotes = Callable[[Path, "requests.Session"], Mapping[str, Remote]]
# Few, to spare the server: each file is a request of its own.
_NUM_CONNECTIONS = 4
_ENOUGH_FAILURES = 10


def fetch_files(
    files: Mapping[str, Original],
    search: Search,
    homepage: str,
    list_remotes: ListRemotes,
    destination: Path,
    cache_name: str,
) -> str:
    """Download what the cache lacks, and place all files in the folders of their authors.

    Args:
        files: All files of the corpus, by name without folder and suffix.
        search: Where to keep them.
        homepage: Where people can get them.
        list_remotes: Lists the files of the server.
        destination: An empty folder.
        cache_name: The folder in the cache.

    Returns:
        Where the files came from.

    Raises:
        DownloadError: Listing the files that the server lacks or that failed; after ten failures
            no more are tried. The cache keeps what was downloaded.
    """
    cache = search.sources.cache / cache_name
    with search.lock_downloads():
        missing = {stem: file for stem, file in files.items() if not _is_cached(cache, file)}
        if missing:
            search.require_network(
                homepage, f"{len(missing)} of {len(files)} files not found or damaged"
            )
            _download_files(missing, cache, search, homepage, list_remotes)
        for file in files.values():
            place_file(cache / file.path.name, destination / file.path)
    return f"{homepage} by way of {cache}"


def _is_cached(cache: Path, file: Original) -> bool:
    path = cache / file.path.name
    has_its_size = path.exists() and path.stat().st_size == file.num_bytes
    return has_its_size and file_digest(path) == file.sha256


def _download_files(
    missing: Mapping[str, Original],
    cache: Path,
    search: Search,
    homepage: str,
    list_remotes: ListRemotes,
) -> None:
    import requests

    failed: list[str] = []
    with requests.Session() as session:
        remotes = list_remotes(cache, session)
        unlisted = [f"{stem}: not listed at {homepage}" for stem in missing.keys() - remotes.keys()]

        def fetch(stem: str) -> None:
            # Without a network every file that is left would fail as well.
            if len(failed) >= _ENOUGH_FAILURES:
                return
            try:
                download(remotes[stem], cache / missing[stem].path.name, session=session)
            except DownloadError as error:
                failed.append(str(error))

        wanted = sorted(missing.keys() & remotes.keys())
        with (
            search.progress(len(wanted), f"downloading {search.name}", "files") as advance,
            ThreadPoolExecutor(_NUM_CONNECTIONS) as pool,
        ):
            for _ in pool.map(fetch, wanted):
                advance(1)
    if unlisted or failed:
        num_left = sum(not (cache / file.path.name).exists() for file in missing.values())
        raise DownloadError(
            f"{search.name}: {num_left} files are still missing, the others are kept, run again "
            f"to go on:\n{list_problems(sorted(unlisted) + sorted(failed))}"
        )
