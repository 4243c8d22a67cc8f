"""Dividing utterances into train, validation and test without a leak.

The order that decides comes from hashing names with the seed, not from a random generator or a
folder listing, so every machine and every version divides alike.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from serct.emotions import EMOTIONS, in_table_order
from serct.errors import ManifestError, list_problems
from serct.manifest import SPLITS, Split, Utterance
from serct.params import SplitParams


def split_utterances(
    utterances: Sequence[Utterance], params: SplitParams, seed: int
) -> list[Utterance]:
    """Divide utterances into train, validation and test by the protocol.

    A corpus that comes divided (``split`` already set) keeps its own test part under the
    `random` protocol. Validation is always cut from what is not test.

    - random: stratified by emotion, ``test_fraction`` of each.
    - speaker, text: whole speakers (texts) go to test until ``test_fraction`` is reached.
      Validation is disjoint in the same way if a group can be spared, else cut at random from
      the training groups (TESS has but two speakers).

    Raises:
        ManifestError: If an emotion has fewer than three utterances, a protocol's groups are
            unknown or fewer than two, or a promise is broken (see `check_splits`).
    """
    if not utterances:
        raise ManifestError("no utterances to divide")
    ordered = sorted(utterances, key=lambda u: _split_order(u, seed))
    if params.protocol == "random":
        if any(u.split for u in ordered):
            divided = [u if u.split == "test" else replace(u, split="") for u in ordered]
        else:
            divided = _cut_stratified(ordered, params.test_fraction, "test")
    else:
        ungrouped = [replace(u, split="") for u in ordered]
        divided = _cut_groups(ungrouped, params.protocol, params.test_fraction, "test", seed)
    rest = [u for u in divided if not u.split]
    if params.protocol != "random" and len({_group(u, params.protocol) for u in rest}) > 1:
        rest = _cut_groups(rest, params.protocol, params.validation_fraction, "validation", seed)
    else:
        rest = _cut_stratified(rest, params.validation_fraction, "validation")
    result = [u for u in divided if u.split] + [replace(u, split=u.split or "train") for u in rest]
    result.sort(key=lambda u: u.utterance)
    check_splits(result, params.protocol)
    return result


def _split_order(utterance: Utterance, seed: int) -> tuple[str, str]:
    name = PurePosixPath(utterance.path).stem
    return _hash(seed, f"{utterance.emotion}/{name}"), utterance.utterance


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
    ordered: Sequence[Utterance], protocol: str, fraction: float, split: Split, seed: int
) -> list[Utterance]:
    """Mark whole speakers or texts as ``split`` until ``fraction`` of all rows is reached."""
    sizes = Counter(_group(u, protocol) for u in ordered)
    if "" in sizes:
        raise ManifestError(
            f"split.protocol is {protocol!r}, but {sizes['']} utterances have no known {protocol}"
        )
    if len(sizes) < 2:
        raise ManifestError(
            f"split.protocol is {protocol!r}, but the corpus has only one: {next(iter(sizes))!r}"
        )
    names = sorted(sizes, key=lambda name: (_hash(seed, name), name))
    marked: set[str] = set()
    for name in names[:-1]:
        if marked and sum(sizes[m] for m in marked) >= fraction * len(ordered):
            break
        marked.add(name)
    return [replace(u, split=split) if _group(u, protocol) in marked else u for u in ordered]


def _group(utterance: Utterance, protocol: str) -> str:
    return utterance.speaker if protocol == "speaker" else utterance.text_id


def check_splits(utterances: Sequence[Utterance], protocol: str) -> None:
    """Find any leak between the sides, and any side that cannot be used.

    Raises:
        ManifestError: If one recording (by digest) stands in two splits, a speaker (or text)
            of the test part is also trained or validated on under that protocol, a split is
            empty, a name is unknown, or an emotion is tested but never trained.
    """
    problems: list[str] = []
    sides: dict[str, set[str]] = defaultdict(set)
    paths: dict[str, list[str]] = defaultdict(list)
    for utterance in utterances:
        sides[utterance.sha256].add(utterance.split)
        paths[utterance.sha256].append(f"{utterance.path} ({utterance.split})")
        if utterance.split not in SPLITS:
            problems.append(
                f"{utterance.path}: split is {utterance.split!r}, expected one of {SPLITS}"
            )
        if utterance.emotion not in EMOTIONS:
            problems.append(f"{utterance.path}: unknown emotion {utterance.emotion!r}")
    for digest, found in sides.items():
        if len(found) > 1:
            problems.append(f"one recording stands in several splits: {', '.join(paths[digest])}")
    if protocol != "random":
        groups = {s: {_group(u, protocol) for u in utterances if u.split == s} for s in SPLITS}
        for other in ("train", "validation"):
            shared = groups["test"] & groups[other]
            if shared:
                names = ", ".join(sorted(shared))
                problems.append(
                    f"the {protocol} protocol is broken: {names} in both test and {other}"
                )
    counts = Counter(u.split for u in utterances)
    problems += [f"the {split} part is empty" for split in SPLITS if not counts[split]]
    trained = {u.emotion for u in utterances if u.split == "train"}
    known = {u.emotion for u in utterances if u.emotion in EMOTIONS}
    for emotion in in_table_order(known - trained):
        problems.append(f"emotion {emotion!r} is never trained on")
    if problems:
        raise ManifestError("the split cannot be used:\n" + list_problems(problems))
