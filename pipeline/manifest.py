"""Scan and check a corpus, divide it, and write its manifest."""

from pipeline.stage import Arguments, run
from serct.config.params import Params
from serct.data.corpora import build_corpus, read_corpus_params, scan_corpus
from serct.data.manifest import check_rejections, inspect_recordings, write_manifest
from serct.data.splitting import split_utterances
from serct.runtime.log import logger, progress


def manifest(params: Params, arguments: Arguments) -> None:
    """Write ``--out``: one row an utterance, each on one side."""
    corpus = read_corpus_params(params, arguments.corpus)
    language = build_corpus(arguments.corpus, corpus).language
    scan = scan_corpus(corpus, arguments.raw)
    with progress(len(scan.utterances), f"checking {arguments.corpus}", "files") as advance:
        utterances, rejections = inspect_recordings(
            arguments.raw, scan, arguments.corpus, language, params.checks, advance
        )
    check_rejections(arguments.corpus, rejections, params.checks.max_rejected)
    for rejection in rejections:
        logger.warning("left out: %s: %s", rejection.path, rejection.reason)
    write_manifest(arguments.out, split_utterances(utterances, params.split, params.seed))


if __name__ == "__main__":
    run(
        __doc__,
        manifest,
        names={"corpus": "an entry of corpora"},
        paths={"raw": "the corpus' folder", "out": "manifest to write"},
    )
