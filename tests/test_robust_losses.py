"""The losses by hand and by slow NumPy."""

import numpy as np
import pytest
import torch

from baselines.robust_losses import (
    LOG_ZERO,
    apl,
    cross_entropy,
    epsilon_softmax_loss,
    gce,
    mae,
    normalized_cross_entropy,
    reverse_cross_entropy,
    sce,
)
from dlt.harness.config import make_config
from dlt.harness.errors import InputError
from dlt.harness.run import Run

LOGITS = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]], dtype=torch.float64))
LABELS = torch.tensor([0, 1])
P = np.array([0.7, 0.25])  # p_y


def test_golden_values():
    """p = (.7, .2, .1) with label 0, and (.25, .25, .5) with label 1."""
    golden = {
        cross_entropy: [0.356675, 1.386294],
        reverse_cross_entropy: [9.210340 * 0.3, 9.210340 * 0.75],
        mae: [0.3, 0.75],
        normalized_cross_entropy: [0.356675 / (0.356675 + 1.609438 + 2.302585), 1.386294 / (2 * 1.386294 + 0.693147)],
        gce: [(1 - 0.7**0.7) / 0.7, (1 - 0.25**0.7) / 0.7],
    }
    for loss, values in golden.items():
        np.testing.assert_allclose(loss(LOGITS, LABELS).numpy(), values, rtol=1e-5, err_msg=loss.__name__)


def test_sums_of_the_parts():
    ce, rce, nce = (f(LOGITS, LABELS) for f in (cross_entropy, reverse_cross_entropy, normalized_cross_entropy))
    torch.testing.assert_close(sce(LOGITS, LABELS, 0.1, 1.0), 0.1 * ce + rce)
    torch.testing.assert_close(apl(LOGITS, LABELS, 10, 0.1), 10 * nce + 0.1 * rce)
    torch.testing.assert_close(apl(LOGITS, LABELS, 1, 2, "mae"), nce + 2 * mae(LOGITS, LABELS))


def test_reverse_cross_entropy_slowly():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 3, (20, 10)), rng.integers(10, size=20)
    expected = []
    for row, label in zip(logits, labels, strict=True):
        p = np.exp(row) / np.exp(row).sum()
        q = np.clip(np.eye(10)[label], 1e-4, 1)
        expected.append(-sum(max(p[k], 1e-7) * np.log(q[k]) for k in range(10)))
    got = reverse_cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("m", [1e2, 1e5])
def test_epsilon_softmax_slowly(m):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 3, (20, 10)), rng.integers(10, size=20)
    expected = []
    for row, label in zip(logits, labels, strict=True):
        p = np.exp(row) / np.exp(row).sum()
        q = [(p[k] + m * (k == p.argmax())) / (m + 1) for k in range(10)]
        assert sum(q) == pytest.approx(1)
        expected.append(-0.03 * np.log(max(q[label], 1e-8)) + 2 * 5 * (1 - p[label]))
    got = epsilon_softmax_loss(torch.from_numpy(logits), torch.from_numpy(labels), 0.03, 5, m)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-10)


def test_identities():
    logits = 3 * torch.randn(50, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(50) % 10
    assert LOG_ZERO == pytest.approx(-9.21, abs=1e-3)
    torch.testing.assert_close(reverse_cross_entropy(logits, labels), 9.21034 * mae(logits, labels), atol=1e-4, rtol=0)
    every = torch.stack([normalized_cross_entropy(logits, torch.full((50,), k)) for k in range(10)])
    torch.testing.assert_close(every.sum(0), torch.ones(50, dtype=torch.float64))
    torch.testing.assert_close(gce(logits, labels, 1.0), mae(logits, labels))
    torch.testing.assert_close(gce(logits, labels, 1e-6), cross_entropy(logits, labels), atol=1e-3, rtol=0)


@pytest.mark.parametrize("loss", [cross_entropy, reverse_cross_entropy, normalized_cross_entropy, mae, gce])
def test_gradients_of_extreme_logits_are_finite(loss):
    logits = torch.tensor([[100.0, -100.0, 0.0], [-100.0, 100.0, 0.0]], requires_grad=True)
    loss(logits, torch.tensor([1, 1])).sum().backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("method", "dataset", "weights"),
    [("sce", "cifar10", (0.1, 1.0)), ("sce", "cifar100", (6.0, 0.1))],
)
def test_sce_weights_of_the_setting(method, dataset, weights):
    config = make_config("paper", dataset, method, "symmetric", 0.4)
    assert (config.method_config["alpha"], config.method_config["beta"]) == weights


@pytest.mark.parametrize(
    ("dataset", "noise", "weights"),
    [
        ("cifar10", "symmetric", (0.01, 5, 1e5)),
        ("cifar10", "asymmetric", (0.02, 5, 1e3)),
        ("cifar10", "instance", (0.045, 10, 1e5)),
        ("cifar10", "human-worse", (0.01, 5, 1e5)),
        ("cifar100", "symmetric", (0.03, 1, 1e4)),
        ("cifar100", "asymmetric", (0.004, 1, 1e2)),
    ],
)
def test_epsilon_softmax_weights_of_the_setting(dataset, noise, weights):
    config = make_config("paper", dataset, "eps-softmax", noise, 0.4)
    assert tuple(config.method_config[name] for name in ("alpha", "beta", "m")) == weights


def test_apl_options(tiny_config):
    run = Run(tiny_config("apl", options={"passive": "mae", "beta": 2.0}), torch.device("cpu"))
    expected = apl(LOGITS, LABELS, 1.0, 2.0, "mae")
    torch.testing.assert_close(run.method.losses(LOGITS, LABELS), expected)
    with pytest.raises(InputError, match="passive: 'ce' is not one of rce, mae"):
        tiny_config("apl", options={"passive": "ce"})
