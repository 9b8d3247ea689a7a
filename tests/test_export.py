"""What others can take along: weights with a model card, noisy labels with their hash."""

import hashlib
import json
import sys

import numpy as np
import pytest
import torch
from readme import python
from sklearn.datasets import load_digits

from dlt.__main__ import main
from dlt.artifact.export import export_noise
from dlt.harness import records
from dlt.harness.config import make_config
from dlt.harness.datasets import Dataset, Images, load
from dlt.harness.errors import InputError
from dlt.harness.label_noise import corrupt, symmetric
from dlt.harness.networks import build_network, load_weights
from dlt.harness.run import noisy_labels
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
    assert json.loads((target / "config.json").read_text()) == record.run["config"]
    card = (target / "README.md").read_text()
    assert f"{record.result['test_accuracy']['last']:.2f}%" in card
    assert record.run["label_noise"]["sha256"] in card
    assert main(["export", str(finished), str(target)]) == 2  # nothing is overwritten
    assert "is not an empty folder" in capsys.readouterr().err


def test_the_card_of_a_shipped_network_can_be_run(tmp_path):
    """Its data set is ours: shape, normalisation and classes are filled in, and its lines of Python work."""
    source = records.CHECKPOINTS / "digits" / "digits-symmetric0.4-dlt-window-s1-30945ee789"
    assert main(["export", str(source), str(tmp_path / "model")]) == 0
    card = (tmp_path / "model" / "README.md").read_text()
    assert "license: mit" in card
    code = card.split("```python")[1].split("```")[0].replace("model.safetensors", str(tmp_path / "model.safetensors"))
    (tmp_path / "model" / "model.safetensors").rename(tmp_path / "model.safetensors")
    exec(code, names := {})
    about = json.loads((tmp_path / "model" / "config.json").read_text())["data"]
    data = load("digits", "digits").test
    images = (torch.from_numpy(data.images).float() / 255 - about["mean"][0]) / about["std"][0]
    right = names["network"](images.permute(0, 3, 1, 2)).argmax(1).numpy() == data.labels
    assert 100 * right.mean() == pytest.approx(records.read_record(source).epochs()["test_accuracy"].iloc[-1])


def test_export_of_a_network_for_pictures(tiny_config, tiny, finished, tmp_path, capsys):
    """With the file that it was trained on it is a backbone for `clean`."""
    from PIL import Image

    from dlt.cleaning.backbones import load_backbone

    target = tmp_path / "model"
    other = tmp_path / "other.npz"
    other.write_bytes(b"")
    assert main(["export", str(finished), str(target), "--dataset", str(other)]) == 2
    assert "other.npz is not the .npz file that the run" in capsys.readouterr().err
    assert not target.exists()
    with pytest.raises(InputError, match="give the folder that `export"):
        load_backbone(str(finished), None, torch.device("cpu"))
    assert main(["export", str(finished), str(target), "--dataset", tiny]) == 0
    about = json.loads((target / "config.json").read_text())["data"]
    assert about["mean"] == list(load(tiny, "digits").mean)
    backbone = load_backbone(str(target), None, torch.device("cpu"))
    assert backbone.features(backbone.plain(Image.new("RGB", (20, 30)))[None]).shape == (1, 64)


def test_export_needs_weights(finished, tmp_path, capsys):
    (finished / "weights.safetensors").unlink()
    assert main(["export", str(finished), str(tmp_path / "model")]) == 2
    assert "holds no finished run" in capsys.readouterr().err


def exported(target, *arguments):
    """What others would load: labels, rows, the table beside them, and what they are."""
    assert main(["export-noise", str(target), "--profile", "digits", "--device", "cpu", *arguments]) == 0
    table = np.loadtxt(target / "labels.csv", delimiter=",", skiprows=1, dtype=int)
    about = json.loads((target / "noise.json").read_text())
    return np.load(target / "labels.npy"), np.load(target / "rows.npy"), table, about


