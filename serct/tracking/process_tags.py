"""Which process writes a run, for what, and whether that process is still alive.

A process that is killed outright can log nothing any more, so its run would stay "running" for
ever; from these tags the next process on the same machine sees that it is dead.
"""

import os
import socket
from collections.abc import Mapping

import psutil

from serct.runtime.machine import git_commit

HOST, PID, PROCESS_STARTED = "serct.host", "serct.pid", "serct.process_started"


def process_tags() -> dict[str, str]:
    """Return the tags that identify this process."""
    return {
        HOST: socket.gethostname(),
        PID: str(os.getpid()),
        PROCESS_STARTED: str(psutil.Process().create_time()),
    }


def process_source() -> dict[str, str | None]:
    """Return code, DVC stage and DVC experiment that this process runs, by the keys of run.json.

    DVC names the experiment in every `dvc exp run`, also of one in a temporary folder.
    """
    return {
        "git_commit": git_commit(),
        "dvc_stage": os.environ.get("DVC_STAGE"),
        "dvc_experiment": os.environ.get("DVC_EXP_NAME"),
        "dvc_baseline": os.environ.get("DVC_EXP_BASELINE_REV"),
    }


def is_alive(tags: Mapping[str, str]) -> bool:
    """Return whether the tags name a process that is still alive on this machine."""
    if tags.get(HOST) != socket.gethostname() or not tags.get(PID, "").isdecimal():
        return False
    try:
        process = psutil.Process(int(tags[PID]))
        # Numbers of ended processes are used again, so the start has to agree as well.
        is_same = abs(process.create_time() - float(tags.get(PROCESS_STARTED, "nan"))) < 1
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError):
        return False
