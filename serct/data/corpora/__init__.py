"""The corpora, one file each: the file's name is what ``reader`` in params.yaml names.

A new file needs no entry here. The names come from the folder, and a file is imported when a
corpus of its reader is used.
"""

import importlib
import json
import pkgutil
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated, TypeVar

from pydantic import PlainValidator, SerializeAsAny, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from serct.config.params import Params
from serct.config.section import validate
from serct.data.download import Progress
from serct.data.manifest import Scan
from serct.data.reading.corpus import Corpus as Corpus
from serct.data.reading.corpus import CorpusParams as CorpusParams
from serct.data.reading.sources import Sources as Sources
from serct.data.reading.verification import verify
from serct.errors import CorpusError, DownloadError, ParamsError, list_problems
from serct.runtime import atomic, log

T = TypeVar("T")
READERS = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def _class_in_file(reader: str, base: type[T]) -> type[T]:
    """Return the one class that a reader's file derives from ``base``; `CorpusParams` need not."""
    module = importlib.import_module(f"{__name__}.{reader}")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == module.__name__
    ]
    if not found and base is CorpusParams:
        return base
    if len(found) != 1:
        names = ", ".join(each.__name__ for each in found) or "none"
        raise CorpusError(
            f"{module.__file__}: expected one class derived from {base.__name__}, found {names}"
        )
    return found[0]


def _check_entry(entry: object) -> CorpusParams:
    """Check an entry with the params class in its reader's file."""
    if not isinstance(entry, dict) or "reader" not in entry:
        problem = InitErrorDetails(type="missing", loc=("reader",), input=entry)
        raise ValidationError.from_exception_data("corpus", [problem])
    if entry["reader"] not in READERS:
        kind = PydanticCustomError("reader", f"expected one of {', '.join(READERS)}")
        problem = InitErrorDetails(type=kind, loc=("reader",), input=entry["reader"])
        raise ValidationError.from_exception_data("corpus", [problem])
    params = _class_in_file(entry["reader"], CorpusParams)
    return params.model_validate_json(json.dumps(entry), strict=True)


# The type of an entry under ``corpora`` and of a joint corpus' member.
CorpusEntry = Annotated[SerializeAsAny[CorpusParams], PlainValidator(_check_entry)]


def read_corpus_params(params: Params, name: str) -> CorpusParams:
    """Return an entry under ``corpora`` in params.yaml, checked.

    Raises:
        ParamsError: If there is none of this name, or naming the key that is wrong.
    """
    if name not in params.corpora:
        raise ParamsError(
            f"{params.where}: no corpus {name!r}, expected one of: {', '.join(params.corpora)}"
        )
    found: CorpusParams = validate(
        CorpusEntry, params.corpora[name], params.where, f"corpora.{name}"
    )
    return found


def build_corpus(name: str, params: CorpusParams) -> Corpus:
    """Build a corpus from its name and its entry in params.yaml."""
    return _class_in_file(params.reader, Corpus)(name, params)


def read_licences(params: Params, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the licences of each named corpus: its own, or those of the corpora that it joins.

    Raises:
        ParamsError: As `read_corpus_params`.
    """
    return {name: build_corpus(name, read_corpus_params(params, name)).licences() for name in names}


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
        params: Its entry.
        destination: Is replaced. Its files may share their content with the mirror or the cache
            by hard links, so nothing may change them.
        sources: Where to look; from the environment if left out.
        progress: Opens progress bars.

    Raises:
        DownloadError: If the corpus cannot be obtained, or listing every file that is missing,
            unexpected or not as published.
        CorpusError: If it is not laid out as its reader expects.
        BackendUnavailableError: If a package that it needs is not installed.
    """
    corpus = build_corpus(name, params)
    sources = sources or Sources.from_environment()
    with atomic.replacing_folder(destination) as partial:
        origin = corpus.obtain(partial, sources, progress)
        try:
            verify_corpus(name, params, partial, progress)
        except DownloadError as error:
            raise DownloadError(f"{error}\nThe files came from {origin}") from error


def verify_corpus(
    name: str, params: CorpusParams, root: Path, progress: Progress = log.progress
) -> str:
    """Compare a corpus' folder with its number of utterances and its checksums.

    Returns:
        What is right, in a sentence.

    Raises:
        DownloadError: Listing every file that is missing, unexpected or not as published.
        CorpusError: If the folder is missing or not laid out as its reader expects.
    """
    corpus = build_corpus(name, params).as_published(root)
    scan, originals = corpus.scan(root), corpus.originals()
    with progress(len(scan.utterances), f"verifying {name}", "files") as advance:
        verify(name, root, scan, corpus.num_utterances, originals, advance)
    num_checked = sum(PurePosixPath(u.path).stem in originals for u in scan.utterances)
    return f"{name}: {len(scan.utterances)} utterances, {num_checked} of them verified by SHA-256"


def scan_corpus(params: CorpusParams, root: Path) -> Scan:
    """List the utterances of a corpus' folder with their labels, without opening recordings.

    Raises:
        CorpusError: If the folder is missing, or holds nothing that the reader can use.
    """
    found = build_corpus(params.reader, params).scan_labelled(root)
    if not found.utterances:
        listing = list_problems([f"{r.path}: {r.reason}" for r in found.rejections])
        raise CorpusError(
            f"{root}: no recordings of the corpus {params.reader}\n{listing}".rstrip()
        )
    return found
