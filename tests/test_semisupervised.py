"""Eqs. 4-6: against slow NumPy, and masked against indexed."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import dlt
from dlt.semisupervised import clean_loss, mixup, mixup_partners, noisy_loss, noisy_weight_for

SPLITS = {"one": 1, "some": 7, "most": 31, "all": 32, "none": 0}


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_sharpen_is_eq_4():
    p = softmax(np.random.default_rng(0).normal(size=(6, 10)))
    expected = np.empty_like(p)
    for i, row in enumerate(p):
        for c in range(10):
            expected[i, c] = row[c] ** 2 / sum(value**2 for value in row)
    np.testing.assert_allclose(dlt.sharpen(p, 0.5), expected, rtol=1e-12)
    np.testing.assert_allclose(dlt.sharpen(torch.from_numpy(p), 0.5).numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(dlt.sharpen(p, 1.0), p, rtol=1e-12)


def test_sharpen_to_a_low_temperature_is_one_hot():
    p = np.array([[0.5, 0.3, 0.2]])
    np.testing.assert_allclose(dlt.sharpen(p, 0.01), [[1, 0, 0]], atol=1e-9)


def test_prior_regularizer_is_eq_5():
    p = softmax(np.random.default_rng(1).normal(size=(12, 10)))
    expected = 0.0
    for c in range(10):
        mean = sum(p[i, c] for i in range(12)) / 12
        expected += 0.1 * np.log(0.1 / mean)
    assert float(dlt.prior_regularizer(p)) == pytest.approx(expected, rel=1e-12)
    assert float(dlt.prior_regularizer(torch.full((4, 10), 0.1))) == pytest.approx(0, abs=1e-6)
    one_class = torch.eye(10)[torch.zeros(4, dtype=torch.long)]
    assert torch.isfinite(dlt.prior_regularizer(one_class))  # worst case: nine classes of probability 0
    assert dlt.prior_regularizer(one_class) > 1


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(32, 10, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.rand(32, 10, generator=generator, dtype=torch.float64).softmax(1)
    order = torch.randperm(32, generator=generator)
    return logits, targets, order


def mask(count, order):
    clean = torch.zeros(32, dtype=torch.bool)
    clean[order[:count]] = True
    return clean


def gradient(loss, logits):
    return torch.autograd.grad(loss, logits)[0]


@pytest.mark.parametrize("count", [1, 7, 31, 32])
def test_masked_clean_loss_equals_indexed(rows, count):
    logits, targets, order = rows
    clean = mask(count, order)
    masked = clean_loss(logits, targets, clean)
    indexed = -(targets[clean] * logits[clean].log_softmax(1)).sum(1).mean()
    assert masked.item() == pytest.approx(indexed.item(), abs=1e-6)
    torch.testing.assert_close(gradient(masked, logits), gradient(indexed, logits), atol=1e-6, rtol=0)


@pytest.mark.parametrize("count", [0, 1, 7, 31])
def test_masked_noisy_loss_equals_indexed(rows, count):
    logits, targets, order = rows
    noisy = ~mask(count, order)
    masked = noisy_loss(logits, targets, noisy)
    indexed = F.mse_loss(logits[noisy].softmax(1), targets[noisy])
    assert masked.item() == pytest.approx(indexed.item(), abs=1e-6)
    torch.testing.assert_close(gradient(masked, logits), gradient(indexed, logits), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("loss", "count"), [(clean_loss, 0), (noisy_loss, 0)])
def test_a_loss_over_no_rows_is_zero_with_zero_gradient(rows, loss, count):
    logits, targets, order = rows
    value = loss(logits, targets, mask(count, order))
    assert value == 0
    assert not gradient(value, logits).any()


@pytest.mark.parametrize("count", SPLITS.values(), ids=SPLITS)
def test_partners(count):
    generator = torch.Generator().manual_seed(1)
    clean = mask(count, torch.randperm(32, generator=generator))
    choices = []
    for _ in range(500):
        keys = torch.rand((2, 32), generator=generator)
        partners = mixup_partners(clean, *keys)
        if count:
            assert clean[partners].all()  # every row is mixed with a clean one
        assert partners[clean].sort().values.equal(clean.nonzero().flatten())  # a permutation among the clean
        choices += partners[~clean].tolist()
    if 0 < count < 32:
        assert set(choices) == set(clean.nonzero().flatten().tolist())  # noisy rows draw from all clean ones


def test_a_choice_key_next_to_one_stays_inside():
    clean = mask(7, torch.arange(32))
    keys = torch.full((2, 32), 1 - 2**-24)
    keys[0] = torch.rand(32, generator=torch.Generator().manual_seed(0))
    assert clean[mixup_partners(clean, *keys)].all()


def test_mixup():
    values = torch.randn(4, 3, 2, 2)
    partners = torch.tensor([1, 0, 3, 3])
    for i, partner in enumerate(partners):
        expected = 0.7 * values[i] + 0.3 * values[partner]
        torch.testing.assert_close(mixup(values, partners, 0.7)[i], expected)


@pytest.mark.parametrize(
    ("classes", "noise", "rate", "weight"),
    [
        (10, "symmetric", 0.2, 0),
        (10, "symmetric", 0.4, 25),
        (10, "symmetric", 0.6, 25),
        (10, "asymmetric", 0.4, 0),
        (100, "symmetric", 0.2, 25),
        (100, "symmetric", 0.4, 150),
        (100, "asymmetric", 0.2, 25),
        (100, "asymmetric-block5", 0.3, 150),
        (14, "none", 0.38, 25),
    ],
)
def test_noisy_weight_of_the_papers_settings(classes, noise, rate, weight):
    assert noisy_weight_for(classes, noise, rate) == weight
