"""Corpora that are published file by file: thousands of small downloads that go on after a cut."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from serct.data.corpora.sources import Context, Names
from serct.data.corpora.tree import place_file
from serct.data.corpora.verification import Original
from serct.data.download import Remote, download
from serct.errors import DownloadError, list_problems

# Politeness: each file is a request of its own.
_NUM_CONNECTIONS = 4
_ENOUGH_FAILURES = 10


def obtain_files(
    files: Mapping[str, Original],
    context: Context,
    names: Names,
    homepage: str,
    list_remotes: Callable[[Path, requests.Session], Mapping[str, Remote]],
    destination: Path,
    cache_name: str,
) -> str:
    """Download what the cache lacks, and place all files in the folders of their authors.

    Args:
        files: All that make the corpus, by stem.
        context: Where to keep them.
        names: How else the corpus may be called, for the message.
        homepage: Where people can get it.
        list_remotes: Gives the server's files by stem, from the cache folder and a session.
        destination: An empty folder.
        cache_name: The folder in the cache.

    Returns:
        Where the files came from.

    Raises:
        DownloadError: Listing the files that are not on the server or could not be had; after
            ten failures no more are tried. Files already here are kept for the next time.
    """
    cache = context.sources.cache / cache_name
    with context.download_lock():
        missing = {stem: file for stem, file in files.items() if not _is_cached(cache, file)}
        if missing:
            context.require_network(
                names, homepage, f"{len(missing)} of {len(files)} files not found"
            )
            _download_files(missing, cache, context, homepage, list_remotes)
        for file in files.values():
            place_file(cache / file.path.name, destination / file.path)
    return f"{homepage} by way of {cache}"


def _is_cached(cache: Path, file: Original) -> bool:
    path = cache / file.path.name
    return path.exists() and path.stat().st_size == file.num_bytes


def _download_files(
    missing: Mapping[str, Original],
    cache: Path,
    context: Context,
    homepage: str,
    list_remotes: Callable[[Path, requests.Session], Mapping[str, Remote]],
) -> None:
    failed: list[str] = []
    with requests.Session() as session:
        remotes = list_remotes(cache, session)
        unlisted = [f"{stem}: not listed at {homepage}" for stem in missing.keys() - remotes.keys()]

        def bring(stem: str) -> None:
            # A line that is down would otherwise be tried for every file that is left.
            if len(failed) >= _ENOUGH_FAILURES:
                return
            try:
                download(remotes[stem], cache / missing[stem].path.name, session=session)
            except DownloadError as error:
                failed.append(str(error))

        wanted = sorted(missing.keys() & remotes.keys())
        with (
            context.progress(len(wanted), f"downloading {context.name}", "files") as advance,
            ThreadPoolExecutor(_NUM_CONNECTIONS) as pool,
        ):
            for _ in pool.map(bring, wanted):
                advance(1)
    if unlisted or failed:
        num_left = sum(not (cache / file.path.name).exists() for file in missing.values())
        raise DownloadError(
            f"{context.name}: {num_left} files are still missing, the others are kept, run again "
            f"to go on:\n{list_problems(sorted(unlisted) + sorted(failed))}"
        )
