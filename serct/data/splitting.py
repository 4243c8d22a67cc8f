"""Divide utterances into train, validation and test without a leak.

Hashes of names and seed give the order, not a random generator or a folder listing, so every
machine and every version makes the same splits.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from serct.config.params import SplitParams
from serct.data.manifest import SPLITS, Split, Utterance
from serct.data.names import unify_names
from serct.data.split_checks import DISJOINT, check_splits, group_of
from serct.errors import ManifestError


def split_utterances(
    utterances: Sequence[Utterance], params: SplitParams, seed: int
) -> list[Utterance]:
    """Divide utterances into train, validation and test by the protocol.

    A corpus that its authors divided (``split`` is set) keeps its own test part under the `random`
    protocol. Validation is always cut from what is not test.

    - random: stratified by emotion, ``test_fraction`` of each.
    - speaker, text, corpus: whole speakers (texts, members of a joint corpus) go to test until
      ``test_fraction`` is reached. Of a joint corpus, each member gives its share of speakers
      (texts) to test and validation, women and men in turn; one that has fewer than three stays
      in training whole.
    - speaker_text: test shares neither speaker nor text with training; an utterance that shares
      only one of them is left out.

    - file, emobox: each utterance has its part already (``split`` is set). Validation is cut at
      random from training if there is none.

    With ``num_folds`` all utterances are dealt into that many parts instead, and ``fold`` is the
    test part. Each utterance is tested in exactly one fold; with speaker_text, only an utterance
    whose speaker and text belong to the same fold is.

    Spellings of one speaker or text become one, see `serct.data.names`.

    Validation is disjoint in the same way if more than one group is left, else cut at random (TESS
    has only two speakers).

    Raises:
        ManifestError: If an emotion has fewer than three utterances, a protocol's groups are
            unknown or too few, or the result has a leak (see `check_splits`).
    """
    if not utterances:
        raise ManifestError("no utterances to divide")
    ordered = sorted(unify_names(utterances), key=lambda u: _split_order(u, seed))
    if params.protocol in ("file", "emobox"):
        divided = _keep_parts(ordered)
    elif params.num_folds is not None:
        ungrouped = [replace(u, split="") for u in ordered]
        divided = _take_fold(ungrouped, params.protocol, params.num_folds, params.fold, seed)
    elif params.protocol == "random":
        if any(u.split for u in ordered):
            divided = [u if u.split == "test" else replace(u, split="") for u in ordered]
        else:
            divided = _cut_stratified(ordered, params.test_fraction, "test")
    else:
        ungrouped = [replace(u, split="") for u in ordered]
        members = _dividable_members(ungrouped, params.protocol)
        divided = _cut_groups(
            ungrouped, params.protocol, params.test_fraction, "test", seed, members
        )
    rest = [u for u in divided if not u.split]
    for kind in DISJOINT[params.protocol]:
        if len({group_of(u, kind) for u in rest}) > 1:
            members = _dividable_members(ordered, kind)
            rest = _cut_groups(rest, kind, params.validation_fraction, "validation", seed, members)
            break
    else:
        rest = _cut_stratified(rest, params.validation_fraction, "validation")
    result = [u for u in divided if u.split] + [replace(u, split=u.split or "train") for u in rest]
    result.sort(key=lambda u: u.name)
    check_splits(result, params.protocol)
    return result


def _keep_parts(ordered: Sequence[Utterance]) -> list[Utterance]:
    """Keep the parts that others made; unmark training if validation is still to be cut from it."""
    if without := [u.path for u in ordered if not u.split]:
        raise ManifestError(
            f"split.protocol is file, but {len(without)} of {len(ordered)} utterances are in no "
            f"part, {without[0]} for example: give them one (a column split, or folders train, "
            "validation and test), or name a table of parts as split.path"
        )
    if any(u.split == "validation" for u in ordered):
        return list(ordered)
    return [replace(u, split="") if u.split == "train" else u for u in ordered]


def _take_fold(
    ordered: Sequence[Utterance], protocol: str, num_folds: int, fold: int, seed: int
) -> list[Utterance]:
    """Mark one of ``num_folds`` parts as test; leave out what belongs to neither side."""
    if protocol == "random":
        # Each emotion continues where the one before it ended, so that parts are equally large.
        dealt = enumerate(sorted(ordered, key=lambda u: u.emotion))
        return [replace(u, split="test") if n % num_folds == fold else u for n, u in dealt]
    kinds = DISJOINT[protocol]
    tested = [_deal(ordered, kind, num_folds, seed)[fold] for kind in kinds]
    divided = []
    for utterance in ordered:
        is_tested = [
            group_of(utterance, kind) in names for kind, names in zip(kinds, tested, strict=True)
        ]
        if all(is_tested):
            divided.append(replace(utterance, split="test"))
        elif not any(is_tested):
            divided.append(utterance)
    return divided


def _deal(ordered: Sequence[Utterance], kind: str, num_folds: int, seed: int) -> list[list[str]]:
    """Deal speakers or texts into parts: the largest first, each to the part that has least."""
    sizes = _sizes(ordered, kind)
    if len(sizes) < num_folds:
        raise ManifestError(
            f"split.num_folds is {num_folds}, but the corpus has only {len(sizes)} {kind}s"
        )
    parts: list[list[str]] = [[] for _ in range(num_folds)]
    for name in sorted(sizes, key=lambda name: (-sizes[name], _hash(seed, name), name)):
        min(parts, key=lambda part: (sum(sizes[each] for each in part), len(part))).append(name)
    return parts


def _split_order(utterance: Utterance, seed: int) -> tuple[str, str]:
    name = PurePosixPath(utterance.path).stem
    return _hash(seed, f"{utterance.emotion}/{name}"), utterance.name


def _hash(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()


def _cut_stratified(ordered: Sequence[Utterance], fraction: float, split: Split) -> list[Utterance]:
    """Mark ``fraction`` of each emotion, at least one and never all, as ``split``."""
    totals = Counter(u.emotion for u in ordered)
    for emotion, total in totals.items():
        if total < 2:
            raise ManifestError(
                f"emotion {emotion!r} has {total} utterances left to cut a {split} part from, "
                "expected at least 2: add recordings or drop the emotion"
            )
    wanted = {e: min(max(1, round(n * fraction)), n - 1) for e, n in totals.items()}
    marked: list[Utterance] = []
    for utterance in ordered:
        if wanted[utterance.emotion]:
            wanted[utterance.emotion] -= 1
            marked.append(replace(utterance, split=split))
        else:
            marked.append(utterance)
    return marked


def _cut_groups(
    ordered: Sequence[Utterance],
    kind: str,
    fraction: float,
    split: Split,
    seed: int,
    members: Collection[str],
) -> list[Utterance]:
    """Mark whole speakers or texts as ``split`` until ``fraction`` of all rows is reached.

    Args:
        ordered: The rows.
        kind: What is marked as a whole.
        fraction: Of the rows.
        split: How they are marked.
        seed: Of the order in which groups are taken.
        members: Of a joint corpus, of each of which the fraction is taken; none: of all together.
    """
    _sizes(ordered, kind)
    marked: set[str] = set()
    for pool in [{member} for member in members] or [{u.corpus for u in ordered}]:
        sizes = Counter(group_of(u, kind) for u in ordered if u.corpus in pool)
        names = sorted(sizes, key=lambda name: (_hash(seed, name), name))
        if members:
            names = _alternate_genders(names, ordered, kind)
        # What is left must give a group to each part that follows.
        num_kept = 2 if members and split == "test" else 1
        num_marked = 0
        for name in names[:-num_kept]:
            if num_marked and num_marked >= fraction * sizes.total():
                break
            marked.add(name)
            num_marked += sizes[name]
    return [replace(u, split=split) if group_of(u, kind) in marked else u for u in ordered]


def _alternate_genders(names: Sequence[str], ordered: Sequence[Utterance], kind: str) -> list[str]:
    """Take women and men in turn: of two or three speakers, all may else be of one gender."""
    genders: dict[str, set[str]] = defaultdict(set)
    for utterance in ordered:
        genders[group_of(utterance, kind)].add(utterance.gender)
    turns: Counter[str] = Counter()
    turn_of: dict[str, int] = {}
    for name in names:
        gender = "/".join(sorted(genders[name]))
        turn_of[name] = turns[gender]
        turns[gender] += 1
    return sorted(names, key=lambda name: turn_of[name])


def _dividable_members(utterances: Sequence[Utterance], kind: str) -> list[str]:
    """Return the members of a joint corpus of which each part can have a speaker (text)."""
    groups: dict[str, set[str]] = defaultdict(set)
    for utterance in utterances:
        groups[utterance.corpus].add(group_of(utterance, kind))
    if len(groups) < 2:
        return []
    return sorted(name for name, found in groups.items() if len(found) >= len(SPLITS))


def _sizes(ordered: Sequence[Utterance], kind: str) -> Counter[str]:
    """Count the utterances of each speaker or text."""
    sizes = Counter(group_of(u, kind) for u in ordered)
    if "" in sizes:
        first = next(u.path for u in ordered if not group_of(u, kind))
        raise ManifestError(
            f"split.protocol asks for the {kind}, but {sizes['']} utterances have no known {kind}, "
            f"{first} for example"
        )
    if len(sizes) < 2:
        raise ManifestError(
            f"split.protocol asks for the {kind}, but the corpus has only one: "
            f"{next(iter(sizes))!r}"
        )
    return sizes
