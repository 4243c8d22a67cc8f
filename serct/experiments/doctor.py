"""The checks of `serct doctor`: can this machine run everything, and if not, why."""

import importlib
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serct.config.params import LocalExecutor
from serct.config.reader import read_params
from serct.errors import SerctError
from serct.experiments import integrity
from serct.tracking import artifact_place, store_problems
from serct.tracking.connection import without_password


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    check: str
    is_good: bool
    found: str


def examine(root: Path, is_deep: bool = False) -> list[Finding]:
    """Check interpreter, packages, devices, disk and each connection of a workspace.

    Args:
        root: The workspace.
        is_deep: Whether to read every file that has a digest as well.
    """
    checks: dict[str, Callable[[], str]] = {
        "python": lambda: sys.version.split()[0],
        "torch": _torch,
        "device": _device,
        "audio": lambda: _version("soundfile"),
        "resampler": lambda: _version("soxr"),
        "speech synthesis": lambda: _version("espeakng_loader"),
        "torchaudio (optional)": _torchaudio,
        "disk": lambda: _disk(root),
        "mirror": _mirror,
        "tracking": lambda: _tracking(root),
        "models' store": lambda: _artifacts(root),
        "data remote": lambda: _data_remote(root),
        "search": _search,
        "executor": lambda: _executor(root),
    }
    if is_deep:
        checks |= {
            "files of models": lambda: integrity.check_models(root),
            "files of corpora": lambda: integrity.check_shards(root),
            "files of results": lambda: integrity.check_results(root),
            "files of trainings": lambda: integrity.check_trainings(root),
            "files of versions": lambda: integrity.check_versions(root),
        }
    findings = []
    for check, function in checks.items():
        try:
            findings.append(Finding(check, True, function()))
        except (ImportError, OSError, RuntimeError, SerctError) as error:
            findings.append(Finding(check, False, str(error)))
    return findings


def _version(name: str) -> str:
    return str(getattr(importlib.import_module(name), "__version__", "installed"))


def _torch() -> str:
    import torch

    return f"{torch.__version__}, {torch.get_num_threads()} threads"


def _device() -> str:
    from serct.runtime.devices import pick_device
    from serct.runtime.machine import machine

    described = machine()
    return f"{pick_device('auto')} ({described.gpu or described.cpu})"


def _torchaudio() -> str:
    try:
        return _version("torchaudio")
    except ImportError:
        return "not installed: only needed for audio.resampler: torchaudio"
    except (OSError, RuntimeError) as error:
        # Installed for another CUDA than torch; nothing depends on it.
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
    address = os.environ.get("MLFLOW_TRACKING_URI")
    return without_password(address) if address else f"sqlite in {root}"


def _artifacts(root: Path) -> str:
    place = artifact_place(root, read_params(root / "params.yaml").tracking.experiment)
    return place or "no experiment yet: the first training makes it"


def _data_remote(root: Path) -> str:
    # DVC takes a second to import.
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with warnings.catch_warnings():
            # Parts of DVC use what other parts deprecate.
            warnings.simplefilter("ignore", DeprecationWarning)
            with Repo(str(root)) as repo:
                name = repo.config["core"].get("remote")
                if not name:
                    return "none: data stays on this machine; to share it: docs/how-to/team.md"
                remote = repo.cloud.get_remote(name)
                # Before the first push there is only the bucket or the disk.
                first = Path(remote.path).parts[0]
                if not (remote.fs.exists(remote.path) or remote.fs.exists(first)):
                    raise SerctError(f"{name}, {remote.path}: not there")
                return f"{name}, {remote.path}"
    except SerctError:
        raise
    except DvcException as error:
        raise SerctError(str(error)) from error
    except Exception as error:
        # Each kind of storage has a library with error classes of its own.
        raise SerctError(
            f"{name}, {remote.path}: {error}; `dvc remote list` shows its address, "
            "docs/how-to/team.md what must be set"
        ) from error


def _search() -> str:
    url = os.environ.get("SERCT_SEARCH_STORAGE")
    if not url:
        return "a journal in the workspace: SERCT_SEARCH_STORAGE is not set"
    from serct.experiments.search.run import open_storage

    studies = open_storage(url).get_all_studies()
    return f"database, {len(studies)} searches in it"


def _executor(root: Path) -> str:
    section = read_params(root / "params.yaml").executor
    if isinstance(section, LocalExecutor):
        return "local: all work is done on this machine"
    from serct.runtime.ray_cluster import describe

    return describe(section)
