"""How long a training will take on this machine, told once, after its first steps."""

import time
from collections.abc import Callable

import torch

from serct.runtime import devices, log

_ENOUGH_S = 5.0  # of steps, so that they stand for the others
_LONG_S = 120.0  # what is worth a message
_VERY_LONG_S = 3600.0  # what is worth naming other ways


class Estimate:
    """Measures the first steps of a training and logs how long all of them will take.

    It logs once, and only if that is long. The first step also warms up and is left out, unless it
    takes so long that this does not matter.
    """

    def __init__(
        self,
        num_epochs: int,
        steps_an_epoch: int,
        device: torch.device,
        precision: torch.dtype,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Start to measure.

        Args:
            num_epochs: Epochs that are left.
            steps_an_epoch: Steps of each.
            device: What computes them.
            precision: In which arithmetic.
            clock: Returns seconds.
        """
        self._num_epochs = num_epochs
        self._steps_an_epoch = steps_an_epoch
        self._device = device
        self._precision = precision
        self._clock = clock
        self._started = clock()
        self._num_timed = 0
        self._is_first = True
        self._is_done = False

    def count_step(self) -> None:
        """Note that a step has ended; at the first one that allows an estimate, log it."""
        if self._is_done:
            return
        self._num_timed += 1
        spent_s = self._clock() - self._started
        if spent_s >= _ENOUGH_S:
            self._is_done = True
            self._show(spent_s / self._num_timed)
        elif self._is_first:
            self._started, self._num_timed = self._clock(), 0
        self._is_first = False

    def _show(self, step_s: float) -> None:
        total_s = step_s * self._steps_an_epoch * self._num_epochs
        if total_s < _LONG_S:
            return
        log.logger.info(
            "training takes about %s for %d epochs on this machine (%s, %d steps of %.2g s each); "
            "if it is stopped, the next run goes on after the last whole epoch",
            hours_and_minutes(total_s), self._num_epochs, self._device.type,
            self._steps_an_epoch * self._num_epochs, step_s,
        )  # fmt: skip
        if self._device.type == "cpu" and total_s >= _VERY_LONG_S:
            log.logger.info("faster: a GPU; or smaller networks, `serct repro --profile cpu`")
            if self._precision == torch.float32 and devices.computes_bfloat16(self._device):
                log.logger.info("this CPU computes bfloat16 faster: train.precision: bfloat16")


def hours_and_minutes(seconds: float) -> str:
    """Return a long time as text.

    Example:
        >>> hours_and_minutes(34_790), hours_and_minutes(7200), hours_and_minutes(150)
        ('9 h 40 min', '2 h', '3 min')
    """
    hours, minutes = divmod(int(seconds / 60 + 0.5), 60)
    parts = [f"{hours} h"] if hours else []
    return " ".join([*parts, f"{minutes} min"] if minutes or not hours else parts)
