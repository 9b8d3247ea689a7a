"""PES part by part: the new head, the split, the batches and the loss."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from baselines.dividemix import CoDivideBatch
from baselines.mixmatch import class_weights
from dlt.harness.config import make_config
from dlt.harness.networks import evaluating, without_head
from dlt.harness.run import Run
from dlt.harness.training import train_epoch

CPU = torch.device("cpu")


@pytest.fixture
def run(tiny_config):
    """A run after its warm-up epoch, at the start of epoch 2 of 6."""
    run = Run(tiny_config("pes", epochs=6), CPU)
    train_epoch(run, 1)
    run.begin_epoch(2)
    run.networks[0].train()
    return run


def test_golden_class_weights():
    """The mean of the counts that are not 0 is 40."""
    np.testing.assert_allclose(class_weights(torch.tensor([100.0, 50.0, 8.0, 2.0, 0.0])), [0.4, 0.8, 3, 3, 0])


def test_the_head_alone_is_renewed(run):
    before, linear = deepcopy(run.networks[0].state_dict()), run.networks[0].linear
    run.method._renew_head()
    assert run.networks[0].linear is linear
    for name, weights in run.networks[0].named_parameters():
        assert weights.requires_grad
        assert name.startswith("linear") != weights.equal(before[name])
    with evaluating(run.networks[0]):
        accuracy = (run.forward(run.plain(run.rows)).argmax(1) == run.labels).float().mean()
    assert accuracy > 0.45  # of noisy labels; 0.25 by chance


def test_the_split_is_that_of_two_views(run):
    run.method._split()
    run.begin_epoch(2)  # the same views again
    with torch.no_grad(), evaluating(run.networks[0]):
        first, second = (run.forward(run.augmented(run.rows)).softmax(1).numpy() for _ in range(2))
    mean, labels = (first + second) / 2, run.labels.numpy()
    expected = mean.argmax(1) == labels
    assert run.method.labelled.tolist() == expected.tolist()
    counts = np.array([sum(labels[expected] == k) for k in range(4)])
    np.testing.assert_allclose(run.method.weights, class_weights(torch.tensor(counts)), rtol=1e-5)


def test_what_the_split_records(run):
    run.method.start_epoch(2)
    assert run.observed.kept.equal(run.method.labelled)
    assert (run.observed.pseudo_labels == run.labels).equal(run.method.labelled)
    assert run.observed.losses.isfinite().all()


@pytest.mark.parametrize(("labelled", "sizes"), [(100, (32, 32)), (200, (52, 12)), (250, (64, 0)), (0, (0, 64))])
def test_batches_take_both_sets_in_turn(run, labelled, sizes):
    run.method.labelled = torch.arange(250) < labelled
    batches = list(run.method.batches(2))
    assert [(len(batch.index), len(batch.unlabelled)) for batch in batches] == [sizes] * 4
    for name, rows in (("index", range(labelled)), ("unlabelled", range(labelled, 250))):
        drawn = torch.cat([getattr(batch, name) for batch in batches]).tolist()
        assert set(drawn) <= set(rows)
        assert len(set(drawn[: len(rows)])) == min(len(rows), len(drawn))  # each once before any comes again
    assert [batch.progress for batch in batches] == [0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize(("epoch", "alpha"), [(3, 4.0), (4, 0.75)])
def test_loss_slowly(run, epoch, alpha, monkeypatch):
    guesses, logits = (2 * torch.randn(n, 4, generator=torch.Generator().manual_seed(n)) for n in (8, 20))
    answers = iter([guesses, logits])
    monkeypatch.setattr(run, "forward", lambda images, network=0: next(answers))
    run.begin_epoch(epoch)
    run.method.weights = torch.tensor([1.0, 2.0, 0.5, 3.0])
    got = run.method.loss(CoDivideBatch(torch.arange(6), 0, torch.arange(6, 10), progress=0.5)).item()
    run.begin_epoch(epoch)
    weight = run.numpy_generator("mixup weight").beta(alpha, alpha)
    weight = max(weight, 1 - weight)
    partners = torch.randperm(20, generator=run.generator("mixup partners")).numpy()
    mean = F.softmax(guesses, 1).numpy().reshape(2, 4, 4).mean(0)
    guessed = mean**2 / (mean**2).sum(1, keepdims=True)
    y = np.eye(4)[run.labels[:6].numpy()]
    targets = np.concatenate([y, y, guessed, guessed])
    mixed = np.stack([weight * targets[i] + (1 - weight) * targets[partners[i]] for i in range(20)])
    p, w = F.softmax(logits, 1).numpy(), [1, 2, 0.5, 3]
    labelled = np.mean([-sum(w[k] * mixed[i, k] * np.log(p[i, k]) for k in range(4)) for i in range(12)])
    unlabelled = np.mean([(p[i] - mixed[i]) ** 2 for i in range(12, 20)])
    ramp = min((epoch - 1 - 1 + 0.5) / 1, 1)  # warm-up 1, ramp over 1 epoch
    assert got == pytest.approx(labelled + 5 * ramp * unlabelled, rel=1e-5)


@pytest.mark.parametrize("labelled", [0, 250])
def test_one_set_may_be_empty(run, labelled):
    run.method.labelled = torch.arange(250) < labelled
    run.method.weights = torch.ones(4)
    for batch in run.method.batches(2):
        assert run.method.loss(batch).isfinite()


def test_features_are_what_the_head_is_given(run):
    network, images = run.networks[0].eval(), run.plain(torch.arange(5))
    with without_head(network) as head:
        features = network(images)
    assert network.linear is head
    torch.testing.assert_close(head(features), network(images))


@pytest.mark.parametrize(("dataset", "weight"), [("cifar10", 5), ("cifar100", 75)])
def test_weights_of_the_setting(dataset, weight):
    config = make_config("paper", dataset, "pes", "symmetric", 0.4).method_config
    assert (config["warmup_epochs"], config["ramp_epochs"], config["unlabelled_weight"]) == (20, 16, weight)
