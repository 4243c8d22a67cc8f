"""From a model's address in the registry to its version and to the folder that holds it."""

import re
from pathlib import Path

from serct.errors import TrackingError
from serct.tracking.connection import Connection
from serct.tracking.models import fetch_folder
from serct.tracking.registry import Registry
from serct.tracking.run_content import WEIGHTS
from serct.tracking.versions import Identity, Version

# Without number and alias: the version to use, see `Registry.number_in_use`.
_VERSION = re.compile(r"models:/([^/@]+)(?:/(.+)|@(.+))?", re.DOTALL)


def find_model(source: str | Path, root: Path | None = None) -> Path:
    """Return the local folder of a model, which holds card.json.

    Args:
        source: The folder itself, or an address in the registry: "models:/serct@challenger",
            "models:/serct/3", "models:/serct/serct-tess" (see `serct.tracking.version_names`),
            "runs:/<run id>", or "models:/serct" for the champion, and for the challenger as long
            as there is no champion.
        root: The workspace, None for the current directory.

    Raises:
        TrackingError: If there is no store, or no such model in it; the message lists its models.
    """
    address = str(source)
    if not address.startswith(("models:/", "runs:/")):
        return Path(source)
    if found := _version(address):
        name, which, alias = found.groups()
        registry = _registry(address, root, name)
        return registry.folder(which or (f"@{alias}" if alias else registry.number_in_use()))
    registry = _registry(address, root)
    with registry.errors(f"find {address!r}"):
        if found := re.fullmatch(r"models:/(m-\w+)", address):
            return fetch_folder(registry.client, found[1])
        if found := re.fullmatch(r"runs:/(\w+)(?:/model)?", address):
            run = registry.client.get_run(found[1])
            outputs = run.outputs.model_outputs if run.outputs else []
            if not outputs:
                raise TrackingError(f"{registry.shown}: run {found[1]} has no model")
            return fetch_folder(registry.client, outputs[-1].model_id, run.data.tags.get(WEIGHTS))
    raise TrackingError(
        f"{address!r} is not a model's address, expected models:/NAME@ALIAS, models:/NAME/VERSION "
        "or runs:/RUN_ID"
    )


def find_version(source: str | Path, root: Path | None = None) -> Identity | None:
    """Return which version an address stands for now; None for a folder.

    Raises:
        TrackingError: As `find_model`.
    """
    found = _version(str(source))
    if not found:
        return None
    name, which, alias = found.groups()
    registry = _registry(str(source), root, name)
    return registry.identity(which or (f"@{alias}" if alias else registry.number_in_use()))


def version_in_use(source: str, root: Path | None = None) -> Version:
    """Return the version that an address such as "models:/serct" stands for now.

    Raises:
        TrackingError: If there is no champion and no challenger, or the store cannot be read.
    """
    registry = _registry(source, root, source.removeprefix("models:/"))
    return registry.version(registry.number_in_use())


def has_store(root: Path) -> bool:
    """Return whether a workspace has a tracking store; a server is not contacted."""
    return Connection.of(root).exists


def _version(address: str) -> re.Match[str] | None:
    # That of a logged model has no name of a registered one in it.
    return None if re.fullmatch(r"models:/m-\w+", address) else _VERSION.fullmatch(address)


def known_versions(source: str, root: Path | None = None) -> list[Version]:
    """Return the versions of the registered model in an address such as "models:/serct@champion".

    Raises:
        TrackingError: If it is no such address, or the store cannot be read.
    """
    found = re.match(r"models:/([^/@]+)", source)
    if not found:
        raise TrackingError(f"{source!r} is not in a registry, so there are no versions of it")
    return _registry(source, root, found[1]).versions()


def _registry(address: str, root: Path | None, registered_model: str = "") -> Registry:
    """Open a registry for reading: a store that does not exist is not made."""
    store = Connection.of(root or Path.cwd())
    if not store.exists:
        raise TrackingError(
            f"{store.database}: no tracking store here, so {address!r} is unknown: train a model, "
            "run `serct sync` if there are trained ones, or name the model's folder instead"
        )
    with store.errors("open the store"):
        return Registry(store.root, store.uri, store.open_client(), registered_model)
