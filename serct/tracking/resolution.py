"""From a model's name in the registry to the folder that holds it."""

import re
from pathlib import Path

from serct.errors import TrackingError
from serct.tracking import address, registry
from serct.tracking.connection import talking


def find_model(source: str | Path, root: Path | None = None) -> Path:
    """Give the local folder of a model named by that folder or by an address in the registry.

    Raises:
        TrackingError: As `resolve_model`.
    """
    if str(source).startswith(("models:/", "runs:/")):
        return resolve_model(str(source), root)
    return Path(source)


def resolve_model(uri: str, root: Path | None = None) -> Path:
    """Give the local folder, with card.json in it, of a model in the registry.

    Args:
        uri: "models:/serct@challenger", "models:/serct/3" or "runs:/<run id>".
        root: The workspace, None for the current directory.

    Raises:
        TrackingError: If there is no store, or it does not know the model; says what there is.
    """
    root = (root or Path.cwd()).resolve()
    store = address.tracking_uri(root)
    database = address.database_path(store)
    if database is not None and not database.exists():
        raise TrackingError(
            f"{database}: no tracking store here, so {uri!r} is unknown: train a model, run "
            "`serct sync`, or name the model's folder instead"
        )
    with talking(store, f"find {uri!r}"):
        from mlflow import MlflowClient

        client = MlflowClient(store, registry_uri=store)
        if found := re.fullmatch(r"models:/([^/@]+)(?:/(\d+)|(@.+))", uri):
            name, number, alias = found.groups()
            version = registry.find_version(client, name, number or alias)
            return registry.fetch_folder(
                client, store, str(version.source).removeprefix("models:/")
            )
        if found := re.fullmatch(r"models:/(m-\w+)", uri):
            return registry.fetch_folder(client, store, found[1])
        if found := re.fullmatch(r"runs:/(\w+)(?:/model)?", uri):
            run = client.get_run(found[1])
            outputs = run.outputs.model_outputs if run.outputs else []
            if not outputs:
                raise TrackingError(f"{store}: run {found[1]} has no model")
            return registry.fetch_folder(client, store, outputs[-1].model_id)
    raise TrackingError(
        f"{uri!r} is not a model's address, expected models:/NAME@ALIAS, models:/NAME/VERSION "
        "or runs:/RUN_ID"
    )
