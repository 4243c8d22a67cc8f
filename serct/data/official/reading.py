"""Read the division that params.yaml names for a corpus."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from serct.config.params import SplitParams
from serct.data.manifest import Utterance
from serct.data.official import emobox, table
from serct.data.official.listing import assign
from serct.data.reading.corpus import Corpus
from serct.errors import ManifestError

T = TypeVar("T")


def take_parts(
    utterances: Sequence[Utterance], corpus: Corpus, params: SplitParams, mirror: Path | None
) -> tuple[list[Utterance], list[str]]:
    """Give each utterance the part that the named division lists it in.

    Args:
        utterances: Of the corpus; without a named division they are returned as they are.
        corpus: Says how recordings are named.
        params: ``split`` of params.yaml.
        mirror: A second place for an EmoBox checkout.

    Returns:
        The listed utterances, and an account of what did not match, line by line.

    Raises:
        ManifestError: If the division is missing or malformed, has another number of folds than
            params.yaml says, or lists nothing of the corpus.
    """
    if params.path is None:
        return list(utterances), []
    if params.protocol == "emobox":
        name = emobox_name(corpus)
        folders = emobox.list_folds(checkout_of(params, mirror), name)
        division = emobox.read_division(_pick(folders, params, str(folders[0].parent)), name)
    else:
        divisions = table.read_divisions(Path(params.path).expanduser())
        division = _pick(divisions, params, divisions[0].name)
    return assign(utterances, division, corpus.recording_name)


def checkout_of(params: SplitParams, mirror: Path | None, root: Path = Path()) -> Path:
    """Return the folder of the EmoBox checkout that params.yaml names.

    Args:
        params: ``split`` of params.yaml.
        mirror: A second place for it.
        root: The workspace, to which the named path is relative.

    Raises:
        ManifestError: If it is in neither place.
    """
    path = Path(params.path or "").expanduser()
    return emobox.find_checkout(root / path, mirror / path if mirror else None)


def division_files(
    corpus: Corpus, params: SplitParams, mirror: Path | None, root: Path = Path()
) -> list[Path]:
    """List the files that decide the parts of a corpus, besides its own.

    Args:
        corpus: The corpus.
        params: ``split`` of params.yaml.
        mirror: A second place for an EmoBox checkout.
        root: The workspace, to which the named path is relative.

    Raises:
        ManifestError: If they are missing.
    """
    if params.path is None:
        return []
    if params.protocol == "emobox":
        return emobox.fold_files(checkout_of(params, mirror, root), emobox_name(corpus))
    path = root / Path(params.path).expanduser()
    if not path.is_file():
        raise ManifestError(
            f"split.path is {params.path!r}, relative to {Path.cwd()}: no such file"
        )
    return [path]


def emobox_name(corpus: Corpus) -> str:
    """Return what EmoBox calls a corpus.

    Raises:
        ManifestError: If it does not have it.
    """
    if not corpus.emobox:
        raise ManifestError(
            f"{corpus.name}: EmoBox has no folds for the reader {corpus.params.reader}; choose "
            "another split.protocol"
        )
    return corpus.emobox


def _pick(folds: Sequence[T], params: SplitParams, where: str) -> T:
    if len(folds) != (params.num_folds or 1):
        raise ManifestError(
            f"{where}: {len(folds)} folds, but split.num_folds is {params.num_folds or 'null'}; "
            f"expected {len(folds) if len(folds) > 1 else 'null'}"
        )
    return folds[params.fold]
