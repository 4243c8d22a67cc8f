"""Which encoder a model uses: an entry under ``encoders`` in params.yaml."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, PrivateAttr, model_validator

from serct.config.record import restored
from serct.config.section import Section
from serct.errors import ParamsError

# What such encoders are trained on.
RATE_HZ = 16_000
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class EncoderParams(Section):
    """A pretrained encoder: what it is and where it comes from.

    Attributes:
        name: Its entry under ``encoders``.
        repository: On the Hugging Face hub, "owner/name"; the last part names its folder in a
            mirror too. None for an encoder that lies in a folder only.
        revision: The commit of that repository.
        path: A folder that holds it, instead of a repository.
        sha256: `serct.models.encoders.weights.weights_digest` of its weights, None to trust the
            revision alone.
        licence: Of its weights.
        trained_on: What it learned from, in words.
    """

    name: str
    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] | None = None
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    path: str | None = None
    sha256: _Sha256 | None = None
    licence: str
    trained_on: str

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.repository is None) == (self.path is None):
            raise ValueError("expected either repository, with revision, or path")
        if (self.repository is None) != (self.revision is None):
            raise ValueError("expected a revision with the repository, and only with it")
        return self

    @classmethod
    def in_folder(cls, path: str) -> dict[str, Any]:
        """Return the entry of an encoder of which only the folder is known."""
        name, unknown = Path(path).name, "unknown"
        return {"name": name, "path": path, "licence": unknown, "trained_on": unknown}

    @property
    def folder_name(self) -> str:
        """The name of its folder in a mirror or in the cache."""
        return Path(self.repository or self.path or "").name


class FramesParams(Section):
    """Which of an encoder's frames are used.

    Attributes:
        layers: Hidden states that are used: 0 is the input of the first layer, 1 the output of the
            first, and so on; None for all.
        noise_floor_db: Clips are freed of their mean and brought to one level, and get noise that
            is softer by so much; None leaves them as they are.
        speech_range_db: Frames that are softer than the clip's loudest by more are left out; None
            uses all.
    """

    layers: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] | None
    noise_floor_db: Annotated[float, Field(lt=0)] | None
    speech_range_db: Annotated[float, Field(gt=0)] | None


class UsesEncoder(FramesParams):
    """What the params of every model on an encoder have.

    Attributes:
        encoder: In params.yaml the name of an entry under ``encoders``; in a card that entry.
    """

    encoder: restored(EncoderParams)  # type: ignore[valid-type]

    _encoder_folder: Path | None = PrivateAttr(None)

    def check_rate(self, sample_rate_hz: int) -> None:
        """Check that rows have the encoder's rate.

        Raises:
            ParamsError: If they have another one.
        """
        if sample_rate_hz != RATE_HZ:
            raise ParamsError(
                f"encoder {self.encoder.name} needs audio.sample_rate {RATE_HZ}, "
                f"found {sample_rate_hz}"
            )

    def with_encoder(self, folder: Path) -> Self:
        """Return these params, with the folder that holds the encoder's files."""
        copy = self.model_copy()
        copy._encoder_folder = folder
        return copy

    @property
    def encoder_folder(self) -> Path:
        """The folder that holds the encoder's files.

        Raises:
            ParamsError: If nothing said where they are.
        """
        if self._encoder_folder is not None:
            return self._encoder_folder
        if self.encoder.path is not None:
            return Path(self.encoder.path).expanduser()
        raise ParamsError(
            f"the encoder {self.encoder.name} has not been obtained: `serct.training.fitting.fit` "
            "does so"
        )
