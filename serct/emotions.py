"""The one table of emotions: names, their order, and what each corpus calls them.

A model's label ids are positions in `EMOTIONS` restricted to the emotions it was trained on, so
that two corpora can never number the same emotion differently.
"""

import re
from collections.abc import Iterable

from serct.config.spelling import fold
from serct.errors import CorpusError

EMOTIONS: tuple[str, ...] = (
    "angry",
    "disgusted",
    "fearful",
    "happy",
    "neutral",
    "sad",
    "surprised",
    "bored",
    "calm",
)

# What people and corpora call them, lower case. TESS' "ps" is pleasant surprise; EMO-DB's "Angst"
# covers anxiety and fear.
_SYNONYMS: dict[str, str] = {
    "anger": "angry",
    "disgust": "disgusted",
    "fear": "fearful",
    "anxiety": "fearful",
    "happiness": "happy",
    "joy": "happy",
    "sadness": "sad",
    "surprise": "surprised",
    "ps": "surprised",
    "pleasant_surprise": "surprised",
    "pleasant_surprised": "surprised",
    "boredom": "bored",
    "calmness": "calm",
}


def spell(word: str) -> str:
    """Return what all spellings of a label share.

    Example:
        >>> spell("Pleasant-Surprise ")
        'pleasant_surprise'
    """
    return re.sub(r"[ _-]+", "_", fold(word))


def is_number(word: str) -> bool:
    """Return whether a label is a number: a place on a dimension such as valence or arousal.

    Example:
        >>> is_number("3,5"), is_number("-.2"), is_number("sad")
        (True, True, False)
    """
    return re.fullmatch(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", fold(word)) is not None


def canonical_emotion(word: str) -> str:
    """Translate a corpus' word into the table's; spellings are compared as `spell` does.

    Raises:
        CorpusError: If the word is in neither the table nor the synonyms.

    Example:
        >>> canonical_emotion("Fear")
        'fearful'
    """
    name = spell(word)
    name = _SYNONYMS.get(name, name)
    if name in EMOTIONS:
        return name
    expected = f"expected one of {', '.join(EMOTIONS)}"
    if is_number(word):
        raise CorpusError(
            f"emotion is the number {word}: dimensions such as valence and arousal are not read, "
            f"{expected}"
        )
    raise CorpusError(
        f"unknown emotion {word!r}, {expected}; the key labels of the corpus' entry in params.yaml "
        "says which of them another word means, or that it is left out"
    )


def in_table_order(emotions: Iterable[str]) -> tuple[str, ...]:
    """Sort distinct emotions by their place in the table.

    Example:
        >>> in_table_order({"sad", "angry"})
        ('angry', 'sad')
    """
    return tuple(sorted(set(emotions), key=EMOTIONS.index))
