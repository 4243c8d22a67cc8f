"""Nothing leaves the machine: libraries that report to their makers are told not to."""

import os
import subprocess
import sys
from pathlib import Path


def test_onnx_runtime_prepares_no_report(tmp_path: Path) -> None:
    """Its builds that report keep what they are about to send in the user's cache."""
    unset = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    subprocess.run(
        [sys.executable, "-c", "import serct, onnxruntime"],
        env={**environment, "HOME": str(tmp_path)},
        check=True,
        timeout=60,
    )
    assert not list(tmp_path.rglob("*"))
