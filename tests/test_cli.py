"""The command line as a user meets it: every bad input is one clear line and exit code 2, before any training."""

import pytest

from dlt.__main__ import main
from dlt.harness import records

TRAIN = ["train", "--profile", "digits", "--device", "cpu"]
CLOTHING = ["--method", "ce", "--profile", "paper", "--dataset", "clothing1m"]
BAD = {
    "unknown method": (["--method", "cee"], "method: 'cee' is not one of ce,"),
    "class that is not there": (["--method", "dlt.algorithm:Nothing"], "method: cannot import"),
    "class that is no method": (["--method", "dlt.algorithm:SlideWindow"], "not a subclass of dlt.Method"),
    "rate of one": (["--method", "ce", "--noise-rate", "1"], "noise-rate: 1.0 is outside [0, 1)"),
    "negative rate": (["--method", "ce", "--noise-rate", "-0.1"], "noise-rate: -0.1 is outside [0, 1)"),
    "human labels of another data set": (
        ["--method", "ce", "--noise", "human", "--labels", "worse"],
        "noise: 'human-worse' are labels of cifar10",
    ),
    "human without labels": (["--method", "ce", "--noise", "human"], "labels: --noise human and --labels go together"),
    "labels without human": (["--method", "ce", "--labels", "worse"], "labels: --noise human and --labels go together"),
    "NaN rate": (["--method", "ce", "--noise-rate", "nan"], "noise-rate: nan is outside [0, 1)"),
    "unknown noise": (["--method", "ce", "--noise", "salt"], "noise: 'salt' is not one of"),
    "rate without noise": (["--method", "ce", "--noise", "none", "--noise-rate", ".2"], "0.2 with --noise none"),
    "assumed rate": (["--method", "dlt-window", "--assumed-rate", "1.5"], "assumed-rate: 1.5 is outside [0, 1)"),
    "assumed word": (["--method", "dlt-window", "--assumed-rate", "about"], "assumed-rate: 'about' is not"),
    "only warm-up": (["--method", "dlt-window", "--option", "warmup_epochs=60"], "warmup_epochs: 60 leave none of 60"),
    "unknown profile": (["--method", "ce", "--profile", "tiny"], "profile: 'tiny' is not one of"),
    "data set outside the profile": (["--method", "ce", "--dataset", "cifar10"], "dataset: 'cifar10' is not run in"),
    "missing file": (["--method", "ce", "--dataset", "nowhere.npz"], "dataset: nowhere.npz is not a file"),
    "no GPU": (["--method", "ce", "--device", "cuda"], "device: cuda was asked for"),
    "unknown device": (["--method", "ce", "--device", "tpu"], "device: 'tpu' is not auto, cpu, cuda"),
    "unknown option": (["--method", "ce", "--option", "alpha=1"], "ce: no 'alpha'"),
    "option without value": (["--method", "dlt-window", "--option", "views"], "option: 'views' is not NAME=VALUE"),
    "bad choice": (["--method", "dlt-window", "--option", "partners=none"], "dlt-window: partners: 'none' is not"),
    "bad number": (["--method", "dlt-window", "--option", "window=0"], "dlt-window: window: 0"),
    "bad type": (["--method", "dlt-window", "--option", "views=two"], "dlt-window: views: 'two' is not int"),
    "unknown setting": (["--method", "ce", "--setting", "epoch=3"], "setting: no 'epoch'; there is network,"),
    "no epochs": (["--method", "ce", "--setting", "epochs=0"], "setting: epochs: 0"),
    "setting of a wrong type": (["--method", "ce", "--setting", "epochs=many"], "setting: epochs: 'many' is not int"),
    "precision": (["--method", "ce", "--setting", "precision=fp8"], "setting: precision: 'fp8' is not fp32 or bf16"),
    "negative seed": (["--method", "ce", "--seed", "-1"], "seed: -1 is outside"),
    "loss epochs": (["--method", "ce", "--loss-epochs", "999"], "loss-epochs: [999] are not all in 1..60"),
    "noise on real noise": ([*CLOTHING, "--noise", "asymmetric"], "noise: 'asymmetric'; the labels of clothing1m are"),
    "realised, but unknown": (
        ["--method", "ce", "--noise", "none", "--noise-rate", "0", "--assumed-rate", "realised"],
        "with noise none",
    ),
    "no Clothing1M": (
        [*CLOTHING, "--noise", "none", "--noise-rate", "0", "--data-dir", "/nowhere"],
        "data folder: /nowhere/clothing1m is not a folder; Clothing1M cannot be downloaded",
    ),
    "data folder": (["--method", "ce", "--profile", "mini", "--data-dir", "/nowhere"], "data-dir: /nowhere"),
}


