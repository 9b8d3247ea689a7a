"""SOP and SOP+ by slow NumPy."""

import numpy as np
import pytest
import torch

from baselines.sop import consistency, noise_parts, sop_losses
from dlt.harness.config import make_config
from dlt.harness.method import Batch
from dlt.harness.run import Run
from dlt.harness.training import train_epoch

CPU = torch.device("cpu")


def softmax(row):
    return np.exp(row) / np.exp(row).sum()


def drawn(seed=0, rows=20, classes=5):
    rng = np.random.default_rng(seed)
    u, v = rng.uniform(-1.3, 1.3, (rows, 1)), rng.uniform(-1.3, 1.3, (rows, classes))
    return 4 * rng.normal(size=(rows, classes)), rng.integers(classes, size=rows), u, v


def slowly(logits, labels, u, v):
    """Losses and q, class by class."""
    losses, qs = [], []
    for z, label, own_u, own_v in zip(logits, labels, u, v, strict=True):
        p, classes = softmax(z), range(len(z))
        y = [float(k == label) for k in classes]
        added = [min(own_u[0] ** 2 * y[k], 1) for k in classes]
        taken = [min(own_v[k] ** 2 * (1 - y[k]), 1) for k in classes]
        q = [max(p[k] + added[k] - taken[k], 1e-4) for k in classes]
        q = [value / sum(q) for value in q]
        predicted = [float(k == np.argmax(z)) for k in classes]
        error = sum((predicted[k] + added[k] - taken[k] - y[k]) ** 2 for k in classes)
        losses.append(-np.log(q[label]) + error)
        qs.append(q)
    return losses, qs


def test_losses_slowly():
    drawings = drawn()
    logits, labels, u, v = map(torch.from_numpy, drawings)
    one_hot = torch.eye(5, dtype=torch.float64)[labels]
    got = sop_losses(logits, one_hot, *noise_parts(u, v, one_hot))
    for ours, theirs in zip(got, slowly(*drawings), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_u_learns_from_the_cross_entropy_alone():
    logits, labels, u, v = map(torch.from_numpy, drawn(rows=8))
    one_hot = torch.eye(5, dtype=torch.float64)[labels]
    gradients = []
    for error in (True, False):
        u = (0.5 * u.detach()).requires_grad_() if error else u
        losses, q = sop_losses(logits, one_hot, *noise_parts(u, 0.5 * v, one_hot))
        (losses.sum() if error else -(one_hot * q.log()).sum()).backward()
        gradients.append(u.grad)
        u.grad = None
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().min() > 0


def test_v_learns_from_the_squared_error_alone():
    logits, labels, u, v = map(torch.from_numpy, drawn(rows=8))
    one_hot = torch.eye(5, dtype=torch.float64)[labels]
    v = (0.5 * v).requires_grad_()
    added, taken = noise_parts(u, v, one_hot)
    sop_losses(logits, one_hot, added, taken)[0].sum().backward()
    predicted = torch.eye(5, dtype=torch.float64)[logits.argmax(1)]
    by_hand = -2 * (predicted + added - taken - one_hot) * (1 - one_hot) * 2 * v
    torch.testing.assert_close(v.grad, by_hand.detach())


def test_consistency_slowly():
    first, second = (np.random.default_rng(seed).normal(0, 3, (6, 4)) for seed in (1, 2))
    expected = np.mean([softmax(a) @ np.log(softmax(a) / softmax(b)) for a, b in zip(first, second, strict=True)])
    first, second = (torch.from_numpy(z).requires_grad_() for z in (first, second))
    loss = consistency(first, second)
    loss.backward()
    assert loss.item() == pytest.approx(expected)
    assert first.grad is None


def test_sop_plus_is_the_sum(tiny_config, monkeypatch):
    run = Run(tiny_config("sop-plus"), CPU)
    logits = 3 * torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(run, "forward", lambda images, network=0: logits)
    u, v = torch.full((250, 1), 0.4), torch.full((250, 4), 0.2)
    run.method.load_state({"u": u, "v": v})
    run.begin_epoch(1)
    got = run.method.loss(Batch(torch.arange(6))).item()
    first, second = logits.double().numpy().reshape(2, 6, 4)
    losses, q = slowly(first, run.labels[:6].numpy(), u[:6].numpy(), v[:6].numpy())
    kl = np.mean([softmax(a) @ np.log(softmax(a) / softmax(b)) for a, b in zip(first, second, strict=True)])
    balance = sum(0.25 * np.log(0.25 / share) for share in np.mean(q, axis=0))
    assert got == pytest.approx(np.mean(losses) + 0.9 * kl + 0.1 * balance, rel=1e-5)


def test_u_and_v_take_plain_gradient_steps_at_rates_of_their_own(tiny_config):
    run = Run(tiny_config("sop", options={"u_learning_rate": 7.0, "v_learning_rate": 3.0}), CPU)
    method = run.method
    method.load_state({"u": torch.full((250, 1), 0.1), "v": torch.full((250, 4), 0.1)})
    steps = []

    def by_hand(*_):
        steps.append([(x.detach() - rate * x.grad).clone() for x, rate in ((method.u, 7.0), (method.v, 3.0))])

    def compare(*_):
        for expected, x in zip(steps[-1], (method.u, method.v), strict=True):
            torch.testing.assert_close(x.detach(), expected)

    run.optimizers[0].register_step_pre_hook(by_hand)
    run.optimizers[0].register_step_post_hook(compare)
    for epoch in (1, 3):  # the network's rate is lower in epoch 3
        train_epoch(run, epoch)
    assert len(steps) == 8
    assert [group["lr"] for group in run.optimizers[0].param_groups] == pytest.approx([0.002, 7, 3])


def test_they_begin_near_0_and_find_wrong_labels(tiny_config):
    run = Run(tiny_config("sop", epochs=30, drop_after=25), CPU)
    assert 0.9e-8 < run.method.v.std() < 1.1e-8
    for epoch in range(1, 31):
        train_epoch(run, epoch)
    wrong = torch.from_numpy(run.noisy_labels.labels != run.noisy_labels.true_labels)
    u = run.method.u.detach().square().squeeze(1)
    assert u[wrong].mean() > 5 * u[~wrong].mean()


@pytest.mark.parametrize(
    ("dataset", "noise", "rates"),
    [
        ("cifar10", "symmetric", (10, 10)),
        ("cifar10", "asymmetric", (10, 100)),
        ("cifar100", "symmetric", (1, 10)),
        ("cifar100", "asymmetric", (1, 100)),
    ],
)
def test_rates_of_the_setting(dataset, noise, rates):
    config = make_config("paper", dataset, "sop", noise, 0.4).method_config
    assert (config["u_learning_rate"], config["v_learning_rate"]) == rates
