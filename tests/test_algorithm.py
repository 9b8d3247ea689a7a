"""Algorithm 1 inside the harness: one step of DLT against an indexed, slow version of the same step."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import dlt
from dlt.harness.measures import epoch_measures
from dlt.harness.method import Batch
from dlt.harness.run import Run
from dlt.harness.training import train_epoch
from dlt.semisupervised import mixup_partners

CPU = torch.device("cpu")


@pytest.fixture
def run(tiny_config):
    """A DLT run that has trained its warm-up epoch and stands at the start of epoch 3 (q = 0.6)."""
    run = Run(tiny_config("dlt-window", epochs=4), CPU)
    for epoch in (1, 2):
        train_epoch(run, epoch)
    begin_epoch(run, 3)
    return run


def begin_epoch(run, epoch):
    run.begin_epoch(epoch)
    run.networks[0].train()
    run.method.start_epoch(epoch)


def slow_step(run, index, views, partners, weight, tau):
    """Lines 16-21 of Algorithm 1 with indices instead of masks."""
    network, classes, method = run.networks[0], run.num_classes, run.method
    with torch.no_grad():
        network.eval()
        losses = F.cross_entropy(network(run.plain(index)), run.labels[index], reduction="none")
        network.train()
        statistics = {k: v.clone() for k, v in network.state_dict().items()}
        probabilities = network(views).softmax(1)
        network.load_state_dict(statistics)  # predictions are made with the batch's own statistics
    clean = losses <= tau
    mean = (probabilities[: len(index)] + probabilities[len(index) :]) / 2
    targets = torch.stack(
        [
            F.one_hot(run.labels[index[i]], classes).float() if clean[i] else dlt.sharpen(mean[i], 0.5)
            for i in range(len(index))
        ]
    ).repeat(2, 1)
    images = torch.stack([weight * views[i] + (1 - weight) * views[p] for i, p in enumerate(partners)])
    mixed = torch.stack([weight * targets[i] + (1 - weight) * targets[p] for i, p in enumerate(partners)])
    logits = network(images)
    rows = clean.repeat(2).nonzero().flatten()
    others = (~clean.repeat(2)).nonzero().flatten()
    loss = dlt.prior_regularizer(logits.softmax(1))
    if len(rows):
        loss = loss - (mixed[rows] * logits[rows].log_softmax(1)).sum(1).mean()
    if len(others):
        loss = loss + method._ramped_lambda_n() * F.mse_loss(logits[others].softmax(1), mixed[others])
    return loss, clean


@pytest.mark.parametrize("kept", ["some", "all", "none"])
def test_a_step_equals_the_indexed_algorithm(run, monkeypatch, kept):
    index = torch.arange(40, 104)
    taus = {"some": run.method.threshold.threshold(0.6), "all": torch.tensor(torch.inf), "none": torch.tensor(-1.0)}
    monkeypatch.setattr(run.method.threshold, "threshold", lambda q: taus[kept])
    drawn = {}
    partners_of = lambda *arguments: drawn.setdefault("partners", mixup_partners(*arguments))  # noqa: E731
    monkeypatch.setattr("dlt.algorithm.mixup_partners", partners_of)
    make_views = run.augmented
    monkeypatch.setattr(run, "augmented", lambda i: drawn.setdefault(len(drawn), make_views(i)))

    before = {name: value.clone() for name, value in run.networks[0].state_dict().items()}
    run.networks[0].zero_grad()
    loss = run.method.loss(Batch(index))
    loss.backward()
    gradients = [p.grad.clone() for p in run.networks[0].parameters()]

    run.networks[0].load_state_dict(before)
    run.networks[0].zero_grad()
    run.method.steps = 0
    run._numpy_generators = {}
    beta = run.numpy_generator("mixup weight").beta(4, 4)
    views = torch.cat([drawn[0], drawn[1]])
    expected, clean = slow_step(run, index, views, drawn["partners"], max(beta, 1 - beta), taus[kept])
    expected.backward()

    assert {"some": 0 < clean.sum() < 64, "all": clean.all(), "none": not clean.any()}[kept]
    assert run.observed.kept[index].equal(clean)
    assert torch.isfinite(loss)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    for got, parameter in zip(gradients, run.networks[0].parameters(), strict=True):
        torch.testing.assert_close(got, parameter.grad, atol=1e-5, rtol=1e-3)


def test_views_differ_and_mixup_weight_is_at_least_half(run):
    index = torch.arange(64)
    assert not run.augmented(index).equal(run.augmented(index))
    weights = [run.numpy_generator("mixup weight").beta(4, 4) for _ in range(100)]
    assert 0.5 <= max(weights[0], 1 - weights[0]) <= 1
    assert np.std(weights) > 0.1


@pytest.mark.parametrize(("choice", "forwards"), [("unmixed", 1), ("mixed", 1), ("all", 2)])
def test_which_forwards_move_the_running_statistics(tiny_config, choice, forwards):
    run = Run(tiny_config("dlt-window", options={"running_statistics": choice}), CPU)
    train_epoch(run, 1)
    begin_epoch(run, 2)
    before = run.networks[0].bn.num_batches_tracked.clone()
    views = torch.cat([run.augmented(torch.arange(32))] * 2)
    pseudo = run.method._pseudo_labels(views)
    assert pseudo.shape == (32, 4)
    torch.testing.assert_close(pseudo.sum(1), torch.ones(32))
    assert run.networks[0].bn.num_batches_tracked - before == (choice != "mixed")
    before = run.networks[0].bn.num_batches_tracked.clone()
    run.method.loss(Batch(torch.arange(32)))
    assert run.networks[0].bn.num_batches_tracked - before == forwards


def test_the_window_holds_the_batches_before_the_current_one(run):
    seen = []
    record = run.method.threshold.record
    run.method.threshold.record = lambda losses: (seen.append(losses), record(losses))
    window = run.method.threshold
    tau = window.threshold(run.method.q)
    run.method.loss(Batch(torch.arange(64)))
    assert run.method.taus[-1] == tau  # not moved by the batch that is judged
    run.method.loss(Batch(torch.arange(64, 128)))
    run.method.loss(Batch(torch.arange(128, 192)))
    expected = np.quantile(torch.cat(seen[:2]).numpy(), run.method.q)
    assert run.method.taus[-1].item() == pytest.approx(expected, rel=1e-6)


def test_the_last_warm_up_epoch_fills_the_first_reference(tiny_config):
    run = Run(tiny_config("dlt-last-epoch", options={"warmup_epochs": 2}), CPU)
    begin_epoch(run, 1)
    train_epoch(run, 1)
    assert run.method.threshold.threshold(0.5) == np.inf
    train_epoch(run, 2)
    begin_epoch(run, 3)
    assert torch.isfinite(run.method.threshold.threshold(0.5))


def test_noisy_weight_grows_over_the_ramp(tiny_config):
    run = Run(tiny_config("dlt-window", epochs=6, options={"ramp_epochs": 2}), CPU)
    steps = run.steps_per_epoch
    assert steps == 4  # 250 images in batches of 64: the last has 58
    weights = []
    for epoch in (2, 3, 4):
        begin_epoch(run, epoch)
        for step in range(steps):
            run.method.steps = step
            weights.append(run.method._ramped_lambda_n())
    np.testing.assert_allclose(weights, 25 * np.minimum(np.arange(12) / 8, 1))


@pytest.mark.parametrize(
    "options",
    [
        {"detection": "augmented"},
        {"partners": "union"},
        {"running_statistics": "mixed"},
        {"views": 3},
        {"ramp_epochs": 0},
        {"decay_epochs": 0},
    ],
)
def test_every_choice_trains(tiny_config, options):
    run = Run(tiny_config("dlt-window", options=options), CPU)
    for epoch in (1, 2, 3):
        row = train_epoch(run, epoch) | epoch_measures(run.observed, run.noisy_labels)
    assert np.isfinite(row["train_loss"])
    assert 0 < row["clean_kept"] < 250


@pytest.mark.parametrize("rate", [0.0, 0.95])
def test_extreme_rates_stay_finite(tiny_config, rate):
    run = Run(tiny_config("dlt-window", assumed_rate=rate), CPU)
    for epoch in (1, 2, 3):
        row = train_epoch(run, epoch) | epoch_measures(run.observed, run.noisy_labels)
    assert np.isfinite(row["train_loss"])
    kept = row["clean_kept"] + row["noisy_kept"]
    assert kept > 225 if rate == 0 else kept < 75


def test_the_training_loss_of_the_batch_can_judge(tiny_config):
    """Lines 4 and 6 as one l: augmented, with the batch's own statistics; in warm-up the very loss minimised."""
    run = Run(tiny_config("dlt-window", epochs=4, options={"detection": "training"}), CPU)
    train_epoch(run, 1)
    recorded = run.observed.losses.clone()
    begin_epoch(run, 2)
    window = run.method.threshold._buffer[: len(run.observed.losses.split(run.setting.batch_size))].flatten()
    window = window[window.isfinite()].sort().values
    assert np.isin(window.numpy(), recorded.numpy()).all()  # no forward of its own

    index = torch.arange(64)
    images = run.augmented(index)
    losses = run.method._detection_losses(images, run.labels[index])
    network = run.networks[0].train()
    expected = F.cross_entropy(network(images), run.labels[index], reduction="none")
    assert torch.allclose(losses, expected, atol=1e-6)
    network.eval()
    assert not torch.allclose(losses, F.cross_entropy(network(images), run.labels[index], reduction="none"), atol=1e-3)
    assert run.config.cost == 1 + 3 * 3
    assert np.isfinite(train_epoch(run, 2)["train_loss"])


