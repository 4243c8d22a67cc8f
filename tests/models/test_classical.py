import numpy as np
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

from serct.errors import CheckpointError, TrainingError
from serct.models.classical.estimator import LabelledRows, average_samples
from serct.models.classical.kernel import gamma_scale, inner_products, rbf, squared_norms
from serct.models.mlp import MlpParams
from serct.models.svm import SvmParams, compact, expand

NUM_SAMPLES = 300
NUM_EMOTIONS = 3


def make_clips(num_rows, seed=0):
    """16-bit rows, quiet as speech, with padding: each label is a pattern under noise."""
    rng = np.random.default_rng(seed)
    patterns = np.random.default_rng(9).standard_normal((NUM_EMOTIONS, NUM_SAMPLES))
    labels = np.arange(num_rows) % NUM_EMOTIONS
    rows = 0.03 * (patterns[labels] + rng.standard_normal((num_rows, NUM_SAMPLES)))
    rows[np.arange(NUM_SAMPLES) >= rng.integers(150, 200, num_rows)[:, None]] = 0
    return (np.rint(rows * 32768) / 32768).astype(np.float32), labels


@pytest.fixture(scope="module")
def build(tiny_params):
    def build_variant(name, pool=1, **train):
        shared = {"train": {}, "pool": pool}
        params = (
            MlpParams(architecture="mlp", hidden=(16,), **shared)
            if name == "mlp"
            else SvmParams(architecture="svm", regularisation=2.0, **shared)
        )
        changes = {"epochs": 20, "batch_size": 8, "learning_rate": 0.001, **train}
        return params.build(tiny_params.train.model_copy(update=changes), 3, 16_000)

    return build_variant


@pytest.mark.parametrize("pool", [1, 7])
@pytest.mark.parametrize("name", ["mlp", "svm"])
def test_learns_answers_and_survives_storage(build, name, pool, tmp_path):
    rows, labels = make_clips(60)
    model = build(name, pool)
    parts = []
    model.fit(
        LabelledRows(model.extract_features(rows), labels),
        lambda done, total: parts.append((done, total)),
    )
    assert parts[-1] == (len(parts), len(parts))

    fresh, fresh_labels = make_clips(40, seed=1)
    probabilities = model.predict_proba(fresh)
    assert probabilities.shape == (40, NUM_EMOTIONS)
    assert probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert (model.predict_proba(rows).argmax(axis=1) == labels).mean() > 0.9
    assert (probabilities.argmax(axis=1) == fresh_labels).mean() > 0.6

    (tmp_path / "weights.safetensors").write_bytes(save(model.save(tmp_path)))
    copy = build(name, pool)
    copy.load(tmp_path, load((tmp_path / "weights.safetensors").read_bytes()))
    np.testing.assert_array_equal(copy.predict_proba(fresh), probabilities)
    assert copy.num_parameters == model.num_parameters
    untrusted = skops.io.get_untrusted_types(file=tmp_path / "model.skops")
    assert not untrusted


@pytest.mark.parametrize("name", ["mlp", "svm"])
def test_same_seed_same_answers_and_fit_starts_anew(build, name):
    rows, labels = make_clips(30)
    first, second = build(name), build(name)
    first.fit(LabelledRows(first.extract_features(rows), labels))
    second.fit(LabelledRows(second.extract_features(rows[::-1]), labels))
    second.fit(LabelledRows(second.extract_features(rows), labels))
    np.testing.assert_array_equal(first.predict_proba(rows), second.predict_proba(rows))


def test_svm_decides_as_scikit_learn_on_the_rows_themselves(build):
    rows, labels = make_clips(60)
    # Sound where all training rows are silent: its columns are dropped, its norm is not.
    fresh, _ = make_clips(30, seed=2)
    fresh[::2, 250:] = 0.05
    rival = SVC(C=2.0, kernel="rbf", gamma="scale").fit(rows.astype(np.float64), labels)
    model = build("svm")
    model.fit(LabelledRows(model.extract_features(rows), labels))
    assert model.state().tensors["columns"].max() < 200

    wanted = rival.decision_function(fresh.astype(np.float64))
    kernel = np.zeros((30, 60))
    machine = model._machine
    np.testing.assert_array_equal(np.sort(machine.support_), np.sort(rival.support_))
    stored = expand(model.state().tensors["support_rows"])
    kept = fresh[:, model.state().tensors["columns"]]
    gamma = float(model.state().tensors["gamma"])
    kernel[:, machine.support_] = rbf(
        inner_products(kept, stored), squared_norms(fresh), squared_norms(stored), gamma
    )
    np.testing.assert_allclose(machine.decision_function(kernel), wanted, atol=2e-3)
    # One temperature leaves the order of the decisions alone.
    np.testing.assert_array_equal(
        model.predict_proba(fresh).argmax(axis=1), machine.decision_function(kernel).argmax(axis=1)
    )


