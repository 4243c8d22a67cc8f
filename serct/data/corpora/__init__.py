"""The corpora: how each is obtained, verified and read. A reader is a module of this package."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import Field

from serct.config.corpora import CorpusParams
from serct.config.params import Params
from serct.config.section import validate
from serct.data.corpora import joint
from serct.data.corpora.readers import SINGLE_READERS, Reader
from serct.data.corpora.sources import Context, Sources
from serct.data.corpora.verification import verify
from serct.data.download import Progress
from serct.data.manifest import Scan
from serct.errors import CorpusError, DownloadError, ParamsError, list_problems
from serct.runtime import atomic, log

__all__ = [
    "READERS",
    "Description",
    "Sources",
    "describe",
    "obtain_corpus",
    "read_corpus_params",
    "scan_corpus",
    "verify_corpus",
]


# By the `reader` key of a corpus in params.yaml.
READERS: dict[str, Reader] = {**SINGLE_READERS, "joint": joint}


@dataclass(frozen=True)
class Description:
    """What people should know about a corpus.

    Attributes:
        name: Its name in params.yaml.
        title: Its full name.
        language: Language code.
        synthetic: Whether no person ever said it.
        licence: Terms of use.
        citation: What to cite, "" if nothing.
        homepage: Where it is published, "" if nowhere.
        num_clips: How many clips it has, None if that is not fixed.
    """

    name: str
    title: str
    language: str
    synthetic: bool
    licence: str
    citation: str
    homepage: str
    num_clips: int | None


def read_corpus_params(params: Params, name: str) -> CorpusParams:
    """Return an entry under ``corpora`` in params.yaml, checked.

    Raises:
        ParamsError: If there is none of this name, or naming the key that is wrong.
    """
    if name not in params.corpora:
        raise ParamsError(
            f"{params.where}: no corpus {name!r}, expected one of: {', '.join(params.corpora)}"
        )
    kind = Annotated[CorpusParams, Field(discriminator="reader")]
    found: CorpusParams = validate(kind, params.corpora[name], params.where, f"corpora.{name}")
    return found


def describe(name: str, params: CorpusParams) -> Description:
    """Say what a corpus is and how it is licensed."""
    reader = READERS[params.reader]
    return Description(
        name=name,
        title=reader.TITLE,
        language=reader.language(params),
        synthetic=params.is_synthetic,
        licence=reader.LICENCE,
        citation=reader.CITATION,
        homepage=reader.HOMEPAGE,
        num_clips=reader.expected_count(params),
    )


def obtain_corpus(
    name: str,
    params: CorpusParams,
    destination: Path,
    sources: Sources | None = None,
    progress: Progress = log.progress,
) -> None:
    """Fill a folder with a corpus and verify it, whole or not at all.

    Args:
        name: The corpus' name in params.yaml.
        params: Its section.
        destination: Is replaced. Its files may share their content with the mirror or the cache
            by hard links: they are not to be changed.
        sources: Where to look; from the environment if left out.
        progress: Opens progress bars.

    Raises:
        DownloadError: If the corpus cannot be had, or listing every file that is missing,
            unexpected or not as published.
        CorpusError: If it is not laid out as its reader expects.
        BackendUnavailableError: If a package that it needs is not installed.
    """
    reader = READERS[params.reader]
    context = Context(name, sources or Sources.from_environment(), progress)
    with atomic.replacing_folder(destination) as partial:
        origin = reader.obtain(partial, params, context)
        try:
            verify_corpus(name, params, partial, progress)
        except DownloadError as error:
            raise DownloadError(f"{error}\nThe files came from {origin}") from error


def verify_corpus(
    name: str, params: CorpusParams, root: Path, progress: Progress = log.progress
) -> str:
    """Compare a corpus' folder with its count and its checksums.

    Returns:
        What was found to be right, in a sentence.

    Raises:
        DownloadError: Listing every file that is missing, unexpected or not as published.
        CorpusError: If the folder is missing or not laid out as its reader expects.
    """
    reader = READERS[params.reader]
    found = reader.scan(root, params)
    expected, originals = reader.expected_count(params), reader.originals(params)
    with progress(len(found.clips), f"verifying {name}", "files") as advance:
        verify(name, root, found, expected, originals, len(originals) == expected, advance)
    num_checked = sum(PurePosixPath(clip.path).stem in originals for clip in found.clips)
    return f"{name}: {len(found.clips)} clips, {num_checked} of them verified by SHA-256"


def scan_corpus(params: CorpusParams, root: Path) -> Scan:
    """List the clips of a corpus' folder with their labels, without opening them.

    Raises:
        CorpusError: If the folder is missing, or holds nothing that the reader can use.
    """
    found = READERS[params.reader].scan(root, params)
    if not found.clips:
        listing = list_problems([f"{r.path}: {r.reason}" for r in found.rejections])
        raise CorpusError(
            f"{root}: no recordings of the corpus {params.reader}\n{listing}".rstrip()
        )
    return found
