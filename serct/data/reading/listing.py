"""List every file below a folder, or say why it cannot be listed.

A file is a recording by its suffix. Transcripts, tables, licences and hidden files (.DS_Store,
._x, __MACOSX) accompany recordings. Everything else has a reason why it is none, so that no file
is left out without a word. Links are followed, safely.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from serct.data.audio import SUFFIXES
from serct.errors import CorpusError
from serct.runtime.log import logger

# What lies beside recordings and never is one: texts and labels, tables, documents, pictures,
# scripts, checksums. A suffix that is neither here nor in SUFFIXES is reported.
_COMPANIONS = (
    *(".txt", ".textgrid", ".lab", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml"),
    *(".toml", ".ini", ".cfg", ".md", ".rst", ".html", ".htm", ".pdf", ".rtf", ".tex", ".bib"),
    *(".doc", ".docx", ".odt", ".xls", ".xlsx", ".ods", ".ppt", ".pptx", ".png", ".jpg", ".jpeg"),
    *(".gif", ".svg", ".eaf", ".pfsx", ".trs", ".trn", ".trans", ".phn", ".wrd", ".ctm", ".stm"),
    *(".mlf", ".rttm", ".srt", ".vtt", ".ass", ".f0", ".pitch", ".praat", ".psc", ".py", ".sh"),
    *(".bat", ".m", ".r", ".ipynb", ".log", ".md5", ".sha1", ".sha256", ".dvc", ".url", ".lnk"),
)
_TEXT_NAMES = (
    *("readme", "license", "licence", "copying", "authors", "changelog", "notice", "makefile"),
    *("md5sums", "sha256sums"),
)
_OTHER_NAMES = ("thumbs.db", "desktop.ini")


class Entry(NamedTuple):
    """A file below a folder, or what cannot be listed.

    Attributes:
        path: Relative to the folder.
        problem: Why it cannot be used, "" if it is a file.
    """

    path: PurePosixPath
    problem: str = ""


def is_companion(path: PurePosixPath) -> bool:
    """Return whether a path names what lies beside recordings: a text, a table, a licence."""
    name, suffix = path.name.lower(), path.suffix.lower()
    if suffix in SUFFIXES:
        return False
    return suffix in _COMPANIONS or name in _OTHER_NAMES or name.split(".")[0] in _TEXT_NAMES


def is_shown(path: PurePosixPath) -> bool:
    """Return whether neither a file nor a folder above it is hidden."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def unusable_format(path: PurePosixPath) -> str:
    """Return why a file is no recording by its name, "" if it is one."""
    if path.suffix.lower() in SUFFIXES:
        return ""
    return (
        f"{path.suffix or 'no suffix'}: a format that is not read, convert it to one of "
        f"{', '.join(SUFFIXES)}"
    )


def printable(path: PurePosixPath) -> str:
    """Return a path as text, with escapes for bytes of a name that are not UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def list_entries(root: Path) -> list[Entry]:
    """List all files below a folder that are not hidden, sorted by name.

    Links are followed. Each folder is listed once, under its own name before that of a link, so
    that loops end and nothing is doubled. A warning names a folder that is reached again.

    Raises:
        CorpusError: If the folder does not exist.
    """
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder")
    found = sorted(_walk(root, PurePosixPath(), {_identity(root): PurePosixPath()}))
    return [
        entry if _is_utf8(entry.path) else Entry(entry.path, "its name is not UTF-8")
        for entry in found
    ]


def _is_utf8(path: PurePosixPath) -> bool:
    # Python keeps other bytes as lone surrogates, which no encoding takes.
    return not any("\ud800" <= letter <= "\udfff" for letter in str(path))


def _walk(
    root: Path, top: PurePosixPath, visited: dict[tuple[int, int], PurePosixPath]
) -> Iterator[Entry]:
    folders, links = [top], list[PurePosixPath]()
    while folders or links:
        if not folders:
            link = links.pop(0)
            if problem := _refuse_link(root, link):
                yield Entry(link, problem)
            elif _is_new(root, link, visited):
                folders.append(link)
            continue
        folder = folders.pop()
        try:
            names = sorted(each.name for each in os.scandir(root / folder))
        except OSError as error:
            yield Entry(folder, f"a folder that cannot be opened ({error.strerror})")
            continue
        for path in (folder / name for name in names):
            if not is_shown(PurePosixPath(path.name)):
                continue
            full = root / path
            try:
                mode = full.stat().st_mode
            except OSError as error:
                yield Entry(path, _explain(full, error))
                continue
            if stat.S_ISREG(mode):
                readable = os.access(full, os.R_OK)
                yield Entry(path, "" if readable else "cannot be read (permission denied)")
            elif not stat.S_ISDIR(mode):
                yield Entry(path, "neither a file nor a folder")
            elif full.is_symlink():
                links.append(path)
            elif _is_new(root, path, visited):
                folders.append(path)
        links.sort()


def _explain(path: Path, error: OSError) -> str:
    if path.is_symlink():
        return f"a link to {str(path.readlink())!a}, which cannot be opened ({error.strerror})"
    return f"cannot be opened ({error.strerror})"


def _refuse_link(root: Path, link: PurePosixPath) -> str:
    """Return why a link to a folder is not followed: everything is below a folder above."""
    target = (root / link).resolve()
    above = {*root.resolve().parents, *(root / link).parent.resolve().parents}
    return f"a link to {str(target)!a}, a folder that holds this one" if target in above else ""


def _is_new(
    root: Path, folder: PurePosixPath, visited: dict[tuple[int, int], PurePosixPath]
) -> bool:
    """Note a folder; return whether it was not noted before, and say so if it was."""
    identity = _identity(root / folder)
    if identity not in visited:
        visited[identity] = folder
        return True
    logger.warning(
        "%s: the same folder as %s, whose files count once",
        printable(PurePosixPath(root, folder)), printable(PurePosixPath(root, visited[identity])),
    )  # fmt: skip
    return False


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino
