"""A table of what a user asks for: own methods and noises beside ours, other rates, chosen seeds."""

import shutil
import sys

import pandas
import pytest
from handmade import ASYM, SYM

from dlt.__main__ import main
from dlt.artifact.experiments import TABLES, Column
from dlt.artifact.selection import noise_of, seeds_of
from dlt.harness import records

TABLE = TABLES["table1"]
OWN_NOISE = Column("cifar10", "my_bench:flip", 0.3)
CODE = """
from baselines.robust_losses import CE

class Mine(CE):
    pass

def flip(labels, rate, num_classes, generator):
    return labels
"""


@pytest.fixture
def bench(stores, own_modules, write_run, monkeypatch):
    """Seeds 1, 2 and 5: CE is shipped, an own method is in runs/, in a column of the paper's and one with own noise."""
    (own_modules / "my_bench.py").write_text(CODE)
    monkeypatch.chdir(stores)
    for seed in (1, 2, 5):
        for column in (SYM, OWN_NOISE):
            write_run("ce", column, seed, 80.0 + seed, 90.0, table=TABLE)
    shutil.move(stores / "digits", records.CHECKPOINTS / "digits")
    for seed in (1, 2, 5):
        write_run("my_bench:Mine", SYM, seed, 85.0 + seed, 91.0, table=TABLE)
        write_run("my_bench:Mine", OWN_NOISE, seed, 70.0, 91.0, table=TABLE)
    shutil.move(stores / "digits", records.RUNS / "digits")
    return stores


ASK = ["table1", "--profile", "digits", "--device", "cpu", "--methods", "ce,my_bench:Mine"]


def test_what_is_printed_is_what_was_asked_for(bench, capsys):
    words = [*ASK, "--noise", "symmetric0.4,my_bench:flip0.3", "--seeds", "1,2,5"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "12 runs: 6 shipped, 6 in runs/ before, 0 trained now\n\n### Table 1" in out
    (head,) = [line for line in out.splitlines() if line.startswith("| Method")]
    assert [cell.strip() for cell in head.split("|")[3:-1]] == ["sym 0.4", "my_bench:flip 0.3"]
    names = {line.split("|")[1].strip(" -") for line in out.splitlines() if line.startswith("| ")}
    assert names == {"", "Method", "Cross-Entropy (CE)", "my_bench:Mine"}
    assert "`./reproduce.sh " + " ".join(word for word in words if word not in ("--device", "cpu")) in out
    numbers = pandas.read_csv(bench / "runs/selected/digits/table1.csv")
    assert set(numbers["method"]) == {"ce", "my_bench:Mine"}
    gain = numbers.query("method == 'my_bench:Mine' and metric == 'last' and noise == 'symmetric'")["gain"]
    assert gain.tolist() == [5.0]
    curves = pandas.read_csv(bench / "runs/selected/digits/table1_curves.csv")
    assert set(curves["noise"]) == {"symmetric", "my_bench:flip"}
    assert not (bench / "figures").exists()
    assert not (bench / "runs/figures").exists()


def test_shipped_records_can_be_left_out(bench, capsys):
    words = [*ASK, "--noise", "symmetric0.4", "--seeds", "2", "--dry-run"]
    assert main(words) == 0
    assert "4 runs, 2 shipped, 2 finished, 0 to train" in capsys.readouterr().out
    assert main([*words, "--no-shipped"]) == 0
    assert "4 runs, 2 finished, 2 to train" in capsys.readouterr().out
    assert main([*words, "--fresh"]) == 0
    assert "4 runs, 0 finished, 4 to train" in capsys.readouterr().out


def test_a_column_that_none_can_be_run_in_is_left_out(bench, capsys):
    """It is named, unless the noise that was asked for is run on other data."""
    words = ["table1", "--profile", "digits", "--methods", "m-correction", "--dry-run"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "left out, since nothing of them can be run: asymmetric 0.2, " in out
    assert "3 runs" in out
    assert main(["table4", "--profile", "digits", "--noise", "symmetric0.3", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "left out" not in out
    assert "2 runs" in out


def test_the_baseline_is_the_first_row_where_ce_is_not_asked_for(bench, write_run, capsys):
    write_run("sce", SYM, 1, 88.0, 90.0, table=TABLE)
    shutil.copytree(bench / "digits", records.RUNS / "digits", dirs_exist_ok=True)
    words = ["table1", "--profile", "digits", "--methods", "my_bench:Mine,sce", "--noise", "symmetric0.4"]
    assert main([*words, "--output", "mine", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "Gain: points over the Last of my_bench:Mine" in out
    assert " +2.0 / —" in out
    assert (bench / "mine/digits/table1.tex").is_file()


def test_a_noise_that_gives_no_labels_is_found_before_anything_is_trained(bench, own_modules, capsys):
    (own_modules / "my_bench.py").write_text(CODE.replace("return labels", "return labels + 1"))
    sys.modules.pop("my_bench")
    assert main([*ASK, "--noise", "symmetric0.4,my_bench:flip0.2"]) == 2
    assert "noise: my_bench:flip gave labels 1..10; must be in 0..9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "noise"),
    [
        ("symmetric0.4", ("symmetric", 0.4)),
        ("symmetric.35", ("symmetric", 0.35)),
        ("asymmetric-block50.4", ("asymmetric-block5", 0.4)),
        ("my_bench:flip0.30", ("my_bench:flip", 0.3)),
        ("human-worse", ("human-worse", 0.4021)),
        ("none", ("none", 0.0)),
    ],
)
def test_noises(bench, text, noise):
    assert noise_of(text) == noise


@pytest.mark.parametrize(("text", "seeds"), [(None, [1]), ("3", [1, 2, 3]), ("5,1,2", [1, 2, 5]), ("7,", [7])])
def test_seeds(text, seeds):
    assert seeds_of(text) == seeds


def test_six_columns_less_one_are_drawn(write_run, tmp_path):
    from dlt.artifact.curves import accuracy_curves
    from dlt.artifact.selection import narrowed

    columns = [column for column in TABLE.columns if column != ASYM]
    configs = [TABLE.config("digits", "ce", column, 1) for column in columns]
    for column in columns:
        write_run("ce", column, 1, 80.0, 90.0, table=TABLE)
    table, _ = narrowed(TABLE, "digits", configs)
    assert table.columns == columns
    assert accuracy_curves(table, "digits", [1], [tmp_path], tmp_path)[0].is_file()
