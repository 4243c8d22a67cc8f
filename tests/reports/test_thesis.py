"""The thesis' numbers: complete, in range, and faulty in just the way that is claimed."""

import pytest

from serct.reports.thesis import ABLATION, FAULTS, THESIS, TRAINING_HOURS

MODELS = ("serct", "cnn", "mlp", "svm", "cnn_bilstm", "lstm")
TESTS = ("tess", "esd_en", "emodb", "esd_zh")

# Utterances of each test that the thesis' scores are fractions of: a tenth of TESS, and EMO-DB
# without its boredom. ESD's test parts are not stated exactly.
TEST_SIZES = {"tess": 280, "emodb": 454}


def is_fraction_of(value: float, total: int) -> bool:
    """Check whether some whole number out of ``total`` rounds to ``value`` at four decimals."""
    return any(abs(round(count / total, 4) - value) < 1e-9 for count in range(total + 1))


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_scores_on_every_test(test: str, model: str) -> None:
    scores = THESIS.get((test, model))
    assert scores is not None
    assert all(0 < score < 1 for score in (scores.wa, scores.ua, scores.wf1))


def test_tables_hold_nothing_else() -> None:
    assert set(THESIS) == {(test, model) for test in TESTS for model in MODELS}
    assert set(TRAINING_HOURS) == set(MODELS)


@pytest.mark.parametrize(("test", "model"), [("tess", "lstm"), ("emodb", "lstm"), ("emodb", "mlp")])
def test_the_scores_called_impossible_are(test: str, model: str) -> None:
    scores = THESIS.get((test, model))
    assert scores is not None
    assert not is_fraction_of(scores.wa, TEST_SIZES[test])
    assert f"{scores.wa:.4f}" in FAULTS[1]


def test_the_vanilla_ablation_is_impossible_and_all_other_tess_scores_are_not() -> None:
    assert not is_fraction_of(ABLATION["tess", "plain_attention"].wa, TEST_SIZES["tess"])
    for model in set(MODELS) - {"lstm"}:
        assert is_fraction_of(THESIS["tess", model].wa, TEST_SIZES["tess"]), model


@pytest.mark.parametrize("corpus", ["tess", "esd_en"])
def test_the_ablation_without_a_transformer_is_the_cnn(corpus: str) -> None:
    assert ABLATION[corpus, "no_transformer"] == THESIS[corpus, "cnn"]
