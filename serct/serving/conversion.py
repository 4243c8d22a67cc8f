"""The model in use becomes ONNX, which is faster on a CPU, while it is in use."""

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

logger = logging.getLogger("serct.serving")


class Conversion:
    """Converts a model that has been in use for a while, once, in a process of its own.

    A service so starts at once, and a version that is soon replaced costs nothing.
    """

    def __init__(self, delay_s: float) -> None:
        """Create one that has nothing to convert.

        Args:
            delay_s: How long a model has been in use before.
        """
        self._delay_s = delay_s
        self._folder: Path | None = None
        self._since = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._tried: set[Path] = set()
        self._lock = threading.Lock()
        self._is_stopped = False

    def poll(self, folder: Path | None) -> bool:
        """Go on; return whether the export of the model in use has been made since the last call.

        Args:
            folder: Of the model in use; None if there is nothing to convert.
        """
        with self._lock:
            if folder != self._folder:
                self._end()
                self._folder, self._since = folder, time.monotonic()
            if self._process is not None:
                return self._is_made(self._process)
            is_due = time.monotonic() >= self._since + self._delay_s
            if folder is not None and is_due and folder not in self._tried and not self._is_stopped:
                self._start(folder)
            return False

    def stop(self) -> None:
        """End what is under way, for good."""
        with self._lock:
            self._is_stopped = True
            self._end()

    def _start(self, folder: Path) -> None:
        self._tried.add(folder)
        # Without warnings nothing but the reason of a failure is written, which the pipe can hold.
        module = "serct.inference.serving_form"
        command = [sys.executable, "-W", "ignore", "-m", module, str(folder)]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        except OSError as error:
            self._refuse(error.strerror or str(error))

    def _is_made(self, process: "subprocess.Popen[bytes]") -> bool:
        if process.poll() is None:
            return False
        _, errors = process.communicate()
        self._process = None
        if process.returncode:
            lines = errors.decode(errors="replace").strip().splitlines()
            self._refuse(lines[-1] if lines else f"its process ended with {process.returncode}")
        return process.returncode == 0

    def _refuse(self, reason: str) -> None:
        logger.warning("the model stays in its own form, not converted to ONNX: %s", reason)

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
