"""M-correction against slow, obvious versions of its mixture and of its two losses."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from baselines.m_correction import BetaMixture, MCorrection, clean_shares, corrected_targets
from dlt.harness import records
from dlt.harness.config import make_config
from dlt.harness.errors import InputError
from dlt.harness.method import Batch
from dlt.harness.run import Run
from dlt.harness.training import train, train_epoch

CPU = torch.device("cpu")
METHOD = "baselines.m_correction:MCorrection"
SOFT = {"variant": "MD-DYR-SH", "bootstrap_epoch": 2, "guided_epochs": 1, "cooling_epochs": 3}
HARD = {"bootstrap_epoch": 2}


# ---------------------------------------------------------------------- the beta mixture
@pytest.fixture(scope="module")
def planted():
    """Losses 1 + 2 x, x of 0.7 Beta(2, 20) + 0.3 Beta(12, 3), and a twentieth of outliers on either side."""
    rng = np.random.default_rng(0)
    noisy = rng.random(18000) < 0.3
    x = np.where(noisy, rng.beta(12, 3, 18000), rng.beta(2, 20, 18000))
    return np.concatenate([1 + 2 * x, rng.uniform(0, 1, 1000), rng.uniform(3, 9, 1000)]), noisy


def slow_fit(losses):
    """The mixture's (alpha, beta, weight) of both components and the scale, with scipy's densities."""
    low, high = np.percentile(losses, 5), np.percentile(losses, 95)
    inner = losses[(low <= losses) & (losses <= high)]
    low += 1e-5
    x = (inner - low) / (high - low + 1e-6)
    x[x <= 0] = 0.001
    x = x.clip(1e-4, 1 - 1e-4)
    parameters = [(1, 2, 0.5), (2, 1, 0.5)]
    for _ in range(10):
        joint = np.maximum([w * stats.beta.pdf(x, a, b) for a, b, w in parameters], 1e-12)
        parameters = []
        for share in joint / joint.sum(0):
            mean = np.average(x, weights=share)
            variance = np.average((x - mean) ** 2, weights=share)
            a = mean * (mean * (1 - mean) / variance - 1)
            parameters.append((a, a * (1 - mean) / mean, share.mean()))
    return parameters, low, high - low + 1e-6


def slow_posterior(loss, parameters, low, scale):
    """Of the noisy component at the loss's bin; flat beyond the highest value."""
    points = np.linspace(1e-12, 1 - 1e-12, 100)
    clean, noisy = (w * stats.beta.pdf(points, a, b) for a, b, w in parameters)
    posterior = noisy / (clean + noisy + 1e-12)
    place = min(max(int(100 * (loss - low) / scale), 0), 99)
    return posterior.max() if place > posterior.argmax() else posterior[place]


@pytest.mark.parametrize("gap", [False, True])
def test_the_mixture_equals_the_slow_one(planted, gap):
    losses = planted[0][::10]
    if gap:  # between two narrow components both densities vanish
        rng = np.random.default_rng(2)
        losses = np.concatenate([rng.normal(0.2, 0.002, 900), rng.normal(0.8, 0.002, 900), [0.5] * 5])
    mixture = BetaMixture().fit(torch.tensor(losses))
    parameters, low, scale = slow_fit(losses)
    ours = torch.cat([mixture.alpha, mixture.beta, mixture.weight], 1)
    np.testing.assert_allclose(ours, parameters, rtol=1e-8)
    expected = [slow_posterior(loss, parameters, low, scale) for loss in losses]
    np.testing.assert_allclose(mixture.noisy_probability(torch.tensor(losses)), expected, atol=1e-6)


def test_the_mixture_finds_what_was_planted(planted):
    losses, noisy = planted
    mixture = BetaMixture().fit(torch.tensor(losses))
    assert mixture.low.item() == pytest.approx(1, abs=0.02)  # the outliers are gone
    assert mixture.scale.item() == pytest.approx(2, abs=0.04)
    np.testing.assert_allclose(mixture.weight.flatten(), [0.7, 0.3], atol=0.03)
    means = (mixture.alpha / (mixture.alpha + mixture.beta)).flatten()
    np.testing.assert_allclose(means, [2 / 22, 12 / 15], atol=0.05)
    found = mixture.noisy_probability(torch.tensor(losses[: len(noisy)])) > 0.5
    assert (found.numpy() == noisy).mean() > 0.99
    assert mixture.noisy_probability(torch.tensor([0.0, 9.0])).tolist() == pytest.approx([0, 1], abs=1e-3)


