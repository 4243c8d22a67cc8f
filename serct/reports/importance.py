"""Which groups of features decided: the report's tables."""

from collections.abc import Sequence
from itertools import groupby

from serct.evaluation.importance import FeatureImportance
from serct.reports.page import Cell, Table
from serct.reports.results import TrainedModel


def importance_tables(models: Sequence[TrainedModel]) -> list[Table]:
    """Return one table for each corpus trained on, of the models whose features have names."""
    tables = []
    for trained_on, group in groupby(models, key=lambda model: model.trained_on):
        measured = [(each.name, each.importance) for each in group if each.importance is not None]
        if measured:
            tables.append(_table(trained_on, measured))
    return tables


def _table(trained_on: str, measured: Sequence[tuple[str, FeatureImportance]]) -> Table:
    """Return a row a group of features, those of one model side by side."""
    rows = []
    for name, found in measured:
        for group, each in found.groups.items():
            lost = f"{each.ua_lost:+.3f} ± {each.deviation:.3f}"
            cells = (Cell(name), Cell(group), Cell(f"{each.num_features:,}"))
            rows.append((*cells, Cell(f"{found.ua:.3f}"), Cell(lost, max(0.0, each.ua_lost))))
    sizes = {f"{found.n} of the {found.of}" for _, found in measured}
    caption = (
        f"Trained on {trained_on}: UA lost when a group of features is exchanged among "
        f"{' or '.join(sorted(sizes))} utterances of the validation part, before these were "
        f"learned (mean and standard deviation of {measured[0][1].repeats} permutations)"
    )
    header = ("model", "group", "features", "UA with all", "UA lost")
    return Table(caption, header, tuple(rows), num_names=2)
