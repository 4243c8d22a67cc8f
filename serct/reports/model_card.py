"""The model card: what a trained model is, what it may be used for, and what it may not.

Source:
    Mitchell et al., "Model Cards for Model Reporting", 2019, for the sections.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from serct.evaluation.records import EvaluationMetrics, ScoreSet
from serct.models import restore_model_params
from serct.models.records import Card, ValidationScores

# How this software and its models may be used; README, report and cards all show these words.
CONDUCT: tuple[str, ...] = (
    "Not at work and not in education: the EU AI Act (Regulation (EU) 2024/1689, Article 5(1)(f)) "
    "prohibits inferring people's emotions there, except for medical or safety reasons.",
    "Elsewhere in the EU, recognising emotions is a high-risk use (Annex III), and the people "
    "exposed to it must be told (Article 50(3)). Tell them everywhere.",
    "The models hear acted or synthetic studio speech. They name the emotion that a voice plays; "
    "they claim nothing about what anyone feels, thinks or intends.",
    "Let no score decide anything about a person. Voices, languages, microphones and rooms that a "
    "model was not trained on are often misread; zero-shot scores show how often.",
    "The recordings' licences bind the models' users too. TESS is CC BY-NC-ND 4.0 "
    "(non-commercial), ESD is for research under a signed licence.",
    "This is not legal advice.",
)

# What people call the probes of `serct.evaluation.probes`.
PROBES: Mapping[str, str] = {
    "duration": "the duration alone",
    "recording": "level, noise floor, DC and edges alone",
}
_SYNTHETIC = (
    "**Synthetic speech.** This model was trained on speech made by a synthesiser, to show that "
    "the pipeline works. Its scores say nothing about people."
)
_PROTOCOL_LIMITS = {
    "random": (
        "The random protocol puts the same speakers and sentences into training and test: "
        "scores under it overrate how the model does on a new voice."
    ),
    "speaker": (
        "No speaker of the test part was trained on; sentences may occur on both sides, which "
        "still helps."
    ),
    "speaker_text": (
        "Neither a speaker nor a sentence of the test part was trained on; the studio and the way "
        "of acting were."
    ),
    "corpus": (
        "No recording of the test part's corpora was trained on: scores under this protocol are "
        "those of another studio, of other speakers and often of another language."
    ),
    "text": (
        "No sentence of the test part was trained on; the speakers may occur on both sides, which "
        "overrates how the model does on a new voice."
    ),
}


def model_card(
    card: Card,
    metrics: EvaluationMetrics | None = None,
    *,
    licence: str = "",
) -> str:
    """Write the card of a trained model as Markdown.

    Args:
        card: Of the model.
        metrics: On the test part; None before the evaluate stage has run.
        licence: The name of the corpus' licence, for example "CC BY-NC-ND 4.0"; "" where it is
            not known, as for anyone's own recordings.
    """
    audio = card.audio
    duration_s = audio.num_samples / card.sample_rate_hz
    facts = [
        ("architecture", card.architecture["architecture"]),
        ("parameters", f"{card.num_parameters:,}"),
        ("emotions", ", ".join(card.emotions)),
        (
            "input",
            f"one channel, {_rate(card)}, {audio.num_samples:,} samples ({duration_s:.3g} s); "
            "shorter recordings are padded with zeros, longer ones cut",
        ),
        ("output", "a probability for each emotion; they sum to 1"),
        (
            "epoch",
            f"{card.best_epoch} of {card.training.get('epochs')}, chosen on the validation part",
        ),
        ("seed", card.seed),
        ("versions", ", ".join(f"{k} {v}" for k, v in sorted(card.versions.items()))),
        ("fingerprint", f"`{card.fingerprint}`"),
    ]
    data = [
        ("corpus", f"{card.corpus}{' (synthetic speech)' if card.synthetic else ''}"),
        ("language", card.language),
        ("licence of the recordings", licence or "see `serct corpora list`"),
        ("split", f"{card.protocol} protocol"),
        *((f"{name} digest", f"`{value}`") for name, value in sorted(card.digests)),
    ]
    lines = [
        f"# {card.name}, trained on {card.corpus}",
        "",
        *([_SYNTHETIC, ""] if card.synthetic else []),
        "SERCT names the emotion in a recording of speech, straight from its waveform.",
        "",
        *_table("model", facts),
        "## Data",
        "",
        *_table("training data", data),
        *([_non_commercial(licence), ""] if re.search(r"\bNC\b", licence) else []),
        "## Scores",
        "",
        *_table("validation part", _scores(card.validation)),
        "The validation part chose the epoch, so these scores are on the bright side.",
        "",
        *_test_scores(metrics),
        "## Intended use",
        "",
        "Research and teaching: comparing models, repeating the thesis, studying how far acted "
        "emotions carry over to other voices and languages.",
        "",
        "## Prohibited and out of scope",
        "",
        *(f"- {sentence}" for sentence in CONDUCT),
        "",
        "## Known limits",
        "",
        *(f"- {sentence}" for sentence in _limits(card)),
    ]
    return "\n".join(lines) + "\n"


def _scores(scores: ValidationScores | ScoreSet) -> list[tuple[str, str]]:
    return [
        ("WA (accuracy)", f"{scores.wa:.4f}"),
        ("UA (mean recall)", f"{scores.ua:.4f}"),
        ("WF1", f"{scores.wf1:.4f}"),
        ("loss", "not measured" if scores.loss is None else f"{scores.loss:.4f}"),
    ]


def _test_scores(metrics: EvaluationMetrics | None) -> list[str]:
    if metrics is None:
        return [
            "The scores on the test part and on corpora never trained on are measured afterwards, "
            "by evaluation: they stand in the report and beside the model's version in the "
            "registry.",
            "",
        ]
    baseline = ("always the most frequent emotion", f"UA {metrics.majority.ua:.4f}")
    interval = metrics.ua_interval
    bounds = (
        "not measured"
        if interval is None
        else f"{interval.low:.4f} to {interval.high:.4f}, drawn over {interval.over}"
    )
    recall = [(f"recall of {emotion}", f"{r:.4f}") for emotion, r in metrics.recall.items()]
    return [
        *_table(
            f"test part, {metrics.n} utterances",
            [*_scores(metrics), ("UA, 95 % interval", bounds), baseline, *recall],
        ),
        "The test part was scored once and chose nothing. Scores on corpora never trained on "
        "stand in the report.",
        "",
        *_table(
            "what can be told without listening",
            [(f"UA from {PROBES.get(k, k)}", f"{ua:.4f}") for k, ua in metrics.probes.items()],
        ),
        *_trust(metrics),
    ]


def _trust(metrics: EvaluationMetrics) -> list[str]:
    rows: list[tuple[str, str]] = []
    if metrics.calibration is not None:
        rows.append(("expected calibration error", f"{metrics.calibration.ece:.4f}"))
        rows += [
            (f"wrong among the most confident {share}", f"{risk:.4f}")
            for share, risk in metrics.calibration.risk_at_coverage.items()
        ]
    for kind, found in metrics.groups.items():
        if found.worst is not None and len(found.groups) > 1:
            worst = found.groups[found.worst]
            rows.append((f"{kind} served worst", f"{found.worst}: WA {worst.wa:.4f} of {worst.n}"))
    return _table("whether to trust it", rows) if rows else []


def _limits(card: Card) -> list[str]:
    limits = []
    if card.protocol in _PROTOCOL_LIMITS:
        limits.append(_PROTOCOL_LIMITS[card.protocol])
    limits.append(
        f"It knows {len(card.emotions)} emotions and has no name for mixed feelings or any "
        "other; below a confidence chosen on validation its answer is marked as uncertain."
    )
    params = restore_model_params(card.architecture, card.name)
    if not params.masks_padding:
        limits.append("Padding is not hidden from it, so a recording's length can sway it.")
    if params.adapts_to_speaker:
        limits.append(
            "Before it was scored it heard all recordings of each voice in the scored part, labels "
            "unseen. A voice of which it heard nothing is taken for the average one, and read "
            "worse."
        )
    if card.audio.sample_rate == "native":
        limits.append(
            "Files are not resampled: a file of another rate is heard at another speed and pitch."
        )
    limits += [
        "A recording's level, microphone and background noise can sway it: "
        "`serct evaluate --probes` tells how far.",
        f"It heard few voices ({card.language}) in clean recordings.",
        "One training with one seed: another seed gives other scores.",
        "Probabilities are calibrated on recordings like those it was trained on: on others, 0.9 "
        "does not mean right nine times in ten.",
    ]
    return limits


def _rate(card: Card) -> str:
    rate = f"{card.sample_rate_hz:,} Hz"
    if card.audio.sample_rate == "native":
        return f"{rate} (the corpus' own)"
    return rate


def _non_commercial(licence: str) -> str:
    return f"{licence} forbids commercial use of the recordings; treat the model alike."


def _table(title: str, rows: Sequence[tuple[str, Any]]) -> list[str]:
    body = [f"| {name} | {str(value).replace('|', '/')} |" for name, value in rows]
    return [f"| {title} | |", "|---|---|", *body, ""]
