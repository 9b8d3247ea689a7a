"""CORES2 and Co-teaching by slow NumPy."""

import numpy as np
import pytest
import torch

from dlt.harness.errors import InputError
from dlt.harness.method import Batch
from dlt.harness.networks import evaluating
from dlt.harness.run import Run
from dlt.harness.training import train_epoch

CPU = torch.device("cpu")


def softmax(row):
    return np.exp(row) / np.exp(row).sum()


@pytest.mark.parametrize(
    ("epoch", "beta", "sieving"), [(1, 0, False), (2, 2 / 3, False), (3, 4 / 3, False), (4, 2, True), (9, 2, True)]
)
def test_cores2_slowly(epoch, beta, sieving, tiny_config, monkeypatch):
    run = Run(tiny_config("cores2", epochs=10), CPU)
    logits = 2 * torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(run, "forward", lambda images, network=0: logits)
    run.begin_epoch(epoch)
    run.method.start_epoch(epoch)
    got = run.method.loss(Batch(torch.arange(20))).item()
    labels = run.labels.numpy()
    prior = [np.mean(labels == k) for k in range(4)]
    kept, losses = [], []
    for row, label in zip(logits.double().numpy(), labels, strict=False):
        ce = -np.log(softmax(row) + 1e-8)
        kept.append(not sieving or ce[label] <= ce.mean())
        losses.append(ce[label] - beta * sum(prior[k] * ce[k] for k in range(4)))
    assert got == pytest.approx(np.mean(np.array(losses)[kept]), rel=1e-5)
    assert run.observed.decided == sieving
    assert run.observed.kept[:20].tolist() == kept
    assert run.method.counts.tolist() == [sum(labels[:20][kept] == k) for k in range(4)]
    assert not sieving or 0 < sum(kept) < 20


def test_cores2_learns_more_slowly_as_beta_rises(tiny_config):
    run, rates = Run(tiny_config("cores2", epochs=10, drop_after=6), CPU), []
    for epoch in (1, 3, 7):
        train_epoch(run, epoch)
        rates.append(run.optimizers[0].param_groups[0]["lr"])
    np.testing.assert_allclose(rates, [0.02, 0.02 / (1 + 4 / 3), 0.002 / 3])


def test_cores2_counts_the_labels_that_it_kept(tiny_config):
    run = Run(tiny_config("cores2", epochs=6), CPU)
    for epoch in (1, 2, 3):
        train_epoch(run, epoch)
    kept = np.bincount(run.labels[run.observed.kept].numpy(), minlength=4)
    run.method.start_epoch(4)
    np.testing.assert_allclose(run.method.prior, kept / kept.sum(), rtol=1e-6)


def test_cores2_survives_a_batch_with_nothing_kept(tiny_config, monkeypatch):
    run = Run(tiny_config("cores2"), CPU)
    labels = run.labels[:5]
    logits = (-9 * torch.eye(4)[labels]).requires_grad_()
    monkeypatch.setattr(run, "forward", lambda images, network=0: logits)
    run.begin_epoch(3)
    run.method.start_epoch(3)
    assert run.method.loss(Batch(torch.arange(5))).item() == 0


def test_cores2_ramp_must_rise(tiny_config):
    with pytest.raises(InputError, match=r"ramp_start: 0\.4 is not below ramp_end, 0\.4"):
        tiny_config("cores2", options={"ramp_start": 0.4})


@pytest.mark.parametrize("network", [0, 1])
def test_co_teaching_slowly(network, tiny_config, monkeypatch):
    """A network's loss is that of the 60% whose losses are lowest under the other one."""
    run = Run(tiny_config("co-teaching", options={"decay_epochs": 2}), CPU)
    logits = [2 * torch.randn(20, 4, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    monkeypatch.setattr(run, "forward", lambda images, network=0: logits[network])
    run.begin_epoch(2)
    run.method.start_epoch(2)
    got = run.method.loss(Batch(torch.arange(20), network)).item()
    labels = run.labels.numpy()
    losses = [
        [-np.log(softmax(row)[label]) for row, label in zip(z.double().numpy(), labels, strict=False)] for z in logits
    ]
    easy = sorted(range(20), key=lambda i: losses[1 - network][i])[:12]
    assert got == pytest.approx(np.mean([losses[network][i] for i in easy]), rel=1e-5)
    assert run.observed.decided == (network == 0)
    if network == 0:
        assert run.observed.kept[:20].tolist() == [i in easy for i in range(20)]


def test_co_teaching_keeps_fewer_over_the_first_epochs(tiny_config):
    run = Run(tiny_config("co-teaching", epochs=6, options={"decay_epochs": 4}), CPU)
    shares = []
    for epoch in range(1, 7):
        run.method.start_epoch(epoch)
        shares.append(run.method.q)
    np.testing.assert_allclose(shares, [0.9, 0.8, 0.7, 0.6, 0.6, 0.6])


def test_co_teaching_gives_every_batch_to_both(tiny_config):
    run = Run(tiny_config("co-teaching"), CPU)
    run.begin_epoch(1)
    batches = list(run.method.batches(1))
    assert [batch.network for batch in batches] == [0, 1] * 4
    assert all(a.index.equal(b.index) for a, b in zip(batches[::2], batches[1::2], strict=True))


def test_the_teacher_is_left_as_it_is(tiny_config):
    run = Run(tiny_config("co-teaching"), CPU)
    run.begin_epoch(1)
    run.method.start_epoch(1)
    with evaluating(run.networks[1]):
        before = run.forward(run.plain(torch.arange(9)), 1)
    run.method.loss(Batch(torch.arange(9, 40))).backward()
    with evaluating(run.networks[1]):
        torch.testing.assert_close(run.forward(run.plain(torch.arange(9)), 1), before, rtol=0, atol=0)
    assert all(p.grad is None for p in run.networks[1].parameters())
