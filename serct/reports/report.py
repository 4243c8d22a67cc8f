"""The report: all results of the pipeline, beside the thesis' and the majority baseline's.

It is a projection of the files that the stages wrote: it measures nothing, and the same files
give the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from itertools import groupby
from pathlib import Path
from types import MappingProxyType

from markupsafe import Markup

from serct.config.files import as_csv
from serct.config.params import PipelineParams
from serct.evaluation.metrics import METRICS
from serct.reports import plots
from serct.reports.importance import importance_tables
from serct.reports.model_card import CONDUCT, bullets, model_card
from serct.reports.page import Table, render
from serct.reports.results import Result, TrainedModel, label, line_up, read_results
from serct.reports.robustness import robustness_tables
from serct.reports.tables import (
    in_domain_tables,
    joined_table,
    origin_table,
    overviews,
    time_table,
    trust_table,
    zero_shot_tables,
)
from serct.reports.thesis import FAULTS, Published
from serct.runtime import atomic

_CURVE_KEYS = ("train_loss", "validation_loss", "validation_ua")
_LEGEND = (
    "WA is accuracy, UA the mean of the emotions' recalls, WF1 the F1 weighted by how often each "
    "emotion occurs. WA's interval is for the size of the test part (Wilson), UA's a bootstrap of "
    "speakers where there are eight, else over utterances; neither is for another training.",
    "The rows below the models show UA from duration or level alone: a random forest predicts from "
    "only the duration, or only the level, noise floor, DC and edges of the recording.",
    "McNemar: if both models were equally good, the probability of so unequal a split of the "
    "utterances that only one of them predicted right. Below 0.05 the best is probably better.",
    "Under the random protocol the test part shares its speakers and sentences with training: read "
    "such scores beside those of the speaker protocol (docs/results/studies.md).",
    "The epoch of each model was chosen on the validation part; the test part was scored once. "
    "Models without epochs are trained on the validation part too, after it was scored.",
    "Zero-shot: the model was not trained on the corpus. Only utterances of emotions that both "
    "have are scored; masked: only these emotions may be predicted; unmasked: any may.",
    "Under stated conditions: utterances of the test part, changed before they are predicted; all "
    "models get the same ones (docs/concepts/robustness.md).",
    "Which features decide: two groups that say nearly the same both lose little, and a loss on a "
    "small validation part says little (docs/concepts/importance.md).",
    "The thesis' scores are as published; the difference in parentheses is ours minus the thesis'. "
    "It does not say whether its zero-shot scores are masked; the tables show them beside the "
    "masked ones.",
)
_SYNTHETIC = (
    "Results marked “synthetic speech” come from a speech synthesiser. They show that the "
    "pipeline works and say nothing about people."
)


def write_report(
    data: Path,
    destination: Path,
    pipeline: PipelineParams,
    licences: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> tuple[Result, ...]:
    """Write results.csv, report.md, index.html, and the folders curves, confusion and cards.

    The folders hold one file a model: a CSV in the form that DVC's plots take, in cards the model
    card with the scores. All is read and computed
    before the first file is written, and each is written whole or not at all; other files in the
    destination stay.

    Args:
        data: The folder that holds ``models`` and ``reports``.
        destination: The report's folder, made if missing.
        pipeline: Which models and corpora; nothing else is read.
        licences: By corpus trained on, the licence of each corpus that it consists of.

    Returns:
        The rows of results.csv.

    Raises:
        ReportError: If a result is missing, unreadable, or of another training.
    """
    models = read_results(data, pipeline)
    results = tuple(line_up(models))
    files = {
        "results.csv": as_csv(_flat(result) for result in results),
        "report.md": _markdown(models, results),
        "index.html": _html(models, results),
    }
    folders = {
        "cards": {
            f"{m.corpus}-{m.name}.md": model_card(
                m.card, m.metrics, m.robustness, licences=licences.get(m.corpus, {})
            )
            for m in models
        },
        "curves": {f"{m.corpus}-{m.name}.csv": as_csv(m.history) for m in models},
        "confusion": {
            f"{m.corpus}-{m.name}.csv": as_csv(
                {"actual": actual, "predicted": predicted} for actual, predicted in m.predictions
            )
            for m in models
        },
    }
    for name, text in files.items():
        atomic.write_text(destination / name, text)
    for folder, contents in folders.items():
        with atomic.replacing_folder(destination / folder) as partial:
            for name, text in contents.items():
                (partial / name).write_text(text, encoding="utf-8", newline="\n")
    return results


def _flat(result: Result) -> dict[str, str]:
    """Return one row of results.csv; a missing value is empty."""
    model, metrics = result.trained, result.scores.metrics
    thesis = asdict(result.thesis) if result.thesis else {}
    printed = [field.name for field in fields(Published)]
    intervals: dict[str, dict[str, object]] = {
        "wa": dict(zip(("wa_low", "wa_high"), result.wa_interval, strict=True)),
        "ua": {
            "ua_low": result.ua_interval and result.ua_interval.low,
            "ua_high": result.ua_interval and result.ua_interval.high,
            "ua_interval_over": result.ua_interval and result.ua_interval.over,
        },
    }
    row: dict[str, object] = {
        "model": model.name,
        "trained_on": model.corpus,
        "test": result.test,
        "kind": result.kind,
        "synthetic": str(result.synthetic).lower(),
        "n": result.n,
        "dropped": result.dropped,
        **{
            key: value
            for name in METRICS
            for key, value in {name: metrics.get(name), **intervals.get(name, {})}.items()
        },
        "loss": result.scores.loss,
        **{f"majority_{name}": result.majority.metrics.get(name) for name in METRICS},
        **{f"thesis_{name}": thesis.get(name) for name in printed},
        **{f"{k}_minus_thesis": metrics[k] - thesis[k] if thesis else None for k in printed},
        "protocol": model.card.protocol,
        "seed": model.card.seed,
        "best_epoch": model.card.best_epoch,
        "num_epochs": len(model.history),
        "training_seconds": model.run.seconds,
        "device": model.run.device,
        **model.run.machine.model_dump(),
        "num_parameters": model.card.num_parameters,
        "started_at": model.run.started_at,
        "run_id": model.run.run_id,
        "git_commit": model.run.git_commit,
        "fingerprint": model.card.fingerprint,
        "manifest_digest": model.metrics.manifest_digest,
    }
    return {
        key: "" if value is None else f"{value:.6f}" if isinstance(value, float) else str(value)
        for key, value in row.items()
    }


def _sections(
    models: Sequence[TrainedModel], results: Sequence[Result]
) -> list[tuple[str, list[Table]]]:
    zero_shot = zero_shot_tables(results)
    joined = joined_table(models)
    robustness, importance = robustness_tables(models), importance_tables(models)
    return [
        ("At a glance", overviews(results)),
        ("On the corpus trained on", [*in_domain_tables(results), *([joined] if joined else [])]),
        *([("Zero-shot: on corpora not trained on", zero_shot)] if zero_shot else []),
        *([("Under stated conditions", robustness)] if robustness else []),
        *([("Which features decide", importance)] if importance else []),
        ("Reliability", [trust_table(models)]),
        ("Training", [time_table(models), origin_table(models)]),
    ]


def _markdown(models: Sequence[TrainedModel], results: Sequence[Result]) -> str:
    parts = ["# Speech emotion recognition: results\n"]
    if any(result.synthetic for result in results):
        parts.append(f"**{_SYNTHETIC}**\n")
    parts.append(f"{bullets(_LEGEND)}\n")
    for title, tables in _sections(models, results):
        parts += [f"## {title}\n", *(table.to_markdown() for table in tables)]
    parts += ["## What is wrong with the thesis' numbers\n", f"{bullets(FAULTS)}\n"]
    parts += ["## Conduct\n", f"{bullets(CONDUCT)}\n"]
    return "\n".join(parts)


def _html(models: Sequence[TrainedModel], results: Sequence[Result]) -> str:
    return render(
        "reports/report.html.j2",
        sections=_sections(models, results),
        synthetic_note=_SYNTHETIC if any(r.synthetic for r in results) else "",
        legend=_LEGEND,
        curves=_curves(models),
        confusions=_confusions(models),
        faults=FAULTS,
        conduct=CONDUCT,
        num_models=len(models),
        num_tests=len({(r.trained.corpus, r.test) for r in results}),
    )


def _curves(models: Sequence[TrainedModel]) -> list[Markup]:
    figures = []
    for _, group in groupby(models, key=lambda model: model.corpus):
        trained = list(group)
        histories = {model.name: model.history for model in trained}
        for key in _CURVE_KEYS:
            title = f"{plots.curve_name(key)}, trained on {trained[0].trained_on}"
            figure = plots.curves_figure(histories, title, keys=[key])
            figures.append(plots.to_svg(figure))
    return figures


def _confusions(models: Sequence[TrainedModel]) -> list[tuple[str, list[Markup]]]:
    groups: dict[str, list[Markup]] = {}
    for model in models:
        matrices = {f"Test part of {model.trained_on}": model.confusion}
        for target, confusion in model.zero_shot_confusions.items():
            name = label(target, model.targets[target].synthetic)
            matrices[f"{name}, zero-shot from {model.trained_on}, masked"] = confusion
        for title, matrix in matrices.items():
            figure = plots.confusion_figure(matrix.labels, matrix.counts, f"{model.name}: {title}")
            groups.setdefault(title, []).append(plots.to_svg(figure))
    return list(groups.items())
