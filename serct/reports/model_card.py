"""The model card: what a trained model is, what it may be used for, and what it may not.

Source:
    Mitchell et al., "Model Cards for Model Reporting", 2019, for the sections.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from serct.evaluation.metrics import METRICS
from serct.evaluation.records import ConditionScores, EvaluationMetrics, RobustnessMetrics, ScoreSet
from serct.models.records import Card, ValidationScores
from serct.reports.limits import list_limits

# How this software and its models may be used: the sentences of docs/project/conduct.md.
CONDUCT: tuple[str, ...] = (
    "Not at work and not in education. The EU AI Act (Regulation (EU) 2024/1689, Article 5(1)(f)) "
    "prohibits inferring people's emotions there, except for medical or safety reasons.",
    "Tell people. Elsewhere in the EU, recognising emotions is a high-risk use (Annex III), and "
    "the people exposed to it must be told (Article 50(3)). Tell them everywhere.",
    "It is acted speech. The models were trained on acted or synthetic studio speech. They name "
    "the emotion that a speaker plays; they claim nothing about what anyone feels, thinks or "
    "intends.",
    "Let no score decide anything about a person. Speakers, languages, microphones and rooms on "
    "which a model was not trained are often misread; zero-shot scores show how often.",
    "Licences bind users too. The recordings' licences bind the users of the models. TESS is "
    "CC BY-NC-ND 4.0 (non-commercial), ESD is for research under a signed licence.",
    "This is not legal advice.",
)

# The probes of `serct.evaluation.probes` in words.
PROBES: Mapping[str, str] = {
    "duration": "the duration alone",
    "recording": "level, noise floor, DC and edges alone",
}
# The row without any condition.
CLEAN = "clean"
# Metrics that have a second name in the field; others are shown by their own.
_NAMES: Mapping[str, str] = {"wa": "WA (accuracy)", "ua": "UA (mean recall)"}
_SYNTHETIC = (
    "**Synthetic speech.** This model was trained on speech made by a synthesiser, to show that "
    "the pipeline works. Its scores say nothing about people."
)
_NOT_TESTED = (
    "The scores on the test part and on corpora never trained on are measured afterwards, by "
    "evaluation: the report and the model's version in the registry show them."
)
_NON_COMMERCIAL = " forbids commercial use of the recordings; treat the model alike."
_NO_LICENCE = "see `serct corpora list`"


def model_card(
    card: Card,
    metrics: EvaluationMetrics | None = None,
    robustness: RobustnessMetrics | None = None,
    *,
    licences: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Write the card of a trained model as Markdown.

    Args:
        card: Of the model.
        metrics: On the test part; None before the evaluate stage has run.
        robustness: UA under conditions; None if none was tested.
        licences: The name of each corpus' licence, such as "CC BY-NC-ND 4.0": of the corpus trained
            on, or of those that it joins. Those that are not known are left out.
    """
    audio = card.audio
    duration_s = audio.num_samples / card.sample_rate_hz
    num_epochs = card.training.get("epochs")
    own_rate = " (the corpus' own)" if audio.sample_rate == "native" else ""
    facts = [
        ("architecture", card.architecture["architecture"]),
        ("parameters", f"{card.num_parameters:,}"),
        *_encoder(card),
        ("emotions", ", ".join(card.emotions)),
        (
            "input",
            f"one channel, {card.sample_rate_hz:,} Hz{own_rate}, {audio.num_samples:,} samples "
            f"({duration_s:.3g} s); shorter recordings are padded with zeros, longer ones cut",
        ),
        ("output", "a probability for each emotion; they sum to 1"),
        ("epoch", f"{card.best_epoch} of {num_epochs}, chosen on the validation part"),
        ("seed", card.seed),
        ("versions", ", ".join(f"{k} {v}" for k, v in sorted(card.versions.items()))),
        ("fingerprint", f"`{card.fingerprint}`"),
    ]
    data = [
        ("corpus", f"{card.corpus}{' (synthetic speech)' if card.synthetic else ''}"),
        ("language", card.language),
        ("licence of the recordings", _licence(card, licences)),
        ("split", f"{card.protocol} protocol"),
        *((f"{name} digest", f"`{value}`") for name, value in sorted(card.digests)),
    ]
    blocks = [
        f"# {card.name}, trained on {card.corpus}",
        *([_SYNTHETIC] if card.synthetic else []),
        "SERCT names the emotion in a recording of speech, straight from its waveform.",
        _table("model", facts),
        "## Data",
        _table("training data", data),
        *([_corpora(card, licences)] if len(card.corpora) > 1 else []),
        *(
            f"{each}{_NON_COMMERCIAL}"
            for each in dict.fromkeys(licences[name] for name in _trained_on(card, licences))
            if re.search(r"\bNC\b", each)
        ),
        "## Scores",
        _table("validation part", _scores(card.validation)),
        "The validation part chose the epoch, so these scores are optimistic.",
        *([_NOT_TESTED] if metrics is None else _test_scores(metrics)),
        *([] if robustness is None else _robustness(robustness)),
        "## Intended use",
        "Research and teaching: comparing models, repeating the thesis, studying how far acted "
        "emotions carry over to other speakers and languages.",
        "## Prohibited and out of scope",
        bullets(CONDUCT),
        "## Known limits",
        bullets(list_limits(card)),
    ]
    return "\n\n".join(blocks) + "\n"


