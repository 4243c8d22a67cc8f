"""Turn a manifest's recordings into shards of padded rows."""

from pathlib import Path

from pipeline.stage import run
from serct.config.params import Params
from serct.data.corpora import build_corpus, read_corpus_params
from serct.data.manifest import read_manifest
from serct.data.preprocessing import ShardPlan, write_shards
from serct.runtime.executors import open_executor
from serct.runtime.log import progress


def preprocess(params: Params, corpus: str, raw: Path, manifest: Path, out: Path) -> None:
    """Write the shards of one corpus to ``--out``."""
    utterances = read_manifest(manifest)
    reader = build_corpus(corpus, read_corpus_params(params, corpus))
    plan = ShardPlan(
        corpus=corpus,
        synthetic=reader.is_synthetic,
        protocol=params.split_params(corpus).protocol,
        audio=params.audio,
        checks=params.checks,
        rows_per_shard=params.preprocess.rows_per_shard,
    )
    with (
        progress(len(utterances), f"preprocessing {corpus}", "utterances") as advance,
        open_executor(params.executor) as executor,
    ):
        write_shards(raw, utterances, out, plan, advance, executor.map)


if __name__ == "__main__":
    run(__doc__, preprocess)
