"""Section 3.2: both estimates of the noise rate, and how a run believes one."""

import json
import warnings

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

import dlt
from dlt.__main__ import main
from dlt.harness import records
from dlt.harness.devices import resolve_device
from dlt.harness.errors import InputError
from dlt.harness.run import Run
from dlt.harness.training import train
from dlt.noise_rate import log_odds, share_of_the_lower


def planted(rate, count=2000, seed=0):
    """Early losses of clean samples near 0.3 and of noisy ones near 3; late ones near 0.05; and which are noisy."""
    rng = np.random.default_rng(seed)
    noisy = np.arange(count) < round(rate * count)
    early = np.where(noisy, rng.normal(3.0, 0.4, count), np.abs(rng.normal(0.3, 0.1, count)))
    return early, np.abs(rng.normal(0.05, 0.02, count)), noisy


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5, 0.9])
def test_planted_noise_is_found_by_both(rate):
    early, late, noisy = planted(rate)
    theirs = dlt.estimate_noise_rate(early, late)
    ours = dlt.estimate_from_margins({1: early, 2: early[::-1][::-1]})
    for estimate in (theirs, ours):
        assert abs(estimate.rate - rate) < 0.01
        assert estimate.clean_probability[~noisy].mean() > 0.98
        assert estimate.clean_probability[noisy].mean() < 0.02


def test_eq_8_against_a_slow_version():
    early, late, _ = planted(0.3)
    difference = early - late
    scaled = (difference - difference.min()) / (difference.max() - difference.min())
    mixture = GaussianMixture(2, max_iter=100, tol=1e-3, reg_covar=5e-4, n_init=5, random_state=0)
    posterior = mixture.fit(scaled[:, None]).predict_proba(scaled[:, None])
    phi = [row[0] if mixture.means_[0] < mixture.means_[1] else row[1] for row in posterior]
    for theta in (0.5, 0.9):
        estimate = dlt.estimate_noise_rate(early, late, theta)
        # The printed Eq. 8 calls {phi < theta} clean; phi is the probability to be clean.
        assert estimate.rate == sum(p < theta for p in phi) / len(phi)
        np.testing.assert_allclose(estimate.clean_probability, phi)


def test_no_noise():
    rng = np.random.default_rng(1)
    early, late = rng.normal(1.0, 0.2, 2000), np.full(2000, 0.1)
    with pytest.warns(UserWarning, match="one Gaussian fits"):
        dlt.estimate_noise_rate(early, late)
    easy = {epoch: np.abs(rng.normal(0.1, 0.05, 2000)) for epoch in (1, 2, 3)}
    assert dlt.estimate_from_margins(easy).rate < 0.03