def test_the_posterior_does_not_fall_beyond_its_highest_value():
    """A narrow noisy component below the end of a broad clean one: the raw posterior falls again."""
    rng = np.random.default_rng(1)
    losses = np.concatenate([rng.beta(1, 2, 4000), rng.normal(0.6, 0.03, 3000).clip(0, 1)])
    mixture = BetaMixture().fit(torch.tensor(losses))
    parameters, _, _ = slow_fit(losses)
    points = np.linspace(1e-12, 1 - 1e-12, 100)
    clean, noisy = (w * stats.beta.pdf(points, a, b) for a, b, w in parameters)
    raw = noisy / (clean + noisy + 1e-12)
    assert raw[raw.argmax() :].min() < raw.max() - 0.1  # otherwise this tests nothing
    posterior = mixture.noisy_probability(torch.linspace(-1, 3, 999))
    assert ((posterior >= 0) & (posterior <= 1)).all()
    assert (posterior[posterior.argmax() :] == posterior.max()).all()


@pytest.mark.parametrize("losses", [[0.7] * 100, [0.0] * 100, [3.0], list(np.arange(100) * 1e-7)])
def test_equal_losses_are_clean(losses):
    losses = torch.tensor(losses)
    mixture = BetaMixture().fit(losses)
    assert torch.cat([mixture.alpha, mixture.beta, mixture.weight]).isfinite().all()
    assert mixture.weight[1] < 0.01
    assert mixture.noisy_probability(losses).max() < 0.01


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_losses_are_refused(bad):
    losses = torch.rand(100)
    mixture = BetaMixture().fit(losses)
    losses[[3, 7]] = bad
    with pytest.raises(FloatingPointError, match="2 of 100 losses are not finite"):
        BetaMixture().fit(losses)
    assert mixture.noisy_probability(losses).shape == (100,)  # within an epoch the harness finds the NaN


# ---------------------------------------------------------------------- the losses
def slow_loss(variant, logits, labels, predictions, noisy, partners, weight):
    """M-DYR-H and MD-DYR-SH, row by row: (B, C) logits of the mixed images and predicted probabilities."""
    total = 0.0
    for i, j in enumerate(partners):
        log_p = logits[i] - np.log(np.exp(logits[i]).sum())
        one, other = (
            -(1 - noisy[row]) * log_p[labels[row]] - noisy[row] * (predictions[row] * log_p).sum() for row in (i, j)
        )
        total += weight * one + (1 - weight) * other if variant == "M-DYR-H" else 0.5 * one + 0.5 * other
    mean = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).mean(0)
    return total / len(logits) + sum(np.log(1 / len(mean) / share) / len(mean) for share in mean)


def begin_epoch(run, epoch):
    train_epoch(run, epoch - 1)
    run.begin_epoch(epoch)
    run.networks[0].train()
    run.method.start_epoch(epoch)


def test_the_mixture_is_fitted_to_augmented_views_in_evaluation_mode(tiny_config, monkeypatch):
    run, seen = Run(tiny_config(METHOD, options=HARD), CPU), []
    fit = BetaMixture.fit
    monkeypatch.setattr(BetaMixture, "fit", lambda mixture, losses: seen.append(losses) or fit(mixture, losses))
    begin_epoch(run, 2)
    (losses,) = seen  # none in the epoch of plain mixup
    run._generators = {}
    rows = torch.arange(250).split(64)
    views = torch.cat([run.augmented(index) for index in rows])
    network = deepcopy(run.networks[0]).eval()
    with torch.no_grad():
        expected = F.cross_entropy(network(views), run.labels, reduction="none")
    torch.testing.assert_close(losses, expected)
    assert run.networks[0].training
    probabilities = run.method.mixture.noisy_probability(losses)
    assert run.method.metrics() == {"noisy_share": (probabilities > 0.5).float().mean()}


