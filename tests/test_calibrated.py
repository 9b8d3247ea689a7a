"""DLT without a rate, beside a slow and obvious version."""

import dataclasses

import numpy as np
import pytest
import torch

from dlt.anchors import judged_classes, neighbour_votes, transition_matrix, wrong_share
from dlt.harness.config import make_config
from dlt.harness.errors import InputError
from dlt.harness.method import Batch
from dlt.harness.networks import without_head
from dlt.harness.run import Run
from dlt.harness.training import train, train_epoch
from dlt.noise_rate import log_odds, share_of_the_lower

CPU = torch.device("cpu")


def started(config):
    run = Run(config, CPU)
    run.begin_epoch(1)
    return run


def test_the_teacher_begins_as_the_network_and_is_never_trained(tiny_config):
    run = Run(tiny_config("dlt-auto"), CPU)
    teacher, network = (dict(n.named_parameters()) for n in run.networks)
    assert all(torch.equal(teacher[name], network[name]) for name in teacher)
    train_epoch(run, 1)
    assert all(value.grad is None for value in teacher.values())
    assert not torch.equal(teacher["linear.weight"], network["linear.weight"])


def test_the_teacher_is_the_average_of_the_networks_weights(tiny_config):
    """After each step but the last, which it takes in with the next; of t steps it keeps (1 + t) / (3 + t) or .9."""
    run = started(tiny_config("dlt-auto", options={"average": 0.9, "average_warmup": 3}))
    expected = run.networks[0].linear.weight.detach().clone()
    run.method.start_epoch(1)
    for t, batch in enumerate([*run.method.batches(1)] * 8):
        share = min(0.9, (1 + t) / (3 + t))
        expected = share * expected + (1 - share) * run.networks[1].linear.weight.detach()
        loss = run.method.loss(batch)
        torch.testing.assert_close(run.networks[0].linear.weight, expected)
        run.optimizers[batch.network].zero_grad()
        loss.backward()
        run.optimizers[batch.network].step()


def test_running_statistics_of_the_teacher(tiny_config):
    """The network's in warm-up, whose views are unmixed; its own afterwards."""
    run = Run(tiny_config("dlt-auto"), CPU)
    train_epoch(run, 1)
    run.method._average()
    means = [network.bn.running_mean.clone() for network in run.networks]
    assert torch.equal(*means)
    train_epoch(run, 2)
    assert not torch.equal(run.networks[0].bn.running_mean, run.networks[1].bn.running_mean)


def test_w_is_the_median_of_three_estimates_over_the_last_epochs(tiny_config):
    run = Run(tiny_config("dlt-auto", options={"rate_epochs": 2}, epochs=5), CPU)
    expected = []
    for epoch in range(1, 6):
        if epoch > 1:
            with without_head(run.networks[0]) as head:
                features = run.evaluation_logits(run.networks[0])
                losses = torch.nn.functional.cross_entropy(head(features), run.labels, reduction="none")
                probabilities = head(features).softmax(1)
            votes = neighbour_votes(features, run.labels, run.num_classes, 30)
            likely = probabilities * votes
            transition = transition_matrix(likely / likely.sum(1, keepdim=True), run.labels, 0.2)
            called_wrong = judged_classes(probabilities, transition, run.labels) != run.labels
            three = [share_of_the_lower(log_odds(losses)), wrong_share(transition, run.labels), called_wrong]
            expected.append(np.median([np.mean(np.asarray(estimate)) for estimate in three]))
        row = train_epoch(run, epoch)
        if epoch > 1:
            assert run.method.w == row["w"] == pytest.approx(np.mean(expected[-2:]))
            assert torch.equal(run.observed.losses, losses)
    assert 0 < row["w"] < 1


