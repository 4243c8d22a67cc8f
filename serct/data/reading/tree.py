"""List, copy and scan the recordings of a corpus' folder, in one order on every machine."""

import filecmp
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from serct.data.audio import SUFFIXES
from serct.data.download import Advance
from serct.data.manifest import Rejection, Scan, Utterance
from serct.data.reading.listing import is_shown, list_entries, printable
from serct.errors import CorpusError, list_problems


def is_audio(path: PurePosixPath) -> bool:
    """Return whether a path inside a corpus names a recording that can be decoded."""
    return is_shown(path) and path.suffix.lower() in SUFFIXES


def list_files(
    root: Path, wanted: Callable[[PurePosixPath], bool] = is_audio
) -> list[PurePosixPath]:
    """List the wanted files below a folder, relative to it, sorted by name.

    Raises:
        CorpusError: If the folder does not exist, or naming a part of it that cannot be listed.
    """
    entries = list_entries(root)
    # Without a suffix it may be a folder: nobody knows what is in it.
    lost = [e for e in entries if e.problem and (wanted(e.path) or not e.path.suffix)]
    if lost:
        listing = list_problems([f"{printable(e.path)}: {e.problem}" for e in lost])
        raise CorpusError(f"{root}: cannot be listed as a whole:\n{listing}")
    return [entry.path for entry in entries if not entry.problem and wanted(entry.path)]


def place(
    source: Path,
    destination: Path,
    paths: Iterable[PurePosixPath],
    advance: Advance,
    link: bool = True,
) -> None:
    """Link or copy files from one folder into another, in the same layout.

    Args:
        source: May be read-only and on another device.
        destination: Gets the files.
        paths: Relative to ``source``.
        advance: Called with 1 for each file.
        link: Make hard links where the file system allows them, instead of copies.
    """
    for path in paths:
        place_file(source / path, destination / path, link)
        advance(1)


def place_file(source: Path, target: Path, link: bool = True) -> None:
    """Link or copy one file; of a symbolic link, its target."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source = source.resolve()
    if link:
        try:
            target.hardlink_to(source)
        except OSError:
            # Another device, or a file system without links.
            pass
        else:
            return
    shutil.copyfile(source, target)


def set_copies_aside(
    root: Path, named: Iterable[tuple[str, PurePosixPath]]
) -> tuple[list[PurePosixPath], list[Rejection]]:
    """Keep one file of each recording: many archives hold a corpus twice, in nested folders.

    Args:
        root: The corpus' folder.
        named: Each file with the name of its recording.

    Returns:
        The kept files (the least nested of equal copies), sorted, and a rejection for every file
        whose copies differ in content.
    """
    groups: dict[str, list[PurePosixPath]] = defaultdict(list)
    for name, path in named:
        groups[name].append(path)
    kept, rejections = [], []
    for paths in groups.values():
        first, *copies = sorted(paths, key=lambda path: (len(path.parts), path))
        if all(filecmp.cmp(root / first, root / copy, shallow=False) for copy in copies):
            kept.append(first)
        else:
            reason = f"files of one recording differ: {', '.join(map(str, (first, *copies)))}"
            rejections += [Rejection(str(path), reason) for path in (first, *copies)]
    return sorted(kept), rejections


def scan_names(
    root: Path,
    read: Callable[[PurePosixPath], Utterance | str | None],
    recording: Callable[[PurePosixPath], str] = lambda path: path.stem,
) -> Scan:
    """List the utterances of a corpus whose paths hold their labels, in any folder of ``root``.

    Args:
        root: The corpus' folder.
        read: Returns a path's utterance, or why it is none, or None if it is left out on purpose.
        recording: Returns the name of what a path holds; paths of one name must be equal copies.

    Raises:
        CorpusError: If the folder does not exist.
    """
    utterances: dict[PurePosixPath, Utterance] = {}
    rejections: list[Rejection] = []
    for path in list_files(root):
        found = read(path)
        if isinstance(found, Utterance):
            utterances[path] = found
        elif found is not None:
            rejections.append(Rejection(str(path), found))
    kept, copies = set_copies_aside(root, [(recording(path), path) for path in utterances])
    return Scan(tuple(utterances[path] for path in kept), tuple(rejections + copies))
