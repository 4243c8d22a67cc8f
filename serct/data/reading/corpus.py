"""The interface of a corpus: each file of `serct.data.corpora` derives its class from `Corpus`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import JsonValue, field_validator

from serct.config.section import Section
from serct.data.download import Progress, Remote, download
from serct.data.manifest import Scan, Utterance
from serct.data.reading.sources import Copies, Search, Sources
from serct.data.reading.tree import is_audio, scan_names
from serct.data.reading.verification import Original, read_originals
from serct.emotions import EMOTIONS, canonical_emotion, spell


class CorpusParams(Section):
    """The keys of a corpus' entry in params.yaml; a corpus with more keys derives a class.

    Attributes:
        reader: The name of the corpus' file.
        labels: What words of the corpus mean: an emotion; or None, and what they label is left out.
            Emotions that the reader gives can be named too, so as to join two.
        split: Values of the section `split` for this corpus alone.
    """

    reader: str
    labels: dict[str, Literal[*EMOTIONS] | None] | None = None  # type: ignore[valid-type]
    split: dict[str, JsonValue] | None = None

    @field_validator("labels")
    @classmethod
    def _spelled_alike(cls, labels: dict[str, str | None] | None) -> dict[str, str | None] | None:
        """Return the labels by what all spellings of a word share."""
        if labels is None:
            return None
        words = {spell(word): emotion for word, emotion in labels.items()}
        if len(words) < len(labels):
            raise ValueError(f"two spellings of one word among {', '.join(labels)}")
        return words


class Corpus:
    """What a corpus is, where it comes from, and how its files are labelled.

    Most corpora set the attributes and override `parse`. A corpus that is published in another
    way overrides `fetch`, one that is not published at all `obtain`, and one whose labels are not
    in its paths `scan`.

    Attributes:
        name: Its name in params.yaml.
        params: Its entry in params.yaml.
        title: Its full name.
        licence: Terms of use.
        citation: What to cite, "" if nothing.
        homepage: Where it is published, "" if nowhere.
        is_synthetic: Whether a program made the speech: such scores say nothing about people.
        copies: How a copy may be named in the mirror or the cache.
        archive: The archive that its authors publish, None if there is none.
        how_to_get: How a person gets it, for a corpus that nothing else can download.
        checksums: Its list is ``checksums/<checksums>.csv``; "" if none is known.
        left_out: Published files that are no part of it, without folder and suffix.
        emobox: What EmoBox calls it, "" if it has no folds of it.
    """

    title: str
    licence: str
    citation: str = ""
    homepage: str = ""
    is_synthetic: bool = False
    copies: Copies
    archive: Remote | None = None
    how_to_get: str = ""
    checksums: str = ""
    left_out: frozenset[str] = frozenset()
    emobox: str = ""

    def __init__(self, name: str, params: Any) -> None:
        self.name = name
        self.params = params

    @property
    def language(self) -> str:
        """Language code, such as "en"; a corpus of several languages has it as a key."""
        return str(self.params.language)

    @property
    def num_utterances(self) -> int | None:
        """Number of utterances, None if any number above 0 is right."""
        return None

    def licences(self) -> dict[str, str]:
        """Return the licence of each corpus that this one consists of: of itself, by its name."""
        return {self.name: self.licence}

    def as_published(self, root: Path) -> "Corpus":
        """Return what a folder must hold to the last file: here the corpus itself."""
        return self

    def originals(self) -> dict[str, Original]:
        """Return what is known of the files as published, by name without folder and suffix."""
        files = read_originals(self.checksums) if self.checksums else {}
        return {stem: file for stem, file in files.items() if stem not in self.left_out}

    def obtain(self, destination: Path, sources: Sources, progress: Progress) -> str:
        """Fill an empty folder from the mirror, the cache or the network.

        Returns:
            Where the files came from.

        Raises:
            DownloadError: If the corpus is nowhere to be found, or cannot be downloaded.
        """
        search = Search(self.name, self.copies, sources, progress)
        found = search.take_copy(destination, self.is_wanted)
        return str(found) if found else self.fetch(destination, search)

    def is_wanted(self, path: PurePosixPath) -> bool:
        """Return whether a file of a copy is part of the corpus' folder."""
        return is_audio(path)

    def fetch(self, destination: Path, search: Search) -> str:
        """Download the corpus into an empty folder.

        Returns:
            Where the files came from.

        Raises:
            DownloadError: If the network is forbidden or fails, or only a person can get it.
        """
        if self.archive is None:
            raise search.by_hand(self.how_to_get)
        search.require_network(self.archive.url)
        with search.lock_downloads():
            path = search.sources.cache / f"{self.params.reader}.zip"
            download(self.archive, path, search.progress)
            search.unpack(path, destination, self.is_wanted)
        return str(path)

    def scan(self, root: Path) -> Scan:
        """List the utterances of a folder, in an order that depends on names alone.

        Raises:
            CorpusError: If the folder does not exist or lacks its labels.
        """

        def read(path: PurePosixPath) -> Utterance | str | None:
            return None if path.stem in self.left_out else self.parse(path)

        return scan_names(root, read, self.recording_name)

    def scan_labelled(self, root: Path) -> Scan:
        """List the utterances of a folder with the emotions that params.yaml gives their labels.

        Raises:
            CorpusError: As `scan`.
        """
        found = self.scan(root)
        return found if self.params.labels is None else _relabel(found, self.params.labels)

    def is_mapped(self, word: str) -> bool:
        """Return whether params.yaml says what a word of the corpus means."""
        return spell(word) in (self.params.labels or {})

    def emotion(self, word: str) -> str:
        """Return the emotion that a word means, or a word that params.yaml maps, as it is.

        Raises:
            CorpusError: If it is none.
        """
        return spell(word) if self.is_mapped(word) else canonical_emotion(word)

    def parse(self, path: PurePosixPath) -> Utterance | str | None:
        """Return the labels that a path holds.

        Args:
            path: Relative to the corpus' folder. No file is opened.

        Returns:
            The utterance; or why the path is none; or None for a file left out on purpose.
        """
        raise NotImplementedError(f"{type(self).__name__} overrides neither parse nor scan")

    def recording_name(self, path: PurePosixPath) -> str:
        """Return the name of what a path holds; paths of one name must be equal copies."""
        return path.stem


def _relabel(found: Scan, labels: Mapping[str, str | None]) -> Scan:
    """Give utterances the emotions of their words, and leave out those that have none."""
    kept = []
    counts = Counter(u.emotion for u in found.utterances if u.emotion in labels)
    for utterance in found.utterances:
        emotion = labels.get(utterance.emotion, utterance.emotion)
        if emotion is not None:
            kept.append(replace(utterance, emotion=emotion))
    notes = [
        f"labelled {word}: {counts[word]} utterances, "
        + ("left out" if emotion is None else f"taken as {emotion}")
        if counts[word]
        else f"labels names {word}, but no utterance is labelled so"
        for word, emotion in labels.items()
    ]
    return Scan(tuple(kept), found.rejections, (*found.notes, *notes))