@settings(max_examples=25, deadline=None)
@given(num_columns=st.integers(1, 40), chunk=st.integers(1, 20), seed=st.integers(0, 99))
def test_kernel_equals_scikit_learns(num_columns, chunk, seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(0.01, 0.05, (6, num_columns)).astype(np.float32)
    others = rng.normal(0.01, 0.05, (4, num_columns)).astype(np.float32)
    rows[:, num_columns // 2 :] = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serct.models.classical.kernel._CHUNK", chunk)
        products = inner_products(rows, others)
        gamma = gamma_scale(others)
        found = rbf(products, squared_norms(rows), squared_norms(others), gamma)
    assert gamma == pytest.approx(1 / (num_columns * others.astype(np.float64).var()), rel=1e-4)
    exact = rbf_kernel(rows.astype(np.float64), others.astype(np.float64), gamma)
    np.testing.assert_allclose(found, exact, atol=1e-5)


def test_gamma_of_silence_is_one_as_in_scikit_learn():
    assert gamma_scale(np.zeros((2, 3), dtype=np.float32)) == 1.0


@pytest.mark.parametrize("name", ["mlp", "svm"])
def test_silence_gives_even_odds_not_errors(build, name):
    model = build(name)
    silence = np.zeros((12, 50), dtype=np.float32)
    model.fit(LabelledRows(model.extract_features(silence), np.arange(12) % 3))
    assert np.isfinite(model.predict_proba(np.zeros((2, 50), dtype=np.float32))).all()


def test_sixteen_bit_rows_are_stored_as_such_and_others_as_they_are():
    pcm = np.array([[-32768, -1, 0, 32767]], dtype=np.int16)
    exact = pcm.astype(np.float32) / 32768
    assert compact(exact).dtype == np.int16
    np.testing.assert_array_equal(expand(compact(exact)), exact)
    for row in (exact / 3, np.ones((1, 2), dtype=np.float32)):
        assert compact(row).dtype == np.float32
        np.testing.assert_array_equal(expand(compact(row)), row)


@given(num_samples=st.integers(1, 50), pool=st.integers(1, 12))
def test_pooling_averages_neighbours_and_loses_nothing(num_samples, pool):
    rows = np.random.default_rng(0).random((2, num_samples)).astype(np.float32)
    pooled = average_samples(rows, pool)
    assert pooled.shape == (2, -(-num_samples // pool))
    np.testing.assert_allclose(pooled.sum(axis=1) * pool, rows.sum(axis=1), rtol=1e-4)


def test_mlp_level_of_the_corpus_makes_no_difference(build):
    rows, labels = make_clips(60)
    loud, quiet = build("mlp"), build("mlp")
    loud.fit(LabelledRows(loud.extract_features(rows * 8), labels))
    quiet.fit(LabelledRows(quiet.extract_features(rows), labels))
    np.testing.assert_allclose(loud._estimator.loss_curve_, quiet._estimator.loss_curve_, rtol=1e-3)


def test_mlp_runs_every_epoch_and_tells_its_losses_and_size(build):
    rows, labels = make_clips(30)
    model = build("mlp", epochs=15)
    model.fit(LabelledRows(model.extract_features(rows), labels))
    losses = model._estimator.loss_curve_
    assert len(losses) == 15
    assert losses[-1] < losses[0]
    assert model.num_parameters == (NUM_SAMPLES + 1) * 16 + 17 * NUM_EMOTIONS


def test_svm_counts_what_it_stores(build):
    rows, labels = make_clips(30)
    model = build("svm")
    model.fit(LabelledRows(model.extract_features(rows), labels))
    machine = model._machine
    stored = model.state().tensors["support_rows"].size
    # Three pairs of labels have an intercept each, a support row a coefficient but for its own.
    assert model.num_parameters == stored + 2 * len(machine.support_) + 3 + 1


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_mlp_that_diverges_is_an_error(build):
    rows, labels = make_clips(30)
    with pytest.raises(TrainingError, match=r"mlp, epoch \d+ of 20"):
        build("mlp", learning_rate=1e30).fit(LabelledRows(rows, labels))


@pytest.mark.parametrize("labels", [[0] * 6, [0, 0, 0, 2, 2, 2], [0, 0, 0, 0, 0, 1]])
@pytest.mark.parametrize("name", ["mlp", "svm"])
def test_labels_must_all_be_there_twice(build, name, labels):
    with pytest.raises(TrainingError, match="at least two labels and two rows of each"):
        build(name).fit(LabelledRows(np.ones((6, 8), dtype=np.float32), np.array(labels)))


@pytest.mark.parametrize("name", ["mlp", "svm"])
def test_files_that_are_not_a_whole_model_are_refused(build, name, tmp_path):
    rows, labels = make_clips(12)
    model = build(name)
    with pytest.raises(CheckpointError, match=r"model\.skops: cannot be read"):
        model.load(tmp_path, {})
    model.fit(LabelledRows(model.extract_features(rows), labels))
    tensors = model.save(tmp_path)
    with pytest.raises(CheckpointError, match=r"model\.skops: damaged or incomplete"):
        build(name).load(tmp_path, {})
    path = tmp_path / "model.skops"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"model\.skops: damaged or incomplete"):
        build(name).load(tmp_path, tensors)


def test_types_beyond_the_trusted_are_refused(build, tmp_path):
    untrusted = MLPClassifier(max_iter=1).partial_fit([[0.0], [1.0]], [0, 1], classes=[0, 1])
    skops.io.dump(untrusted, tmp_path / "model.skops")
    with pytest.raises(CheckpointError, match="AdamOptimizer"):
        build("mlp").load(tmp_path, {"scale": np.float32(1)})
