"""The registry: every trained model is a version; aliases name those to use."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serct.errors import TrackingError, UnknownVersionError
from serct.tracking.connection import Connection
from serct.tracking.folders import ModelFolder
from serct.tracking.models import (
    as_global,
    fetch_folder,
    find_logged_model,
    log_model,
    predict_with_mlflow,
)
from serct.tracking.version_names import find_number, version_name
from serct.tracking.versions import Identity, Version

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHALLENGER, CHAMPION, PREVIOUS = "challenger", "champion", "previous"
_MODEL_DESCRIPTION = "Speech emotion recognition: audio in, probability of each emotion out."
# Tags that are a `Version`'s attributes as they are.
_TEXTS = ("model", "corpus", "manifest_digest", "fingerprint", "weights")
_DESCRIPTION_WIDTH = 5000  # of MLflow's column, in characters


@dataclass(frozen=True)
class Registry(Connection):
    """The versions of one registered model.

    Every method raises `TrackingError` and nothing else when the store cannot be used.

    Attributes:
        client: Bound to ``uri``; MLflow's global address is not used.
        registered_model: The name that versions are registered under.
    """

    client: "MlflowClient"
    registered_model: str

    def versions(self) -> list[Version]:
        """Return all versions that serct registered, the oldest first."""
        with self.errors("list versions"):
            aliases, found = self._aliases(), self._entities()
            return [self._as_version(each, aliases) for each in found if "fingerprint" in each.tags]

    def version(self, which: str) -> Version:
        """Return a version by "3", "@challenger" or a name, see `serct.tracking.version_names`.

        Raises:
            TrackingError: If there is none, or several; the message lists the known ones.
        """
        with self.errors(f"find version {which}"):
            found = self._find(which)
            if "fingerprint" not in found.tags:
                raise TrackingError(
                    f"{self.shown}: version {found.version} was not registered by serct"
                )
            return self._as_version(found, self._aliases())

    def identity(self, which: str) -> Identity:
        """Return what tells a version from others, by what `version` takes; raises as it."""
        with self.errors(f"find version {which}"):
            found = self._find(which)
            return Identity(str(found.version), str(found.source))

    def number_in_use(self) -> str:
        """Return the number of the champion, or of the challenger if there is no champion.

        Every command without a model and every service without one resolve it here.

        Raises:
            TrackingError: If there is neither.
        """
        with self.errors("find the champion"):
            aliases = self._aliases()
            alias = CHALLENGER if CHALLENGER in aliases and CHAMPION not in aliases else CHAMPION
            return str(self._find(f"@{alias}").version)

    def holder(self, alias: str) -> Version | None:
        """Return the version that an alias points to, None if it points to none.

        Raises:
            TrackingError: If serct did not register that version.
        """
        number = self.holder_number(alias)
        return None if number is None else self.version(number)

    def holder_number(self, alias: str) -> str | None:
        """Return the number of any version that an alias points to, None if it points to none."""
        with self.errors(f"find version @{alias}"):
            return self._aliases().get(alias)

    def name_of(self, number: str | None) -> str:
        """Return what a message calls a version, also one of another tool; "none" for None."""
        with self.errors(f"find version {number}"):
            return "none" if number is None else version_name(number, self._find(number).tags)

    def folder(self, which: str) -> Path:
        """Return the local folder, with card.json in it, of a version.

        Raises:
            TrackingError: If it is not there, or does not hold the weights of the version.
        """
        with self.errors(f"fetch version {which}"):
            tags = self._find(which).tags
            return fetch_folder(self.client, self._model_id(which), tags.get("weights"))

    def predict_as_served(self, which: str, audio: bytes) -> dict[str, Any]:
        """Return a version's prediction for an audio file as `mlflow models serve` computes it."""
        with self.errors(f"load version {which} as MLflow does"):
            return predict_with_mlflow(self.client, self._model_id(which), audio)

    def register(self, run_id: str, folder: ModelFolder) -> bool:
        """Register the model in a folder, unless these very weights are a version already.

        The version gets the alias `challenger` if no version of the same manifest was better on
        validation: whatever the order, the best of one manifest's versions holds it.

        Returns:
            Whether a version was made.
        """
        card, name = folder.card, self.registered_model
        with self.errors(f"register {folder.path}"), self.lock:
            identity = {"fingerprint": folder.fingerprint, "weights": folder.weights_digest}
            if self.find_weights(**identity) is not None:
                return False
            versions = self._entities()
            if not (versions or self.client.search_registered_models(f"name = '{name}'")):
                self.client.create_registered_model(name, description=_MODEL_DESCRIPTION)
            model_id = find_logged_model(self.client, run_id, folder.weights_digest)
            model_id = model_id or log_model(self.client, run_id, folder)
            with as_global(self.uri):  # the registry looks the model up in the global store
                made = self.client.create_model_version(
                    name,
                    f"models:/{model_id}",
                    run_id,
                    description=folder.description[:_DESCRIPTION_WIDTH],
                    tags={
                        **identity,
                        "model": str(card["name"]),
                        "corpus": str(card["corpus"]),
                        "synthetic": str(card["synthetic"]).lower(),
                        "validation.ua": repr(float(card["validation"]["ua"])),
                        "manifest_digest": str(card["digests"]["manifest"]),
                    },
                    model_id=model_id,
                )
            holder = self._aliases().get(CHALLENGER)
            if all(_is_beaten(v, made) for v in versions if str(v.version) == holder):
                self.client.set_registered_model_alias(name, CHALLENGER, str(made.version))
        return True

    def describe(self, folder: ModelFolder, text: str) -> bool:
        """Replace the description of a model's version, such as by a card with its scores.

        Returns:
            Whether there is such a version and it had another description.
        """
        text, name = text[:_DESCRIPTION_WIDTH], self.registered_model
        with self.errors(f"describe {folder.path}"):
            number = self.find_weights(folder.fingerprint, folder.weights_digest)
            if number is None or self._find(number).description == text:
                return False
            self.client.update_model_version(name, number, text)
        return True

    def find_weights(self, fingerprint: str, weights: str) -> str | None:
        """Return the number of the version with these very weights, None if there is none."""
        for version in self._entities():
            tags = version.tags
            if (tags.get("fingerprint"), tags.get("weights")) == (fingerprint, weights):
                return str(version.version)
        return None

    def set_aliases(self, champion: str, previous: str | None, tags: Mapping[str, str]) -> None:
        """Point `champion` and `previous` (None: to none) to versions; tag the champion.

        Raises:
            TrackingError: If there is no such version.
        """
        name = self.registered_model
        with self.errors(f"make version {champion} the champion"):
            with self.lock:
                for version in {champion, previous} - {None}:
                    self._find(str(version))
                if previous is None:
                    self.client.delete_registered_model_alias(name, PREVIOUS)
                else:
                    self.client.set_registered_model_alias(name, PREVIOUS, previous)
                self.client.set_registered_model_alias(name, CHAMPION, champion)
            for key, value in tags.items():
                self.client.set_model_version_tag(name, champion, key, value)

    def has_tags(self, version: str, tags: Mapping[str, str]) -> bool:
        """Return whether a version has all of some tags."""
        with self.errors(f"read the tags of version {version}"):
            return tags.items() <= self._find(version).tags.items()

    def _find(self, which: str) -> "ModelVersion":
        versions = {str(version.version): version for version in self._entities()}
        if not versions:
            others = ", ".join(model.name for model in self.client.search_registered_models())
            raise UnknownVersionError(
                f"no registered model {self.registered_model!r}, there is {others or 'none'}: "
                "train a model, or run `serct sync` if there are trained ones"
            )
        tags = {number: version.tags for number, version in versions.items()}
        return versions[find_number(self.registered_model, which, tags, self._aliases())]

    def _model_id(self, which: str) -> str:
        return str(self._find(which).source).removeprefix("models:/")

    def _entities(self) -> "list[ModelVersion]":
        found = self.client.search_model_versions(f"name = '{self.registered_model}'")
        return sorted(found, key=lambda version: int(version.version))

    def _aliases(self) -> dict[str, str]:
        # A search for versions leaves their aliases out.
        found = self.client.search_registered_models(f"name = '{self.registered_model}'")
        return {alias: str(number) for each in found for alias, number in each.aliases.items()}

    def _as_version(self, found: "ModelVersion", aliases: Mapping[str, str]) -> Version:
        number, run_id, tags = str(found.version), str(found.run_id), found.tags
        metrics = self.client.get_run(run_id).data.metrics
        texts = {key: tags[key] for key in _TEXTS}
        return Version(
            version=number,
            aliases=tuple(sorted(alias for alias, held in aliases.items() if held == number)),
            synthetic=tags["synthetic"] == "true",
            validation_ua=float(tags["validation.ua"]),
            test_ua=metrics.get("test_ua", metrics.get("test/ua")),  # as serct 0.2 named it
            run_id=run_id,
            **texts,
        )


def _is_beaten(holder: "ModelVersion", other: "ModelVersion") -> bool:
    if holder.tags.get("manifest_digest") != other.tags["manifest_digest"]:
        return True
    return float(holder.tags["validation.ua"]) < float(other.tags["validation.ua"])
