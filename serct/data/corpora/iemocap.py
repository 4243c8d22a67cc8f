"""IEMOCAP: five sessions of two actors in dialogue, improvised and scripted, English.

Labels are in ``Session*/dialog/EmoEvaluation/*.txt``, turns in ``Session*/sentences/wav``. The
corpus has the four classes that nearly everyone reports: neutral, angry, sad, and happy joined
with excited, 5,531 turns; the others (frustrated, no agreement, and few of the rest) are left out,
unless the entry's ``labels`` says what their three letters mean (``fru``, ``fea``, ``sur``, ...).
The two speakers of a session talk to each other, so "speaker-independent" means five folds by
session (`speaker` is the session).
"""

import re
from pathlib import Path, PurePosixPath

from serct.data.manifest import Scan, Utterance
from serct.data.reading.corpus import Corpus
from serct.data.reading.sources import Copies
from serct.data.reading.tree import is_audio, list_files, scan_names
from serct.errors import CorpusError

_EMOTIONS = {"neu": "neutral", "ang": "angry", "sad": "sad", "hap": "happy", "exc": "happy"}
# [6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5000, 2.5000, 2.5000]
_LABEL = re.compile(r"\[[\d. -]+\]\s+(\S+)\s+([a-z]{3})\s+\[")
# The dialogue is named after who wore the markers, the turn ends with who speaks.
_TURN = re.compile(r"Ses0([1-5])[FM]_(?:impro|script)\w+_([FM])[A-Z]*\d+")


class Iemocap(Corpus):
    """Four classes of IEMOCAP, which needs a signed licence."""

    title = "Interactive Emotional Dyadic Motion Capture database (IEMOCAP), four classes"
    licence = "research only, under a licence signed with USC"
    citation = (
        "Busso, C., Bulut, M., Lee, C., Kazemzadeh, A., Mower, E., Kim, S., Chang, J. N., Lee, S., "
        "& Narayanan, S. S. (2008). IEMOCAP: Interactive emotional dyadic motion capture database. "
        "Language Resources and Evaluation 42(4)."
    )
    homepage = "https://sail.usc.edu/iemocap/"
    language = "en"
    copies = Copies(("iemocap", "IEMOCAP", "IEMOCAP_full_release"), max_bytes=1 << 36)
    emobox = "iemocap"
    how_to_get = f"IEMOCAP is for research under a signed licence: see {homepage}"

    @property
    def num_utterances(self) -> int | None:
        """Number of turns of the four classes; not known with further labels."""
        return 5531 if self.params.labels is None else None

    def is_wanted(self, path: PurePosixPath) -> bool:
        """Take the turns and the files with their labels."""
        return _is_turn(path) or _is_evaluation(path)

    def scan(self, root: Path) -> Scan:
        """Read the labels from the evaluations, the speakers from the names.

        Raises:
            CorpusError: If there is no evaluation, or one is not text.
        """
        labels: dict[str, str] = {}
        evaluations = list_files(root, _is_evaluation)
        if not evaluations:
            raise CorpusError(
                f"{root}: no Session*/dialog/EmoEvaluation/*.txt, which hold the labels"
            )
        for path in evaluations:
            try:
                text = (root / path).read_text("utf-8")
            except UnicodeDecodeError as error:
                raise CorpusError(f"{root / path}: not UTF-8 ({error})") from error
            labels.update(_LABEL.findall(text))

        def read(path: PurePosixPath) -> Utterance | str | None:
            if not _is_turn(path):
                return None
            match = _TURN.fullmatch(path.stem)
            if not match:
                return "not a name of IEMOCAP, expected one like Ses01F_impro01_F000"
            if path.stem not in labels:
                return "no evaluation names it"
            word = labels[path.stem]
            emotion = word if self.is_mapped(word) else _EMOTIONS.get(word)
            if emotion is None:
                return None
            session, gender = match.groups()
            return Utterance(
                path=str(path), speaker=f"session-{session}", gender=gender.lower(), text_id="",
                emotion=emotion,
            )  # fmt: skip

        return scan_names(root, read)


def _is_turn(path: PurePosixPath) -> bool:
    """Return whether a path is one turn, and not a whole dialogue."""
    return is_audio(path) and "dialog" not in path.parts


def _is_evaluation(path: PurePosixPath) -> bool:
    return (
        path.suffix == ".txt"
        and path.parent.name == "EmoEvaluation"
        and not path.name.startswith(".")
    )
