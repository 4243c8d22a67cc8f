"""What a division lists, and its match with the recordings of a corpus."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from serct.config.spelling import fold
from serct.data.manifest import SPLITS, Split, Utterance
from serct.errors import ManifestError, list_problems


@dataclass(frozen=True)
class Listed:
    """A recording that a division puts into a part.

    Attributes:
        path: As listed, which may be below another folder than the corpus'.
        split: Its part.
        emotion: Its label there, a name of `EMOTIONS`; "" if none is given.
    """

    path: PurePosixPath
    split: Split
    emotion: str = ""


@dataclass(frozen=True)
class Division:
    """One fold of a division.

    Attributes:
        name: For messages: the file, and the fold.
        listed: Its recordings.
        notes: What was read in another way than it is written.
    """

    name: str
    listed: tuple[Listed, ...]
    notes: tuple[str, ...] = ()


def assign(
    utterances: Sequence[Utterance],
    division: Division,
    recording_name: Callable[[PurePosixPath], str],
) -> tuple[list[Utterance], list[str]]:
    """Give each utterance the part that a division lists it in.

    A listed path is the utterance's whose path it is, without suffix, or else the one whose
    recording has the same name, if there is only one.

    Args:
        utterances: Of the corpus.
        division: Of the same.
        recording_name: As a corpus gives it, see `serct.data.reading.corpus.Corpus`.

    Returns:
        The listed utterances, and an account of what did not match, line by line.

    Raises:
        ManifestError: If nothing matches, or one recording is in two parts.
    """
    find = _Finder(utterances, recording_name)
    found: dict[str, list[Listed]] = defaultdict(list)
    missing: list[Listed] = []
    for each in division.listed:
        path = find(each.path)
        if path is None:
            missing.append(each)
        else:
            found[path].append(each)
    if not found:
        listed = division.listed[0].path if division.listed else "nothing"
        raise ManifestError(
            f"{division.name}: none of the {len(division.listed)} recordings that it lists is in "
            f"the corpus, which has {utterances[0].path} where it has {listed}"
        )
    if twice := [
        f"{path}: {', '.join(sorted({each.split for each in parts}))}"
        for path, parts in found.items()
        if len({each.split for each in parts}) > 1
    ]:
        raise ManifestError(
            f"{division.name}: recordings in several parts:\n{list_problems(twice)}"
        )
    assigned = [replace(u, split=found[u.path][0].split) for u in utterances if u.path in found]
    unlisted = [u.path for u in utterances if u.path not in found]
    differing = [
        f"{u.path}: {listed.emotion} there, {u.emotion} here"
        for u in assigned
        for listed in found[u.path][:1]
        if listed.emotion not in ("", u.emotion)
    ]
    return assigned, [
        *division.notes,
        f"{division.name}: {_count(assigned)} of {_count(division.listed)} recordings found",
        *_account(f"{len(missing)} are not in the corpus", [str(each.path) for each in missing]),
        *_account(f"{len(unlisted)} of the corpus are in no part and left out", unlisted),
        *_account(f"{len(differing)} have another label, and keep ours", differing),
    ]


def _count(parts: Iterable[Utterance | Listed]) -> str:
    counts = Counter(each.split for each in parts)
    return f"{counts.total()} ({', '.join(f'{s} {counts[s]}' for s in SPLITS if counts[s])})"


def _account(what: str, names: Sequence[str]) -> list[str]:
    return [f"{what}:\n{list_problems(names, limit=20)}"] if names else []


class _Finder:
    """Find the utterance that a listed path means."""

    def __init__(
        self, utterances: Sequence[Utterance], recording_name: Callable[[PurePosixPath], str]
    ) -> None:
        self._recording_name = recording_name
        self._by_path = {_key(PurePosixPath(u.path)): u.path for u in utterances}
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for utterance in utterances:
            self._by_name[self._name(PurePosixPath(utterance.path))].append(utterance.path)

    def __call__(self, path: PurePosixPath) -> str | None:
        """Return the path of the utterance, None if none or several are meant."""
        if _key(path) in self._by_path:
            return self._by_path[_key(path)]
        alike = self._by_name.get(self._name(path), [])
        if len(alike) == 1:
            return alike[0]
        # One name in several folders: the path below a folder of the list's own decides.
        ends = [each for each in alike if _key(path).endswith(f"/{_key(PurePosixPath(each))}")]
        return ends[0] if len(ends) == 1 else None

    def _name(self, path: PurePosixPath) -> str:
        return fold(self._recording_name(path))


def _key(path: PurePosixPath) -> str:
    return fold(str(path.with_suffix("")))
