"""Tracking: MLflow as a projection of the files that the stages write.

Nothing is known to MLflow alone. A run, a registered version, its scores and its pictures all
come from a model's folder and its results, so `Store.sync` rebuilds a lost database with the
functions that a live training uses. This package is the only one that imports MLflow, and it
does so when a store is first opened, since that takes seconds.
"""

from serct.tracking.address import artifact_place, store_problems
from serct.tracking.promotions import Entry, Promoted, append_promotion, read_promotions
from serct.tracking.registry import CHAMPION, PREVIOUS, Version
from serct.tracking.relocation import relocate
from serct.tracking.resolution import find_model, find_version, known_versions, resolve_model
from serct.tracking.server import server_command
from serct.tracking.store import Store, list_versions, open_store
from serct.tracking.sync import SyncReport

__all__ = [
    "CHAMPION",
    "PREVIOUS",
    "Entry",
    "Promoted",
    "Store",
    "SyncReport",
    "Version",
    "append_promotion",
    "artifact_place",
    "find_model",
    "find_version",
    "known_versions",
    "list_versions",
    "open_store",
    "read_promotions",
    "relocate",
    "resolve_model",
    "server_command",
    "store_problems",
]
