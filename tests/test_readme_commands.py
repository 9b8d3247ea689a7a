"""The README's commands, run as they stand where a user stands, with more words that make them short."""

import shutil
import sys

import numpy as np
import pandas
import pytest
from handmade import SHORT, quadrants, words
from PIL import Image
from readme import COMMANDS, command, python
from sklearn.datasets import load_wine

from dlt.__main__ import main

TRAIN = ["--device", "cpu", *words(SHORT)]

# What is added to each command that begins so; None: another test runs it, or none.
MORE = {
    "./reproduce.sh table1": ["--methods", "ce", "--noise", "symmetric0.4", "--time-budget", "2s", "--device", "cpu"],
    "./reproduce.sh test": None,
    "./reproduce.sh train --method dlt-window --profile digits --noise symmetric": None,
    "./reproduce.sh evaluate runs/digits": None,
    "./reproduce.sh estimate --profile digits --dataset mine.npz": [*TRAIN, "--setting", "early_epoch=1"],
    "./reproduce.sh clean my-pictures/": None,
    "./reproduce.sh clean shots.csv": ["--backbone", "none", "--profile", "digits", "--epochs", "6", "--device", "cpu"],
    "./reproduce.sh clean mine.npz": ["--profile", "digits", "--epochs", "6", "--device", "cpu"],
    "./reproduce.sh clean wine.csv": ["--epochs", "6", "--device", "cpu"],
    "./reproduce.sh apply": None,
    "./reproduce.sh undo": None,
    "./reproduce.sh train --method my_method:SmallLoss": TRAIN,
    "./reproduce.sh train --method dlt-window --profile digits --dataset mine.npz": TRAIN,
    "pip install .[cluster]": None,
    "./reproduce.sh table1 --launcher ray": None,
    ".venv/bin/torchrun": None,
    "./reproduce.sh export runs/digits": None,
    "./reproduce.sh train --method ce --noise none --profile mini --dataset trusted.npz": None,
    "./reproduce.sh export runs/mini": None,
    "./reproduce.sh clean photos/": None,
    "./reproduce.sh export-noise my-labels": [],
}


def begins(command):
    return max((start for start in MORE if " ".join(command).startswith(start)), key=len, default=None)


@pytest.fixture
def here(tmp_path, monkeypatch, stores, tiny):
    """A folder with what the commands name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    shutil.copy(tiny, "mine.npz")
    wine = load_wine(as_frame=True)
    wine.data.assign(label=wine.target).to_csv("wine.csv", index=False)
    images, labels = quadrants(120, np.random.default_rng(0))
    for row, image in enumerate(images):
        Image.fromarray(image).save(f"{row}.png")
    pandas.DataFrame({"file": [f"{row}.png" for row in range(120)], "label": labels}).to_csv("shots.csv", index=False)
    (tmp_path / "my_method.py").write_text(python("class SmallLoss"))
    yield tmp_path
    sys.modules.pop("my_method", None)


def test_every_command_is_known_here():
    assert {begins(command) for command in COMMANDS} == set(MORE)


@pytest.mark.parametrize("line", [line for line in COMMANDS if MORE[begins(line)] is not None], ids=" ".join)
def test_it_runs(line, here):
    assert main([*line[1:], *MORE[begins(line)]]) == 0


def test_a_run_and_what_can_be_done_with_it(here, capsys):
    train, evaluate, export = command("train", "0.5"), command("evaluate"), command("export", "my-model")
    assert main([*train[1:], *TRAIN]) == 0
    (folder,) = here.glob(evaluate[2].replace("<hash>", "*"))
    assert main(["evaluate", str(folder), "--device", "cpu"]) == 0
    assert "test_accuracy" in capsys.readouterr().out
    assert main(["export", str(folder), export[3]]) == 0
    assert (here / export[3] / "README.md").is_file()
