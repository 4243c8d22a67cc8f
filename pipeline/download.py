"""Obtain a corpus, verified, into its own folder; synthetic corpora are made here."""

from pipeline.stage import Arguments, run
from serct.config.params import Params
from serct.data.corpora import obtain_corpus, read_corpus_params


def download(params: Params, arguments: Arguments) -> None:
    """Fill ``--out`` with the corpus as its authors lay it out."""
    obtain_corpus(arguments.corpus, read_corpus_params(params, arguments.corpus), arguments.out)


if __name__ == "__main__":
    run(__doc__, download, names={"corpus": "an entry of corpora"}, paths={"out": "folder to make"})
