"""How fast recordings become a manifest and shards, and in how much memory.

python benchmarks/preprocessing.py --corpus tess --raw DIR
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

from serct.config.reader import read_params
from serct.data.corpora import read_corpus_params, scan_corpus
from serct.data.manifest import inspect_recordings
from serct.data.preprocessing import ShardPlan, write_shards
from serct.data.splitting import split_utterances
from serct.runtime import machine

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", default="tess", help="an entry of corpora in params.yaml")
    parser.add_argument("--raw", type=Path, required=True, help="its folder, wav or flac")
    parser.add_argument("--repeats", type=int, default=4)
    arguments = parser.parse_args()
    machine.keep_freed_memory()
    params = read_params(ROOT / "params.yaml")
    scan = scan_corpus(read_corpus_params(params, arguments.corpus), arguments.raw)
    started = time.perf_counter()
    utterances, _ = inspect_recordings(arguments.raw, scan, arguments.corpus, "und", params.checks)
    spent_s = time.perf_counter() - started
    print(f"manifest: {len(utterances) / spent_s:.0f} clips/s")
    divided = split_utterances(utterances, params.split, params.seed)
    plan = ShardPlan(
        corpus=arguments.corpus,
        synthetic=False,
        protocol=params.split.protocol,
        audio=params.audio,
        checks=params.checks,
        rows_per_shard=params.preprocess.rows_per_shard,
    )
    for _ in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as scratch:
            started = time.perf_counter()
            write_shards(arguments.raw, divided, Path(scratch) / "shards", plan)
            spent_s = time.perf_counter() - started
        print(f"preprocess: {len(divided) / spent_s:.0f} clips/s")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"peak memory: {peak_mb:.0f} MB")


if __name__ == "__main__":
    main()
