"""Registered versions, as people choose from them and as commands list them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from serct.tracking.version_names import SHOWN, version_name


@dataclass(frozen=True)
class Version:
    """A registered version, for people to choose from.

    Attributes:
        version: Its number, as text: MLflow returns an int or text, depending on the store.
        aliases: Names that point to it, sorted.
        validation_ua: Unweighted accuracy on the validation part, 0..1.
        test_ua: The same on the test part, None before the evaluation.
        run_id: The run that trained it.
    """

    version: str
    aliases: tuple[str, ...]
    model: str
    corpus: str
    synthetic: bool
    validation_ua: float
    test_ua: float | None
    manifest_digest: str
    fingerprint: str
    weights: str
    run_id: str

    def __str__(self) -> str:
        """Return its name for a message, which means the same in every registry."""
        return version_name(self.version, vars(self))


class Identity(NamedTuple):
    """What tells a version from all others, also after its registry was deleted and rebuilt.

    Attributes:
        number: Which a rebuilt registry may give to another model.
        model: Address of the logged model, which is never used twice.
    """

    number: str
    model: str


def list_versions(versions: Sequence[Version]) -> list[dict[str, str]]:
    """Return registered versions as rows of text for a table."""
    return [
        {
            "version": found.version,
            "aliases": ", ".join(found.aliases),
            "model": found.model,
            "corpus": f"{found.corpus} (synthetic)" if found.synthetic else found.corpus,
            "validation UA": f"{found.validation_ua:.4f}",
            "test UA": "" if found.test_ua is None else f"{found.test_ua:.4f}",
            "fingerprint": found.fingerprint[:SHOWN],
        }
        for found in versions
    ]
