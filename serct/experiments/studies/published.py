"""Scores that others published for the same folds, and predictions in their form."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from serct.config.files import read_rows
from serct.config.params import Params
from serct.data.corpora import Corpus, Sources, build_corpus, read_corpus_params
from serct.data.official import emobox
from serct.data.official.reading import checkout_of, emobox_name
from serct.errors import ReportError
from serct.experiments.studies.results import PublishedScore
from serct.experiments.workspace import project_root
from serct.runtime import atomic


def read_published(name: str, params: Params) -> dict[str, list[PublishedScore]]:
    """Read the published scores of each training corpus.

    Args:
        name: A table in `studies/published`, with the columns set, model, ua and wa.
        params: Of the study.

    Raises:
        ReportError: If the table is missing, or has nothing of a corpus.
    """
    path = project_root() / "studies" / "published" / f"{name}.csv"
    rows = read_rows(path, ("set", "model", "ua", "wa"), error=ReportError)
    found: dict[str, list[PublishedScore]] = {}
    for corpus in params.pipeline.train_corpora:
        own = emobox_name(_corpus(params, corpus))
        found[corpus] = [
            PublishedScore(model=row["model"], ua=float(row["ua"]), wa=float(row["wa"]))
            for row in rows
            if row["set"] == own
        ]
        if not found[corpus]:
            raise ReportError(f"{path}: no scores of the set {own}")
    return found


def write_submissions(folder: Path, params: Params, cells: Sequence[tuple[int, Path]]) -> None:
    """Write the predictions of each model in the form that EmoBox evaluates.

    Each file holds a list of ``{"key": ..., "pred": ...}``, in the order of the fold's test part.

    Args:
        folder: Of the study; files are ``submissions/<corpus>-<model>/<cell>.json`` in it.
        params: Of any cell.
        cells: Seed and workspace of each, the folds of a seed one after another.
    """
    checkout = checkout_of(params.split, Sources.from_environment().mirror)
    num_folds = params.split.num_folds or 1
    for name in params.pipeline.train_corpora:
        corpus = _corpus(params, name)
        own = emobox_name(corpus)
        for number, (_, cell) in enumerate(cells):
            fold = number % num_folds
            listed = emobox.tested_paths(checkout, own, fold)
            keys = {corpus.recording_name(path): key for key, path in listed.items()}
            for model in params.pipeline.models:
                predicted = _predictions(cell / "data" / "reports", f"{name}-{model}", corpus, keys)
                lines = emobox.as_submission(checkout, own, fold, predicted)
                atomic.write_json(
                    folder / "submissions" / f"{name}-{model}" / f"{cell.name}.json", lines
                )


def _corpus(params: Params, name: str) -> Corpus:
    return build_corpus(name, read_corpus_params(params, name))


def _predictions(
    reports: Path, model: str, corpus: Corpus, keys: Mapping[str, str]
) -> dict[str, str]:
    """Return the predicted emotions by the keys of a fold's test part."""
    path = reports / "evaluate" / model / "predictions.csv"
    rows = read_rows(path, ("utterance", "predicted"), error=ReportError)
    # An utterance is a path without its suffix.
    names = [corpus.recording_name(PurePosixPath(f"{row['utterance']}.wav")) for row in rows]
    return {
        keys[name]: row["predicted"] for name, row in zip(names, rows, strict=True) if name in keys
    }
