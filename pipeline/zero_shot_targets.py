"""Write which corpora zero-shot evaluation uses, and their digests.

DVC cannot make a stage depend on a list of folders from params.yaml; depending on this file,
zero-shot evaluation reruns exactly when the list or one of its corpora changes.
"""

from pathlib import Path

from pipeline.stage import run
from serct.config.params import Params
from serct.data.shards import ZeroShotTargets, read_meta
from serct.runtime.atomic import write_json


def zero_shot_targets(params: Params, shards: Path, out: Path) -> None:
    """Write name and digest of each zero-shot corpus to ``--out``."""
    names = params.pipeline.zero_shot_corpora
    digests = {name: read_meta(shards / name, name).digest for name in names}
    write_json(out, ZeroShotTargets(digests=digests).as_json())


if __name__ == "__main__":
    run(__doc__, zero_shot_targets)
