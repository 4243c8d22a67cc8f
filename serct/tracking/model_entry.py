"""A model as MLflow keeps it: our folder inside theirs, loaded by code and never by a pickle."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import serct
from serct.tracking.connection import Connection
from serct.tracking.folders import ModelFolder

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

_CODE = Path(__file__).with_name("pyfunc_model.py")


def log_model(connection: Connection, run_id: str, folder: ModelFolder) -> str:
    """Save a model as MLflow's and give its id."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model
    from mlflow.pyfunc import save_model

    client, card = connection.client, folder.card
    logged = client.create_logged_model(
        connection.experiment_id,
        name=f"{card['corpus']}-{card['name']}",
        source_run_id=run_id,
        tags={"serct.fingerprint": folder.fingerprint},
        model_type=str(card["name"]),
    )
    model_id = str(logged.model_id)
    description = Model(
        artifact_path=logged.artifact_location,
        model_uuid=model_id,
        run_id=run_id,
        model_id=model_id,
    )
    try:
        with tempfile.TemporaryDirectory() as scratch:
            path = str(Path(scratch) / "model")
            save_model(
                path=path,
                python_model=str(_CODE),  # code, not a pickle
                artifacts={"model": str(folder.path)},
                signature=_signature(card["emotions"]),
                # Given, since working them out takes seconds and finds wrong ones.
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


def _signature(emotions: Sequence[str]) -> "ModelSignature":
    """Audio files in, a probability for each emotion and the most probable one out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    answers = [ColSpec(DataType.double, emotion) for emotion in emotions]
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.binary, "audio")]),
        outputs=Schema([*answers, ColSpec(DataType.string, "emotion")]),
    )
