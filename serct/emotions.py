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


def canonical_emotion(word: str) -> str:
    """Translate a corpus' word into the table's; spellings are compared as `fold` does.

    Raises:
        CorpusError: If the word is in neither the table nor the synonyms.

    Example:
        >>> canonical_emotion("Fear")
        'fearful'
    """
    name = re.sub(r"[ _-]+", "_", fold(word))
    name = _SYNONYMS.get(name, name)
    if name not in EMOTIONS:
        raise CorpusError(f"unknown emotion {word!r}, expected one of {', '.join(EMOTIONS)}")
    return name


def in_table_order(emotions: Iterable[str]) -> tuple[str, ...]:
    """Sort distinct emotions by their place in the table.

    Example:
        >>> in_table_order({"sad", "angry"})
        ('angry', 'sad')
    """
    return tuple(sorted(set(emotions), key=EMOTIONS.index))
