"""Turn a manifest's recordings into shards of padded rows."""

from pipeline.stage import Arguments, run
from serct.config.params import Params
from serct.data.corpora import build_corpus, read_corpus_params
from serct.data.manifest import read_manifest
from serct.data.preprocessing import ShardPlan, write_shards
from serct.runtime.executors import open_executor
from serct.runtime.log import progress


def preprocess(params: Params, arguments: Arguments) -> None:
    """Write the shards of one corpus to ``--out``."""
    utterances = read_manifest(arguments.manifest)
    corpus = build_corpus(arguments.corpus, read_corpus_params(params, arguments.corpus))
    plan = ShardPlan(
        corpus=arguments.corpus,
        synthetic=corpus.is_synthetic,
        protocol=params.split.protocol,
        audio=params.audio,
        checks=params.checks,
        rows_per_shard=params.preprocess.rows_per_shard,
    )
    with (
        progress(len(utterances), f"preprocessing {arguments.corpus}", "utterances") as advance,
        open_executor(params.executor) as executor,
    ):
        write_shards(arguments.raw, utterances, arguments.out, plan, advance, executor.map)


if __name__ == "__main__":
    run(
        __doc__,
        preprocess,
        names={"corpus": "an entry of corpora"},
        paths={
            "raw": "the corpus' folder",
            "manifest": "its manifest",
            "out": "folder of shards to make",
        },
    )
