"""SSR part by part, by slow NumPy."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from baselines.ssr import balanced_votes, selected
from dlt.anchors import nearest_neighbours
from dlt.harness.config import make_config
from dlt.harness.method import Batch
from dlt.harness.networks import without_head
from dlt.harness.run import Run
from dlt.harness.training import train_epoch

CPU = torch.device("cpu")


def drawn(rows=40, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 5)), rng.integers(classes, size=rows)


def test_selected_slowly():
    votes, labels = drawn(classes=5)
    votes[3] = 1.0  # all alike
    kept = [votes[i, labels[i]] == max(votes[i]) for i in range(40)]
    assert selected(torch.from_numpy(votes), torch.from_numpy(labels)).tolist() == kept
    assert 0 < sum(kept) < 40


def test_votes_of_a_rare_class_weigh_more():
    """By hand: of 40 rows 4 have label 2; nobody has label 3."""
    rng = np.random.default_rng(0)
    labels = np.array([0] * 20 + [1] * 16 + [2] * 4)
    nearest = np.stack([rng.permutation(40)[:7] for _ in range(40)])
    expected = [[sum(labels[row] == c) / max(sum(labels == c), 1) for c in range(4)] for row in nearest]
    got = balanced_votes(torch.from_numpy(nearest), torch.from_numpy(labels), 4)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_an_epoch_begins_with_relabelling_and_selection(tiny_config):
    run = Run(tiny_config("ssr", epochs=12, drop_after=12, options={"relabel_threshold": 0.6}), CPU)
    for epoch in range(1, 9):
        train_epoch(run, epoch)
    run.begin_epoch(9)
    run.method.start_epoch(9)
    network = run.networks[0].eval()
    with torch.no_grad():
        p = network(run.plain(run.rows)).softmax(1).numpy()
        with without_head(network):
            features = network(run.plain(run.rows))
    given = run.labels.numpy()
    labels = torch.tensor([row.argmax() if row.max() > 0.6 else y for row, y in zip(p, given, strict=True)])
    assert run.method.labels.equal(labels)
    assert 0 < (labels.numpy() != given).sum() < 250
    votes = balanced_votes(nearest_neighbours(features, 25)[1], labels, 4)  # 25 = 0.4 * 250 / 4
    kept = selected(votes, labels)
    assert run.method.kept.equal(kept)
    assert run.observed.kept.equal(kept)
    assert run.observed.pseudo_labels.equal(labels)
    np.testing.assert_allclose(run.observed.losses, -np.log(p[range(250), given]), rtol=1e-3, atol=1e-5)


def test_batches_draw_kept_rows_with_classes_in_balance(tiny_config):
    run = Run(tiny_config("ssr"), CPU)
    run.begin_epoch(1)
    run.method.labels = torch.arange(250) % 20 // 17  # 212 and 38
    run.method.kept = torch.arange(250) % 3 > 0
    rows = torch.cat([batch.index for batch in run.method.batches(1)])
    assert len(rows) == 250
    assert run.method.kept[rows].all()
    assert 90 < (run.method.labels[rows] == 1).sum() < 160
    run.method.kept = torch.zeros(250, dtype=torch.bool)
    assert len(torch.cat([batch.index for batch in run.method.batches(1)])) == 250


def test_loss_slowly(tiny_config, monkeypatch):
    run = Run(tiny_config("ssr"), CPU)
    logits = 2 * torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(run, "forward", lambda images, network=0: logits)
    run.begin_epoch(1)
    run.method.labels = torch.arange(250) % 4
    got = run.method.loss(Batch(torch.arange(6))).item()
    run.begin_epoch(1)
    weight = run.numpy_generator("mixup weight").beta(4, 4)
    weight = max(weight, 1 - weight)
    partners = torch.randperm(12, generator=run.generator("mixup partners")).numpy()
    y = np.eye(4)[[0, 1, 2, 3, 0, 1] * 2]
    log_p = F.log_softmax(logits, 1).numpy()
    expected = [-(weight * y[i] + (1 - weight) * y[partners[i]]) @ log_p[i] for i in range(12)]
    assert got == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize(("rate", "threshold"), [(0.2, 0.9), (0.8, 0.8)])
def test_threshold_of_the_setting(rate, threshold):
    config = make_config("paper", "cifar10", "ssr", "symmetric", rate)
    assert config.method_config["relabel_threshold"] == threshold
