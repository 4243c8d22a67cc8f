"""Several corpora as one: each in a folder of its own, with its own speakers and texts.

All corpora use one table of emotions, so a joint corpus needs no map. Its utterances keep the name
and the language of the corpus they are from: the `corpus` protocol leaves a whole one out.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from serct.config.section import Name
from serct.data.corpora import CorpusEntry, build_corpus
from serct.data.download import Progress
from serct.data.manifest import Rejection, Scan, Utterance, common_language
from serct.data.reading.corpus import Corpus, CorpusParams
from serct.data.reading.sources import Sources
from serct.data.reading.verification import Original
from serct.emotions import EMOTIONS


class JointParams(CorpusParams):
    """Several corpora as one; ``emotions`` leaves out all others, null none."""

    reader: Literal["joint"]
    members: Annotated[dict[Name, CorpusEntry], Field(min_length=2)]
    emotions: tuple[Literal[*EMOTIONS], ...] | None  # type: ignore[valid-type]

    @field_validator("members")
    @classmethod
    def _single(cls, members: dict[str, CorpusParams]) -> dict[str, CorpusParams]:
        if any(member.reader == "joint" for member in members.values()):
            raise ValueError("a member is joint itself, expected single corpora")
        return members


class Joint(Corpus):
    """Several corpora as one."""

    params: JointParams
    title = "Several corpora as one"
    licence = "of each corpus; the strictest binds"

    def __init__(self, name: str, params: JointParams) -> None:
        super().__init__(name, params)
        self.members = [build_corpus(name, member) for name, member in params.members.items()]
        self.is_synthetic = any(member.is_synthetic for member in self.members)

    @property
    def language(self) -> str:
        """The members' language, or the code for several."""
        return common_language(member.language for member in self.members)

    @property
    def num_utterances(self) -> int | None:
        """Number of the members' utterances together, None if any is not fixed."""
        counts = [member.num_utterances for member in self.members]
        if self.params.emotions is not None or None in counts:
            return None
        return sum(count for count in counts if count is not None)

    def originals(self) -> dict[str, Original]:
        """Return what is known of the files of all members."""
        return {stem: file for member in self.members for stem, file in member.originals().items()}

    def obtain(self, destination: Path, sources: Sources, progress: Progress) -> str:
        """Fill one folder a member, each from where it alone would come."""
        return ", ".join(
            member.obtain(destination / member.name, sources, progress) for member in self.members
        )

    def scan(self, root: Path) -> Scan:
        """List the members' utterances, one member after the other."""
        utterances: list[Utterance] = []
        rejections: list[Rejection] = []
        for member in self.members:
            found = member.scan(root / member.name)
            utterances += [
                _as_member(utterance, member)
                for utterance in found.utterances
                if self.params.emotions is None or utterance.emotion in self.params.emotions
            ]
            rejections += [replace(r, path=f"{member.name}/{r.path}") for r in found.rejections]
        return Scan(tuple(utterances), tuple(rejections))


def _as_member(utterance: Utterance, member: Corpus) -> Utterance:
    def own(word: str) -> str:
        return f"{member.name}-{word}" if word else ""

    return replace(
        utterance, path=f"{member.name}/{utterance.path}", corpus=member.name,
        language=member.language, speaker=own(utterance.speaker), text_id=own(utterance.text_id),
    )  # fmt: skip
