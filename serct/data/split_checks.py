"""Check that the parts of a corpus can be used, and say who is in them."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from serct.config.spelling import fold
from serct.data.manifest import SPLITS, Utterance
from serct.emotions import EMOTIONS, in_table_order
from serct.errors import ManifestError, list_problems

# What the test part must not share with the rest. Validation is cut by the first of these of which
# the rest has several.
DISJOINT: dict[str, tuple[str, ...]] = {
    "random": (), "speaker": ("speaker",), "text": ("text",), "speaker_text": ("speaker", "text"),
    "corpus": ("corpus",), "file": (), "emobox": (),
}  # fmt: skip


def group_of(utterance: Utterance, kind: str) -> str:
    """Return the speaker, text or corpus of an utterance, "" if it is not known."""
    return {
        "speaker": utterance.speaker, "text": utterance.text_id, "corpus": utterance.corpus,
    }[kind]  # fmt: skip


def describe_members(utterances: Sequence[Utterance]) -> list[str]:
    """Return a line for each member of a joint corpus: its utterances and speakers by split."""
    lines = []
    for member in dict.fromkeys(u.corpus for u in utterances):
        parts = []
        for split in SPLITS:
            own = [u for u in utterances if (u.corpus, u.split) == (member, split)]
            num_speakers = len({u.speaker for u in own} - {""})
            parts.append(f"{split} {len(own)} of {num_speakers} speakers")
        lines.append(f"{member}: {', '.join(parts)}")
    return lines if len(lines) > 1 else []


def check_splits(utterances: Sequence[Utterance], protocol: str) -> None:
    """Check that splits have no leak and that each can be used.

    Raises:
        ManifestError: If one recording (by digest) is in two splits, the test part shares with
            another what the protocol keeps apart, a split is empty, a name is unknown, or an
            emotion is never trained on.
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
            problems.append(f"one recording is in several splits: {', '.join(paths[digest])}")
    for kind in DISJOINT[protocol]:
        groups = {
            s: {fold(group_of(u, kind)): group_of(u, kind) for u in utterances if u.split == s}
            for s in SPLITS
        }
        for other in ("train", "validation"):
            shared = groups["test"].keys() & groups[other].keys()
            if shared:
                names = ", ".join(
                    " alias ".join(dict.fromkeys((groups["test"][name], groups[other][name])))
                    for name in sorted(shared)
                )
                problems.append(f"the {kind} protocol is broken: {names} in both test and {other}")
    counts = Counter(u.split for u in utterances)
    problems += [f"the {split} part is empty" for split in SPLITS if not counts[split]]
    trained = {u.emotion for u in utterances if u.split == "train"}
    known = {u.emotion for u in utterances if u.emotion in EMOTIONS}
    for emotion in in_table_order(known - trained):
        problems.append(f"emotion {emotion!r} is never trained on")
    if problems:
        raise ManifestError("the split cannot be used:\n" + list_problems(problems))