@pytest.mark.parametrize(("options", "epoch"), [(HARD, 2), (SOFT, 4)], ids=["M-DYR-H", "MD-DYR-SH"])
def test_a_step_equals_the_slow_loss(tiny_config, monkeypatch, options, epoch):
    run = Run(tiny_config(METHOD, epochs=5, options=options), CPU)
    method, network, index = run.method, run.networks[0], torch.arange(40, 104)
    for earlier in range(1, epoch - 1):
        train_epoch(run, earlier)
    begin_epoch(run, epoch)
    # Doubts that grow steadily with the loss, and certainties, of whose pairs a share of 0/0 must not come.
    method.mixture.table = torch.linspace(0.2, 1.4, 100).clamp(max=1)
    images = run.augmented(index)
    monkeypatch.setattr(run, "augmented", lambda i: images)
    run._generators, run._numpy_generators = {}, {}
    partners = torch.randperm(64, generator=run.generator("mixup partners"))
    weight = run.numpy_generator("mixup weight").beta(32, 32)
    run._generators, run._numpy_generators = {}, {}

    before = deepcopy(network.state_dict())
    loss = method.loss(Batch(index))

    after = deepcopy(network.state_dict())
    network.load_state_dict(before)
    with torch.no_grad():
        network.eval()
        losses = F.cross_entropy(network(images), run.labels[index], reduction="none")
        noisy = method.mixture.noisy_probability(losses).clamp(1e-4, 1 - 1e-4)
        network.train()
        logits = network(images)
        if method.config.variant == "M-DYR-H":
            predictions, shares = F.one_hot(logits.argmax(1), 4).double(), torch.full((64,), weight)
        else:
            predictions = (logits / 0.5005).softmax(1)  # the second of three temperatures from 1 to 0.001
            shares = (1 - noisy) / ((1 - noisy) + (1 - noisy[partners]))
        mixed = torch.stack([shares[i] * images[i] + (1 - shares[i]) * images[j] for i, j in enumerate(partners)])
        mixed_logits = network(mixed.float())
    arrays = (value.double().numpy() for value in (mixed_logits, run.labels[index], predictions, noisy))
    mixed_logits, labels, predictions, noisy = arrays
    expected = slow_loss(method.config.variant, mixed_logits, labels.astype(int), predictions, noisy, partners, weight)
    assert loss.item() == pytest.approx(expected, rel=1e-5)

    certain = noisy > 0.999
    assert (certain & certain[partners]).any()  # otherwise the certainties test nothing
    assert (~certain).any()
    assert (run.observed.kept[index].numpy() == (noisy <= 0.5)).all()
    assert 0 < run.observed.kept[index].sum() < 64
    assert run.observed.pseudo_labels[index].equal(logits.argmax(1))
    torch.testing.assert_close(run.observed.losses[index], F.cross_entropy(logits, run.labels[index], reduction="none"))
    for name, value in network.state_dict().items():  # batch norm saw the unmixed images, then the mixed ones
        torch.testing.assert_close(value, after[name], msg=name)


def test_targets_and_shares_by_hand():
    labels, predictions = torch.eye(2)[[0, 0, 1]], torch.tensor([[0.0, 1.0], [0.4, 0.6], [1.0, 0.0]])
    noisy = torch.tensor([0.25, 0.5, 0.0])
    expected = torch.tensor([[0.75, 0.25], [0.7, 0.3], [0.0, 1.0]])
    torch.testing.assert_close(corrected_targets(labels, predictions, noisy), expected)
    shares = clean_shares(noisy, torch.tensor([1, 2, 2]))
    torch.testing.assert_close(shares, torch.tensor([0.75 / 1.25, 0.5 / 1.5, 0.5]))


def test_guided_mixup_trusts_the_labels(tiny_config, monkeypatch):
    """Labels weighted by lambda although the images are not; neither predictions nor regulariser."""
    run = Run(tiny_config(METHOD, options=SOFT), CPU)
    begin_epoch(run, 2)
    run.method.mixture.table = torch.linspace(0.2, 0.9, 100)
    index, seen = torch.arange(64), []
    forward = run.forward
    monkeypatch.setattr(run, "forward", lambda images: seen.append((images, forward(images))) or seen[-1][1])
    run._generators, run._numpy_generators = {}, {}
    loss = run.method.loss(Batch(index))
    run._generators, run._numpy_generators = {}, {}
    partners = torch.randperm(64, generator=run.generator("mixup partners"))
    weight = run.numpy_generator("mixup weight").beta(32, 32)

    (images, judged), (mixed, logits) = seen  # no forward for predictions
    labels = run.labels[index]
    noisy = run.method.mixture.noisy_probability(F.cross_entropy(judged, labels, reduction="none"))
    shares = clean_shares(noisy, partners)[:, None, None, None]
    torch.testing.assert_close(mixed, shares * images + (1 - shares) * images[partners])
    expected = weight * F.cross_entropy(logits, labels) + (1 - weight) * F.cross_entropy(logits, labels[partners])
    torch.testing.assert_close(loss, expected)


