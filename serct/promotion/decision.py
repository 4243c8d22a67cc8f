"""Promote a version after its gates, or roll back in one step; both are recorded."""

import io
import socket
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from serct.config.params import Params
from serct.errors import TrackingError
from serct.inference.predictor import Predictor
from serct.promotion.gates import Gate, Unusable, examine, load_checked
from serct.runtime.machine import user_name
from serct.tracking import (
    CHAMPION,
    PREVIOUS,
    Entry,
    Promoted,
    Store,
    Version,
    append_promotion,
    next_time,
    read_promotions,
)
from serct.tracking.promotions import FILE as PROMOTIONS


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
    params: Params,
    data: Path,
    store: Store,
    which: str,
    why: str,
    *,
    is_dry: bool = False,
    may_replace_unusable: bool = False,
) -> Promotion:
    """Examine a version and, if no gate refuses it, make it the champion.

    Args:
        params: The bounds of the gates.
        data: The workspace's data folder.
        store: The registry of the workspace.
        which: A number, an alias or a name, see `serct.tracking.version_names`.
        why: The reason, for the record.
        is_dry: Only examine the version.
        may_replace_unusable: Whether a champion that cannot be compared with is replaced; it
            refuses the version otherwise.

    Raises:
        TrackingError: If there is no such version, it is already the champion, or an unusable
            champion is to be replaced without a reason.
    """
    if may_replace_unusable and not why.strip():
        raise TrackingError(
            "--replace-unusable-champion needs --why: the reason is kept in promotions.jsonl"
        )
    # What is examined in here is compared with the champion that it replaces, and no other.
    with nullcontext() if is_dry else store.moving_champion():
        held = store.holder_number(CHAMPION)
        version = store.version(which)
        champion, compared = _champion(data, store)
        if champion is not None and champion.version == version.version:
            raise TrackingError(f"{version} is the champion already")
        predictor, gates = _loaded(store, version)
        if predictor is not None:
            gates += (
                *examine(
                    params, data, predictor, compared, may_replace_unusable=may_replace_unusable
                ),
                _served_by_mlflow(store, version, predictor),
            )
        found = Promotion(version, champion, gates, is_done=False)
        return found if is_dry else _completed(found, held, data, store, "promote", why)


def rollback(data: Path, store: Store, why: str, *, is_dry: bool = False) -> Promotion:
    """Examine the previous champion and, if it can be used, swap it with the champion.

    It passed the gates when it was promoted, so only whether it is still usable is checked. The
    champion may be unusable: that is what a rollback is for.

    Args:
        data: The workspace's data folder.
        store: The registry of the workspace.
        why: The reason, for the record.
        is_dry: Only examine the previous champion.

    Raises:
        TrackingError: If there is no previous champion.
    """
    with nullcontext() if is_dry else store.moving_champion():
        champion, previous = store.holder(CHAMPION), store.holder(PREVIOUS)
        if champion is None or previous is None:
            raise TrackingError("nothing to roll back to: no version is called previous")
        predictor, gates = _loaded(store, previous)
        if predictor is not None:
            gates += (_served_by_mlflow(store, previous, predictor),)
        found = Promotion(previous, champion, gates, is_done=False)
        if is_dry:
            return found
        return _completed(found, champion.version, data, store, "rollback", why)


def _champion(data: Path, store: Store) -> tuple[Version | None, Predictor | Unusable | None]:
    """Return the champion, and what a version is compared with; both None if there is none."""
    try:
        champion = store.holder(CHAMPION)
    except TrackingError as error:
        return None, Unusable(str(error))
    if champion is None:
        return None, _lost_champion(data)
    predictor, gates = _loaded(store, champion)
    for gate in gates:
        if gate.verdict == "REFUSED":
            return champion, Unusable(f"{champion}: {gate.gate}: {gate.found}")
    return champion, predictor


def _lost_champion(data: Path) -> Unusable | None:
    """Return the champion that the record names although the registry has none, if it does."""
    entries = read_promotions(data)
    if not entries:
        return None
    last = entries[-1].champion
    return Unusable(f"{data / PROMOTIONS} names {last}, the registry names none: run `serct sync`")


def _loaded(store: Store, version: Version) -> tuple[Predictor | None, tuple[Gate, ...]]:
    try:
        folder = store.folder(version.version)
    except TrackingError as error:
        return None, (Gate("in the registry", str(error), "a model's folder", "REFUSED"),)
    return load_checked(folder, version.weights)


def _completed(
    found: Promotion,
    held: str | None,
    data: Path,
    store: Store,
    action: Literal["promote", "rollback"],
    why: str,
) -> Promotion:
    """Move the champion unless a gate refuses that.

    Args:
        found: The outcome of the gates.
        held: The number of the champion before them, None if there was none.
        data: The workspace's data folder.
        store: The registry of the workspace.
        action: For the record.
        why: The same.

    Raises:
        TrackingError: If there is another champion now.
    """
    if found.is_refused:
        return found
    now = store.holder_number(CHAMPION)
    if now != held:  # by another machine: the lock is of this one
        raise TrackingError(
            f"the champion is {store.name_of(now)} now, and {found.version} was examined when it "
            f"was {store.name_of(held)}; nothing was changed, run the command again"
        )
    _move(data, store, action, found.version, found.champion, why, found.gates)
    return replace(found, is_done=True)


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
        at=next_time(data),
        by=f"{user_name()}@{socket.gethostname()}",
        # An argument that is not UTF-8 has lone surrogates, which no file takes.
        why=why.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"),
        champion=_promoted(champion),
        previous=_promoted(previous) if previous else None,
        gates=tuple(asdict(gate) for gate in gates),
    )
    # The record first: if this process dies in between, `serct sync` completes the move.
    append_promotion(data, entry)
    store.set_aliases(champion.version, previous.version if previous else None, entry.tags)


def _promoted(version: Version) -> Promoted:
    return Promoted(
        version=version.version,
        name=version.model,
        corpus=version.corpus,
        fingerprint=version.fingerprint,
        weights=version.weights,
    )


def _served_by_mlflow(store: Store, version: Version, predictor: Predictor) -> Gate:
    """Check that `mlflow models serve` would give the same prediction."""
    name, expected = "same prediction through MLflow", "differs by <= 1e-6"
    audio = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 16_000)
    soundfile.write(audio, noise, 16_000, format="WAV", subtype="PCM_16")
    try:
        served = store.predict_as_served(version.version, audio.getvalue())
        own = predictor.predict_file(audio, "noise")
    except Exception as error:  # any error would reach a user
        return Gate(name, f"{error}".strip().split("\n")[0], expected, "REFUSED")
    difference = float(np.max([abs(served[emotion] - own[emotion]) for emotion in own]))
    # A difference that is NaN is none that is small enough.
    return Gate(name, f"{difference:.1e}", expected, "passed" if difference <= 1e-6 else "REFUSED")
