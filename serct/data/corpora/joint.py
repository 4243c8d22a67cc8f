"""Several corpora as one: each in a folder of its own, with its own speakers and texts.

All corpora use one table of emotions, so a joint corpus needs no map. Its utterances keep the name
and the language of the corpus they are from: the `corpus` protocol leaves a whole one out.

A member that params.yaml calls optional is left out, with a warning, if it cannot be had. Which
members are in it then shows in its folder, in the manifest and in the cards of its models.
"""

import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from serct.config.section import Name
from serct.data.corpora import CorpusEntry, build_corpus
from serct.data.download import Progress
from serct.data.manifest import Rejection, Scan, Utterance, common_language
from serct.data.reading.corpus import Corpus, CorpusParams
from serct.data.reading.sources import Sources
from serct.data.reading.verification import Original
from serct.emotions import EMOTIONS
from serct.errors import CorpusError, DownloadError
from serct.runtime.log import logger

# Of fewer there is nothing to join.
_FEWEST = 2


class JointParams(CorpusParams):
    """Several corpora as one.

    Attributes:
        members: Entries by name.
        emotions: All others are left out; None: none is.
        optional: Names of members that may be left out where they cannot be had.
    """

    reader: Literal["joint"]
    members: Annotated[dict[Name, CorpusEntry], Field(min_length=_FEWEST)]
    emotions: tuple[Literal[*EMOTIONS], ...] | None  # type: ignore[valid-type]
    optional: tuple[Name, ...] = ()

    @field_validator("members")
    @classmethod
    def _single(cls, members: dict[str, CorpusParams]) -> dict[str, CorpusParams]:
        if any(member.reader == "joint" for member in members.values()):
            raise ValueError("a member is joint itself, expected single corpora")
        if divided := [name for name, member in members.items() if member.split is not None]:
            raise ValueError(
                f"{', '.join(divided)} has a split of its own, but members are divided together"
            )
        return members

    @model_validator(mode="after")
    def _known(self) -> Self:
        if unknown := [name for name in self.optional if name not in self.members]:
            raise ValueError(
                f"optional names {', '.join(unknown)}, expected names of members: "
                f"{', '.join(self.members)}"
            )
        return self


class Joint(Corpus):
    """Several corpora as one."""

    params: JointParams
    title = "Several corpora as one"
    licence = "of each corpus; the strictest binds"

    def __init__(self, name: str, params: JointParams) -> None:
        super().__init__(name, params)
        self.members = [build_corpus(name, member) for name, member in params.members.items()]
        # Of all, also of those left out: it is asked for before anything is obtained.
        self.is_synthetic = any(member.is_synthetic for member in self.members)
        # Folds of one set that several members are parts of, such as the languages of ESD.
        sets = {member.emobox for member in self.members}
        self.emobox = sets.pop() if len(sets) == 1 else ""

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

    def licences(self) -> dict[str, str]:
        """Return the licence of each member."""
        return {member.name: member.licence for member in self.members}

    def as_published(self, root: Path) -> "Joint":
        """Return the members that a folder has, with all their labels.

        Raises:
            CorpusError: If fewer than two are left.
        """
        present = self._present(root)
        members = {
            name: member.model_copy(update={"labels": None})
            for name, member in present.params.members.items()
        }
        return present._changed(members=members, emotions=None)

    def obtain(self, destination: Path, sources: Sources, progress: Progress) -> str:
        """Fill one folder a member, each from where it alone would come.

        Raises:
            DownloadError: If a member that is not optional cannot be had, or fewer than two can.
        """
        origins: list[str] = []
        missing: dict[str, str] = {}
        for member in self.members:
            folder = destination / member.name
            folder.mkdir()
            try:
                origins.append(member.obtain(folder, sources, progress))
            except DownloadError as error:
                if member.name not in self.params.optional:
                    raise
                shutil.rmtree(folder, ignore_errors=True)
                missing[member.name] = str(error)
        for name, reason in missing.items():
            logger.warning(
                "%s: left out %s, which is optional and cannot be had:\n%s\n"
                "`dvc repro -f download@%s` tries again",
                self.name, name, reason, self.name,
            )  # fmt: skip
        try:
            self._without(missing, self.name)
        except CorpusError as error:
            raise DownloadError("\n".join((str(error), *missing.values()))) from error
        return ", ".join(origins)

    def scan(self, root: Path) -> Scan:
        """List the utterances of the members in a folder, one member after the other."""
        utterances: list[Utterance] = []
        rejections: list[Rejection] = []
        notes: list[str] = []
        for member in self._present(root).members:
            found = member.scan_labelled(root / member.name)
            utterances += [
                _as_member(utterance, member)
                for utterance in found.utterances
                if self.params.emotions is None or utterance.emotion in self.params.emotions
            ]
            rejections += [replace(r, path=f"{member.name}/{r.path}") for r in found.rejections]
            notes += [f"{member.name}: {note}" for note in found.notes]
        return Scan(tuple(utterances), tuple(rejections), tuple(notes))

    def recording_name(self, path: PurePosixPath) -> str:
        """Return the name that the member of a path gives it; elsewhere, what the first gives."""
        named = {member.name: member for member in self.members}
        own = named.get(path.parts[0], self.members[0])
        return own.recording_name(
            path.relative_to(own.name) if own.name in path.parts[:1] else path
        )

    def _present(self, root: Path) -> "Joint":
        missing = {name for name in self.params.optional if not (root / name).is_dir()}
        return self._without(missing, str(root))

    def _without(self, missing: Collection[str], where: str) -> "Joint":
        present = {name: m for name, m in self.params.members.items() if name not in missing}
        if len(present) < _FEWEST:
            raise CorpusError(
                f"{where}: {', '.join(present) or 'none'} alone of {', '.join(self.params.members)}"
                f", expected at least {_FEWEST} corpora to join"
            )
        return self._changed(members=present, optional=())

    def _changed(self, **changes: object) -> "Joint":
        return Joint(self.name, self.params.model_copy(update=changes))


def _as_member(utterance: Utterance, member: Corpus) -> Utterance:
    def own(word: str) -> str:
        return f"{member.name}-{word}" if word else ""

    return replace(
        utterance, path=f"{member.name}/{utterance.path}", corpus=member.name,
        language=utterance.language or member.language, speaker=own(utterance.speaker),
        text_id=own(utterance.text_id),
    )  # fmt: skip
