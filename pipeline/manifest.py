"""Scan and check a corpus, split it, and write its manifest."""

from pathlib import Path

from pipeline.stage import run
from serct.config.params import Params
from serct.data.corpora import Sources, build_corpus, read_corpus_params, scan_corpus
from serct.data.manifest import check_rejections, inspect_recordings, write_manifest
from serct.data.names import describe_names
from serct.data.official.reading import take_parts
from serct.data.split_checks import describe_members
from serct.data.splitting import split_utterances
from serct.runtime.log import logger, progress


def manifest(params: Params, corpus: str, raw: Path, out: Path) -> None:
    """Write ``--out``: one row an utterance, each in one split."""
    section = read_corpus_params(params, corpus)
    reader = build_corpus(corpus, section)
    scan = scan_corpus(section, raw)
    for note in scan.notes:
        logger.info("%s: %s", corpus, note)
    with progress(len(scan.utterances), f"checking {corpus}", "files") as advance:
        utterances, rejections = inspect_recordings(
            raw, scan, corpus, reader.language, params.checks, advance
        )
    check_rejections(corpus, rejections, params.checks.max_rejected)
    for rejection in rejections:
        logger.warning("left out: %s: %s", rejection.path, rejection.reason)
    for warning in describe_names(utterances):
        logger.warning("%s: %s", corpus, warning)
    division, mirror = params.split_params(corpus), Sources.from_environment().mirror
    listed, account = take_parts(utterances, reader, division, mirror)
    for line in account:
        logger.info("%s: %s", corpus, line)
    divided = split_utterances(listed, division, params.seed)
    for line in describe_members(divided):
        logger.info("%s: %s", corpus, line)
    write_manifest(out, divided)


if __name__ == "__main__":
    run(__doc__, manifest)
