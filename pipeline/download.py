"""Download and verify a corpus, or make a synthetic one, in a folder of its own."""

from pathlib import Path

from pipeline.stage import run
from serct.config.params import Params
from serct.data.corpora import obtain_corpus, read_corpus_params


def download(params: Params, corpus: str, out: Path) -> None:
    """Write the corpus to ``--out``, as its authors lay it out."""
    obtain_corpus(corpus, read_corpus_params(params, corpus), out)


if __name__ == "__main__":
    run(__doc__, download)
