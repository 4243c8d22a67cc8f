"""A version as MLflow itself serves it, asked in this process."""

import os
from typing import Any

from serct.tracking import registry
from serct.tracking.connection import Connection

_PICKLE = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"


def served_answer(connection: Connection, version: str, audio: bytes) -> dict[str, Any]:
    """Load a version by MLflow's own means, pickle disallowed, and let it answer for a file."""
    import pandas as pd
    from mlflow.pyfunc import load_model

    found = registry.find_version(connection.client, connection.registered_model, version)
    logged = connection.client.get_logged_model(registry.logged_model_id(found))
    location = str(logged.artifact_location)
    before = os.environ.get(_PICKLE)
    os.environ[_PICKLE] = "false"
    try:
        with registry.as_global(connection.uri):
            model = load_model(location)
        answers = pd.DataFrame(model.predict(pd.DataFrame({"audio": [audio]})))
    finally:
        os.environ.pop(_PICKLE)
        if before is not None:
            os.environ[_PICKLE] = before
    return {str(name): value for name, value in answers.iloc[0].items()}
