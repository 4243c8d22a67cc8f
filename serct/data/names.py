"""Names of people and texts that are spelled in several ways, see `serct.config.spelling`."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from serct.config.spelling import fold
from serct.data.manifest import Utterance

# What programs write into an empty cell, folded.
_NO_NAMES = frozenset({"na", "n/a", "<na>", "nan", "none", "null", "nil", "unknown", "?", "-", "."})
# Letters that Unicode does not decompose. In Turkish, "I" is the capital of "ı"; it folds to "i".
_PLAIN = str.maketrans("ıøłđ", "iold")


def _resemblance(name: str) -> str:
    """Return what names share that may well be one: no accents, punctuation or leading zeros."""
    letters = unicodedata.normalize("NFKD", fold(name)).translate(_PLAIN)
    plain = "".join(each for each in letters if each.isalnum())
    return re.sub(r"0+(?=\d)", "", re.sub(r"(?<=\d)(?=\D)|(?<=\D)(?=\d)", " ", plain))


def unify_names(utterances: Iterable[Utterance]) -> list[Utterance]:
    """Return the utterances with one spelling for each speaker and each text.

    Of several spellings the most frequent one is kept; among equals the first in the order of
    their composed letters.
    """
    listed = list(utterances)
    speakers = _spellings(u.speaker for u in listed)
    texts = _spellings(u.text_id for u in listed)
    return [
        replace(u, speaker=speakers[fold(u.speaker)][0], text_id=texts[fold(u.text_id)][0])
        for u in listed
    ]


def describe_names(utterances: Sequence[Utterance]) -> list[str]:
    """Return warnings: names of several spellings or that look empty, speakers nearly alike."""
    speakers = _spellings(u.speaker for u in utterances)
    texts = _spellings(u.text_id for u in utterances)
    warnings = [
        f"{kind} {_quote(found)}: taken as one, named {found[0]!r} in the manifest"
        for kind, names in (("speaker", speakers), ("text", texts))
        for found in names.values()
        if len(found) > 1
    ]
    alike: dict[str, list[str]] = defaultdict(list)
    for name, *_ in speakers.values():
        alike[_resemblance(name)].append(name)
    warnings += [
        f"{kind} {_quote(found)}: taken as a name; if it means that none is known, leave it empty"
        for kind, names in (("speaker", speakers), ("text", texts))
        for folded, found in names.items()
        if folded in _NO_NAMES
    ]
    return warnings + [
        f"speakers {_quote(found)}: taken as {len(found)} people; if they are one, spell them alike"
        for found in alike.values()
        if len(found) > 1
    ]


def _spellings(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the spellings of each folded name, the one to keep first."""
    groups: dict[str, list[str]] = defaultdict(list)
    counts = Counter(names)
    for name in counts:
        groups[fold(name)].append(name)

    def rank(name: str) -> tuple[int, str, bool, str]:
        composed = unicodedata.normalize("NFC", name)
        return -counts[name], composed, name != composed, name

    return {folded: sorted(found, key=rank) for folded, found in sorted(groups.items())}


def _quote(names: Sequence[str]) -> str:
    # NFC and NFD look the same: ASCII shows the difference.
    look_alike = len({unicodedata.normalize("NFC", name) for name in names}) < len(names)
    return " and ".join(ascii(name) if look_alike else repr(name) for name in names)
