"""Vectors as a data set: reading, scaling, views, and every method on them."""

import numpy as np
import pytest
import torch

from dlt.__main__ import main
from dlt.harness import records
from dlt.harness.config import make_config
from dlt.harness.datasets import load
from dlt.harness.errors import InputError
from dlt.harness.features import LENGTH, NOISE, load_features, scale
from dlt.harness.method import METHODS
from dlt.harness.networks import build_network
from dlt.harness.training import train


def clusters(count=120, classes=3, size=5, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    return rng.normal(size=(classes, size))[labels] * 3 + rng.normal(size=(count, size)), labels


@pytest.fixture
def archive(tmp_path):
    def write(**arrays):
        features, labels = clusters()
        arrays = {"features": features, "labels": labels} | arrays
        np.savez(tmp_path / "vectors.npz", **{k: v for k, v in arrays.items() if v is not None})
        return str(tmp_path / "vectors.npz")

    return write


def test_scaling_by_hand():
    features, _ = clusters()
    centred = features - features.mean(0)
    unit = np.stack([10 * row / np.sqrt((row**2).sum()) for row in centred])
    np.testing.assert_allclose(scale(features, features, "unit"), unit, rtol=1e-4)
    np.testing.assert_allclose(scale(features, features, "standard"), centred / features.std(0), rtol=1e-4, atol=1e-6)


def test_a_constant_column_and_a_mean_row_stay_finite():
    features = np.array([[1.0, 2.0], [1.0, 4.0], [1.0, 3.0]])
    for scaling in ("unit", "standard"):
        assert np.isfinite(scale(features, features, scaling)).all()


def test_a_fifth_is_held_out_and_scaled_by_the_rest(archive):
    features, labels = clusters()
    data = load_features(archive())
    assert (len(data.train), len(data.test)) == (96, 24)
    np.testing.assert_array_equal(data.train.labels, labels[data.train.rows])
    like = features[data.train.rows].astype(np.float32)
    np.testing.assert_allclose(data.test.images, scale(features[data.test.rows], like, "unit"), rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(data.train.images, axis=1), LENGTH, rtol=1e-4)


def test_views_are_those_stored_or_noise(archive):
    features, _ = clusters()
    index, cpu = torch.arange(96), torch.device("cpu")
    data = load_features(archive(views=np.stack([features + 1, features - 1])))
    source = data.source(data.train, cpu)
    view = source.augmented(index, torch.Generator().manual_seed(0))
    of_one = [(view == source.views[i]).all(1) for i in (0, 1)]
    assert (of_one[0] | of_one[1]).all()
    assert of_one[0].any()
    assert of_one[1].any()

    data = load_features(archive())
    source = data.source(data.train, cpu)
    generator = torch.Generator().manual_seed(0)
    noise = torch.cat([source.augmented(index, generator) - source.plain(index) for _ in range(200)])
    torch.testing.assert_close(noise.std(0), NOISE * source.plain(index).std(0), rtol=0.05, atol=0)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_on_features(archive, tmp_path, method):
    options = {"window": 2} if method.startswith("dlt") else {}
    short = {"epochs": 3, "batch_size": 20}
    config = make_config("features", archive(), method, "symmetric", 0.3, options=options, **short)
    for run in [*config.required, config]:
        rows = list(train(run, tmp_path / "runs", "cpu"))
    assert len(rows) == 3
    assert np.isfinite(rows[-1]["train_loss"])


@pytest.mark.parametrize("tested", [False, True])
def test_clean_labels_fill_the_measures(archive, tmp_path, tested):
    """Trained on are the labels as they came; AUC, precision and the realised rate are those against the truth."""
    features, true = clusters()
    given = np.where(np.arange(120) % 10 == 4, (true + 1) % 3, true)
    test = {"test_features": features[:30], "test_labels": true[:30]} if tested else {}
    path = archive(labels=given, clean_labels=true, **test)
    config = make_config("features", path, "dlt-auto", "none", epochs=6, assumed_rate=0.1)
    epochs = list(train(config, tmp_path / "runs", "cpu"))
    assert all(np.isfinite(epochs[-1][name]) for name in ("auc", "precision", "recall"))
    data = load_features(path)
    rows = np.arange(120) if tested else data.train.rows
    np.testing.assert_array_equal(data.train.labels, given[rows])
    np.testing.assert_array_equal(data.test.labels, true[:30] if tested else true[data.test.rows])
    realised = records.read_record(records.folder_of(tmp_path / "runs", config)).run["label_noise"]["realised_rate"]
    assert realised == pytest.approx((given != true)[rows].mean())
    plain = make_config("features", archive(labels=given, **test), "dlt-auto", "none", epochs=6, assumed_rate=0.1)
    without = list(train(plain, tmp_path / "runs", "cpu"))
    assert np.isnan(without[-1]["auc"])
    assert without[-1]["train_loss"] == epochs[-1]["train_loss"]


def test_the_linear_network_begins_at_zero():
    network = build_network("linear", 5, 3, seed=1)
    assert not network(torch.randn(4, 5)).any()


def test_the_profiles_own_data_are_the_digits():
    images, vectors = load("digits", "digits").train, load("digits", "features").train
    assert vectors.images.shape == (len(images), 64)
    np.testing.assert_array_equal(images.labels, vectors.labels)


@pytest.mark.parametrize(
    ("arrays", "line"),
    [
        ({"features": None}, "has no array features"),
        ({"labels": None}, "has no array labels"),
        ({"features": np.zeros((120, 2, 2))}, "must be numbers"),
        ({"features": np.array([["a"] * 3] * 120)}, "must be numbers"),
        ({"labels": np.zeros(120)}, "must be integers"),
        ({"labels": np.zeros(119, int)}, "must be integers"),
        ({"labels": np.arange(120) % 3 - 1}, "must not be negative"),
        ({"labels": np.arange(120) % 3 * 2}, "without a gap"),
        ({"class_names": np.array(["a", "b"])}, "class_names are 2"),
        ({"clean_labels": np.arange(119) % 3}, "clean_labels is int64"),
        ({"clean_labels": np.arange(120) % 4}, "clean_labels go up to 3"),
        ({"scaling": np.array("log")}, "scaling is 'log'"),
        ({"views": np.zeros((2, 119, 5))}, "views is"),
        ({"test_features": np.zeros((12, 4)), "test_labels": np.zeros(12, int)}, "do not fit"),
    ],
)
def test_bad_archives(archive, arrays, line):
    with pytest.raises(InputError, match=line):
        load_features(archive(**arrays))


def test_values_that_are_not_finite_are_located(archive):
    features, _ = clusters()
    features[7, 2] = np.nan
    with pytest.raises(InputError, match="1 values that are NaN or infinite; the first in row 7, column 2"):
        load_features(archive(features=features))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--noise", "instance", "--noise-rate", "0.2"], "noise: 'instance'"),
        (["--noise", "symmetric", "--noise-rate", "0.2", "--hard", "incomplete"], "hard: 'incomplete'"),
        (["--dataset", "cifar10", "--noise", "none"], "is not run in profile 'features'"),
    ],
)
def test_what_needs_pixels_is_refused(capsys, arguments, line):
    assert main(["train", "--profile", "features", "--method", "ce", *arguments]) == 2
    assert line in capsys.readouterr().err
