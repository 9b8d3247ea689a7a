"""The README's commands, run as they stand where a user stands, with more words that make them short."""

import re
import shutil
import sys

import numpy as np
import pandas
import pytest
from handmade import SHORT, SYM, quadrants, words
from PIL import Image
from readme import COMMANDS, command, python
from sklearn.datasets import load_wine

from dlt.__main__ import _parser, main
from dlt.artifact.experiments import TABLES
from dlt.harness import records

TRAIN = ["--device", "cpu", *words(SHORT)]

# What is added to each command that begins so; None: another test runs it, or none.
MORE = {
    "./reproduce.sh table1": ["--methods", "ce", "--noise", "symmetric0.4", "--time-budget", "2s", "--device", "cpu"],
    "./reproduce.sh test": None,
    "./reproduce.sh train --method dlt-auto --profile digits --noise symmetric": None,
    "./reproduce.sh evaluate runs/digits": None,
    "./reproduce.sh evaluate checkpoints/digits": None,
    "./reproduce.sh estimate --profile digits --dataset mine.npz": [*TRAIN, "--setting", "early_epoch=1"],
    "./reproduce.sh clean my-pictures/": None,
    "./reproduce.sh clean shots.csv": ["--backbone", "none", "--profile", "digits", "--epochs", "6", "--device", "cpu"],
    "./reproduce.sh clean mine.npz": ["--profile", "digits", "--epochs", "6", "--device", "cpu"],
    "./reproduce.sh clean wine.csv": ["--epochs", "6", "--device", "cpu"],
    "./reproduce.sh apply": None,
    "./reproduce.sh undo": None,
    "./reproduce.sh train --method my_method:SmallLoss": TRAIN,
    "./reproduce.sh train --method dlt-auto --profile digits --dataset mine.npz": TRAIN,
    "pip install .[cluster]": None,
    "./reproduce.sh table1 --launcher ray": None,
    ".venv/bin/torchrun": None,
    "./reproduce.sh export runs/digits": None,
    "./reproduce.sh train --method ce --noise none --profile mini --dataset trusted.npz": None,
    "./reproduce.sh export runs/mini": None,
    "./reproduce.sh clean photos/": None,
    "./reproduce.sh export-noise my-labels": [],
    "./reproduce.sh train --method my_idea:Trimmed": TRAIN,
    "./reproduce.sh table1 --profile digits --methods ce,dlt-window,my_idea:Trimmed": [
        *("--methods", "my_idea:Trimmed", "--noise", "my_noise:next_class0.3", "--seeds", "5,"),
        *("--time-budget", "2s", "--device", "cpu"),
    ],
    "./reproduce.sh compare": None,
    # Those for a GPU are parsed, not run.
    "./reproduce.sh all --profile short": None,
    "./reproduce.sh table1 --profile short": None,
    "CUDA_VISIBLE_DEVICES=0,1 ./reproduce.sh table1": None,
    "sbatch docs/slurm.sh": None,
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
    own = {"my_method": "class SmallLoss", "my_idea": "class Trimmed", "my_noise": "def next_class"}
    for name, part in own.items():
        (tmp_path / f"{name}.py").write_text(python(part))
    yield tmp_path
    for name in own:
        sys.modules.pop(name, None)


def test_every_command_is_known_here():
    assert {begins(command) for command in COMMANDS} == set(MORE)


@pytest.mark.parametrize("line", [line for line in COMMANDS if MORE[begins(line)] is not None], ids=" ".join)
def test_it_runs(line, here):
    assert main([*line[1:], *MORE[begins(line)]]) == 0


@pytest.mark.parametrize("line", [x for x in COMMANDS if "./reproduce.sh" in x and "test" not in x], ids=" ".join)
def test_it_is_a_command_line_of_ours(line):
    _parser().parse_args(line[line.index("./reproduce.sh") + 1 :])


def test_an_own_method_is_compared_with_ours_and_with_its_last_version(here, write_run, capsys):
    """From records that are written by hand, as five seeds of docs/own-method.md would leave them."""
    by_method, by_glob = command("compare", "ce"), command("compare", "digits-symmetric0.4-my_idea.Trimmed-*")
    for version in ("", "# edited\n"):
        (here / "my_idea.py").write_text(python("class Trimmed") + version)
        for seed in range(1, 6):
            write_run("my_idea:Trimmed", SYM, seed, 80.0 + seed, 95.0, table=TABLES["table1"])
    for method, last in (("ce", 70.0), ("dlt-window", 90.0)):
        for seed in range(1, 6):
            write_run(method, SYM, seed, last + 2 * (seed % 2), 95.0, table=TABLES["table1"])
    shutil.move(here / "digits", records.RUNS / "digits")
    assert main(by_method[1:]) == 0
    out = capsys.readouterr().out
    assert [line.split("|")[-2].strip() for line in out.splitlines() if line.startswith("| ")][2:] == [
        "",
        "lower",
        "higher",
    ]
    assert main(by_glob[1:]) == 0
    assert "my_idea:Trimmed (code=" in capsys.readouterr().out


def test_a_run_and_what_can_be_done_with_it(here, capsys):
    train, evaluate, export = (
        command("train", "0.5"),
        command("evaluate", "runs/digits/digits-symmetric0.5-dlt-auto-s1-<hash>"),
        command("export", "my-model"),
    )
    assert main([*train[1:], *TRAIN]) == 0
    assert re.search(r"w of Eq. 7, the share of wrong labels .+: [\d.]+% \(truly [\d.]+%\)", capsys.readouterr().out)
    (folder,) = here.glob(evaluate[2].replace("<hash>", "*"))
    assert main(["evaluate", str(folder), "--device", "cpu"]) == 0
    assert "test_accuracy" in capsys.readouterr().out
    assert main(["export", str(folder), export[3]]) == 0
    assert (here / export[3] / "README.md").is_file()
