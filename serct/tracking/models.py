"""A model as MLflow keeps it: our folder inside theirs, loaded by code and never by a pickle."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import serct
from serct.errors import TrackingError
from serct.models.records import CARD, Card
from serct.tracking.connection import folder_address
from serct.tracking.folders import ModelFolder, digest_of_weights
from serct.tracking.relocation import local_path
from serct.tracking.run_content import FINGERPRINT, WEIGHTS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

_CODE = Path(__file__).with_name("pyfunc_model.py")


def log_model(client: "MlflowClient", run_id: str, folder: ModelFolder) -> str:
    """Save a model as MLflow's and return its id.

    `mlflow.pyfunc.log_model` would use the global store and experiment, so its steps are done
    here with the client.
    """
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model
    from mlflow.pyfunc import save_model

    card = folder.card
    logged = client.create_logged_model(
        client.get_run(run_id).info.experiment_id,
        name=f"{card['corpus']}-{card['name']}",
        source_run_id=run_id,
        tags={FINGERPRINT: folder.fingerprint, WEIGHTS: folder.weights_digest},
        model_type=str(card["name"]),
    )
    model_id = str(logged.model_id)
    place = logged.artifact_location
    description = Model(place, run_id=run_id, model_uuid=model_id, model_id=model_id)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            path = str(Path(scratch) / "model")
            save_model(
                path=path,
                python_model=str(_CODE),  # code, not a pickle
                artifacts={"model": folder_address(folder.path)},
                signature=_signature(card["emotions"]),
                # Set here, since MLflow takes seconds to work them out and finds wrong ones.
                pip_requirements=[f"serct=={serct.__version__}"],
                mlflow_model=description,
            )
            (Path(path) / "card.md").write_text(folder.description, encoding="utf-8")
            client.log_model_artifacts(model_id, path)
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step=int(card["best_epoch"]))])
    except BaseException:
        client.finalize_logged_model(model_id, "FAILED")
        raise
    client.finalize_logged_model(model_id, "READY")
    return model_id


def find_logged_model(client: "MlflowClient", run_id: str, weights: str) -> str | None:
    """Return the id of the model with these weights that a run logged, None if it is not there.

    One that was deleted, whose files are gone, or that serct 0.2 or older logged is none.
    """
    from mlflow.entities import LoggedModelStatus
    from mlflow.exceptions import MlflowException

    outputs = client.get_run(run_id).outputs
    for output in reversed(outputs.model_outputs if outputs else []):
        try:
            logged = client.get_logged_model(output.model_id)
        except MlflowException:
            continue
        folder = local_path(str(logged.artifact_location))
        is_there = folder is None or folder.exists()
        is_whole = logged.status == LoggedModelStatus.READY and is_there
        if is_whole and logged.tags.get(WEIGHTS) == weights:
            return str(output.model_id)
    return None


def _signature(emotions: Sequence[str]) -> "ModelSignature":
    """Return the signature: audio files in; probabilities, the emotion and lengths out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    probabilities = [ColSpec(DataType.double, emotion) for emotion in emotions]
    names = ("duration_s", "analysed_s", "speech_s")
    lengths = [ColSpec(DataType.double, name) for name in names]
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.binary, "audio")]),
        outputs=Schema([*probabilities, ColSpec(DataType.string, "emotion"), *lengths]),
    )


def fetch_folder(client: "MlflowClient", model_id: str, weights: str | None = None) -> Path:
    """Return the folder of a logged model that holds card.json, fetched if it is elsewhere.

    Args:
        client: Of the store.
        model_id: Of the logged model.
        weights: Digest of the weights that were logged, if it is at hand: a model that was logged
            by serct 0.2 or older does not hold it.

    Raises:
        TrackingError: If it is not there, or is another model than the one that was logged.
    """
    from mlflow.artifacts import download_artifacts

    logged = client.get_logged_model(model_id)
    location = str(logged.artifact_location)
    folder = local_path(location)
    if folder is None:
        folder = Path(download_artifacts(artifact_uri=location, tracking_uri=client.tracking_uri))
    cards = sorted(folder.glob(f"artifacts/*/{CARD}"))
    if not cards:
        raise TrackingError(
            f"{folder}: no model in it, {CARD} is missing; if the workspace was moved, `serct "
            "relocate`; if the folder was deleted, delete the database and `serct sync`, which "
            "builds runs and versions anew from data/"
        )
    found = cards[0].parent
    expected = weights or logged.tags.get(WEIGHTS)
    # Cheap where the card lists the weights: loading compares the files themselves with it.
    card = Card.read(found / CARD, error=TrackingError)
    digest = digest_of_weights(found, card.files)
    if expected and digest != expected:
        raise TrackingError(
            f"{found}: not the weights that were logged: SHA-256 {digest}, expected {expected}"
        )
    # Equal weights may have another card, such as with another bound for uncertain predictions.
    trained = logged.tags.get(FINGERPRINT)
    if trained and card.fingerprint != trained:
        raise TrackingError(
            f"{found / CARD}: not the card that was logged: fingerprint {card.fingerprint}, "
            f"expected {trained}"
        )
    return found


def predict_with_mlflow(client: "MlflowClient", model_id: str, audio: bytes) -> dict[str, Any]:
    """Load a logged model by MLflow's own means, pickle disallowed, and predict for one file.

    Returns:
        The probability of each emotion, and the most probable ``emotion``.
    """
    import pandas as pd
    from mlflow.pyfunc import load_model

    location = str(client.get_logged_model(model_id).artifact_location)
    no_pickle = _environment("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    with no_pickle, as_global(client.tracking_uri), _loadable(location) as place:
        model = load_model(place)
        predictions = pd.DataFrame(model.predict(pd.DataFrame({"audio": [audio]})))
    return {str(name): value for name, value in predictions.iloc[0].items()}


@contextmanager
def _loadable(location: str) -> Iterator[str]:
    """Yield the place of a model as MLflow loads it: from no quoted address, and from no link."""
    folder = local_path(location)
    if folder is None or folder_address(folder) == str(folder):
        yield location
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield shutil.copytree(folder, f"{scratch}/model")


@contextmanager
def as_global(uri: str) -> Iterator[None]:
    """Make a store MLflow's global one for the time of the block."""
    import mlflow

    # MLflow sets the environment's variable along with its own.
    with _environment("MLFLOW_TRACKING_URI", uri):
        mlflow.set_tracking_uri(uri)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # takes it back


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set an environment variable for the time of the block."""
    previous = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
        os.environ.update({} if previous is None else {name: previous})
