"""When two spellings are one word: for names of people, texts, files, columns and emotions.

Two spellings are one if they differ only in upper and lower case, in blanks, or in how Unicode
composes their letters: macOS stores "ü" as "u" and a mark, other systems as one letter.
"""

import unicodedata


def fold(name: str) -> str:
    r"""Return what all spellings of a name share.

    Compatibility forms (full-width letters, ligatures, no-break spaces) and invisible characters
    do not count either.

    Example:
        >>> fold("Zoë  Müller") == fold(" zoe\u0308 mu\u0308ller")
        True
    """
    visible = "".join(each for each in name if unicodedata.category(each) != "Cf")
    composed = unicodedata.normalize("NFKC", visible).casefold()
    return " ".join(unicodedata.normalize("NFKC", composed).split())