def test_export_of_noise_is_what_runs_train_on(tmp_path):
    """From the files and scikit-learn alone: which digits are trained on, and as what."""
    target = tmp_path / "noise"
    labels, rows, table, about = exported(target, "--noise-rate", "0.4", "--seed", "2")
    digits = load_digits().target
    np.testing.assert_array_equal(labels, symmetric(digits[rows], 0.4, 10, 2))
    np.testing.assert_array_equal(table, np.column_stack([rows, labels, digits[rows]]))
    assert about["sha256_of_int64_labels"] == hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest()
    assert about["realised_rate"] == pytest.approx((labels != digits[rows]).mean())
    assert (about["source"], about["source_samples"], about["samples"]) == (
        "sklearn.datasets.load_digits()",
        len(digits),
        len(rows),
    )
    assert about["part"] == "a stratified split; the others are the test set"
    data = load("digits", "digits")
    np.testing.assert_array_equal(
        noisy_labels(data, make_config("digits", "digits", "ce", noise_rate=0.4, seed=2)).labels, labels
    )
    np.testing.assert_array_equal(data.train.images[..., 0], np.rint(load_digits().images[rows] * (255 / 16)))
    assert main(["export-noise", str(target), "--profile", "digits", "--noise-rate", "0.4"]) == 2


def test_the_exported_loader_joins_labels_and_images(tmp_path, monkeypatch):
    """As docs/records.md shows it, without anything of dlt."""
    monkeypatch.chdir(tmp_path)
    exported(tmp_path / "my-labels", "--noise-rate", "0.4")
    monkeypatch.syspath_prepend(tmp_path / "my-labels")
    assert "import dlt" not in (tmp_path / "my-labels/loader.py").read_text()
    scope = {}
    exec(python("NoisyLabels"), scope)
    assert sys.modules.pop("loader").__file__ == str(tmp_path / "my-labels/loader.py")
    data = load("digits", "digits")
    noisy = noisy_labels(data, make_config("digits", "digits", "ce", noise_rate=0.4))
    joined = scope["batches"].dataset
    images = np.stack([joined[i][0][0].numpy() for i in range(len(joined))])
    np.testing.assert_array_equal(np.rint(images * (255 / 16)), data.train.images[..., 0])
    np.testing.assert_array_equal([joined[i][1] for i in range(len(joined))], noisy.labels)
    assert sum(len(labels) for _, labels in scope["batches"]) == len(noisy.labels)


def test_export_of_noise_of_an_archive(tmp_path, tiny):
    """Where a fifth is held out, rows are those of the archive; with a test set of its own all are trained on."""
    rng = np.random.default_rng(0)
    given = rng.integers(0, 3, 200)
    images = rng.integers(0, 255, (200, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "own.npz", images=images, labels=given)
    arguments = ["--noise", "none", "--dataset"]
    labels, rows, _, about = exported(tmp_path / "a", *arguments, str(tmp_path / "own.npz"))
    np.testing.assert_array_equal(given[rows], labels)
    assert (about["source"], about["source_samples"], about["samples"]) == ("own.npz", 200, 160)
    labels, rows, _, about = exported(tmp_path / "b", *arguments, tiny)
    np.testing.assert_array_equal(rows, np.arange(250))
    assert (about["source_samples"], about["part"]) == (250, "all")


def test_export_of_noise_of_a_part_of_cifar(tmp_path):
    """Profile mini: the rows count through all of CIFAR-10."""
    part = Images(
        np.zeros((4, 32, 32, 3), np.uint8), np.array([0, 1, 2, 3]), tuple("abcdefghij"), np.array([4, 5, 9, 77])
    )
    data = Dataset("cifar10", part, part, (0.5,) * 3, (0.5,) * 3, 4, True)
    config = make_config("mini", "cifar10", "ce", "symmetric", 0.4)
    export_noise(corrupt(part.labels, "symmetric", 0.4, 10, 1, "cifar10"), data, config, tmp_path / "noise")
    np.testing.assert_array_equal(np.load(tmp_path / "noise/rows.npy"), [4, 5, 9, 77])
    about = json.loads((tmp_path / "noise/noise.json").read_text())
    assert (about["source_samples"], about["part"]) == (50000, "the first 512 of each class")
    assert about["source"] == "torchvision.datasets.CIFAR10(train=True)"
