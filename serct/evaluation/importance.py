"""How much the prediction of a classical model depends on each group of its features.

Shapes: n utterances, F features, K emotions.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from serct.config.record import Record, RecordPart
from serct.errors import CheckpointError, SerctError
from serct.evaluation.metrics import score
from serct.models.classical.feature_classifier import FeatureClassifier, FeatureName
from serct.models.records import IMPORTANCE
from serct.runtime.arrays import Features, Integers

NUM_REPEATS = 5
# A support vector machine takes seconds for more.
MAX_UTTERANCES = 500


class GroupImportance(RecordPart):
    """What is lost without one group of features.

    Attributes:
        num_features: In the group.
        ua_lost: UA that is lost when the group's values are those of another utterance, 0..1: the
            mean over the repeats. Below 0 if UA rose.
        deviation: Standard deviation of that over the repeats, 0 and more.
    """

    num_features: int
    ua_lost: float
    deviation: float


class FeatureImportance(Record):
    """`importance.json` of the train stage.

    Attributes:
        n: Utterances of the validation part that were used.
        of: Utterances in it.
        ua: With all features as they are, 0..1.
        repeats: How often each group was permuted.
        groups: By name, the most important first.
    """

    FORMAT: ClassVar[int] = 1
    ERROR: ClassVar[type[SerctError]] = CheckpointError

    n: int
    of: int
    ua: float
    repeats: int
    groups: dict[str, GroupImportance]


def measure_importance(
    model: FeatureClassifier,
    rows: Features,
    labels: Integers,
    speakers: Sequence[str],
    emotions: Sequence[str],
    seed: int,
) -> FeatureImportance | None:
    """Permute each group of features among utterances that a model has not learned from.

    A whole group moves at once: of features that say nearly the same, permuting one alone loses
    less than all of them, since the others still say it. Two groups that say nearly the same both
    look less important for that reason.

    Args:
        model: Fitted, to other utterances.
        rows: Their features, which stay as they are. float64 [n, F]
        labels: 0..K-1. int64 [n]
        speakers: Of each utterance, "" if unknown; the model may adapt to them.
        emotions: The K classes.
        seed: Of the permutations.

    Returns:
        None if the model does not name its features.

    Source:
        Breiman, Random forests, 2001; scikit-learn's `permutation_importance` is the same for
        groups of one feature.
    """
    columns_by_group = _columns_by_group(model.feature_names())
    if not columns_by_group:
        return None
    of = len(rows)
    # Spread over the part, whose rows are often in the order of their speakers.
    chosen = np.linspace(0, of - 1, min(of, MAX_UTTERANCES)).round().astype(np.int64)
    rows, labels = rows[chosen], labels[chosen]
    speakers = [speakers[place] for place in chosen]

    def ua_of(changed: Features) -> float:
        return score(emotions, labels, model.predict_by_speaker(changed, speakers)).ua

    ua, random = ua_of(rows), np.random.default_rng(seed)
    found = {}
    for group, columns in columns_by_group.items():
        lost = []
        for _ in range(NUM_REPEATS):
            permuted = rows.copy()
            permuted[:, columns] = rows[random.permutation(len(rows))][:, columns]
            lost.append(ua - ua_of(permuted))
        found[group] = GroupImportance(
            num_features=len(columns), ua_lost=float(np.mean(lost)), deviation=float(np.std(lost))
        )
    ordered = dict(sorted(found.items(), key=lambda item: -item[1].ua_lost))
    return FeatureImportance(n=len(rows), of=of, ua=ua, repeats=NUM_REPEATS, groups=ordered)


def _columns_by_group(names: Sequence[FeatureName]) -> dict[str, npt.NDArray[np.int64]]:
    groups = np.array([each.group for each in names])
    return {str(name): np.flatnonzero(groups == name) for name in dict.fromkeys(groups.tolist())}


def read_importance(
    folder: Path, files: Mapping[str, str], hint: str, error: type[SerctError]
) -> FeatureImportance | None:
    """Read the file in a model's folder; None if it has none, as networks have none.

    Args:
        folder: The model's.
        files: What `run.json` there lists; `serct.models.records.read_history` compares digests.
        hint: See `Record.read`.
        error: What to raise.

    Raises:
        SerctError: If it is listed, and is missing or not valid.
    """
    if IMPORTANCE not in files:
        return None
    return FeatureImportance.read(folder / IMPORTANCE, hint, error)
