"""Label noise: what is flipped, how much of it, and that a seed fixes it."""

import hashlib
import os
import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from dlt.harness import datasets
from dlt.harness.config import make_config
from dlt.harness.datasets import load
from dlt.harness.errors import InputError
from dlt.harness.label_noise import (
    CIFAR10_MAP,
    CIFAR100_SUPERCLASS,
    DIGITS_MAP,
    asymmetric,
    cifar100_map,
    corrupt,
    human,
    instance_dependent,
    mapping_for,
    symmetric,
)
from dlt.harness.run import noisy_labels

BALANCED = np.repeat(np.arange(10), 5000)  # CIFAR-10's 50,000 labels up to their order
BALANCED100 = np.repeat(np.arange(100), 500)


@pytest.mark.parametrize("rate", [0.2, 0.4, 0.6])
def test_symmetric_realises_nine_tenths_of_the_rate_on_ten_classes(rate):
    noisy = symmetric(BALANCED, rate, 10, seed=1)
    expected = 0.9 * rate
    # int(rate * N) candidates, each wrong with probability 9/10
    deviation = np.sqrt(rate * 0.9 * 0.1 / len(BALANCED))
    assert (noisy != BALANCED).mean() == pytest.approx(expected, abs=4 * deviation)


def test_symmetric_relabels_exactly_the_given_share(monkeypatch):
    # With every true label outside the drawn range, each candidate shows.
    rng = np.random.default_rng(0)
    monkeypatch.setattr("dlt.harness.label_noise.noise_generator", lambda seed: _ShiftedIntegers(rng))
    noisy = symmetric(BALANCED, 0.3, 10, seed=1)
    assert (noisy >= 10).sum() == int(0.3 * len(BALANCED))


class _ShiftedIntegers:
    def __init__(self, rng):
        self.permutation = rng.permutation
        self.integers = lambda high, size: rng.integers(high, size=size) + high


def test_symmetric_transition_matrix_is_uniform_off_the_diagonal():
    matrix = corrupt(BALANCED, "symmetric", 0.5, 10, 1, "cifar10").transition_matrix()
    off_diagonal = matrix[~np.eye(10, dtype=bool)]
    assert np.allclose(matrix.sum(axis=1), 1)
    assert np.allclose(off_diagonal, 0.05, atol=0.016)  # 5 standard deviations
    assert np.allclose(np.diag(matrix), 0.55, atol=0.035)


@pytest.mark.parametrize("rate", [0.2, 0.3, 0.4])
def test_asymmetric_flips_exactly_the_rate_of_every_source_class(rate):
    noisy = corrupt(BALANCED, "asymmetric", rate, 10, 1, "cifar10")
    expected = np.eye(10)
    for source, target in CIFAR10_MAP.items():
        expected[source, source], expected[source, target] = 1 - rate, rate
    # Exact also for cat <-> dog: with double flips cat -> dog would fall short.
    assert np.allclose(noisy.transition_matrix(), expected, atol=1e-12)
    assert noisy.realised == pytest.approx(rate / 2)


def test_asymmetric_rounds_per_class_on_unbalanced_labels():
    labels = np.array([7] * 11 + [5] * 3 + [6] * 8 + [0] * 20)
    noisy = asymmetric(labels, 0.4, DIGITS_MAP, seed=3)
    flips = {(int(a), int(b)) for a, b in zip(labels, noisy, strict=True) if a != b}
    counts = {pair: int(((labels == pair[0]) & (noisy == pair[1])).sum()) for pair in flips}
    assert counts == {(7, 1): 4, (5, 6): 1, (6, 5): 3}


def test_asymmetric_takes_an_array_for_a_mapping():
    array = np.arange(10)
    array[list(CIFAR10_MAP)] = list(CIFAR10_MAP.values())
    noisy = asymmetric(BALANCED, 0.4, array, seed=1)
    flipped = noisy != BALANCED
    assert flipped.mean() == pytest.approx(0.2)
    assert np.array_equal(noisy[flipped], array[BALANCED][flipped])


