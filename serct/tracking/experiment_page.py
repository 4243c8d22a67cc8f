"""The page of the experiment in MLflow: what it explains, and a table that shows scores."""

import json
from typing import TYPE_CHECKING

from serct.config.params import PipelineParams
from serct.errors import TrackingError
from serct.tracking.connection import Connection
from serct.tracking.relocation import relocation_problem

if TYPE_CHECKING:
    from mlflow import MlflowClient

_VIEW = "scores"
# MLflow shows the one on top of the page, and lays the other over its table at `table_address`.
_NOTE_TAG, _VIEW_TAG = "mlflow.note.content", f"mlflow.sharedViewState.{_VIEW}"

# What the experiment's page says on top. A name without a slash has one value a run, which MLflow
# draws as a bar; with a slash it is a curve, in a section of its own.
_NOTE = """Every run is one training. UA is the mean of the emotions' recalls, WA is accuracy, WF1 \
the F1 weighted by how often each emotion occurs: 0..1, higher is better. The loss is \
cross-entropy in nats.

| metric | measured on |
|---|---|
| `test_ua`, `test_wa`, ... | the test part of the corpus trained on, once |
| `zero_shot_CORPUS_ua`, ... | a corpus never trained on; only emotions that both have |
| `validation_ua`, ... | the validation part at the chosen epoch: optimistic, it chose the epoch |
| `epoch/...` | each epoch: the curves |

Recalls, baselines, confusion matrices and predictions are in each run's artifacts.

**[Runs with their scores]({table})**
"""


def table_address(experiment_id: str) -> str:
    """Return where MLflow's pages show the runs with their scores, from the server's address on."""
    query = f"viewStateShareKey={_VIEW}&workflowType=machine_learning"
    return f"#/experiments/{experiment_id}/runs?{query}"


def introduce(client: "MlflowClient", experiment_id: str, pipeline: PipelineParams) -> bool:
    """Explain the metrics on the experiment's page, and keep a table that shows them.

    A text that somebody wrote there stays.

    Args:
        client: Of the store.
        experiment_id: Of the experiment.
        pipeline: Whose scores the table has; MLflow's own table begins without any.

    Returns:
        Whether anything was written.
    """
    tags = client.get_experiment(experiment_id).tags
    note = _NOTE.replace("{table}", table_address(experiment_id))
    wanted = {_NOTE_TAG: tags.get(_NOTE_TAG, note), _VIEW_TAG: _table_view(pipeline)}
    missing = {key: text for key, text in wanted.items() if tags.get(key) != text}
    for key, text in missing.items():
        client.set_experiment_tag(experiment_id, key, text)
    return bool(missing)


def _table_view(pipeline: PipelineParams) -> str:
    """Return the state of MLflow's table of runs with the UA on every test as columns."""
    tests = ["test", *(f"zero_shot_{name}" for name in pipeline.zero_shot_corpora), "validation"]
    columns = ["attributes.`Created`", *(f"metrics.`{test}_ua`" for test in tests)]
    return json.dumps({"selectedColumns": columns})


def ensure_experiment(client: "MlflowClient", store: Connection, name: str) -> str:
    """Return the id of an experiment, made first if there is none.

    Raises:
        TrackingError: If it was deleted, or belongs to a workspace that was moved.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        # By default MLflow would take the working directory of this process for ever.
        location = None if store.is_server else f"{store.artifacts_address}/{name}"
        # Without the tag MLflow's pages guess what the runs are for, and open elsewhere.
        tags = {"mlflow.experimentKind": "custom_model_development"}
        return str(client.create_experiment(name, location, tags=tags))
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"{store.shown}: experiment {name!r} was deleted in MLflow: restore it there, or "
            "choose another name for tracking.experiment in params.yaml"
        )
    problem = relocation_problem(store, name, found.artifact_location)
    if problem:
        raise TrackingError(problem)
    return str(found.experiment_id)
