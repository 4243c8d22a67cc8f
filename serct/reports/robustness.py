"""How UA changes under conditions: the report's tables."""

from collections.abc import Sequence
from itertools import groupby

from serct.evaluation.records import ConditionScores, RobustnessMetrics
from serct.reports.model_card import CLEAN, condition_name
from serct.reports.page import DASH, Cell, Table
from serct.reports.results import TrainedModel


def robustness_tables(models: Sequence[TrainedModel]) -> list[Table]:
    """Return one table for each corpus trained on, of the models that were tested."""
    tables = []
    for _, group in groupby(models, key=lambda model: model.corpus):
        tested = [(model, model.robustness) for model in group if model.robustness is not None]
        if tested:
            tables.append(_table(tested))
    return tables


def _table(tested: Sequence[tuple[TrainedModel, RobustnessMetrics]]) -> Table:
    """Return a row a condition and a column a model."""
    found = [robustness for _, robustness in tested]
    first_model, first = tested[0]
    clean = [
        Cell(f"{each.ua:.3f} ({each.ua_interval.low:.3f} to {each.ua_interval.high:.3f})", each.ua)
        for each in found
    ]
    rows = [(Cell(CLEAN), *clean)]
    by_label = [{each.label: each for each in robustness.conditions} for robustness in found]
    for label in dict.fromkeys(label for scores in by_label for label in scores):
        scores = [each.get(label) for each in by_label]
        best = max(each.ua for each in scores if each is not None)
        name = next(condition_name(each) for each in scores if each is not None)
        rows.append((Cell(name), *(_cell(each, best) for each in scores)))
    caption = (
        f"Trained on {first_model.trained_on}: UA on {first.n} of the {first.of} utterances of its "
        f"test part, clean (95 % interval over {first.ua_interval.over}) and under each "
        "condition (change in parentheses), the best of each row bold; † where the change's 95 % "
        "interval, paired over utterances, excludes 0"
    )
    return Table(caption, ("condition", *(model.name for model, _ in tested)), tuple(rows))


def _cell(scores: ConditionScores | None, best: float) -> Cell:
    if scores is None:
        return Cell(DASH)
    low, high = scores.change_interval
    mark = " †" if low > 0 or high < 0 else ""
    text = f"{scores.ua:.3f} ({scores.change:+.3f}){mark}"
    return Cell(text, share=scores.ua, is_best=scores.ua == best)
