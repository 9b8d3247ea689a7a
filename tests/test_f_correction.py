"""F-correction by hand, and the runs that a run requires."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from baselines.f_correction import estimate_transition, forward_correction
from dlt.__main__ import main
from dlt.artifact.experiments import TABLES, Column
from dlt.harness import records
from dlt.harness.config import make_config
from dlt.harness.errors import InputError
from dlt.harness.run import Run
from dlt.harness.sweep import Job, sweep
from dlt.harness.training import train

CPU = torch.device("cpu")
TRANSITION = torch.tensor([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0], [0.2, 0.0, 0.8]])


def finish(config, store):
    for run in [*config.required, config]:
        list(train(run, store, "cpu"))
    return records.folder_of(store, config)


# ---------------------------------------------------------------------- the loss and T
def test_the_loss_is_that_of_the_label_probabilities():
    generator = torch.Generator().manual_seed(0)
    logits, labels = 3 * torch.randn((20, 3), generator=generator), torch.arange(20) % 3
    rows = zip(logits.softmax(1).tolist(), labels.tolist(), strict=True)
    expected = [-np.log(sum(p[i] * TRANSITION[i, y].item() for i in range(3))) for p, y in rows]
    torch.testing.assert_close(forward_correction(logits, labels, TRANSITION), torch.tensor(expected).float())
    identity = forward_correction(logits, labels, torch.eye(3))
    torch.testing.assert_close(identity, F.cross_entropy(logits, labels, reduction="none"))


def test_an_impossible_label_has_a_finite_loss_and_gradient():
    logits = torch.tensor([[0.0, 200.0, 0.0]], requires_grad=True)
    loss = forward_correction(logits, torch.tensor([2]), TRANSITION)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logits.grad.isfinite().all()


def test_the_true_transition_makes_the_true_class_the_best_prediction():
    """Where 60% of class 0 are labelled 1, CE predicts 1; the corrected loss still predicts 0."""
    transition = torch.tensor([[0.4, 0.6], [0.0, 1.0]])
    logits = torch.zeros((1, 2), requires_grad=True)
    labels = torch.tensor([0] * 40 + [1] * 60)
    for _ in range(2000):
        loss = forward_correction(logits.expand(100, 2), labels, transition).mean()
        (gradient,) = torch.autograd.grad(loss, logits)
        logits = (logits - gradient).detach().requires_grad_()
    assert logits.softmax(1)[0, 0] > 0.95


def test_the_transition_is_read_off_the_surest_images():
    labels = torch.arange(300) % 3
    probabilities = TRANSITION[labels] * 0.9 + 0.1 / 3  # what a perfect network says about the labels, less sure
    probabilities[7] = torch.tensor([0.0, 0.999, 0.001])  # an outlier
    sure = estimate_transition(probabilities, 97.0)
    torch.testing.assert_close(sure, TRANSITION * 0.9 + 0.1 / 3)
    torch.testing.assert_close(sure.sum(1), torch.ones(3))
    highest = estimate_transition(probabilities, 100.0)
    assert highest[1].equal(probabilities[7])
    assert highest[0].equal(sure[0])


@pytest.mark.parametrize(("dataset", "percentile"), [("cifar10", 97.0), ("cifar100", 100.0), ("clothing1m", 97.0)])
def test_percentile_by_number_of_classes(dataset, percentile):
    noise = ("none", 0.0) if dataset == "clothing1m" else ("asymmetric", 0.4)
    assert make_config("paper", dataset, "f-correction", *noise).method_config == {"percentile": percentile}


@pytest.mark.parametrize("percentile", [-1.0, 101.0])
def test_a_percentile_outside_is_refused(tiny_config, percentile):
    with pytest.raises(InputError, match=f"percentile: {percentile} is outside"):
        tiny_config("f-correction", options={"percentile": percentile})


# ---------------------------------------------------------------------- with the run it requires
def test_the_required_run_is_the_tables_own():
    for profile, dataset, noise, rate in (("digits", "digits", "asymmetric", 0.4), ("paper", "clothing1m", "none", 0)):
        (required,) = make_config(profile, dataset, "f-correction", noise, rate, seed=2).required
        table = TABLES["table3" if dataset == "clothing1m" else "table1"]
        column = Column("clothing1m" if dataset == "clothing1m" else "cifar10", noise, rate)
        assert required == table.config(profile, "ce", column, 2)
    assert make_config("digits", "digits", "dlt-window").required == []


def test_the_transition_comes_from_the_required_networks_last_epoch(tiny_config, tmp_path):
    config = tiny_config("f-correction", "symmetric", 0.2)
    (required,) = config.required
    folder = finish(required, tmp_path)
    run = Run(config, CPU, store=tmp_path)
    before = deepcopy(run.networks[0].state_dict())
    network = run.required_network(required)
    assert all(value.equal(before[name]) for name, value in run.networks[0].state_dict().items())
    run.begin_epoch(1)
    run.method.start_epoch(1)
    ce = Run(required, CPU)
    ce.networks[0].load_state_dict(network.state_dict())
    with np.load(folder / "losses.npz") as kept:
        torch.testing.assert_close(ce.evaluation_losses(), torch.tensor(kept["loss_3"]).float(), rtol=1e-2, atol=1e-3)
    expected = estimate_transition(run.evaluation_logits(network).softmax(1), 97.0)
    assert run.method.transition.equal(expected)
    torch.testing.assert_close(expected.sum(1), torch.ones(4))


def test_a_missing_required_run_is_named(tiny_config, tmp_path):
    config = tiny_config("f-correction")
    (required,) = config.required
    with pytest.raises(InputError, match=f"f-correction requires {required.name}, which is not finished"):
        list(train(config, tmp_path, "cpu"))
    assert not records.folder_of(tmp_path, config).exists()
    weights = finish(required, tmp_path) / "weights.safetensors"
    whole = weights.read_bytes()
    weights.unlink()
    with pytest.raises(InputError, match=rf"{required.name}, whose weights\.safetensors is not in"):
        list(train(config, tmp_path, "cpu"))
    weights.write_bytes(whole[:100])
    with pytest.raises(InputError, match=r"weights\.safetensors is corrupt"):
        list(train(config, tmp_path, "cpu"))


def test_a_sweep_trains_what_is_required_once_and_before(tiny_config, tmp_path):
    configs = [tiny_config("f-correction"), tiny_config("f-correction", options={"percentile": 90.0})]
    (required,) = configs[0].required
    said = []
    assert sweep([*configs, required], Job(tmp_path, "cpu", 2, say=said.append)) == {}
    assert said[0] == "1 of 1 runs to train, 1 at a time on cpu"
    assert said[1].startswith(required.name)
    assert said[2] == "2 of 3 runs to train, 2 at a time on cpu"
    assert len(said) == 5
    assert sweep(configs, Job(tmp_path, "cpu", 2, say=said.append)) == {}
    assert len(said) == 5


def test_a_failed_required_run_is_tried_once_and_fails_what_needs_it(tiny_config, tmp_path, monkeypatch):
    config = tiny_config("f-correction")
    (required,) = config.required
    folder = records.folder_of(tmp_path, required)
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").write_bytes(b"damaged")
    said = []
    failures = sweep([required, config], Job(tmp_path, "cpu", 1, say=said.append))
    assert list(failures) == [required.name, config.name]
    assert "checkpoint.pt is corrupt" in failures[required.name]
    assert f"requires {required.name}" in failures[config.name]
    assert sum(line.startswith(f"FAILED {required.name}") for line in said) == 1


def test_the_command_line_trains_what_is_required_first(tiny, tmp_path, capsys):
    arguments = [
        "train",
        "--profile",
        "digits",
        "--dataset",
        tiny,
        "--method",
        "f-correction",
        "--noise-rate",
        "0.4",
        "--setting",
        "epochs=3",
        "--output",
        str(tmp_path),
        "--device",
        "cpu",
    ]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("-s1-")[0] for line in lines[::2]] == ["tiny-symmetric0.4-ce", "tiny-symmetric0.4-f-correction"]
    assert [line.startswith("Last ") for line in lines] == [False, True, False, True]