@pytest.fixture(autouse=True)
def stores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(records, "RUNS", tmp_path / "runs")
    return tmp_path


@pytest.mark.parametrize(("arguments", "line"), BAD.values(), ids=BAD)
def test_bad_input(arguments, line, stores, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main([*TRAIN, "--noise-rate", "0.2", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("error: ") == 1
    assert line in error.splitlines()[-1]
    assert not (stores / "runs").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--method", "ce", "--noise-rate", "0.2"],
        ["estimate"],
        ["export-noise", "labels", "--noise-rate", "0.2"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_the_profile_is_that_of_the_device_asked_for(arguments, capsys, monkeypatch):
    """On a machine with a GPU: --device cpu is for digits, which CIFAR-10 does not belong to."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert main([*arguments, "--dataset", "cifar10", "--device", "cpu"]) == 2
    assert "dataset: 'cifar10' is not run in profile 'digits'" in capsys.readouterr().err
    assert main([*arguments, "--dataset", "digits"]) == 2
    assert "dataset: 'digits' is not run in profile 'short'" in capsys.readouterr().err


def test_an_option_that_there_is_not_is_answered_by_its_command(capsys):
    """Nor is a part of an option taken for the whole: --epoch is not --epochs."""
    with pytest.raises(SystemExit, match="2"):
        main(["clean", "mine", "--epoch", "3"])
    error = capsys.readouterr().err
    assert error.startswith("usage: python -m dlt clean ")
    assert error.splitlines()[-1] == "python -m dlt clean: error: unrecognized arguments: --epoch 3"


def test_what_is_timed_is_the_profile_of_the_device(capsys, monkeypatch):
    timed = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("dlt.bench.methods.bench", lambda profile, device, *_: timed.append((profile, device.type)))
    monkeypatch.setattr("dlt.bench.methods.write", lambda *_: "")
    assert main(["bench", "--device", "cpu"]) == main(["bench"]) == 0
    assert timed == [("digits", "cpu"), ("short", "cuda")]


def test_noise_needs_a_rate(capsys):
    assert main([*TRAIN, "--method", "ce"]) == 2
    assert "noise-rate: give one with --noise symmetric, or --noise none" in capsys.readouterr().err


def test_a_damaged_npz_is_one_line(stores, capsys):
    (stores / "broken.npz").write_bytes(b"PK\3\4 no zip")
    assert main([*TRAIN, "--method", "ce", "--noise-rate", "0.2", "--dataset", "broken.npz"]) == 2
    assert "broken.npz" in capsys.readouterr().err


def test_train_then_evaluate(tiny, stores, capsys):
    arguments = [*TRAIN, "--method", "dlt-window", "--dataset", tiny, "--noise-rate", "0.4"]
    arguments += ["--setting", "epochs=3", "--option", "window=2"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "Best (oracle)" in out
    folder = next((stores / "runs/digits").iterdir())
    assert folder.name.startswith("tiny-symmetric0.4-dlt-window-s1-")
    assert main(["evaluate", str(folder), "--device", "cpu"]) == 2
    assert "dataset: give --dataset, the .npz file that the run was trained on" in capsys.readouterr().err
    assert main(["evaluate", str(folder), "--dataset", tiny, "--device", "cpu"]) == 0
    assert "test_accuracy " in capsys.readouterr().out
    before = (folder / "timing.csv").read_bytes()
    assert main(arguments) == 0  # a second call trains nothing
    assert (folder / "timing.csv").read_bytes() == before


def test_evaluate_needs_a_finished_run(stores, capsys):
    assert main(["evaluate", str(stores)]) == 2
    assert "holds no finished run" in capsys.readouterr().err


def test_estimate_names_the_rows_of_the_archive(stores, tmp_path):
    """Without a test set a fifth is held out: a row of clean_probability.csv is that of the archive all the same."""
    import numpy as np
    import pandas

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    np.savez(tmp_path / "own.npz", images=rng.integers(0, 255, (200, 8, 8)).astype(np.uint8), labels=labels)
    arguments = ["estimate", "--profile", "digits", "--dataset", "own.npz", "--device", "cpu"]
    assert main([*arguments, "--setting", "epochs=4"]) == 0
    (path,) = stores.glob("runs/digits/*/clean_probability.csv")
    table = pandas.read_csv(path)
    assert len(table) == 160
    assert (labels[table["row"]] == table["label"]).all()
