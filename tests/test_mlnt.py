"""MLNT by slow NumPy and autograd."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from baselines.mlnt import perturbed
from dlt.harness.config import make_config
from dlt.harness.method import Batch
from dlt.harness.networks import batch_statistics
from dlt.harness.run import Run

CPU = torch.device("cpu")


def test_half_of_the_labels_come_from_near_rows():
    """Two far groups of five: a perturbed label is one of its own group's others."""
    features = torch.cat([torch.randn(5, 3), 100 + torch.randn(5, 3)])
    labels = torch.arange(10)
    seen = np.zeros((10, 10), dtype=int)
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        found = perturbed(labels, features, 0.5, 4, generator)
        assert (found != labels).sum() == 5
        seen[np.arange(10), found] += 1
    group = np.arange(10) // 5
    assert (seen[group[:, None] != group[None, :]] == 0).all()
    others = seen[(group[:, None] == group[None, :]) & ~np.eye(10, dtype=bool)]
    assert others.min() > 10  # each about 300 / 2 / 4 times


def test_more_neighbours_than_rows():
    labels = torch.tensor([3, 4])
    assert perturbed(labels, torch.eye(2), 1.0, 10, torch.Generator()).tolist() == [4, 3]


def test_a_row_alone_keeps_its_label():
    assert perturbed(torch.tensor([3]), torch.ones(1, 2), 1.0, 10, torch.Generator()).tolist() == [3]


def test_before_consistency_counts_the_teacher_is_the_network(tiny_config):
    run = Run(tiny_config("mlnt", options={"start": 0.9, "rise": 0.95}), CPU)
    run.method.pretrained = copy.deepcopy(run.networks[0])
    run.begin_epoch(1)
    run.method.start_epoch(1)
    run.networks[1].train()
    for _ in range(2):
        run.method.loss(Batch(torch.arange(8), 1))
        for ours, theirs in zip(*(network.state_dict().values() for network in run.networks), strict=True):
            if ours.dim() == 4:  # weights; the statistics of the last forward follow at the next step
                torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert any(mean.abs().sum() > 0 for name, mean in run.networks[0].named_buffers() if "running_mean" in name)


def test_a_step_slowly(tiny_config, monkeypatch):
    """The divergence is that of copies of the network that have really taken the steps."""
    run = Run(tiny_config("mlnt", options={"perturbations": 2}), CPU)
    run.method.pretrained = copy.deepcopy(run.networks[0])
    run.begin_epoch(2)
    for network in run.networks:
        network.train()
    run.method.start_epoch(2)
    with torch.no_grad():  # a teacher that is not the network
        for weights in run.networks[1].parameters():
            weights += 0.05 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(1))
    labels, wrong = run.labels[:8], [torch.tensor([0, 1, 2, 3, 0, 1, 2, 3]), torch.tensor([3, 2, 1, 0, 3, 2, 1, 0])]
    given = iter(wrong)
    monkeypatch.setattr("baselines.mlnt.perturbed", lambda *_: next(given))
    images = run.augmented(torch.arange(8))
    monkeypatch.setattr(run, "augmented", lambda index: images)

    network, expected = copy.deepcopy(run.networks[1]), []
    teacher = copy.deepcopy(run.networks[0])
    keep = 0.999 ** (300 * 391 / (3 * run.steps_per_epoch))  # epoch 2 of 3
    with torch.no_grad(), batch_statistics(teacher), batch_statistics(network):
        for kept, new in zip(teacher.parameters(), network.parameters(), strict=True):
            kept.copy_(keep * kept + (1 - keep) * new)
        taught = teacher(images).softmax(1)
    for mislabelled in wrong:
        tried = copy.deepcopy(network)
        with batch_statistics(tried):
            F.cross_entropy(tried(images), mislabelled).backward()
            with torch.no_grad():
                for weights in tried.parameters():
                    weights -= 0.02 * weights.grad
                p = tried(images).softmax(1)
        expected.append((taught * (taught / p).log()).sum().item() / p.numel())
    with batch_statistics(network):
        plain = F.cross_entropy(network(images), labels).item()
    loss = run.method.loss(Batch(torch.arange(8), 1))
    assert loss.item() == pytest.approx(plain + np.mean(expected), rel=1e-5)
    assert np.mean(expected) > 1e-4
    loss.backward()
    assert all(weights.grad is None for weights in run.networks[0].parameters())
    assert all(weights.grad.isfinite().all() for weights in run.networks[1].parameters())


def test_it_needs_cross_entropy_first_and_costs_eighteen_times_as_much():
    config = make_config("digits", "digits", "mlnt", "symmetric", 0.4)
    assert [run.method for run in config.required] == ["ce"]
    assert config.cost == pytest.approx(1 + 59 * 55 / 3)


@pytest.mark.parametrize("options", [{"perturbations": 0}, {"start": 0.5, "rise": 0.2}])
def test_bad_options(tiny_config, options):
    with pytest.raises(ValueError, match=list(options)[-1]):
        tiny_config("mlnt", options=options)
