"""Tracking: MLflow as a projection of the files that the stages write.

MLflow alone holds nothing. A run, a registered version, its scores and its pictures all come from
a model's folder and its results, so `sync_store` rebuilds a lost database with the functions that a
live training uses. This package is the only one that imports MLflow, and it does so when a store
is first opened, since that takes seconds.
"""

from serct.tracking.connection import server_command
from serct.tracking.experiment_page import table_address
from serct.tracking.promotions import Entry, Promoted, append_promotion, next_time, read_promotions
from serct.tracking.registry import CHAMPION, PREVIOUS
from serct.tracking.relocation import artifact_place, relocate, store_problems
from serct.tracking.resolve import (
    find_model,
    find_version,
    has_store,
    known_versions,
    version_in_use,
)
from serct.tracking.runs import Store, open_store
from serct.tracking.sync import SyncReport, sync_store
from serct.tracking.versions import Identity, Version, list_versions

__all__ = [
    "CHAMPION",
    "PREVIOUS",
    "Entry",
    "Identity",
    "Promoted",
    "Store",
    "SyncReport",
    "Version",
    "append_promotion",
    "artifact_place",
    "find_model",
    "find_version",
    "has_store",
    "known_versions",
    "list_versions",
    "next_time",
    "open_store",
    "read_promotions",
    "relocate",
    "server_command",
    "store_problems",
    "sync_store",
    "table_address",
    "version_in_use",
]
