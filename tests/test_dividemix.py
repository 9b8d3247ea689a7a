"""DivideMix part by part: the split, the batches, the targets and the loss of each branch."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import dlt
from baselines.dividemix import CoDivideBatch, clean_probability
from dlt.harness import training
from dlt.harness.config import make_config
from dlt.harness.run import Run
from dlt.harness.training import train_epoch

CPU = torch.device("cpu")


def begin_epoch(run, epoch):
    run.begin_epoch(epoch)
    for network in run.networks:
        network.train()


@pytest.fixture
def make_run(tiny_config):
    """A run after its warm-up epoch, with a hand-made split: the first 150 rows are labelled, w = 0.8."""

    def make(method="dividemix", noise="symmetric", rate=0.4, **more):
        run = Run(tiny_config(method, noise, rate, epochs=6, **more), CPU)
        train_epoch(run, 1)
        begin_epoch(run, 2)
        clean = torch.arange(250) < 150
        run.method.splits = [(clean, torch.full((250,), 0.8))] * 2
        return run

    return make


def test_the_mixture_finds_planted_clean_samples():
    rng = np.random.default_rng(0)
    losses = np.concatenate([rng.normal(0.1, 0.05, 600), rng.normal(0.7, 0.1, 400)])
    probability = clean_probability(losses, seed=1)
    assert (probability[:600] > 0.5).mean() > 0.98
    assert (probability[600:] < 0.5).mean() > 0.98
    assert (clean_probability(losses, seed=1) == probability).all()


def test_each_network_is_taught_by_the_others_losses(make_run, monkeypatch):
    run = make_run()
    losses = [torch.cat([torch.full((125,), low), torch.full((125,), 1 - low)]) for low in (0.1, 0.9)]
    losses = [loss + 0.01 * torch.arange(250) / 250 for loss in losses]
    monkeypatch.setattr(run, "evaluation_losses", lambda network=0: losses[network])
    run.method.start_epoch(2)
    (first, _), (second, _) = run.method.splits
    assert not first[:125].any()  # by network 2's losses the second half is clean
    assert first[125:].all()
    assert second[:125].all()
    assert not second[125:].any()


@pytest.mark.parametrize(("rate", "kept"), [(0.9, 5), (0.4, 1)])
def test_losses_of_five_epochs_are_averaged_at_90_percent_only(make_run, monkeypatch, rate, kept):
    run = make_run(rate=rate)
    given = []
    monkeypatch.setattr(
        "baselines.dividemix.clean_probability", lambda losses, seed: given.append(losses) or np.linspace(0, 1, 250)
    )
    raw = [torch.rand(250, generator=torch.Generator().manual_seed(i)) for i in range(7)]
    for losses in raw:
        run.method.split(losses, 0)
    scaled = [((x - x.min()) / (x.max() - x.min())).numpy() for x in raw]
    np.testing.assert_allclose(given[-1], np.mean(scaled[-kept:], axis=0), rtol=1e-6)


def test_equal_losses_leave_everything_labelled(make_run):
    run = make_run()
    clean, probability = run.method.split(torch.ones(250), 0)
    assert clean.all()
    assert probability.isfinite().all()


def test_batches_cover_the_labelled_rows_once_and_cycle_the_others(make_run):
    run = make_run()
    batches = list(run.method.batches(2))
    first = [batch for batch in batches if batch.network == 0]
    assert len(batches) == 2 * len(first) == 2 * 5  # 150 rows in halves of 64
    assert [len(batch.index) for batch in first] == [32, 32, 32, 32, 22]  # the last may be short
    assert torch.cat([batch.index for batch in first]).sort().values.equal(torch.arange(150))
    others = torch.cat([batch.unlabelled for batch in first])
    assert [len(batch.unlabelled) for batch in first] == [32] * 5
    assert others[:100].sort().values.equal(torch.arange(150, 250))  # each once before any comes again
    assert [batch.progress for batch in first] == [0, 0.2, 0.4, 0.6, 0.8]


def test_warm_up_trains_each_network_on_everything(make_run):
    run = make_run()
    begin_epoch(run, 1)
    batches = list(run.method.batches(1))
    assert [batch.network for batch in batches] == [0] * 4 + [1] * 4
    assert not torch.cat([b.index for b in batches[:4]]).equal(torch.cat([b.index for b in batches[4:]]))


@pytest.mark.parametrize(("noise", "penalised"), [("symmetric", False), ("asymmetric", True)])
def test_warm_up_loss(noise, penalised, tiny, monkeypatch):
    config = make_config("digits", "digits", "dividemix", noise, 0.4, options={"warmup_epochs": 2})
    run = Run(config, CPU)
    begin_epoch(run, 1)
    logits = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(run, "forward", lambda images, network=0: logits)
    monkeypatch.setattr(run, "record", lambda *a: None)
    batch = CoDivideBatch(torch.arange(64))
    p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    expected = -np.log(p[np.arange(64), run.labels[:64].numpy()]).mean()
    if penalised:
        expected += (p * np.log(p)).sum(1).mean()
    assert run.method.loss(batch).item() == pytest.approx(expected, rel=1e-5)


def slow_targets(run, batch, views):
    """Co-refinement and co-guessing image by image."""
    own, other = run.networks[batch.network], run.networks[1 - batch.network]
    p = [own(view).softmax(1) for view in views]
    other.eval()
    o = [other(view).softmax(1) for view in views[2:]]
    other.train()
    refined = []
    for i, row in enumerate(batch.index):
        label = F.one_hot(run.labels[row], run.num_classes)
        refined.append(dlt.sharpen(0.8 * label + 0.2 * (p[0][i] + p[1][i]) / 2, 0.5))
    guessed = [dlt.sharpen((p[2][i] + p[3][i] + o[0][i] + o[1][i]) / 4, 0.5) for i in range(len(batch.unlabelled))]
    return torch.stack([*refined, *refined, *guessed, *guessed])


@pytest.mark.parametrize("network", [0, 1])
def test_targets(make_run, network):
    run = make_run()
    batch = CoDivideBatch(torch.arange(10), network, torch.arange(200, 208))
    views = [run.augmented(rows) for rows in (batch.index, batch.index, batch.unlabelled, batch.unlabelled)]
    with torch.no_grad():
        expected = slow_targets(run, batch, views)
    w = torch.full((10, 1), 0.8)
    got = run.method._targets(network, views, run.labels[batch.index], w)
    assert got.shape == (36, 4)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)
    assert run.networks[network].training


def test_mixmatch_loss(make_run, monkeypatch):
    run = make_run()
    begin_epoch(run, 3)
    batch = CoDivideBatch(torch.arange(10), 0, torch.arange(200, 208), progress=0.5)
    targets = torch.rand(36, 4, generator=torch.Generator().manual_seed(0)).softmax(1)
    logits = torch.randn(36, 4, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(run.method, "_targets", lambda *arguments: targets)
    monkeypatch.setattr(run, "forward", lambda images, network=0: logits)
    loss = run.method.loss(batch).item()

    begin_epoch(run, 3)  # the same draws again
    lam = run.numpy_generator("mixup weight").beta(4, 4)
    lam = max(lam, 1 - lam)
    partners = torch.randperm(36, generator=run.generator("mixup partners")).numpy()
    t, z = targets.numpy(), logits.numpy()
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    mixed = np.stack([lam * t[i] + (1 - lam) * t[partners[i]] for i in range(36)])
    labelled = np.mean([-(mixed[i] * np.log(p[i])).sum() for i in range(20)])
    unlabelled = np.mean([(p[i] - mixed[i]) ** 2 for i in range(20, 36)])
    penalty = sum(0.25 * np.log(0.25 / p[:, c].mean()) for c in range(4))
    ramp = min((3 - 1 - 1 + 0.5) / 1, 1)  # warm-up 1, ramp over 1 epoch
    assert loss == pytest.approx(labelled + 25 * ramp * unlabelled + penalty, rel=1e-5)


def test_a_batch_without_unlabelled_rows_is_finite(make_run):
    run = make_run()
    run.method.splits = [(torch.ones(250, dtype=torch.bool), torch.ones(250))] * 2
    batch = next(run.method.batches(2))
    assert len(batch.unlabelled) == 0
    assert run.method.loss(batch).isfinite()


def test_the_ramp(make_run):
    run = make_run(options={"ramp_epochs": 4})
    weights = []
    for epoch in (2, 3, 4, 5, 6):
        begin_epoch(run, epoch)
        weights += [run.method.unlabelled_weight(progress) for progress in (0, 0.5)]
    np.testing.assert_allclose(weights, 25 * np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 8]) / 8)


def test_dlt_star_labels_the_share_q(make_run):
    run = make_run("dividemix-dlt", options={"decay_epochs": 2})
    losses = torch.rand(250, generator=torch.Generator().manual_seed(0))
    for epoch, q in ((2, 0.8), (3, 0.6), (5, 0.6)):
        begin_epoch(run, epoch)
        clean, weight = run.method.split(losses, 0)
        assert clean.equal(losses <= np.quantile(losses.numpy(), q))
        assert (weight == 0.5).all()


@pytest.mark.parametrize(
    ("dataset", "noise", "rate", "weight"),
    [
        ("cifar10", "symmetric", 0.2, 0),
        ("cifar10", "symmetric", 0.5, 25),
        ("cifar10", "symmetric", 0.8, 25),
        ("cifar10", "asymmetric", 0.4, 0),
        ("cifar100", "symmetric", 0.2, 25),
        ("cifar100", "symmetric", 0.8, 150),
    ],
)
def test_lambda_u_of_the_papers_settings(dataset, noise, rate, weight):
    assert make_config("paper", dataset, "dividemix", noise, rate).method_config["unlabelled_weight"] == weight


def test_every_network_and_the_ensemble_are_tested(make_run):
    accuracies = training.test_accuracies(make_run())
    assert list(accuracies) == [
        "test_accuracy",
        "test_accuracy_network1",
        "test_accuracy_network2",
        "test_accuracy_ensemble",
    ]
    assert accuracies["test_accuracy"] == accuracies["test_accuracy_network1"]


def counting(graphs):
    """A compiler that only counts the graphs and runs them as they are."""
    return lambda graph, inputs: graphs.append(graph) or graph.forward


def test_a_step_compiles_to_one_graph_a_network(make_run):
    run = make_run()
    graphs = []
    step = torch.compile(run.method._step, fullgraph=True, dynamic=False, backend=counting(graphs))
    for network in (0, 1, 0):
        views = [run.augmented(torch.arange(rows)) for rows in (10, 10, 8, 8)]
        arguments = (views, run.labels[:10], torch.full((10, 1), 0.8), torch.randperm(36), *run.scalars(0.7, 25.0))
        before = deepcopy([n.state_dict() for n in run.networks])
        expected = run.method._step(network, *arguments)
        for module, state in zip(run.networks, before, strict=True):
            module.load_state_dict(state)
        torch.testing.assert_close(step(network, *arguments), expected)
    assert len(graphs) == 2


def test_a_compiled_run_meets_new_last_batches_in_every_epoch(tiny_config, monkeypatch):
    """Three epochs, whose splits differ, within two graphs: one a network. A third one would end the run."""
    graphs = []

    def compiled(run, step):
        return torch.compile(step, fullgraph=True, dynamic=False, backend=counting(graphs))

    monkeypatch.setattr(Run, "compiled", compiled)
    run = Run(tiny_config("dividemix", epochs=6, batch_size=32), CPU)
    sizes = set()
    torch._dynamo.reset()  # it counts graphs by function, those of other tests too
    with torch._dynamo.config.patch(recompile_limit=2):
        for epoch in range(1, 5):
            train_epoch(run, epoch)
            if epoch > 1:
                sizes |= {int(clean.sum()) % 16 for clean, _ in run.method.splits}
    assert len(sizes) > 2
    assert len(graphs) == 2
