"""Read the division that params.yaml names for a corpus."""

from collections.abc import Sequence
from pathlib import Path

from serct.config.params import SplitParams
from serct.data.manifest import Utterance
from serct.data.official import emobox, table
from serct.data.official.listing import Division, assign
from serct.data.reading.corpus import Corpus
from serct.errors import ManifestError


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
        path = Path(params.path).expanduser()
        checkout = emobox.find_checkout(path, mirror / path if mirror else None)
        divisions = emobox.read_divisions(checkout, emobox_name(corpus))
    else:
        divisions = table.read_divisions(Path(params.path).expanduser())
    return assign(utterances, _pick(divisions, params), corpus.recording_name)


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
    path = root / Path(params.path).expanduser()
    if params.protocol == "emobox":
        checkout = emobox.find_checkout(path, mirror / params.path if mirror else None)
        return emobox.fold_files(checkout, emobox_name(corpus))
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


def _pick(divisions: Sequence[Division], params: SplitParams) -> Division:
    expected = params.num_folds or 1
    if len(divisions) != expected:
        raise ManifestError(
            f"{divisions[0].name}: {len(divisions)} folds, but split.num_folds is "
            f"{params.num_folds or 'null'}; expected "
            f"{len(divisions) if len(divisions) > 1 else 'null'}"
        )
    return divisions[params.fold]
