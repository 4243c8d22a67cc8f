"""The model that answers: found in the registry, tried out, swapped while requests go on."""

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass

from serct.errors import SerctError, TrackingError
from serct.inference.predictor import Predictor
from serct.promotion.smoke import smoke_problem
from serct.serving.settings import Settings
from serct.tracking import find_model, find_version

logger = logging.getLogger("serct.serving")

# Others than the one served, kept for whoever compares.
_OTHERS = 2
_RETRY_POLLS = 10


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model that has answered before anyone was given it.

    Attributes:
        predictor: The model.
        version: Its number in the registry; None for a folder.
    """

    predictor: Predictor
    version: str | None


class Models:
    """Holds the model in use and follows the registry.

    A request takes `current` once and keeps it, so a swap never changes a model under it. What
    cannot be loaded, or gives no sensible answers, is never swapped in: the one in use stays,
    and `problem` says why.

    Attributes:
        current: None until the first one is loaded.
        problem: Why the registry's choice is not in use; None if it is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.current: Loaded | None = None
        self.problem: str | None = None
        self._others: OrderedDict[str, Loaded] = OrderedDict()
        self._lock = threading.Lock()
        self._is_stopped = threading.Event()
        self._failed: str | None = None
        self._rest = 0

    @property
    def is_followed(self) -> bool:
        """Whether the model is an address in the registry, not a folder."""
        return self._settings.model.startswith("models:/")

    def refresh(self) -> None:
        """Look once what should be in use, and use it; whatever is wrong ends in `problem`."""
        try:
            version = find_version(self._settings.model, self._settings.workspace)
            if self.current is None or version != self.current.version:
                # Something broken is tried again, but not at every look.
                if version == self._failed and self._rest > 0:
                    self._rest -= 1
                    return
                self._failed, self._rest = version, _RETRY_POLLS
                self.current = self._load(version)
                logger.info("serving version %s", version)
            self.problem = self._failed = None
        except Exception as error:  # a registry may fail in any way; the service goes on
            problem = str(error) or type(error).__name__
            if problem != self.problem:
                logger.warning("not serving %s: %s", self._settings.model, problem)
            self.problem = problem

    def follow(self) -> None:
        """Look again and again until `stop`; for a thread of its own."""
        while not self._is_stopped.wait(self._settings.poll_s):
            self.refresh()

    def stop(self) -> None:
        """End `follow`."""
        self._is_stopped.set()

    def version(self, version: str) -> Loaded:
        """Give one version, loaded if need be.

        Raises:
            SerctError: If there is none, or it is unusable.
        """
        current = self.current
        if current is not None and current.version == version:
            return current
        if not self.is_followed:
            raise TrackingError("this service was started with a folder: there are no versions")
        with self._lock:
            if version not in self._others:
                self._others[version] = self._load(version)
                while len(self._others) > _OTHERS:
                    self._others.popitem(last=False)
            self._others.move_to_end(version)
            return self._others[version]

    def _load(self, version: str | None) -> Loaded:
        settings = self._settings
        source = settings.model
        if version is not None:
            # By number: between two looks an alias may point elsewhere.
            name = source.removeprefix("models:/").split("@")[0].split("/")[0]
            source = f"models:/{name}/{version}"
        folder = find_model(source, settings.workspace)
        predictor = Predictor.load(folder, settings.device, settings.precision)
        if problem := smoke_problem(predictor):
            raise SerctError(f"{source}: {problem}")
        return Loaded(predictor, version)