def counting(graphs):
    """A compiler that only counts the graphs and runs them as they are."""
    return lambda graph, inputs: graphs.append(graph) or graph.forward


def test_judging_and_a_step_compile_to_one_graph_each(tiny_config):
    """Whatever the split: `compiled` asks for fullgraph and fixed shapes. The eager backend needs no compiler."""
    run = Run(tiny_config("dlt-window"), CPU)
    train_epoch(run, 1)
    begin_epoch(run, 2)
    graphs = []
    judge, step = (
        torch.compile(part, fullgraph=True, dynamic=False, backend=counting(graphs))
        for part in (run.method._detection_losses, run.method._step)
    )
    index = torch.arange(40)
    losses = run.method._detection_losses(run.plain(index), run.labels[index])
    torch.testing.assert_close(judge(run.plain(index), run.labels[index]), losses)
    views = torch.cat([run.augmented(index) for _ in range(2)])
    keys = torch.rand(2, 80, generator=torch.Generator().manual_seed(0))
    for tau, weight in ((1.4, 0.0), (-1.0, 5.0), (torch.inf, 25.0)):
        before = {name: value.clone() for name, value in run.networks[0].state_dict().items()}
        arguments = (losses, views, run.labels[index], torch.tensor(tau), keys, *run.scalars(0.7, weight))
        expected = run.method._step(*arguments)
        run.networks[0].load_state_dict(before)
        for got, value in zip(step(*arguments), expected, strict=True):
            torch.testing.assert_close(got, value)
    assert len(graphs) == 2
    assert run.networks[0].training
