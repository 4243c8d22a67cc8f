"""Corpora for other programs: one file a format, whose name is the format's.

A new file needs no entry here. It has one function, ``write``, which fills a folder; audio is
copied and never encoded anew.
"""

import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from serct.data.download import Progress
from serct.data.manifest import Utterance, read_manifest
from serct.data.reading.corpus import Corpus
from serct.data.reading.tree import place_file
from serct.errors import CorpusError, list_problems
from serct.runtime import atomic, log

FORMATS = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


@dataclass(frozen=True)
class Export:
    """A corpus to be written in another format.

    Attributes:
        corpus: What it is.
        utterances: Its manifest.
        root: Folder with its recordings.
        progress: Opens a progress bar.
    """

    corpus: Corpus
    utterances: tuple[Utterance, ...]
    root: Path
    progress: Progress

    @property
    def licence(self) -> str:
        """The licence, or that of each corpus that it joins."""
        licences = self.corpus.licences()
        if len(licences) == 1:
            return next(iter(licences.values()))
        return "; ".join(f"{name}: {licence}" for name, licence in licences.items())

    def place_audio(self, folder: Path, targets: dict[str, PurePosixPath] | None = None) -> None:
        """Copy every recording into a folder: whoever changes a copy must not change the corpus.

        Args:
            folder: Gets them.
            targets: Where each goes, by its path in the corpus; None: to the same path.
        """
        with self.progress(len(self.utterances), "exporting", "files") as advance:
            for utterance in self.utterances:
                target = targets[utterance.path] if targets else utterance.path
                place_file(self.root / utterance.path, folder / target, link=False)
                advance(1)


def export_corpus(
    corpus: Corpus, data: Path, kind: str, out: Path, progress: Progress = log.progress
) -> Export:
    """Write a corpus that the pipeline has prepared, whole or not at all.

    Args:
        corpus: The corpus.
        data: Folder with ``manifests`` and ``raw``.
        kind: One of `FORMATS`.
        out: Folder to make.
        progress: Opens a progress bar.

    Returns:
        What was written.

    Raises:
        CorpusError: If the format is unknown, ``out`` has content, or recordings are missing.
        ManifestError: If there is no manifest.
        BackendUnavailableError: If the format's package is not installed.
    """
    if kind not in FORMATS:
        raise CorpusError(f"format {kind!r}, expected one of {', '.join(FORMATS)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CorpusError(f"{out}: exists already, expected a new folder for --out")
    utterances = read_manifest(data / "manifests" / f"{corpus.name}.csv")
    root = data / "raw" / corpus.name
    if missing := [each.path for each in utterances if not (root / each.path).is_file()]:
        raise CorpusError(
            f"{root}: {len(missing)} recordings of the manifest are missing; the download and "
            f"manifest stages make both:\n{list_problems(missing, limit=20)}"
        )
    export = Export(corpus, tuple(utterances), root, progress)
    write = importlib.import_module(f"{__name__}.{kind}").write
    with atomic.replacing_folder(out) as folder:
        write(export, folder)
    return export