def test_two_populations_do_not_warn():
    early, late, _ = planted(0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dlt.estimate_noise_rate(early, late)


def test_the_epochs_that_separate_best_are_chosen_without_labels():
    early, _, noisy = planted(0.3)
    rng = np.random.default_rng(2)
    blurred = early + np.abs(rng.normal(0, 3.0, len(early)))  # before anything is learnt
    estimate = dlt.estimate_from_margins({1: blurred, 5: early, 9: early})
    assert estimate.epochs == (5, 9)
    assert abs(estimate.rate - noisy.mean()) < 0.01


def test_half_believed_labels_stand_each_for_itself():
    """Asymmetric noise: the network leaves a look-alike's label near even odds; no component is clearly disbelieved."""
    rng = np.random.default_rng(3)
    odds = np.r_[rng.normal(7, 1, 1000), rng.normal(1, 0.4, 700), rng.normal(-0.8, 0.3, 300)]
    losses = np.logaddexp(0, -odds)  # -log p of these log-odds
    estimate = dlt.estimate_from_margins({epoch: losses for epoch in (1, 2, 3, 4)})
    assert estimate.epochs == (3, 4)  # the later half
    assert estimate.rate == (odds < 0).mean()
    np.testing.assert_allclose(estimate.clean_probability, 1 / (1 + np.exp(-odds)), rtol=1e-6)


def test_log_odds():
    p = np.array([0.01, 0.5, 0.9, 0.999])
    np.testing.assert_allclose(log_odds(-np.log(p)), np.log(p / (1 - p)))
    assert np.isfinite(log_odds(np.array([0.0, 1e-8, 40.0, 65504.0]))).all()


@pytest.mark.parametrize(
    ("early", "late", "theta", "words"),
    [
        (np.zeros(5), np.zeros(5), 0.5, "at least 10"),
        (np.zeros(20), np.zeros(21), 0.5, "21 losses, and 20"),
        (np.r_[np.nan, np.zeros(20)], np.zeros(21), 0.5, "1 of 21 are not finite"),
        (np.zeros((20, 2)), np.zeros(20), 0.5, "shape"),
        (np.zeros(20), np.zeros(20), 1.0, "theta"),
    ],
)
def test_bad_input_is_a_clear_error(early, late, theta, words):
    with pytest.raises(ValueError, match=words):
        dlt.estimate_noise_rate(early, late, theta)


def test_bad_input_of_ours():
    with pytest.raises(ValueError, match="none given"):
        dlt.estimate_from_margins({})
    with pytest.raises(ValueError, match="not of one length"):
        dlt.estimate_from_margins({3: np.ones(20), 4: np.ones(21)})
    with pytest.raises(ValueError, match="negative"):
        dlt.estimate_from_margins({3: -np.ones(20)})
    with pytest.raises(ValueError, match="theta"):
        dlt.estimate_from_margins({3: np.ones(20)}, theta=3)
    with pytest.raises(ValueError, match=r"epoch 3.*not finite"):
        dlt.estimate_from_margins({3: np.r_[np.inf, np.ones(20)]})


def test_equal_losses_have_a_rate():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert 0 <= dlt.estimate_noise_rate(np.ones(50), np.zeros(50)).rate <= 1


# ---------------------------------------------------------------------- in a run
def test_a_run_believes_the_estimate(tiny_config, tmp_path):
    config = tiny_config("dlt-window", assumed_rate="estimated", epochs=5, drop_after=4)
    (required,) = config.required
    assert (required.method, required.name) == ("ce", tiny_config("ce", epochs=5, drop_after=4).name)
    with pytest.raises(InputError, match="requires"):
        next(train(config, tmp_path, "cpu"))
    for run in (required, config):
        assert list(train(run, tmp_path, "cpu"))
    early = records.early_losses(records.read_record(records.folder_of(tmp_path, required)))
    assert max(early) <= 4
    rate = dlt.estimate_from_margins(early).rate
    about = records.read_record(records.folder_of(tmp_path, config)).run["label_noise"]
    assert about["assumed_rate"] == rate


def test_without_the_rate_lambda_n_is_that_of_the_estimate(tiny_config, tmp_path, monkeypatch):
    config = tiny_config("dlt-window", assumed_rate="estimated")
    assert config.method_config["noisy_weight"] is None  # not that of the nominal rate: nobody told it
    for _ in train(config.required[0], tmp_path, "cpu"):
        pass
    for rate, weight in ((0.1, 0.0), (0.4, 25.0)):
        estimate = type("Estimate", (), {"rate": rate})
        monkeypatch.setattr("dlt.harness.run.estimate_from_margins", lambda losses, e=estimate: e)
        run = Run(config, resolve_device("cpu"), store=tmp_path)
        assert (run.assumed_rate, run.method.lambda_n) == (rate, weight)


def test_estimate_on_the_command_line(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(records, "RUNS", tmp_path / "runs")
    arguments = [
        "estimate",
        "--profile",
        "digits",
        "--dataset",
        tiny,
        "--noise",
        "symmetric",
        "--noise-rate",
        "0.4",
        "--setting",
        "epochs=8",
        "--setting",
        "drop_after=6",
        "--device",
        "cpu",
    ]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    folder = next((tmp_path / "runs/digits").iterdir())
    realised = json.loads((folder / "run.json").read_text())["label_noise"]["realised_rate"]
    assert f"put in: 40.0% nominal, {100 * realised:.1f}% of the labels are wrong" in out
    assert "estimated noise rate:" in out
    rows = (folder / "clean_probability.csv").read_text().splitlines()
    assert rows[0] == "row,label,clean_probability,clean_probability_paper,early_loss,late_loss"
    assert len(rows) == 251
    assert main([*arguments, "--theta", "2"]) == 2
    assert "theta: 2.0 is outside (0, 1)" in capsys.readouterr().err


def test_the_share_of_the_lower_of_two_gaussians():
    rng = np.random.default_rng(0)
    margins = np.concatenate((rng.normal(3, 1, 700), rng.normal(-4, 1, 300)))
    assert share_of_the_lower(rng.permutation(margins)) == pytest.approx(0.3, abs=0.01)
