"""What `serct doctor` looks at: is this machine able to run everything, and if not, why."""

import importlib
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serct.errors import SerctError
from serct.tracking import store_problems


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    check: str
    is_good: bool
    found: str


def examine(root: Path) -> list[Finding]:
    """Look at interpreter, packages, devices, disk, corpora and tracking store of a workspace."""
    looks: dict[str, Callable[[], str]] = {
        "python": lambda: sys.version.split()[0],
        "torch": _torch,
        "device": _device,
        "audio": lambda: _version("soundfile"),
        "resampler": lambda: _version("soxr"),
        "speech synthesis": lambda: _import("espeakng_loader"),
        "torchaudio (optional)": _torchaudio,
        "disk": lambda: _disk(root),
        "mirror": _mirror,
        "tracking": lambda: _tracking(root),
    }
    findings = []
    for check, look in looks.items():
        try:
            findings.append(Finding(check, True, look()))
        except (ImportError, OSError, RuntimeError, SerctError) as error:
            findings.append(Finding(check, False, str(error)))
    return findings


def _import(name: str) -> str:
    importlib.import_module(name)
    return "there"


def _version(name: str) -> str:
    return str(importlib.import_module(name).__version__)


def _torch() -> str:
    import torch

    return f"{torch.__version__}, {torch.get_num_threads()} threads"


def _device() -> str:
    from serct.runtime import machine, pick_device

    described = machine()
    return f"{pick_device('auto')} ({described.gpu or described.cpu})"


def _torchaudio() -> str:
    try:
        return _version("torchaudio")
    except ImportError:
        return "not installed: only needed for audio.resampler: torchaudio"
    except (OSError, RuntimeError) as error:
        # Installed for another CUDA than torch: worth knowing, but nothing depends on it.
        return f"not usable ({error}): only needed for audio.resampler: torchaudio"


def _disk(root: Path) -> str:
    free_gb = shutil.disk_usage(root).free / 1e9
    if free_gb < 5:
        raise SerctError(f"{free_gb:.1f} GB free, expected at least 5 GB")
    return f"{free_gb:.0f} GB free"


def _mirror() -> str:
    mirror = os.environ.get("SERCT_MIRROR")
    if not mirror:
        return "SERCT_MIRROR is not set: corpora come from their official addresses"
    if not Path(mirror).is_dir():
        raise SerctError(f"SERCT_MIRROR is {mirror!r}, which is not a folder")
    return f"{mirror}: {', '.join(sorted(p.name for p in Path(mirror).iterdir()))}"


def _tracking(root: Path) -> str:
    problems = store_problems(root)
    if problems:
        raise SerctError("; ".join(problems))
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite in {root}"
