"""Several corpora as one: each in a folder of its own, their speakers and texts kept apart.

What they call an emotion is already one table, so a joint corpus needs no map. Its clips keep the
name and the language of the corpus they are from: the `corpus` protocol leaves a whole one out.
"""

from dataclasses import replace
from pathlib import Path

from serct.config.corpora import JointParams, SingleCorpusParams
from serct.data.corpora.readers import SINGLE_READERS
from serct.data.corpora.sources import Context
from serct.data.corpora.verification import Original
from serct.data.manifest import Clip, Rejection, Scan, common_language

TITLE = "Several corpora as one"
LICENCE = "of each corpus; the strictest binds"
CITATION = ""
HOMEPAGE = ""


def language(params: JointParams) -> str:
    """The members' language, or the code for several."""
    members = params.members.values()
    return common_language(SINGLE_READERS[each.reader].language(each) for each in members)


def expected_count(params: JointParams) -> int | None:
    """The members' clips together, None if that is not fixed."""
    counts = [SINGLE_READERS[each.reader].expected_count(each) for each in params.members.values()]
    if params.emotions is not None or None in counts:
        return None
    return sum(count for count in counts if count is not None)


def originals(params: JointParams) -> dict[str, Original]:
    """Checksums of all members, as far as they are known."""
    found: dict[str, Original] = {}
    for each in params.members.values():
        found |= SINGLE_READERS[each.reader].originals(each)
    return found


def obtain(destination: Path, params: JointParams, context: Context) -> str:
    """Fill a folder a member, each from where it alone would come.

    Returns:
        Where the files came from.
    """
    origins = []
    for name, each in params.members.items():
        own = replace(context, name=name)
        origins.append(SINGLE_READERS[each.reader].obtain(destination / name, each, own))
    return ", ".join(origins)


def scan(root: Path, params: JointParams) -> Scan:
    """List the members' clips, one member after the other."""
    clips: list[Clip] = []
    rejections: list[Rejection] = []
    for name, each in params.members.items():
        found = SINGLE_READERS[each.reader].scan(root / name, each)
        clips += [
            _as_member(clip, name, each)
            for clip in found.clips
            if params.emotions is None or clip.emotion in params.emotions
        ]
        rejections += [replace(r, path=f"{name}/{r.path}") for r in found.rejections]
    return Scan(tuple(clips), tuple(rejections))


def _as_member(clip: Clip, name: str, params: SingleCorpusParams) -> Clip:
    def own(word: str) -> str:
        return f"{name}-{word}" if word else ""

    return replace(
        clip,
        path=f"{name}/{clip.path}",
        corpus=name,
        language=SINGLE_READERS[params.reader].language(params),
        speaker=own(clip.speaker),
        text_id=own(clip.text_id),
    )
