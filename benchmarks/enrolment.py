"""Measures what speaker enrolment is worth if the recordings are of one mood alone.

python benchmarks/enrolment.py --shards data/shards/emodb --out enrolment-emodb.json
python benchmarks/enrolment.py --shards data/shards/tess --on data/shards/emodb

Leaving one speaker out, or from one corpus to another, a model is enrolled with k recordings of a
speaker, drawn at random: of any mood, of two, or of one. It then predicts all other recordings of
that speaker. UA is computed for each speaker and draw, over the emotions that both corpora have;
the mean is over draws and speakers. Compared are: no enrolment; enrolment that believes every
recording; and enrolment as it is, where recordings that vary little count for one.

Models are fitted to whole recordings as they are, without changed copies.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serct.config.reader import read_params
from serct.data.dataset import ShardDataset
from serct.data.manifest import SPLITS
from serct.emotions import in_table_order
from serct.evaluation.windows import Windows
from serct.inference.enrolment import NARROW
from serct.models import read_model_params
from serct.models.classical.estimator import LabelledRows
from serct.models.classical.feature_classifier import FeatureClassifier
from serct.models.encoders.params import UsesEncoder
from serct.runtime.atomic import write_json
from serct.runtime.machine import git_commit, machine
from serct.training.encoders import find_encoder

COUNTS = (1, 2, 4, 8, 16)
KINDS = ("any", "two", "one")
# A mean of fewer draws says nothing.
FEWEST = 20


@dataclass(frozen=True, eq=False)
class Recordings:
    """Features, emotions and speakers of a corpus."""

    features: np.ndarray
    emotions: np.ndarray
    speakers: np.ndarray

    def of(self, chosen: np.ndarray) -> "Recordings":
        """Return some of them."""
        return Recordings(self.features[chosen], self.emotions[chosen], self.speakers[chosen])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=Path, required=True, help="of the corpus to train on")
    parser.add_argument("--on", type=Path, help="shards to test on; leave a speaker out if absent")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--model", default="functionals_lda_speaker")
    parser.add_argument("--draws", type=int, default=10, help="of recordings, of each kind")
    parser.add_argument("--seed", type=int, default=3, help="of the draws and the models")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    params = read_params(arguments.params)
    entry = read_model_params(params, arguments.model)
    if isinstance(entry, UsesEncoder):
        entry = entry.with_encoder(find_encoder(entry.encoder))

    def build() -> FeatureClassifier:
        model = entry.build(params.train, arguments.seed, params.audio.sample_rate)
        if not isinstance(model, FeatureClassifier) or not model.adapts_to_speaker:
            parser.error(f"{arguments.model} has no speaker enrolment")
        return model

    corpus = read(arguments.shards, build())
    other = read(arguments.on, build()) if arguments.on else None
    draws = defaultdict(list)
    rng = np.random.default_rng(arguments.seed)
    for train, test in divide(corpus, other):
        emotions = in_table_order(set(train.emotions))
        labels = np.array([emotions.index(emotion) for emotion in train.emotions])
        model = build()
        model.fit(LabelledRows(train.features, labels, train.speakers.tolist()))
        for speaker in dict.fromkeys(test.speakers):
            own = test.of((test.speakers == speaker) & np.isin(test.emotions, emotions))
            for kind, count, chosen in draw(own, arguments.draws, rng):
                draws[kind, count].append(score(model, emotions, own, chosen))
    found = {
        "model": arguments.model,
        "trained_on": arguments.shards.name,
        "tested_on": (arguments.on or arguments.shards).name,
        "leaving_a_speaker_out": other is None,
        "seed": arguments.seed,
        "rows": [
            {"moods": kind, "recordings": count, "draws": len(each)}
            | {key: float(np.mean([one[key] for one in each])) for key in each[0]}
            for kind in KINDS
            for count in COUNTS
            if len(each := draws[kind, count]) >= FEWEST
        ],
        "git_commit": git_commit(),
        "machine": machine().__dict__,
    }
    print(json.dumps(found, indent=2))
    if arguments.out:
        write_json(arguments.out, found)


def read(shards: Path, model: FeatureClassifier) -> Recordings:
    """Compute the features of the first row of each recording."""
    dataset = ShardDataset(shards, SPLITS)
    windows = Windows.of_first_rows(dataset)
    features = windows.features(model, 16, lambda number: None)
    return Recordings(
        features, np.array([row.label for row in dataset.rows]), np.array(dataset.speakers)
    )


def divide(corpus: Recordings, other: Recordings | None) -> Iterator[tuple[Recordings, Recordings]]:
    """Yield what to train on and what to test on."""
    if other is not None:
        yield corpus, other
        return
    for speaker in dict.fromkeys(corpus.speakers):
        is_test = corpus.speakers == speaker
        yield corpus.of(~is_test), corpus.of(is_test)


def draw(
    own: Recordings, num_draws: int, rng: np.random.Generator
) -> Iterator[tuple[str, int, np.ndarray]]:
    """Yield kinds and numbers of recordings, and which these are; at least half are left."""
    moods = list(dict.fromkeys(own.emotions))
    for count in COUNTS:
        for _ in range(num_draws):
            two = rng.choice(len(moods), 2, replace=False)
            groups = [("any", moods), ("two", [moods[place] for place in two])]
            groups += [("one", [mood]) for mood in moods]
            for kind, chosen in groups:
                places = rng.permutation(np.flatnonzero(np.isin(own.emotions, chosen)))[:count]
                if len(places) == count and 2 * count <= len(own.emotions):
                    yield kind, count, places


def believer(model: FeatureClassifier) -> FeatureClassifier:
    """Return the same model without a measure of variety, as older versions are."""
    copied = copy(model)
    copied._variety = None
    return copied


def score(
    model: FeatureClassifier, emotions: list[str], own: Recordings, chosen: np.ndarray
) -> dict[str, Any]:
    """Return the UA on the other recordings, and what the enrolment is taken for."""
    rest = own.of(np.setdiff1d(np.arange(len(own.emotions)), chosen))
    enrolled = model.enrol(own.features[chosen])
    asked = in_table_order(set(own.emotions))
    columns = [emotions.index(emotion) for emotion in asked]

    def ua(probabilities: np.ndarray) -> float:
        names = np.array(asked)[probabilities[:, columns].argmax(axis=1)]
        is_right = names == rest.emotions
        recalls = [is_right[rest.emotions == each].mean() for each in set(rest.emotions)]
        return float(np.mean(recalls))

    believing = believer(model).predict(rest.features, enrolled)
    return {
        "ua_without": ua(model.predict(rest.features)),
        "ua_believing": ua(believing),
        "ua": ua(model.predict(rest.features, enrolled)),
        "counts_as": model.num_counted(enrolled),
        "narrow": len(chosen) > 1 and model.variety(enrolled) < NARROW,
    }


if __name__ == "__main__":
    main()
