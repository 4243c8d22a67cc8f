"""The model card: what it says comes from card.json, and the warnings are always there."""

import json
import re
from typing import Any

import pytest

from serct.evaluation.records import EvaluationMetrics
from serct.models.records import Card
from serct.reports.model_card import CONDUCT, model_card
from tests.conftest import ROOT
from tests.fake_results import make_card

METRICS = EvaluationMetrics.parse(
    json.dumps(
        {
            "model": "serct",
            "corpus": "tess",
            "split": "test",
            "synthetic": False,
            "protocol": "random",
            "fingerprint": "f",
            "manifest_digest": "m",
            "n": 280,
            "wa": 0.91234,
            "ua": 0.81234,
            "wf1": 0.71234,
            "loss": None,
            "majority": {"wa": 0.1, "ua": 0.14286, "wf1": 0.05},
            "ua_interval": {"low": 0.71, "high": 0.89, "over": "utterances"},
            "probes": {"duration": 0.2345},
            "calibration": {
                "ece": 0.0321,
                "ece_before": 0.1,
                "risk_at_coverage": {"50%": 0.01, "100%": 0.0876},
            },
            "groups": {
                "gender": {
                    "groups": {"f": {"n": 100, "wa": 0.9}, "m": {"n": 180, "wa": 0.6789}},
                    "worst": "m",
                },
                "language": {"groups": {"en": {"n": 280, "wa": 0.9}}, "worst": "en"},
            },
            "recall": {"angry": 0.61234, "happy": 0.51234},
        }
    ),
    "metrics.json",
)


def card_with(**changes: Any) -> Card:
    return Card.parse(json.dumps({**make_card("tess", "serct"), **changes}), "card.json")


def test_card_says_what_the_model_is() -> None:
    text = model_card(
        card_with(num_parameters=26_459_911, best_epoch=7), licences={"tess": "CC BY 4.0"}
    )
    assert text.startswith("# serct, trained on tess\n")
    assert "| parameters | 26,459,911 |" in text
    assert "angry, disgusted, fearful, happy, neutral, sad, surprised" in text
    assert "16,000 Hz, 144,000 samples (9 s)" in text
    assert "| epoch | 7 of 12, chosen on the validation part |" in text
    assert "| licence of the recordings | CC BY 4.0 |" in text
    assert "| UA (mean recall) | 0.8765 |" in text
    assert make_card("tess", "serct")["digests"]["manifest"] in text


def test_conduct_is_the_conduct_of_the_documentation() -> None:
    page = (ROOT / "docs" / "project" / "conduct.md").read_text(encoding="utf-8")
    plain = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", page.replace("**", ""))
    items = re.split(r"\n\n?- |\n\n", plain)
    assert set(CONDUCT) <= {" ".join(item.split()) for item in items}


@pytest.mark.parametrize("synthetic", [True, False])
def test_card_warns_in_any_case(synthetic: bool) -> None:
    text = model_card(card_with(synthetic=synthetic))
    for sentence in CONDUCT:
        assert f"- {sentence}\n" in text
    assert "Article 5(1)(f)" in text
    assert "Article 50(3)" in text
    assert "CC BY-NC-ND 4.0" in text
    assert ("**Synthetic speech.**" in text) == synthetic
    assert ("| corpus | tess (synthetic speech) |" in text) == synthetic


def test_card_before_evaluation_promises_no_test_score() -> None:
    text = model_card(card_with())
    assert "measured afterwards, by evaluation" in text
    assert "test part," not in text
    assert "see `serct corpora list`" in text


def test_card_after_evaluation_holds_its_scores() -> None:
    text = model_card(card_with(), METRICS)
    assert "| test part, 280 utterances | |" in text
    assert "| UA, 95 % interval | 0.7100 to 0.8900, drawn over utterances |" in text
    assert "| UA from the duration alone | 0.2345 |" in text
    assert "| expected calibration error | 0.0321 |" in text
    assert "| wrong among the most confident 100% | 0.0876 |" in text
    assert "| gender with the lowest WA | m: WA 0.6789 of 180 |" in text
    assert "language with the lowest WA" not in text
    assert "| WA (accuracy) | 0.9123 |" in text
    assert "| UA (mean recall) | 0.8123 |" in text
    assert "| loss | not measured |" in text
    assert "| always the most frequent emotion | UA 0.1429 |" in text
    assert "| recall of happy | 0.5123 |" in text
    assert "measured afterwards" not in text


@pytest.mark.parametrize(
    ("licence", "forbids"),
    [("CC BY-NC-ND 4.0", True), ("CC BY-NC 4.0", True), ("CC BY 4.0", False), ("CC0", False)],
)
def test_card_repeats_a_non_commercial_licence(licence: str, forbids: bool) -> None:
    text = model_card(card_with(), licences={"tess": licence})
    assert (f"{licence} forbids commercial use" in text) == forbids


def test_card_lists_the_corpora_that_were_joined() -> None:
    joined = {
        "tess": {"language": "en", "utterances": 2400, "speakers": 2},
        "emodb": {"language": "de", "utterances": 310, "speakers": 0},
    }
    licences = {"tess": "CC BY-NC-ND 4.0", "emodb": "free", "ravdess": "CC BY-NC-SA 4.0"}
    text = model_card(card_with(corpus="both", corpora=joined), licences=licences)
    assert "| tess | en | 2,400 | 2 | CC BY-NC-ND 4.0 |" in text
    assert "| emodb | de | 310 | unknown | free |" in text
    assert "| licence of the recordings | that of each corpus below; the strictest binds |" in text
    assert "CC BY-NC-ND 4.0 forbids commercial use" in text
    # It may be joined, but was not there.
    assert "ravdess" not in text
    assert "CC BY-NC-SA 4.0" not in text


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        ("random", "the same speakers and sentences"),
        ("speaker", "No speaker of the test part"),
        ("text", "No sentence of the test part"),
    ],
)
def test_card_states_the_limits_of_the_protocol(protocol: str, words: str) -> None:
    assert words in model_card(card_with(protocol=protocol))


def test_card_says_what_padding_and_native_rates_do() -> None:
    audio = {"sample_rate": "native", "num_samples": 144_000, "resampler": "soxr"}
    native = card_with(audio=audio, sample_rate_hz=24_414)
    text = model_card(native)
    assert "24,414 Hz (the corpus' own)" in text
    assert "read at another speed and pitch" in text
    assert "Padding is not masked" in text
    masked = card_with(architecture={"architecture": "serct", "mask_padding": True})
    assert "Padding is not masked" not in model_card(masked)


def test_card_states_that_scores_are_with_speaker_enrolment() -> None:
    adaptive = {"architecture": "functionals_lda", "relevance_factor": 4.0}
    assert "scores with speaker enrolment" in model_card(card_with(architecture=adaptive))
    plain = {"architecture": "functionals_lda", "relevance_factor": None}
    assert "scores with speaker enrolment" not in model_card(card_with(architecture=plain))


def test_card_of_an_architecture_that_is_gone_is_still_written() -> None:
    text = model_card(card_with(architecture={"architecture": "functionals_svm"}))
    assert "does not have its architecture and cannot load it" in text
    assert "Padding is not masked" not in text


def test_card_says_which_licence_binds_beside_that_of_the_recordings() -> None:
    entry = {
        "architecture": "opensmile_svm", "feature_set": "eGeMAPSv02", "kernel": "rbf",
        "gamma": "auto", "regularisation": 1.0, "class_weight": None, "train": {},
    }  # fmt: skip
    assert "audEERING Research License" in model_card(card_with(architecture=entry))
    assert "audEERING" not in model_card(card_with())