def test_class_maps():
    assert mapping_for("digits") == {7: 1, 2: 7, 5: 6, 6: 5, 3: 8}
    assert mapping_for("cifar10") == {9: 1, 2: 0, 3: 5, 5: 3, 4: 7}


def test_cifar100_superclass_map_stays_among_true_siblings_and_block5_rarely_does():
    def siblings(mapping):
        return sum(CIFAR100_SUPERCLASS[s] == CIFAR100_SUPERCLASS[t] for s, t in mapping.items())

    assert siblings(cifar100_map()) == 100
    assert siblings(cifar100_map("block5")) == 6
    for variant in ("superclass", "block5"):
        mapping = cifar100_map(variant)
        assert sorted(mapping) == sorted(mapping.values()) == list(range(100))
        start = node = 17
        cycle = [node := mapping[node] for _ in range(5)]
        assert cycle[-1] == start
        assert len(set(cycle)) == 5
    # beaver 4 -> dolphin 30 -> otter 55 -> seal 72 -> whale 95 -> beaver
    assert [cifar100_map()[i] for i in (4, 30, 55, 72, 95)] == [30, 55, 72, 95, 4]
    assert [cifar100_map("block5")[i] for i in (0, 1, 4, 99)] == [1, 2, 0, 95]


@pytest.mark.parametrize("noise", ["asymmetric", "asymmetric-block5"])
def test_cifar100_asymmetric_realises_the_rate(noise):
    noisy = corrupt(BALANCED100, noise, 0.4, 100, 1, "cifar100")
    mapping = mapping_for("cifar100", "block5" if noise.endswith("block5") else "superclass")
    matrix = noisy.transition_matrix()
    assert noisy.realised == pytest.approx(0.4)
    assert all(matrix[s, t] == pytest.approx(0.4) for s, t in mapping.items())


def test_superclass_table_agrees_with_the_data():
    root = Path(os.environ.get("DLT_DATA") or datasets.DEFAULT_FOLDER)
    path = root / "cifar-100-python" / "test"
    if not path.is_file():
        pytest.skip(f"no CIFAR-100 in {root}")
    with open(path, "rb") as file:
        content = pickle.load(file, encoding="latin1")
    fine, coarse = np.array(content["fine_labels"]), np.array(content["coarse_labels"])
    assert np.array_equal(CIFAR100_SUPERCLASS[fine], coarse)


def test_seed_fixes_the_labels_and_the_global_generator_has_no_part():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = symmetric(BALANCED, 0.5, 10, seed=1)
    np.random.seed(1)  # noqa: NPY002
    assert np.array_equal(symmetric(BALANCED, 0.5, 10, seed=1), first)
    assert not np.array_equal(symmetric(BALANCED, 0.5, 10, seed=2), first)
    np.random.seed(0)  # noqa: NPY002
    asymmetric(BALANCED, 0.4, CIFAR10_MAP, seed=1)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert not np.array_equal(
        asymmetric(BALANCED, 0.4, CIFAR10_MAP, seed=1), asymmetric(BALANCED, 0.4, CIFAR10_MAP, seed=2)
    )


def test_golden_checksums():
    labels = np.arange(1000) % 10
    golden = {
        ("symmetric", 0.5): "3d8cdf648cbbf07a83be457c04e8852cdf454d0acd4e4df770fc87473c2835bd",
        ("asymmetric", 0.4): "57aeaa18b7ea42b125ab4304fa0dc402c9f754440aefa09aedd3d01d69d95f6b",
        ("none", 0.0): hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest(),
    }
    for (noise, rate), checksum in golden.items():
        assert corrupt(labels, noise, rate, 10, 1, "cifar10").sha256 == checksum


