"""The model card of an export: the project's own, with what the Hugging Face hub reads of it."""

from collections.abc import Mapping
from typing import Any

import yaml

from serct.models import restore_model_params
from serct.models.records import Card
from serct.reports.model_card import bullets, model_card

_PLACE = "this folder, or the name of its repository"
# The hub's names of the metrics on the validation part.
_METRICS = {"wa": "accuracy", "ua": "recall", "wf1": "f1"}
_NAMES = {"wa": "WA (accuracy)", "ua": "UA (mean recall)", "wf1": "weighted F1"}


def hub_card(card: Card, licences: Mapping[str, str]) -> str:
    """Return the `README.md` of an export.

    Args:
        card: Of the model.
        licences: See `serct.reports.model_card.model_card`.
    """
    header = yaml.safe_dump(_metadata(card), sort_keys=False, allow_unicode=True)
    what, data, rest = model_card(card, licences=licences).partition("\n## Data\n")
    return f"---\n{header}---\n\n{what}\n{_usage(card)}\n{data}{rest}"


def _metadata(card: Card) -> dict[str, Any]:
    """Return what the hub's search reads."""
    languages = sorted({each.language for each in card.corpora.values()} or {card.language})
    corpora = sorted(card.corpora) or [card.corpus]
    validation = card.validation.model_dump()
    metrics = [
        {"type": kind, "value": round(validation[key], 4), "name": f"{_NAMES[key]}, validation"}
        for key, kind in _METRICS.items()
    ]
    result = {
        "task": {"type": "audio-classification", "name": "Speech emotion recognition"},
        "dataset": {"name": ", ".join(corpora), "type": card.corpus, "split": "validation"},
        "metrics": metrics,
    }
    scores = {
        "metrics": list(_METRICS.values()),
        "model-index": [{"name": f"{card.corpus}-{card.name}", "results": [result]}],
    }
    return {
        "library_name": "transformers",
        "pipeline_tag": "audio-classification",
        "license": "other",
        "license_name": "licences-of-the-recordings",
        "license_link": "README.md",
        "language": languages,
        "tags": ["audio-classification", "speech-emotion-recognition", "serct", "custom_code"],
        # With enrolment its scores are higher than those of an export, which has none.
        **({} if _adapts(card) else scores),
    }


def _adapts(card: Card) -> bool:
    return restore_model_params(card.architecture, card.name).adapts_to_speaker


def _usage(card: Card) -> str:
    rate, row_s = card.sample_rate_hz, card.audio.num_samples / card.sample_rate_hz
    differences = [
        "**Another rate.** SERCT resamples with soxr, transformers files with ffmpeg and arrays "
        "with torchaudio.",
        f"**A longer recording.** It is cut into windows of {row_s:.3g} s that overlap by two "
        "thirds, and their log-probabilities are averaged. SERCT does so too, but leaves out "
        "windows without speech.",
        "**No speech.** SERCT says where nobody speaks, and calls a prediction uncertain that is "
        f"less probable than {card.calibration.uncertain_below:.2f}. Here every recording gets "
        "probabilities.",
    ]
    if _adapts(card):
        differences.append(
            "**Speaker enrolment.** Here every speaker is predicted like one without recordings; "
            "the scores below are with enrolment."
        )
    return f"""## Use

```python
from transformers import pipeline

classify = pipeline("audio-classification", model="{_PLACE}", trust_remote_code=True)
classify({{"raw": waveform, "sampling_rate": {rate}}}, top_k=None)
```

It needs torch, transformers and pydantic; the code beside this card is all that it needs of SERCT.
With `top_k=None` all {len(card.emotions)} emotions are returned. For a recording at {rate:,} Hz
of at most {row_s:.3g} s the probabilities are SERCT's own, calibrated. These things differ:

{bullets(differences)}
"""