def test_nobody_tells_the_rate(tiny_config):
    """Whatever is assumed, the result would be the same; so a rate that is told is refused."""
    config = tiny_config("dlt-auto")
    rows = [train_rows(dataclasses.replace(config, assumed_rate=rate)) for rate in (0.1, 0.8)]
    assert rows[0][1:] == rows[1][1:]  # in warm-up there is no threshold
    with pytest.raises(InputError, match="which only 'assumed' heeds"):
        tiny_config("dlt-auto", assumed_rate=0.8)
    told = [train_rows(tiny_config("dlt-auto", options={"rate": "assumed"}, assumed_rate=r)) for r in (0.1, 0.8)]
    assert told[0][1:] != told[1][1:]


def train_rows(config):
    run = Run(config, CPU)
    return [train_epoch(run, epoch) for epoch in (1, 2, 3)]


def test_without_an_average_the_teacher_is_the_network(tiny_config):
    run = started(tiny_config("dlt-auto", options={"average": 0.0}))
    train_epoch(run, 1)
    run.method._average()
    assert torch.equal(run.networks[0].linear.weight, run.networks[1].linear.weight)


@pytest.mark.parametrize("rate", ["estimated", "assumed"])
def test_both_passes_see_all_rows_judged_by_the_look_or_anew(tiny_config, rate):
    run = Run(tiny_config("dlt-auto", options={"rate": rate}), CPU)
    train_epoch(run, 1)
    run.begin_epoch(2)
    run.method.start_epoch(2)
    batches, found = list(run.method.batches(2)), []
    half = len(batches) // 2
    assert [sorted(torch.cat([b.index for b in part]).tolist()) for part in (batches[:half], batches[half:])] == (
        [list(range(len(run.labels)))] * 2
    )
    for batch in batches:
        run.method.loss(batch).backward()
        run.optimizers[batch.network].step()
        found.append(run.observed.losses.clone())
    assert torch.equal(found[half - 1], found[-1]) == (rate == "estimated")


def test_it_costs_what_dlt_costs(tiny_config):
    assert tiny_config("dlt-auto").cost == tiny_config("dlt-window").cost
    twice = tiny_config("dlt-auto", options={"rate": "assumed"})  # judged in both passes
    assert twice.cost == pytest.approx(tiny_config("dlt-auto").cost + (twice.setting.epochs - 1) / 3)


def test_a_resumed_run_has_the_same_w(tiny_config, tmp_path):
    config = tiny_config("dlt-auto", epochs=4)
    whole = [row["w"] for row in train(config, tmp_path / "whole", "cpu", checkpoint_seconds=0)]
    rows = train(config, tmp_path / "cut", "cpu", checkpoint_seconds=0)
    first = [next(rows)["w"] for _ in range(3)]
    rows.close()
    assert first + [row["w"] for row in train(config, tmp_path / "cut", "cpu")] == whole


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"average": 1.0}, "average: 1.0 is outside"),
        ({"rate": "told"}, "rate: 'told'"),
        ({"noisy_loss": "hinge"}, "noisy_loss: 'hinge'"),
        ({"rate_epochs": 0}, "rate_epochs: 0"),
        ({"anchors": 0.0}, "anchors: 0.0 is outside"),
        ({"neighbours": 0}, "neighbours: 0"),
        ({"average_warmup": 0}, "average_warmup: 0"),
        ({"running_statistics": "mixed"}, "running_statistics: 'mixed'"),
    ],
)
def test_bad_options(tiny_config, options, line):
    with pytest.raises(InputError, match=line):
        tiny_config("dlt-auto", options=options)


def test_on_features_it_takes_what_suits_them():
    config = make_config("features", "digits", "dlt-auto", "symmetric", 0.4)
    chosen = {name: config.method_config[name] for name in ("rate", "noisy_loss", "partners", "average")}
    assert chosen == {"rate": "assumed", "noisy_loss": "cross-entropy", "partners": "union", "average": 0.95}
    run = started(config)
    run.method.start_epoch(1)
    assert run.method.loss(Batch(torch.arange(100), 1)).isfinite()