@pytest.mark.parametrize("noise", ["none", "symmetric", "asymmetric"])
def test_rate_zero_changes_nothing(noise):
    noisy = corrupt(BALANCED, noise, 0.0, 10, 1, "cifar10")
    assert noisy.realised == noisy.nominal == 0
    assert np.array_equal(noisy.labels, BALANCED)
    assert np.array_equal(noisy.transition_matrix(), np.eye(10))
    assert noisy.labels is not noisy.true_labels


def test_transition_matrix_has_a_zero_row_for_a_class_without_images():
    matrix = corrupt(np.array([0, 0, 2]), "none", 0, 4, 1, "mine").transition_matrix()
    assert np.array_equal(matrix, np.diag([1, 0, 1, 0]))


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8])
def test_tensors_come_back_as_tensors(dtype):
    labels = torch.arange(10, dtype=dtype).repeat(100)
    for function, argument in ((symmetric, 10), (asymmetric, CIFAR10_MAP)):
        given = labels.clone()
        noisy = function(given, 0.5, argument, 1)
        assert isinstance(noisy, torch.Tensor)
        assert noisy.dtype == torch.int64
        assert np.array_equal(noisy.numpy(), function(labels.numpy(), 0.5, argument, 1))
        assert torch.equal(given, labels)


@pytest.mark.parametrize("rate", [1.0, -0.1, float("nan")])
@pytest.mark.parametrize("noise", ["none", "symmetric", "asymmetric"])
def test_rates_outside_zero_to_one_are_refused(noise, rate):
    with pytest.raises(InputError, match=r"noise-rate: .* is outside \[0, 1\)"):
        corrupt(BALANCED, noise, rate, 10, 1, "cifar10")


@pytest.mark.parametrize(
    ("noise", "rate", "dataset", "message"),
    [
        ("none", 0.2, "cifar10", "noise-rate: 0.2"),
        ("pairflip", 0.2, "cifar10", "noise: 'pairflip' is not one of none, symmetric"),
        ("asymmetric", 0.2, "mine.npz", "noise: asymmetric .*'mine.npz'"),
        ("asymmetric-block5", 0.2, "cifar10", "noise: asymmetric .*'cifar10'.*block5"),
    ],
)
def test_impossible_noise_is_refused(noise, rate, dataset, message):
    with pytest.raises(InputError, match=message):
        corrupt(BALANCED, noise, rate, 10, 1, dataset)


def test_labels_that_are_not_class_ids_are_refused():
    with pytest.raises(InputError, match=r"labels: 0..9 are not all in 0..4"):
        symmetric(BALANCED, 0.2, 5, 1)
    with pytest.raises(InputError, match="labels: float64"):
        symmetric(BALANCED / 2, 0.2, 10, 1)
    with pytest.raises(InputError, match="labels: "):
        symmetric(BALANCED.reshape(10, -1), 0.2, 10, 1)


# ---------------------------------------------------------------------- labels that people gave
def human_arrays(count=50):
    rng = np.random.default_rng(0)
    clean = np.arange(count) % 10
    worse = np.where(rng.random(count) < 0.4, (clean + 1) % 10, clean)
    return {"clean_label": clean.astype(np.uint8), "worse_label": worse.astype(np.uint8)}


def test_human_labels_from_both_layouts(tmp_path):
    arrays = human_arrays()
    rows = np.arange(0, 50, 3)
    np.savez(tmp_path / "cifar10n.npz", **arrays)
    labels = human(arrays["clean_label"][rows].astype(int), "human-worse", tmp_path, rows)
    np.testing.assert_array_equal(labels, arrays["worse_label"][rows])
    (tmp_path / "cifar10n.npz").unlink()
    torch.save({name: values.astype(np.int64) for name, values in arrays.items()}, tmp_path / "CIFAR-10_human.pt")
    np.testing.assert_array_equal(human(arrays["clean_label"], "human-worse", tmp_path), arrays["worse_label"])


