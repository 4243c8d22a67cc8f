"""The registry: every trained model is a version; aliases say which to use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serct.errors import TrackingError
from serct.tracking.address import local_path
from serct.tracking.connection import Connection
from serct.tracking.folders import ModelFolder
from serct.tracking.model_entry import log_model

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHALLENGER, CHAMPION, PREVIOUS = "challenger", "champion", "previous"
_DESCRIPTION_WIDTH = 5000  # of MLflow's column, in characters


@dataclass(frozen=True)
class Version:
    """A registered version, for people to choose from.

    Attributes:
        version: Its number, as text: MLflow gives an int or text, depending on the store.
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


def ensure_version(connection: Connection, run_id: str, folder: ModelFolder) -> bool:
    """Register the model in a folder, unless these very weights are a version already.

    The version gets the alias `challenger` if no version of the same manifest was better on
    validation: whatever the order, the best of one manifest's versions holds it.

    Returns:
        Whether a version was made.
    """
    card = folder.card
    with connection.lock:
        versions = _versions(connection.client, connection.registered_model)
        wanted = _identity(folder)
        if any(_is_of(version, wanted) for version in versions):
            return False
        if not versions:
            _ensure_registered_model(connection)
        model_id = log_model(connection, run_id, folder)
        with as_global(connection.uri):  # the registry asks the global store for the model
            made = connection.client.create_model_version(
                connection.registered_model,
                f"models:/{model_id}",
                run_id,
                description=folder.description[:_DESCRIPTION_WIDTH],
                tags={
                    **wanted,
                    "model": str(card["name"]),
                    "corpus": str(card["corpus"]),
                    "synthetic": str(card["synthetic"]).lower(),
                    "validation.ua": repr(float(card["validation"]["ua"])),
                    "manifest_digest": str(card["digests"]["manifest"]),
                },
                model_id=model_id,
            )
        holder = next((v for v in versions if CHALLENGER in _aliases(connection.client, v)), None)
        if holder is None or _is_beaten(holder, made):
            _set_alias(connection, CHALLENGER, str(made.version))
    return True


def describe(connection: Connection, folder: ModelFolder, text: str) -> None:
    """Give the version of a model another description, such as a card that tells its scores."""
    for version in _versions(connection.client, connection.registered_model):
        if _is_of(version, _identity(folder)):
            connection.client.update_model_version(
                connection.registered_model, str(version.version), text[:_DESCRIPTION_WIDTH]
            )


def _identity(folder: ModelFolder) -> dict[str, str]:
    return {"fingerprint": folder.fingerprint, "weights": folder.weights_digest}


def _is_of(version: "ModelVersion", identity: dict[str, str]) -> bool:
    return identity.items() <= dict(version.tags).items()


def _is_beaten(holder: "ModelVersion", other: "ModelVersion") -> bool:
    if holder.tags.get("manifest_digest") != other.tags["manifest_digest"]:
        return True
    return float(holder.tags["validation.ua"]) < float(other.tags["validation.ua"])


def list_versions(client: "MlflowClient", name: str) -> list[Version]:
    """List all versions of a model that serct registered, the oldest first."""
    return [
        Version(
            version=str(found.version),
            aliases=_aliases(client, found),
            model=found.tags["model"],
            corpus=found.tags["corpus"],
            synthetic=found.tags["synthetic"] == "true",
            validation_ua=float(found.tags["validation.ua"]),
            test_ua=client.get_run(str(found.run_id)).data.metrics.get("test/ua"),
            manifest_digest=found.tags["manifest_digest"],
            fingerprint=found.tags["fingerprint"],
            weights=found.tags["weights"],
            run_id=str(found.run_id),
        )
        for found in _versions(client, name)
        if "fingerprint" in found.tags
    ]


def appoint(connection: Connection, champion: str, previous: str | None) -> None:
    """Point `champion` to a version, and `previous` to another or to none.

    Raises:
        TrackingError: If there is no such version.
    """
    name = connection.registered_model
    with connection.lock:
        for version in {champion, previous} - {None}:
            find_version(connection.client, name, str(version))
        if previous is None:
            connection.client.delete_registered_model_alias(name, PREVIOUS)
        else:
            _set_alias(connection, PREVIOUS, previous)
        _set_alias(connection, CHAMPION, champion)


def set_tags(connection: Connection, version: str, tags: dict[str, str]) -> None:
    """Set tags of a version."""
    for key, value in tags.items():
        connection.client.set_model_version_tag(connection.registered_model, version, key, value)


def find_version(client: "MlflowClient", name: str, which: str) -> "ModelVersion":
    """Find a version by "3" or "@challenger".

    Raises:
        TrackingError: If the model, the alias or the version is unknown; says what there is.
    """
    versions = _versions(client, name)
    known: dict[str, ModelVersion] = {}
    for version in versions:
        known[str(version.version)] = version
        known.update({f"@{alias}": version for alias in _aliases(client, version)})
    if which in known:
        return known[which]
    if versions:
        raise TrackingError(
            f"registered model {name!r} has no {which!r}, it has {', '.join(known)}"
        )
    others = ", ".join(model.name for model in client.search_registered_models())
    raise TrackingError(
        f"no registered model {name!r}, there is {others or 'none'}: train a model, or run "
        "`serct sync`"
    )


def find_weights(connection: Connection, fingerprint: str, weights: str) -> str | None:
    """Find the version of these very weights; gives its number."""
    wanted = {"fingerprint": fingerprint, "weights": weights}
    for version in _versions(connection.client, connection.registered_model):
        if _is_of(version, wanted):
            return str(version.version)
    return None


def logged_model_id(version: "ModelVersion") -> str:
    """Give the id of the logged model that a version stands for."""
    return str(version.source).removeprefix("models:/")


def fetch_folder(client: "MlflowClient", uri: str, model_id: str) -> Path:
    """Give the folder of a logged model that holds card.json, fetched if it is elsewhere.

    Raises:
        TrackingError: If it is not there.
    """
    from mlflow.artifacts import download_artifacts

    location = str(client.get_logged_model(model_id).artifact_location)
    folder = local_path(location)
    if folder is None:
        folder = Path(download_artifacts(artifact_uri=location, tracking_uri=uri))
    cards = sorted(folder.glob("artifacts/*/card.json"))
    if not cards:
        raise TrackingError(
            f"{folder}: no model in it; if the workspace was moved or the folder deleted, "
            "`serct doctor` says what to do"
        )
    return cards[0].parent


def _versions(client: "MlflowClient", name: str) -> "list[ModelVersion]":
    found = client.search_model_versions(f"name = '{name}'")
    return sorted(found, key=lambda version: int(version.version))


def _aliases(client: "MlflowClient", version: "ModelVersion") -> tuple[str, ...]:
    # A search leaves the aliases out.
    found = client.get_model_version(version.name, str(version.version))
    return tuple(sorted(found.aliases))


def _set_alias(connection: Connection, alias: str, version: str) -> None:
    connection.client.set_registered_model_alias(connection.registered_model, alias, version)


def _ensure_registered_model(connection: Connection) -> None:
    name = connection.registered_model
    if not connection.client.search_registered_models(f"name = '{name}'"):
        description = "Speech emotion recognition: audio in, probability of each emotion out."
        connection.client.create_registered_model(name, description=description)


@contextmanager
def as_global(uri: str) -> Iterator[None]:
    """Make a store MLflow's global one for a moment."""
    import mlflow

    variable = "MLFLOW_TRACKING_URI"  # which MLflow sets along with its own variable
    previous = os.environ.get(variable)
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # takes it back
        if previous is not None:
            os.environ[variable] = previous
