"""The model in use: loaded from the registry, tested, and replaced while requests go on."""

import logging
import shutil
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

from serct.errors import SerctError, UnknownVersionError
from serct.inference.enrolment import Speaker
from serct.inference.predictor import Predictor
from serct.inference.serving_form import faster_form, has_form
from serct.promotion.gates import smoke_problem
from serct.serving.conversion import Conversion
from serct.serving.settings import Settings
from serct.tracking import Identity, find_model, find_version

logger = logging.getLogger("serct.serving")

# Versions kept in memory beside the one in use, for clients that compare.
_MAX_OTHERS = 2
_RETRY_POLLS = 10
NO_VERSIONS = "this service uses a model folder, which has no versions"


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model that has passed `smoke_problem`.

    Attributes:
        predictor: The model.
        identity: The version in the registry; None for a folder.
        convertible: The model's folder, if its export to ONNX is faster and not in use.
    """

    predictor: Predictor
    identity: Identity | None
    convertible: Path | None = None

    @property
    def version(self) -> str | None:
        """Its number in the registry; None for a folder."""
        return self.identity.number if self.identity else None

    def for_speaker(self, speaker: Speaker) -> "LoadedModel":
        """Return the same model for one speaker.

        Raises:
            SpeakerError: If the speaker was enrolled with another model.
        """
        return replace(self, predictor=self.predictor.for_speaker(speaker))


class ModelManager:
    """Holds the model in use and follows the registry.

    A request takes `current` once and keeps it, so the model never changes within a request. A
    model that cannot be loaded, or whose predictions are not probabilities, is never used: the
    one in use stays, and `problem` says why.

    Attributes:
        current: The model in use; None until the first one is loaded.
        problem: Why the registry's version is not in use; None if it is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.current: LoadedModel | None = None
        self.problem: str | None = None
        self._others: OrderedDict[Identity, LoadedModel] = OrderedDict()
        self._lock = threading.Lock()
        self._is_stopped = threading.Event()
        self._conversion = Conversion(settings.limits.convert_after_s)
        self._failed: Identity | None = None
        self._polls_to_wait = 0

    @property
    def is_followed(self) -> bool:
        """Whether the model is an address in the registry, not a folder."""
        return self._settings.model.startswith("models:/")

    def refresh(self) -> None:
        """Check the registry once and load its version; on any failure set `problem`."""
        try:
            version = find_version(self._settings.model, self._settings.workspace)
            if self.current is None or version != self.current.identity:
                # Retry a broken version, but not at every check.
                if version == self._failed and self._polls_to_wait > 0:
                    self._polls_to_wait -= 1
                    return
                self._failed, self._polls_to_wait = version, _RETRY_POLLS
                self.current = self._load(version)
                logger.info("model in use: %s", self._source(version))
            self.problem = self._failed = None
        except Exception as error:  # a registry may fail in any way; the service goes on
            problem = str(error) or type(error).__name__
            if problem != self.problem:
                logger.warning("cannot use %s: %s", self._settings.model, problem)
            self.problem = problem

    def follow(self) -> None:
        """Check the registry, if there is one, again and again until `stop`, and convert the model.

        Runs in a thread of its own.
        """
        while not self._is_stopped.wait(self._settings.limits.poll_s):
            if self.is_followed:
                self.refresh()
            self._convert()

    def stop(self) -> None:
        """End `follow`."""
        self._is_stopped.set()
        self._conversion.stop()

    def _convert(self) -> None:
        """Take the export of the model in use as soon as there is one."""
        current = self.current
        if current is None or not self._conversion.poll(current.convertible):
            return
        try:
            converted = self._load(current.identity)
        except Exception as error:  # as in `refresh`
            logger.warning("cannot use the converted model: %s", str(error) or type(error).__name__)
            return
        if converted.convertible is None:
            self.current = converted
            logger.info("the model in use was converted to ONNX, for speed")

    def version(self, which: str) -> LoadedModel:
        """Return one version; load it if it is not in memory.

        Args:
            which: A number, a name such as "serct-tess" or the digits of a fingerprint, or an
                alias, "@challenger" or "challenger", which stands for the version that has it now.

        Raises:
            UnknownVersionError: If there is no such version.
            SerctError: If it is unusable, or the registry cannot be read.
        """
        if not self.is_followed:
            raise UnknownVersionError(NO_VERSIONS)
        address = f"{self._name}{'' if which.startswith('@') else '/'}{which}"
        # Also for a number, which a rebuilt registry may have given to another model.
        found = find_version(address, self._settings.workspace)
        if found is None:
            raise UnknownVersionError(
                f"{which!r} is no version, expected a number, an alias or a name"
            )
        current = self.current
        if current is not None and current.identity == found:
            return current
        with self._lock:
            if found not in self._others:
                self._others[found] = self._load(found)
                while len(self._others) > _MAX_OTHERS:
                    self._others.popitem(last=False)
            self._others.move_to_end(found)
            return self._others[found]

    @property
    def _name(self) -> str:
        """The address of the registered model, without a version."""
        name = self._settings.model.removeprefix("models:/").split("@")[0].split("/")[0]
        return f"models:/{name}"

    def _load(self, version: Identity | None) -> LoadedModel:
        settings, source = self._settings, self._source(version)
        folder = find_model(source, settings.workspace)
        form = faster_form(folder, settings.device, settings.precision)
        if form is not None and has_form(form):
            try:
                return LoadedModel(self._tested(form, source), version)
            except SerctError as error:
                logger.warning("not used and removed: %s", error)
                shutil.rmtree(form, ignore_errors=True)
        return LoadedModel(self._tested(folder, source), version, folder if form else None)

    def _tested(self, folder: Path, source: str) -> Predictor:
        predictor = Predictor.load(folder, self._settings.device, self._settings.precision)
        if problem := smoke_problem(predictor):
            raise SerctError(f"{source}: {problem}")
        return predictor

    def _source(self, version: Identity | None) -> str:
        source = self._settings.model
        if version is None:
            return source
        # By number, since the alias may move between two checks.
        return f"{self._name}/{version.number}"