def _encoder(card: Card) -> list[tuple[str, str]]:
    """Return what is known of a pretrained encoder, if the model has one."""
    encoder = card.architecture.get("encoder")
    if not isinstance(encoder, dict):
        return []
    repository, revision = encoder.get("repository"), encoder.get("revision")
    source = f"{repository}, commit {revision}" if repository else str(encoder.get("path"))
    return [
        ("pretrained encoder", source),
        ("it learned from", str(encoder["trained_on"])),
        ("licence of its weights", str(encoder["licence"])),
    ]


def bullets(sentences: Iterable[str]) -> str:
    """Return a Markdown list."""
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _trained_on(card: Card, known: Mapping[str, str]) -> list[str]:
    """Return the corpora in training whose licence is known; all of them for an older card."""
    return [name for name in known if name in card.corpora or not card.corpora]


def _licence(card: Card, licences: Mapping[str, str]) -> str:
    if len(card.corpora) > 1:
        return "that of each corpus below; the strictest binds"
    found = _trained_on(card, licences)
    return licences[found[0]] if found else _NO_LICENCE


def _corpora(card: Card, licences: Mapping[str, str]) -> str:
    """Write the table of the corpora that were joined."""
    rows = [
        f"| {name} | {each.language} | {each.utterances:,} | {each.speakers or 'unknown'} "
        f"| {licences.get(name, _NO_LICENCE)} |"
        for name, each in card.corpora.items()
    ]
    header = "| in training | language | utterances | speakers | licence |"
    return "\n".join([header, "|---|---|---|---|---|", *rows])


def _scores(scores: ValidationScores | ScoreSet) -> list[tuple[str, str]]:
    found = scores.model_dump()
    return [
        *((_NAMES.get(k, k.upper()), f"{found[k]:.4f}") for k in METRICS if k in found),
        ("loss", "not measured" if scores.loss is None else f"{scores.loss:.4f}"),
    ]


def _test_scores(metrics: EvaluationMetrics) -> list[str]:
    interval = metrics.ua_interval
    scores = [
        *_scores(metrics),
        (
            "UA, 95 % interval",
            f"{interval.low:.4f} to {interval.high:.4f}, drawn over {interval.over}"
            if interval
            else "not measured",
        ),
        ("always the most frequent emotion", f"UA {metrics.majority.ua:.4f}"),
        *((f"recall of {emotion}", f"{r:.4f}") for emotion, r in metrics.recall.items()),
    ]
    probes = [(f"UA from {PROBES.get(k, k)}", f"{ua:.4f}") for k, ua in metrics.probes.items()]
    reliability: list[tuple[str, str]] = []
    if metrics.calibration is not None:
        reliability.append(("expected calibration error", f"{metrics.calibration.ece:.4f}"))
        reliability += [
            (f"wrong among the most confident {share}", f"{risk:.4f}")
            for share, risk in metrics.calibration.risk_at_coverage.items()
        ]
    reliability += [
        (f"{kind} with the lowest WA", f"{name}: WA {group.wa:.4f} of {group.n}")
        for kind, name, group in metrics.worst_groups()
    ]
    return [
        _table(f"test part, {metrics.n} utterances", scores),
        "The test part was scored once and chose nothing. The report has the scores on corpora "
        "never trained on.",
        _table("UA from duration or level alone", probes),
        *([_table("reliability", reliability)] if reliability else []),
    ]


def _robustness(robustness: RobustnessMetrics) -> list[str]:
    interval = robustness.ua_interval
    clean = f"{robustness.ua:.4f} ({interval.low:.4f} to {interval.high:.4f})"
    rows = [(CLEAN, f"{clean}, drawn over {interval.over}")]
    for each in robustness.conditions:
        low, high = each.change_interval
        change = f"change {each.change:+.4f} ({low:+.4f} to {high:+.4f})"
        rows.append((condition_name(each), f"{each.ua:.4f}, {change}"))
    title = f"UA on {robustness.n} of the {robustness.of} utterances of the test part"
    return [
        "Changed before the prediction, as by a telephone or a room: UA and its change, with 95 % "
        "intervals.",
        _table(title, rows),
    ]


def condition_name(scores: ConditionScores) -> str:
    """Return a condition in words, with what was measured of it."""
    measured = ", ".join(f"{value:.1f} {unit}" for unit, value in scores.measured.items())
    return f"{scores.label} (measured {measured})" if measured else scores.label


def _table(title: str, rows: Iterable[tuple[str, Any]]) -> str:
    body = [f"| {name} | {str(value).replace('|', '/')} |" for name, value in rows]
    return "\n".join([f"| {title} | |", "|---|---|", *body])
