"""The user's cache folder, and the features of recordings in it.

Whatever lies there only saves time: it may be deleted whenever no stage is running, and a file that
is damaged or cannot be written costs a warning and the time.

Shapes: n recordings, F features.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import platformdirs

from serct.errors import DiskError
from serct.runtime.arrays import Features
from serct.runtime.atomic import replacing_file
from serct.runtime.log import logger

# Of all features; beyond it the files that were not used for longest are removed.
MAX_BYTES = 2 * 10**9
# In one file, unless more are in use: what earlier forms of a corpus left goes first.
_MAX_ROWS = 50_000
_DIGEST_BYTES = 32


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return SERCT_CACHE, or where this platform keeps the caches of its users."""
    chosen = environment.get("SERCT_CACHE", "") or platformdirs.user_cache_dir("serct")
    return Path(chosen).expanduser()


class FeatureCache:
    """Features of recordings by the digest of their samples, in one file.

    Any number of processes may use it at once: each reads and writes whole files, and of two that
    write, the last one's stays.

    Args:
        name: Of the file: unlike for features that are computed otherwise.
    """

    def __init__(self, name: str) -> None:
        self.path = cache_folder() / "features" / f"{name}.npz"

    def read(self) -> dict[bytes, Features]:
        """Return the features of each recording, [F], by the SHA-256 of its samples.

        There are none if the file is missing; if it is damaged, that is a warning too.
        """
        try:
            found = self._load()
            with suppress(OSError):
                os.utime(self.path)  # used just now
        except FileNotFoundError:
            return {}
        # A damaged file has errors of many kinds.
        except Exception as error:
            logger.warning("%s: not used: %s; features are computed anew", self.path, error)
            return {}
        return found

    def _load(self) -> dict[bytes, Features]:
        with self.path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            digests, features, seal = (arrays[name] for name in ("digests", "features", "sha256"))
        if _seal(digests, features) != seal.tobytes():
            raise ValueError("damaged: its SHA-256 is not the one that was written")
        return dict(zip(map(bytes, digests), features, strict=True))

    def add(self, digests: Sequence[bytes], features: Features) -> None:
        """Write the features of further recordings. n digests, float64 [n, F]."""
        new = dict(zip(digests, features, strict=True))
        old: dict[bytes, Features] = {}
        with suppress(Exception):  # `read` warned of it
            old = {digest: row for digest, row in self._load().items() if digest not in new}
        surplus = min(len(old), max(0, len(old) + len(new) - _MAX_ROWS))
        rows = dict(list(old.items())[surplus:]) | new
        names = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, _DIGEST_BYTES)
        stacked = np.stack(list(rows.values()))
        seal = np.frombuffer(_seal(names, stacked), np.uint8)
        try:
            with replacing_file(self.path) as partial:
                np.savez(partial, digests=names, features=stacked, sha256=seal)
        except (OSError, DiskError) as error:
            logger.warning("features are not kept for the next time: %s", error)
            return
        _remove_unused(self.path)


def _seal(digests: npt.NDArray[Any], features: npt.NDArray[Any]) -> bytes:
    """Compute the SHA-256 of a file's content."""
    content = hashlib.sha256(f"{digests.shape} {features.shape} {features.dtype}".encode())
    for array in (digests, features):
        content.update(np.ascontiguousarray(array).data)
    return content.digest()


def _remove_unused(written: Path) -> None:
    """Remove the files that were not used for longest, until the rest is within `MAX_BYTES`."""
    with suppress(OSError):
        files = [(path, path.stat()) for path in written.parent.glob("*.npz") if path != written]
        left = MAX_BYTES - written.stat().st_size
        for path, found in sorted(files, key=lambda each: each[1].st_mtime, reverse=True):
            left -= found.st_size
            if left < 0:
                path.unlink(missing_ok=True)
