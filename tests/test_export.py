"""What others can take along: weights with a model card, noisy labels with their hash."""

import hashlib
import json

import numpy as np
import pytest

from dlt.__main__ import main
from dlt.harness import records
from dlt.harness.label_noise import symmetric
from dlt.harness.networks import build_network, load_weights
from dlt.harness.training import train


@pytest.fixture
def finished(tiny_config, tmp_path):
    config = tiny_config("ce")
    list(train(config, tmp_path / "runs", "cpu"))
    return records.folder_of(tmp_path / "runs", config)


def test_export_of_a_run(finished, tmp_path, capsys):
    target = tmp_path / "model"
    assert main(["export", str(finished), str(target)]) == 0
    assert "model.safetensors" in capsys.readouterr().out
    network = build_network("preact-digits", 1, 4, seed=9)
    load_weights(target / "model.safetensors", [network])
    record = records.read_record(finished)
    assert json.loads((target / "config.json").read_text()) == record.config
    card = (target / "README.md").read_text()
    assert f"{record.result['test_accuracy']['last']:.2f}%" in card
    assert record.run["label_noise"]["sha256"] in card
    assert main(["export", str(finished), str(target)]) == 2  # nothing is overwritten
    assert "is not an empty folder" in capsys.readouterr().err


def test_export_needs_weights(finished, tmp_path, capsys):
    (finished / "weights.safetensors").unlink()
    assert main(["export", str(finished), str(tmp_path / "model")]) == 2
    assert "holds no finished run" in capsys.readouterr().err


def test_export_of_noise_is_what_runs_train_on(tmp_path, capsys):
    target = tmp_path / "noise"
    assert main(["export-noise", str(target), "--profile", "digits", "--noise-rate", "0.4", "--seed", "2"]) == 0
    labels = np.load(target / "labels.npy")
    table = np.loadtxt(target / "labels.csv", delimiter=",", skiprows=1, dtype=int)
    np.testing.assert_array_equal(table[:, 1], labels)
    np.testing.assert_array_equal(labels, symmetric(table[:, 2], 0.4, 10, 2))
    about = json.loads((target / "noise.json").read_text())
    assert about["sha256_of_int64_labels"] == hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest()
    assert about["realised_rate"] == pytest.approx((table[:, 1] != table[:, 2]).mean())
    assert main(["export-noise", str(target), "--profile", "digits", "--noise-rate", "0.4"]) == 2
