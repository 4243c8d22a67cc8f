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


def find_version(source: str | Path, root: Path | None = None) -> str | None:
    """Give the number of the version that an address stands for now; None for a folder.

    Raises:
        TrackingError: As `resolve_model`.
    """
    found = re.fullmatch(r"models:/([^/@]+)(?:/(\d+)|@(.+))", str(source))
    if not found:
        return None
    name, number, alias = found.groups()
    if number:
        return str(number)
    root = (root or Path.cwd()).resolve()
    with talking(store := _store(root, str(source)), f"find {source!r}"):
        from mlflow import MlflowClient

        client = MlflowClient(store, registry_uri=store)
        return str(client.get_model_version_by_alias(name, alias).version)


def known_versions(source: str, root: Path | None = None) -> list[registry.Version]:
    """List the versions of the registered model in an address such as "models:/serct@champion".

    Raises:
        TrackingError: If it is no such address, or the store cannot be read.
    """
    found = re.match(r"models:/([^/@]+)", source)
    if not found:
        raise TrackingError(f"{source!r} is not in a registry, so there are no versions of it")
    with talking(store := _store((root or Path.cwd()).resolve(), source), "list versions"):
        from mlflow import MlflowClient

        return registry.list_versions(MlflowClient(store, registry_uri=store), found[1])


def resolve_model(uri: str, root: Path | None = None) -> Path:
    """Give the local folder, with card.json in it, of a model in the registry.

    Args:
        uri: "models:/serct@challenger", "models:/serct/3" or "runs:/<run id>".
        root: The workspace, None for the current directory.

    Raises:
        TrackingError: If there is no store, or it does not know the model; says what there is.
    """
    root = (root or Path.cwd()).resolve()
    store = _store(root, uri)
    with talking(store, f"find {uri!r}"):
        from mlflow import MlflowClient

        client = MlflowClient(store, registry_uri=store)
        if found := re.fullmatch(r"models:/([^/@]+)(?:/(\d+)|(@.+))", uri):
            name, number, alias = found.groups()
            version = registry.find_version(client, name, number or alias)
            return registry.fetch_folder(client, store, registry.logged_model_id(version))
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


def _store(root: Path, uri: str) -> str:
    store = address.tracking_uri(root)
    database = address.database_path(store)
    if database is not None and not database.exists():
        raise TrackingError(
            f"{database}: no tracking store here, so {uri!r} is unknown: train a model, run "
            "`serct sync`, or name the model's folder instead"
        )
    return store
