"""Promote a version after its gates, or roll back in one step; both are recorded."""

import getpass
import io
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from serct.config.params import Params
from serct.errors import TrackingError
from serct.inference.predictor import Predictor
from serct.promotion.gates import Gate, examine
from serct.tracking import CHAMPION, PREVIOUS, Entry, Promoted, Store, Version, append_promotion


@dataclass(frozen=True)
class Promotion:
    """The result of a promotion.

    Attributes:
        version: The version that was examined.
        champion: The champion before, None if there was none.
        gates: All gates, in their order.
        is_done: Whether the version is the champion now.
    """

    version: Version
    champion: Version | None
    gates: tuple[Gate, ...]
    is_done: bool

    @property
    def is_refused(self) -> bool:
        """Whether a gate refuses the version."""
        return any(gate.verdict == "REFUSED" for gate in self.gates)


def promote(
    params: Params, data: Path, store: Store, which: str, why: str, *, is_dry: bool = False
) -> Promotion:
    """Examine a version and, if no gate refuses it, make it the champion.

    Args:
        params: The bounds of the gates.
        data: The workspace's data folder.
        store: The registry of the workspace.
        which: "3" or "@challenger".
        why: The reason, for the record.
        is_dry: Only examine the version.

    Raises:
        TrackingError: If there is no such version, or it is already the champion.
    """
    version, champion = store.version(which), _holder(store, CHAMPION)
    if champion is not None and champion.version == version.version:
        raise TrackingError(f"version {version.version} is the champion already")
    folder = store.folder(version.version)
    in_use = store.folder(champion.version) if champion else None
    gates = (*examine(params, data, folder, in_use), _served_by_mlflow(store, version, folder))
    found = Promotion(version, champion, gates, is_done=False)
    if found.is_refused or is_dry:
        return found
    _move(data, store, "promote", version, champion, why, gates)
    return Promotion(version, champion, gates, is_done=True)


def rollback(data: Path, store: Store, why: str) -> tuple[Version, Version]:
    """Swap the champion and the previous champion.

    Returns:
        The new champion, and the one before it.

    Raises:
        TrackingError: If there is no previous champion.
    """
    champion, previous = _holder(store, CHAMPION), _holder(store, PREVIOUS)
    if champion is None or previous is None:
        raise TrackingError("nothing to roll back to: no version is called previous")
    _move(data, store, "rollback", previous, champion, why, ())
    return previous, champion


def _move(
    data: Path,
    store: Store,
    action: Literal["promote", "rollback"],
    champion: Version,
    previous: Version | None,
    why: str,
    gates: Sequence[Gate],
) -> None:
    entry = Entry(
        action=action,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        by=f"{getpass.getuser()}@{socket.gethostname()}",
        why=why,
        champion=_promoted(champion),
        previous=_promoted(previous) if previous else None,
        gates=tuple(asdict(gate) for gate in gates),
    )
    # The record first: if this process dies in between, `serct sync` completes the move.
    append_promotion(data, entry)
    tags = {f"serct.{action}.{key}": getattr(entry, key) for key in ("at", "by", "why")}
    store.set_aliases(champion.version, previous.version if previous else None, tags)


def _promoted(version: Version) -> Promoted:
    return Promoted(
        version=version.version,
        name=version.model,
        corpus=version.corpus,
        fingerprint=version.fingerprint,
        weights=version.weights,
    )


def _holder(store: Store, alias: str) -> Version | None:
    return next((each for each in store.versions() if alias in each.aliases), None)


def _served_by_mlflow(store: Store, version: Version, folder: Path) -> Gate:
    """Check that `mlflow models serve` would give the same prediction."""
    name, expected = "same prediction through MLflow", "differs by <= 1e-6"
    audio = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 16_000)
    soundfile.write(audio, noise, 16_000, format="WAV", subtype="PCM_16")
    try:
        served = store.predict_as_served(version.version, audio.getvalue())
        own = Predictor.load(folder).predict_file(audio, "noise")
    except Exception as error:  # any error would reach a user
        return Gate(name, f"{error}".splitlines()[0], expected, "REFUSED")
    difference = max(abs(served[emotion] - own[emotion]) for emotion in own)
    return Gate(name, f"{difference:.1e}", expected, "passed" if difference <= 1e-6 else "REFUSED")