def test_human_labels_missing_damaged_or_of_other_images(tmp_path):
    clean = human_arrays()["clean_label"]
    with pytest.raises(InputError, match=r"needs CIFAR-10_human\.pt or cifar10n\.npz"):
        human(clean, "human-worse", tmp_path)
    (tmp_path / "cifar10n.npz").write_bytes(b"no zip")
    with pytest.raises(InputError, match="cannot be read"):
        human(clean, "human-worse", tmp_path)
    np.savez(tmp_path / "cifar10n.npz", **human_arrays())
    with pytest.raises(InputError, match="clean labels"):
        human(clean[::-1], "human-worse", tmp_path)


def test_published_human_rates_are_the_nominal_ones():
    config = make_config("mini", "cifar10", "ce", "human-aggre")
    assert config.noise_rate == 0.0901
    assert config.name.startswith("cifar10-human-aggre-ce-s1-")
    with pytest.raises(InputError, match="labels of cifar10, not of digits"):
        make_config("digits", "digits", "ce", "human-worse")


# ---------------------------------------------------------------------- instance-dependent noise
def random_images(count=3000, classes=5):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 4, 4, 3)).astype(np.uint8), np.arange(count) % classes


# The mean of the truncated normal distribution: at 0.1, where 0 is one deviation away, 0.1 (1 + phi(1) / Phi(1)).
@pytest.mark.parametrize(("rate", "mean"), [(0, 0), (0.1, 0.1288), (0.4, 0.4), (0.8, 0.7945)])
def test_instance_noise_realises_the_rate(rate, mean):
    images, labels = random_images(20000)
    noisy = instance_dependent(images, labels, rate, 5, seed=1, mean=0.5, std=0.25)
    assert (noisy != labels).mean() == pytest.approx(mean, abs=4 * np.sqrt(mean * (1 - mean) / 20000))
    assert set(noisy) <= set(range(5))


def test_equal_images_of_a_class_are_mistaken_for_the_same_class():
    """The wrong label hangs on the image: a class of one image, 32x32 and sharp, has one wrong label."""
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3))
    images, labels = np.repeat(image, 400, axis=0).astype(np.uint8), np.zeros(400, int)
    noisy = instance_dependent(images, labels, 0.5, 10, seed=1, mean=0.5, std=0.25)
    wrong = noisy[noisy != 0]
    assert 140 < len(wrong) < 260
    assert np.bincount(wrong).max() > 0.9 * len(wrong)


def test_instance_noise_against_a_slow_version():
    """Xia et al. 2020, one image after the other, from the same draws."""
    from scipy.stats import truncnorm

    images, labels = random_images(60, 3)
    noisy = instance_dependent(images, labels, 0.4, 3, seed=5, mean=0.5, std=0.25)
    rng = np.random.default_rng(np.random.SeedSequence([5, zlib.crc32(b"label noise")]))
    flip = truncnorm.rvs(-4, 6, loc=0.4, scale=0.1, size=60, random_state=rng)
    for own in range(3):
        rows = [i for i in range(60) if labels[i] == own]
        weights = rng.standard_normal((48, 3))
        draws = rng.random((len(rows), 1))
        for i, draw in zip(rows, draws[:, 0], strict=True):
            x = (images[i].ravel() / 255 - 0.5) / 0.25
            e = [np.exp(x @ weights[:, c] - max(x @ weights)) if c != own else 0.0 for c in range(3)]
            p = [flip[i] * e[c] / sum(e) if c != own else 1 - flip[i] for c in range(3)]
            assert noisy[i] == next(c for c in range(3) if sum(p[: c + 1]) > draw)


def test_instance_noise_of_a_run():
    config = make_config("digits", "digits", "ce", "instance", 0.4, seed=2)
    noisy = noisy_labels(load("digits", "digits"), config)
    assert 0.35 < noisy.realised < 0.45
    assert config.name.startswith("digits-instance0.4-ce-s2-")
