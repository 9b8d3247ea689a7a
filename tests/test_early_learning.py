"""ELR and ELR+ by slow NumPy."""

import numpy as np
import pytest
import torch

from baselines.early_learning import clamped, early_learning
from baselines.elr_plus import ramp
from dlt.harness.config import make_config
from dlt.harness.method import Batch
from dlt.harness.run import Run
from dlt.harness.training import train_epoch

CPU = torch.device("cpu")


def softmax(row):
    return np.exp(row) / np.exp(row).sum()


def slowly_clamped(row):
    p = np.clip(softmax(row), 1e-4, 1 - 1e-4)
    return p / p.sum()


def test_golden_values():
    """t = (.5, .1), p = (.8, .2): log(1 - .42)."""
    golden = early_learning(torch.tensor([[0.5, 0.1]]), torch.tensor([[0.8, 0.2]]))
    assert golden.item() == pytest.approx(-0.544727, rel=1e-5)


def test_probabilities_stay_away_from_0_and_1():
    logits = torch.tensor([[100.0, 0.0, -100.0], [1.0, 2.0, 3.0]], dtype=torch.float64)
    np.testing.assert_allclose(clamped(logits), [slowly_clamped(row) for row in logits.numpy()], rtol=1e-12)


def given_logits(run, monkeypatch, count, *outputs):
    """The run at epoch 2 with these logits for every forward in turn, and a batch."""
    answers = iter(outputs)
    monkeypatch.setattr(run, "forward", lambda images, network=0: next(answers))
    run.begin_epoch(2)
    run.method.start_epoch(2)
    return torch.arange(count)


def random(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_elr_slowly(tiny_config, monkeypatch):
    run = Run(tiny_config("elr"), CPU)
    logits = [3 * random(seed, 6, 4) for seed in (0, 1)]
    index = given_logits(run, monkeypatch, 6, *logits)
    labels = run.labels.numpy()
    t = np.zeros((6, 4))
    for z in logits:  # the rows come twice
        expected = []
        for i, row in enumerate(z.numpy().astype(float)):
            t[i] = 0.7 * t[i] + 0.3 * slowly_clamped(row)
            expected.append(-np.log(softmax(row)[labels[i]]) + 3 * np.log(1 - t[i] @ slowly_clamped(row)))
        assert run.method.loss(Batch(index)).item() == pytest.approx(np.mean(expected), rel=1e-5)
    np.testing.assert_allclose(run.method.targets[0, :6], t, rtol=1e-5)
    assert not run.method.targets[0, 6:].any()


@pytest.mark.parametrize("many_classes", [False, True])
def test_elr_plus_slowly(many_classes, tiny_config, monkeypatch):
    run = Run(tiny_config("elr-plus"), CPU)
    monkeypatch.setattr("baselines.elr_plus.MANY_CLASSES", 3 if many_classes else 50)
    taught, mixed = (3 * random(seed, 6, 4) for seed in (2, 3))
    index = given_logits(run, monkeypatch, 6, taught, mixed)
    loss = run.method.loss(Batch(index, network=1)).item()
    run.begin_epoch(2)
    weight = run.numpy_generator("mixup weight").beta(1, 1)
    weight = max(weight, 1 - weight)
    partners = torch.randperm(6, generator=run.generator("mixup partners")).numpy()
    y = np.eye(4)[run.labels[:6].numpy()]
    t = np.stack([0.3 * slowly_clamped(row) for row in taught.numpy()])
    expected = []
    for i, row in enumerate(mixed.numpy().astype(float)):
        y_mixed, t_mixed = (weight * x[i] + (1 - weight) * x[partners[i]] for x in (y, t))
        if many_classes:
            y_mixed = y_mixed * t_mixed / (y_mixed @ t_mixed)
        expected.append(-y_mixed @ np.log(softmax(row)) + 3 * np.log(1 - t_mixed @ slowly_clamped(row)))
    assert loss == pytest.approx(np.mean(expected), rel=1e-5)
    assert not run.method.targets[0].any()
    np.testing.assert_allclose(run.method.targets[1, :6], t, rtol=1e-5)


def test_each_network_is_taught_by_the_others_average(tiny_config, monkeypatch):
    run = Run(tiny_config("elr-plus"), CPU)
    seen = []
    forward = run.forward
    monkeypatch.setattr(run, "forward", lambda images, network=0: seen.append(network) or forward(images, network))
    run.begin_epoch(1)
    run.method.start_epoch(1)
    for network in (0, 1):
        run.method.loss(Batch(torch.arange(8), network))
    assert seen == [run.method.averages[1], 0, run.method.averages[0], 1]
    assert not any(p.requires_grad for average in run.method.averages for p in average.parameters())


def test_weight_averages_follow_every_step(tiny_config):
    """By hand: after step s of network 1 the average is decay(s) of itself and the rest of the weights."""
    run = Run(tiny_config("elr-plus"), CPU)
    expected, steps = run.networks[0].linear.weight.detach().clone(), 0

    def follow(*_):
        nonlocal expected, steps
        steps += 1
        decay = 0.997 * np.exp(-5 * (1 - min(steps / 8 / 1.5, 1)) ** 2)  # 4 steps an epoch and network, 3 epochs
        expected = decay * expected + (1 - decay) * run.networks[0].linear.weight.detach()

    run.optimizers[0].register_step_post_hook(follow)
    train_epoch(run, 1)
    assert steps == 4
    torch.testing.assert_close(run.method.averages[0].linear.weight, expected)


def test_the_ramp():
    np.testing.assert_allclose([ramp(t) for t in (0, 0.5, 1, 2)], [np.exp(-5), np.exp(-1.25), 1, 1])


@pytest.mark.parametrize(
    ("dataset", "noise", "beta", "weight", "rise"),
    [
        ("cifar10", "symmetric", 0.7, 3, 0),
        ("cifar10", "instance", 0.7, 3, 0),
        ("cifar10", "asymmetric", 0.9, 1, 0),
        ("cifar100", "symmetric", 0.9, 7, 0.4),
        ("cifar100", "asymmetric", 0.9, 7, 0.4),
    ],
)
def test_weights_of_the_setting(dataset, noise, beta, weight, rise):
    config = make_config("paper", dataset, "elr-plus", noise, 0.4).method_config
    assert (config["beta"], config["regularizer_weight"], config["regularizer_ramp"]) == (beta, weight, rise)
