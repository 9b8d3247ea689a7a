"""The stopwatch runs, and its ratios are what they say."""

import functools

import numpy as np
import pandas
import pytest
import torch

from dlt.__main__ import main
from dlt.bench import augmentation, cleaning, growth, limits
from dlt.bench.methods import Timing, frame
from dlt.cleaning.neighbours import exact
from dlt.harness.config import make_config
from dlt.harness.datasets import CIFAR_STATISTICS
from dlt.harness.images import Dataset, DeviceImages, Images


def test_it_times_and_writes(tmp_path, capsys):
    settings = ["--setting", "epochs=6", "--output", str(tmp_path)]
    methods = ["--methods", "ce,dlt-window,dividemix", "--repeats", "1"]
    arguments = ["bench", "--profile", "digits", "--device", "cpu", *methods, *settings]
    assert main(arguments) == 0
    table = pandas.read_csv(tmp_path / "bench.csv").set_index("what")
    assert list(table.index[:4]) == ["bare loop", "ce", "dlt-window", "dividemix"]
    assert (table["seconds"] > 0).all()
    assert table["model"]["dlt-window"] == pytest.approx(3)
    assert 2 / 3 < table["model"]["dividemix"] < 13
    text = (tmp_path / "bench.md").read_text()
    assert text in capsys.readouterr().out
    assert "share of a DLT epoch" in text


def test_ratios():
    timings = [
        Timing("bare loop", [1.0, 1.2, 1.1], 100, [1.0] * 3),
        Timing("ce", [1.3, 1.32, 1.4], 100, [1.0] * 3),
        Timing("dlt-window", [3.96, 4.4, 4.0], 100, [3.0] * 3),
        Timing("dividemix", [1.32 * 4, 1.32 * 6.6, 1.32 * 8], 100, [4.0, 6.0, 8.0]),
    ]
    parts = [Timing("detection", [0.4], 100)]
    table = frame({"timings": timings, "parts": parts, "about": {"profile": "x"}}).set_index("what")
    assert table["ratio"]["ce"] == pytest.approx(1.32 / 1.1)  # over the bare loop
    assert table["ratio"]["dlt-window"] == pytest.approx(4.0 / (3 * 1.32))  # over its model in CE-epochs
    assert table["ratio"]["dividemix"] == pytest.approx(1.0)  # each epoch over its own model
    assert table["share"]["detection"] == pytest.approx(10)
    assert table["images_per_s"]["bare loop"] == pytest.approx(100 / 1.1)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--repeats", "0"], "repeats: 0"),
        (["--methods", "f-correction"], "cannot be timed alone"),
        (["--methods", "nothing"], "method: 'nothing'"),
        (["--what", "growth"], "what: growth is measured on the CPU, without"),
    ],
)
def test_bad_input(capsys, arguments, line):
    assert main(["bench", "--profile", "digits", "--device", "cpu", *arguments]) == 2
    assert line in capsys.readouterr().err


def test_augmentation_beside_torchvision(monkeypatch):
    monkeypatch.setattr("dlt.bench.augmentation.random_images", lambda count: np.zeros((300, 32, 32, 3), np.uint8))
    threads = torch.get_num_threads()
    ours, theirs = augmentation.augmentation(repeats=1, count=300)
    torch.set_num_threads(threads)
    assert ours["images_per_s"] > 0
    assert theirs["images_per_s"] > 0


def test_both_pipelines_do_the_same_work():
    """Equal shapes, types and normalisation: an image that no crop or flip changes comes out equal."""
    white = np.full((4, 32, 32, 3), 255, np.uint8)
    part = Images(white, np.zeros(4, dtype=np.int64), ("any",))
    dataset = Dataset("white", part, part, *CIFAR_STATISTICS["cifar10"], padding=0, flip=True)
    ours = DeviceImages(white, dataset, "cpu").augmented(torch.arange(4), torch.Generator().manual_seed(0))
    theirs, _ = augmentation._Pictures(white)[0]
    assert ours[0].shape == theirs.shape
    assert ours.dtype == theirs.dtype
    assert torch.allclose(ours[0, :, 16, 16], theirs[:, 16, 16], atol=1e-6)


def test_growth_measures_in_a_process_of_its_own():
    """Also its memory: the parent's is larger than all of it here."""
    ballast = np.ones((1500, 2**17))  # 1.5 GB
    row = growth._apart("digits", 300, 3, 0, 1)
    assert row["seconds"] > 0
    assert row["steps"] == 5
    assert 0 < row["mib_over_libraries"] < row["peak_mib"] < ballast.nbytes / 2**20


def test_synthetic_clusters_and_their_wrong_labels():
    features, labels, true = cleaning.clusters(2000)
    assert features.dtype == np.float32
    assert features.shape == (2000, cleaning.DIMENSIONS)
    assert (labels != true).mean() == pytest.approx(cleaning.WRONG, abs=0.03)
    found = exact(features / np.linalg.norm(features, axis=1, keepdims=True), 5)
    assert (found.votes(true, cleaning.CLASSES).argmax(1) == true).mean() > 0.9
    assert cleaning._shared(found.rows, found.rows[:, ::-1]) == 1
    assert cleaning._shared(found.rows[:, :2], found.rows[:, 2:]) == 0


def test_where_dlt_without_a_rate_ends(tmp_path, monkeypatch, capsys):
    """The whole command on the smallest of its data, for three epochs."""
    monkeypatch.setattr(limits, "CASES", {"100 images": ("few.npz", 0.4)})
    monkeypatch.setattr(limits, "make_config", functools.partial(make_config, epochs=3))
    monkeypatch.setattr("sys.argv", ["limits", str(tmp_path), "--seeds", "1"])
    limits.main()
    table = pandas.read_csv(tmp_path / "limits.csv").set_index("method")
    assert list(table.index) == ["ce", "dlt-window", "dlt-auto"]
    assert table["wrong"].between(0.3, 0.45).all()
    assert table["w"].notna().tolist() == [False, False, True]
    assert "dlt-auto" in capsys.readouterr().out