# ---------------------------------------------------------------------- the method
@pytest.mark.parametrize(
    ("profile", "dataset", "expected"),
    [
        ("paper", "cifar10", ("M-DYR-H", 156, 5, 89)),
        ("paper", "cifar100", ("MD-DYR-SH", 156, 5, 89)),
        ("short", "cifar100", ("MD-DYR-SH", 21, 1, 12)),
        ("mini", "cifar10", ("M-DYR-H", 52, 2, 30)),
        ("digits", "digits", ("M-DYR-H", 31, 1, 18)),
    ],
)
def test_schedule(profile, dataset, expected):
    config = make_config(profile, dataset, METHOD, noise_rate=0.4)
    values = config.method_config
    assert expected == tuple(values[n] for n in ("variant", "bootstrap_epoch", "guided_epochs", "cooling_epochs"))


def test_stages_temperatures_and_cost():
    config = make_config("paper", "cifar100", METHOD, noise_rate=0.4)
    settings = MCorrection.Config(**config.method_config)
    stages = [settings.stage(epoch) for epoch in range(1, 301)]
    assert stages == ["mixup"] * 155 + ["guided"] * 5 + ["bootstrapping"] * 140
    temperatures = [settings.temperature(epoch) for epoch in range(161, 301)]
    np.testing.assert_allclose(temperatures, [*np.linspace(1, 0.001, 89), *[0.001] * 51])
    assert config.cost == pytest.approx(155 + 5 * 5 / 3 + 140 * 2)
    assert make_config("paper", "cifar10", METHOD, noise_rate=0.4).cost == 155 + 145 * 2


@pytest.mark.parametrize("noise", ["asymmetric", "asymmetric-block5"])
def test_asymmetric_noise_is_refused(noise):
    with pytest.raises(InputError, match="designed for symmetric noise"):
        make_config("paper", "cifar100", METHOD, noise, 0.4)


def test_no_noise_is_not_refused():
    assert make_config("digits", "digits", METHOD, "none").method_config["variant"] == "M-DYR-H"


@pytest.mark.parametrize(
    "options",
    [
        {"variant": "M-DYR-S"},
        {"mixup_alpha": 0.0},
        {"regularizer_weight": -1.0},
        {"bootstrap_epoch": 0},
        {"guided_epochs": -1},
        {"cooling_epochs": 0},
    ],
)
def test_bad_options_are_named(tiny_config, options):
    (name,) = options
    with pytest.raises(InputError, match=f"{name}: "):
        tiny_config(METHOD, options=options)


@pytest.mark.parametrize("options", [HARD, SOFT], ids=["M-DYR-H", "MD-DYR-SH"])
def test_contract(options, tiny_config, tmp_path):
    """Three epochs, finite, and stopped after each epoch and resumed bit for bit, as test_training has it."""
    config = tiny_config(METHOD, options=options)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    rows = list(train(config, whole, "cpu"))
    assert np.isfinite([row["train_loss"] for row in rows]).all()
    for row in rows:
        mixture = row["epoch"] >= config.method_config["bootstrap_epoch"]
        assert np.isfinite(row["noisy_share"]) == np.isfinite(row["clean_kept"]) == mixture
        assert row["loss_clean_mean"] < 3
    for _ in range(3):
        next(train(config, parts, "cpu", checkpoint_seconds=0), None)
    list(train(config, parts, "cpu"))
    for name in ("epochs.csv", "losses.npz", "weights.safetensors"):
        one, other = (records.folder_of(store, config) / name for store in (whole, parts))
        assert one.read_bytes() == other.read_bytes(), name


def test_a_new_method_goes_on_from_the_networks_alone(tiny_config):
    run, copy = (Run(tiny_config(METHOD, options=SOFT), CPU) for _ in range(2))
    for epoch in (1, 2):
        train_epoch(run, epoch)
    copy.method.load_state(deepcopy(run.method.state()))
    copy.networks[0].load_state_dict(run.networks[0].state_dict())
    copy.optimizers[0].load_state_dict(deepcopy(run.optimizers[0].state_dict()))
    assert train_epoch(run, 3) == train_epoch(copy, 3)
