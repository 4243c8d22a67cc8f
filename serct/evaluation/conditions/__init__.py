"""Conditions under which models are tested, one a file: the file's name is its name in params.yaml.

A file holds the names of `Condition` and is listed nowhere else. This module holds what they share.

Training has effects of its own (`serct.training.effects`), which change batches on the device: so
no model is tested with the code that it was trained with, and scikit-learn's models are tested
without torch. What is drawn at random comes from the utterance's name: it is the same in each run,
for each model, and for each strength of a condition.

Shapes: N samples.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np
from pydantic import JsonValue

from serct.config.section import validate
from serct.errors import ParamsError
from serct.runtime.arrays import Floats

_KEY = "condition"
_WHERE = "robustness.conditions"


@dataclass(frozen=True)
class Scene:
    """What a condition may use beside the recording.

    Attributes:
        random: Draws the same in each run, whatever the condition.
        draw_others: Returns so many recordings of other speakers, drawn with ``random``; fewer if
            the corpus has fewer. float32 [any length] each
        measured: Filled by conditions that measure something: a bit rate, for example.
    """

    random: np.random.Generator
    draw_others: Callable[[int], Sequence[Floats]]
    measured: dict[str, float] = field(default_factory=dict)


class Condition(Protocol):
    """What each file of this package holds.

    Attributes:
        PARAMS: Type of the entry in params.yaml without ``condition``: a `Section`.
    """

    PARAMS: Any

    def describe(self, params: Any) -> str:
        """Return the condition and its strength as the report shows them."""

    def apply(self, waveform: Floats, params: Any, sample_rate_hz: int, scene: Scene) -> Floats:
        """Return a recording as it is under the condition.

        Args:
            waveform: In [-1, 1). float32 [N], N > 0
            params: The checked entry.
            sample_rate_hz: Of the waveform, and of what is returned.
            scene: Of the recording.

        Returns:
            float32 [any length > 0]; beyond [-1, 1) it is clipped, as in a recorder.
        """


@dataclass(frozen=True)
class StatedCondition:
    """A condition at one strength.

    Attributes:
        label: Name and strength in words.
        entry: As in params.yaml, checked.
    """

    label: str
    entry: Mapping[str, JsonValue]
    _condition: Condition
    _params: Any

    def apply(self, waveform: Floats, sample_rate_hz: int, scene: Scene) -> Floats:
        """See `Condition`."""
        return self._condition.apply(waveform, self._params, sample_rate_hz, scene)


def condition_names() -> list[str]:
    """Return the names of all conditions, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def read_conditions(
    entries: Mapping[str, Mapping[str, JsonValue] | None], where: str = "params.yaml"
) -> list[StatedCondition]:
    """Check the entries of ``robustness.conditions``.

    Args:
        entries: By name: the condition's, and what that takes. Those that are None are left out.
        where: What errors call the file.

    Raises:
        ParamsError: If there is no such condition, what it takes is not valid, or two entries are
            the same.
    """
    known = condition_names()
    found: dict[str, StatedCondition] = {}
    for key, entry in entries.items():
        if entry is None:
            continue
        place, name = f"{_WHERE}.{key}", entry.get(_KEY)
        if name not in known:
            raise ParamsError(
                f"{where}: {place}.{_KEY} is {name!r}, expected one of: {', '.join(known)}"
            )
        condition = cast(Condition, importlib.import_module(f"{__name__}.{name}"))
        rest = {kind: value for kind, value in entry.items() if kind != _KEY}
        params = validate(condition.PARAMS, rest, where, place)
        label = condition.describe(params)
        if label in found:
            raise ParamsError(f"{where}: {place}: {label} is there already, expected each once")
        checked = {_KEY: name, **params.model_dump(mode="json")}
        found[label] = StatedCondition(label, checked, condition, params)
    return list(found.values())


def add_noise(waveform: Floats, noise: Floats, snr_db: float) -> Floats:
    """Add noise to a recording.

    Args:
        waveform: float32 [N]
        noise: At any level. float32 [N]
        snr_db: Mean power of the whole recording over that of the noise that is added; without
            either of them, nothing is.

    Returns:
        float32 [N]
    """
    level, noise_level = (float(np.sqrt(np.mean(np.square(x)))) for x in (waveform, noise))
    gain = level / noise_level * 10 ** (-snr_db / 20) if noise_level else 0.0
    return waveform + np.float32(gain) * noise


def fast_size(num_samples: int) -> int:
    """Return the next power of two, for which Fourier transforms are fast."""
    return 1 << max(0, num_samples - 1).bit_length()


def fit_length(waveform: Floats, num_samples: int) -> Floats:
    """Cut a waveform, or fill it up with zeros. [any length] -> [num_samples]."""
    cut = waveform[:num_samples]
    return np.pad(cut, (0, num_samples - len(cut)))
