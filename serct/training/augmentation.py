"""Changes to training clips that leave the emotion as it is, drawn anew each time, on the device.

All values are drawn from torch's global generator, which the training loop seeds for each epoch:
so a training is repeated, or resumed after a kill, with the same changes.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue, TypeAdapter
from torch import Tensor

from serct.config.section import validate
from serct.errors import ParamsError
from serct.training.effects import effect_names, load_effect


class Augmentation:
    """Applies the effects that ``augment`` switches on, in the order of their stages."""

    def __init__(self, augment: Mapping[str, JsonValue], sample_rate_hz: int) -> None:
        """Prepare for clips of one sample rate.

        Raises:
            ParamsError: See `read_augment`.
        """
        params = read_augment(augment).items()
        used = [(load_effect(name), name, value) for name, value in params if value is not None]
        used.sort(key=lambda step: (step[0].STAGE, step[1]))
        self._steps = [(effect.apply, value) for effect, _, value in used]
        self._rate_hz = sample_rate_hz

    def __call__(self, waveforms: Tensor, num_valid: Tensor) -> tuple[Tensor, Tensor]:
        """Change a batch, each clip independently of the others.

        Args:
            waveforms: In [-1, 1], zero behind each clip. float32 [B, M]
            num_valid: Samples of each that are not padding. int64 [B]

        Returns:
            As given, but of other lengths if an effect changes them. May exceed [-1, 1].
        """
        for apply, params in self._steps:
            waveforms, num_valid = apply(waveforms, num_valid, params, self._rate_hz)
        return waveforms, num_valid


def read_augment(
    augment: Mapping[str, JsonValue], where: str = "params.yaml", name: str = "train.augment"
) -> dict[str, Any]:
    """Check ``augment`` and return each effect's params, None for one that is off.

    Args:
        augment: From the name of an effect to its params or null.
        where: What errors call the file.
        name: Where in the file the mapping stands.

    Raises:
        ParamsError: If there is no such effect, or its params are not valid.
    """
    known = effect_names()
    for key in augment:
        if key not in known:
            raise ParamsError(
                f"{where}: {name}.{key} is not a known key, expected one of: {', '.join(known)}"
            )
    return {
        key: validate(load_effect(key).PARAMS | None, value, where, f"{name}.{key}")
        for key, value in augment.items()
    }


def dump_augment(augment: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return ``augment`` as its effects read it: 12, where a float is meant, becomes 12.0."""
    return {
        key: TypeAdapter[Any](load_effect(key).PARAMS | None).dump_python(value, mode="json")
        for key, value in read_augment(augment).items()
    }
