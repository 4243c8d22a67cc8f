"""IEMOCAP: five sessions of two actors in dialogue, improvised and scripted, English.

Labels stand in ``Session*/dialog/EmoEvaluation/*.txt``, turns in ``Session*/sentences/wav``. Of all
turns the four classes are kept that nearly everyone reports: neutral, angry, sad, and happy joined
with excited, 5,531 turns; the others (frustrated, no agreement, and few of the rest) are left out.
Speakers talk to each other: a speaker's partner is in the same session, so that five folds by
session are what "speaker-independent" means here (`speaker` is the session).
"""

import re
from pathlib import Path, PurePosixPath

from serct.config.corpora import IemocapParams
from serct.data.corpora.sources import Context, Names
from serct.data.corpora.tree import is_audio, list_files, scan_names
from serct.data.corpora.verification import Original
from serct.data.manifest import Clip, Scan
from serct.errors import CorpusError

TITLE = "Interactive Emotional Dyadic Motion Capture database (IEMOCAP), four classes"
LICENCE = "research only, under a licence signed with USC"
CITATION = (
    "Busso, C., Bulut, M., Lee, C., Kazemzadeh, A., Mower, E., Kim, S., Chang, J. N., Lee, S., & "
    "Narayanan, S. S. (2008). IEMOCAP: Interactive emotional dyadic motion capture database. "
    "Language Resources and Evaluation 42(4)."
)
HOMEPAGE = "https://sail.usc.edu/iemocap/"
NAMES = Names(("iemocap", "IEMOCAP", "IEMOCAP_full_release"), max_bytes=1 << 36)

_EMOTIONS = {"neu": "neutral", "ang": "angry", "sad": "sad", "hap": "happy", "exc": "happy"}
# [6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5000, 2.5000, 2.5000]
_LABEL = re.compile(r"\[[\d. -]+\]\s+(\S+)\s+([a-z]{3})\s+\[")
# The dialogue is named after who wore the markers, the turn ends with who speaks.
_TURN = re.compile(r"Ses0([1-5])[FM]_(?:impro|script)\w+_([FM])[A-Z]*\d+")


def language(params: IemocapParams) -> str:
    """English."""
    return "en"


def expected_count(params: IemocapParams) -> int:
    """Turns of the four classes."""
    return 5531


def originals(params: IemocapParams) -> dict[str, Original]:
    """No checksums are published."""
    return {}


def obtain(destination: Path, params: IemocapParams, context: Context) -> str:
    """Fill a folder from the mirror or the cache.

    Returns:
        Where the files came from.

    Raises:
        DownloadError: If it is in neither.
    """
    found = context.take_local(
        NAMES, destination, wanted=lambda path: _is_turn(path) or _is_evaluation(path)
    )
    if found:
        return str(found)
    raise context.by_hand(
        NAMES, f"IEMOCAP is given for research under a signed licence: see {HOMEPAGE}"
    )


def scan(root: Path, params: IemocapParams) -> Scan:
    """Read the labels from the evaluations, the speakers from the names.

    Raises:
        CorpusError: If there is no evaluation, or one is not text.
    """
    labels: dict[str, str] = {}
    evaluations = list_files(root, _is_evaluation)
    if not evaluations:
        raise CorpusError(f"{root}: no Session*/dialog/EmoEvaluation/*.txt, which hold the labels")
    for path in evaluations:
        try:
            text = (root / path).read_text("utf-8")
        except UnicodeDecodeError as error:
            raise CorpusError(f"{root / path}: not UTF-8 ({error})") from error
        labels.update(_LABEL.findall(text))

    def read(path: PurePosixPath) -> Clip | str | None:
        if not _is_turn(path):
            return None
        match = _TURN.fullmatch(path.stem)
        if not match:
            return "not a name of IEMOCAP, expected one like Ses01F_impro01_F000"
        if path.stem not in labels:
            return "no evaluation names it"
        emotion = _EMOTIONS.get(labels[path.stem])
        if emotion is None:
            return None
        session, gender = match.groups()
        return Clip(
            path=str(path),
            speaker=f"session-{session}",
            gender=gender.lower(),
            text_id="",
            emotion=emotion,
        )

    return scan_names(root, read)


def _is_turn(path: PurePosixPath) -> bool:
    """Whether a path is one turn, and not a whole dialogue."""
    return is_audio(path) and "dialog" not in path.parts


def _is_evaluation(path: PurePosixPath) -> bool:
    return (
        path.suffix == ".txt"
        and path.parent.name == "EmoEvaluation"
        and not path.name.startswith(".")
    )
