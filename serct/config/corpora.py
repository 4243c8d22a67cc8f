"""The entries under ``corpora`` in params.yaml, one kind a reader."""

from typing import Annotated, Literal

from pydantic import Field

from serct.config.section import Name, PositiveInt, Section
from serct.emotions import EMOTIONS

Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]


class CorpusSection(Section):
    """What all corpora have in common."""

    @property
    def is_synthetic(self) -> bool:
        """Whether the speech was made by a machine: such scores say nothing about people."""
        return False


class TessParams(CorpusSection):
    """Toronto Emotional Speech Set."""

    reader: Literal["tess"]


class EmodbParams(CorpusSection):
    """Berlin Database of Emotional Speech."""

    reader: Literal["emodb"]


class RavdessParams(CorpusSection):
    """Ryerson Audio-Visual Database, the spoken part."""

    reader: Literal["ravdess"]


class CremaDParams(CorpusSection):
    """Crowd-sourced Emotional Multimodal Actors Dataset."""

    reader: Literal["crema_d"]


class SaveeParams(CorpusSection):
    """Surrey Audio-Visual Expressed Emotion."""

    reader: Literal["savee"]


class EmovoParams(CorpusSection):
    """EMOVO, Italian."""

    reader: Literal["emovo"]


class IemocapParams(CorpusSection):
    """Interactive Emotional Dyadic Motion Capture, four classes."""

    reader: Literal["iemocap"]


class EsdParams(CorpusSection):
    """One language of the Emotional Speech Dataset."""

    reader: Literal["esd"]
    language: Literal["en", "zh"]
    licence_signed: bool


class DemoParams(CorpusSection):
    """Synthetic speech made on this machine."""

    reader: Literal["demo"]
    language: Literal["en", "de", "zh"]
    num_speakers: Annotated[int, Field(ge=1, le=8)]
    num_texts: PositiveInt
    emotions: tuple[Literal[*EMOTIONS], ...]  # type: ignore[valid-type]

    @property
    def is_synthetic(self) -> bool:
        """Always."""
        return True


class FolderParams(CorpusSection):
    """Anyone's own recordings."""

    reader: Literal["folder"]
    path: str
    language: Language
    table: str | None = None


SingleCorpusParams = (
    TessParams
    | EmodbParams
    | EsdParams
    | RavdessParams
    | CremaDParams
    | SaveeParams
    | EmovoParams
    | IemocapParams
    | DemoParams
    | FolderParams
)


class JointParams(CorpusSection):
    """Several corpora as one; ``emotions`` leaves out all others, null none."""

    reader: Literal["joint"]
    members: Annotated[
        dict[Name, Annotated[SingleCorpusParams, Field(discriminator="reader")]],
        Field(min_length=2),
    ]
    emotions: tuple[Literal[*EMOTIONS], ...] | None  # type: ignore[valid-type]

    @property
    def is_synthetic(self) -> bool:
        """If any member is."""
        return any(member.is_synthetic for member in self.members.values())


CorpusParams = SingleCorpusParams | JointParams
