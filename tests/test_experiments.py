"""Which runs the tables read, and the paper's numbers."""

import pytest

from dlt.artifact import paper, tables
from dlt.artifact.experiments import (
    PROFILES_LIKE_PAPER,
    ROWS,
    TABLES,
    Column,
    dataset_in,
    profile_in_words,
    profile_with,
)
from dlt.harness import method
from dlt.harness.config import make_config
from dlt.harness.settings import setting_for


def test_runs_of_table_1(monkeypatch):
    for name in ("m-correction", "meta-learning"):
        monkeypatch.setitem(method.METHODS, name, ("baselines.robust_losses:SCE", {}))
    table = TABLES["table1"]
    assert "meta-learning" not in table.methods
    assert table.methods == [name for name in ROWS if name in method.METHODS]
    runs = table.runs("digits", [1, 2], ["ce", "m-correction"])
    assert len(runs) == len({run.name for run in runs}) == 2 * (6 + 3)
    assert {run.noise for run in runs if run.method == "m-correction"} == {"symmetric"}
    assert {run.dataset for run in runs} == {"digits"}
    estimation = set(setting_for("digits", "digits").estimation_epochs)
    assert all((estimation <= set(run.loss_epochs)) == (run.method == "ce") for run in runs)
    assert {run.dataset for run in table.runs("short", [1])} == {"cifar10"}


def test_runs_of_the_other_tables():
    assert {run.dataset for run in TABLES["table2"].runs("short", [1])} == {"cifar100"}
    assert len(TABLES["table2"].runs("paper", [1])) == 6 * 6 + 3
    assert {run.dataset for run in TABLES["table2"].runs("mini", [1])} == {"cifar100"}
    assert TABLES["table2"].runs("digits", [1]) == []
    assert len(TABLES["table4"].runs("paper", [1, 2])) == 2 * 2 * 6
    clothing = TABLES["table3"].runs("paper", [1])
    assert [run.method for run in clothing] == [name for name in paper.TABLE3 if name != "meta-learning"]
    assert {(run.dataset, run.noise, run.assumed_rate) for run in clothing} == {("clothing1m", "none", 0.38)}
    assert list(TABLES["table3"].rows) == list(paper.TABLE3)


def test_the_table_beyond_the_paper():
    """No human labels but CIFAR's; M-correction takes part; no number of the paper's; what each method costs."""
    beyond = TABLES["beyond"]
    digits = beyond.runs("digits", [1])
    own = {("instance", 0.2), ("instance", 0.4)}
    assert {(run.noise, run.noise_rate) for run in digits} == set(paper.TABLE1) | own
    assert len(digits) == 8 * len(beyond.rows) - 3  # M-correction is not run under asymmetric noise
    worse = beyond.config("mini", "dlt-window", Column("cifar10", "human-worse", 0.4021), 1)
    assert worse == make_config("mini", "cifar10", "dlt-window", "human-worse")
    lines = tables.text(beyond, "digits", tables.collect(beyond, "digits", [1], [])).lines
    works = {lines[i - 1][0]: lines[i] for i in range(1, len(lines), 2)}
    assert not any(any(cells[2:]) for cells in lines if cells[1] != "work")
    assert works["DivideMix"] == ["", "work", "533", "413", "293", "533", "473", "413", *[""] * 3, "533", "413", ""]
    assert works["SOP"][2] == works["Cross-Entropy (CE)"][2] == "60"


def test_beyond_the_paper_shows_what_was_run(write_run, tmp_path):
    """One column of the twelve; gains are over cross-entropy; the others are named."""
    beyond, column = TABLES["beyond"], Column("cifar10", "instance", 0.4)
    write_run("ce", column, 1, 70.0, 80.0, table=beyond)
    write_run("dlt-window", column, 1, 90.0, 95.0, table=beyond)
    text = tables.text(beyond, "digits", tables.collect(beyond, "digits", [1], [tmp_path]))
    assert text.head == ["Method", "", "instance 0.4"]
    measured = [line[1:] for line in text.lines if line[2] and line[1] != "work"]
    assert measured == [["Last", "70.0"], ["Last", "90.0"], ["gain", "+20.0"]]
    hidden = next(note for note in text.notes if note.startswith("Not shown, as nothing was run: CIFAR-10 sym 0.2, "))
    assert hidden.count(", ") == 11
    assert hidden.endswith("CIFAR-10 instance 0.2, CIFAR-100 human noisy.")


@pytest.mark.parametrize("name", TABLES)
def test_every_data_set_can_be_run_somewhere(name):
    for dataset in TABLES[name].paper:
        assert profile_with(dataset) in PROFILES_LIKE_PAPER
        assert dataset_in(profile_with(dataset), dataset) == dataset


def test_data_sets_by_profile():
    assert [dataset_in(p, "cifar10") for p in ("digits", "mini", "short", "paper")] == [
        "digits",
        "cifar10",
        "cifar10",
        "cifar10",
    ]
    assert [dataset_in(p, "cifar100") for p in ("digits", "mini", "short", "paper")] == [
        None,
        "cifar100",
        "cifar100",
        "cifar100",
    ]


def test_a_profile_in_words_has_the_epochs_of_every_data_set():
    mini = profile_in_words("mini", ["cifar10", "cifar100"])
    assert mini.endswith("(CIFAR-100: 100 and 20); network preact-mini, 100 epochs (CIFAR-100: 200)")
    assert profile_in_words("mini", ["cifar100"]).endswith("of CIFAR-100; network preact-mini, 200 epochs")
    assert profile_in_words("paper", ["cifar10", "cifar100"]).endswith("network preact-resnet18, 300 epochs")
    table = TABLES["table4"]
    shown = [column for column in table.columns if column.dataset == "cifar10"]
    assert "CIFAR-100" not in table.describe("mini", shown, 1, "mean and range")
    assert "CIFAR-100: 200" in table.describe("mini", table.columns, 1, "mean and range")
    words = table.describe("mini", shown, 3, "mean and range")
    assert table.describe("mini", shown, 3, "mean and range", fewer=True) == words + ", of some methods fewer"


# ---------------------------------------------------------------------- the paper's numbers
ACCURACIES = {
    "table1": paper.TABLE1,
    "table2": paper.TABLE2,
    "table4, CIFAR-10": paper.TABLE4["cifar10"],
    "table4, CIFAR-100": paper.TABLE4["cifar100"],
}


@pytest.mark.parametrize("name", ACCURACIES)
def test_the_papers_tables_are_complete(name):
    cells = ACCURACIES[name]
    four = name.startswith("table4")
    assert tuple(cells) == (paper.THREE if four else paper.SIX)
    missing = set()
    for setting, methods in cells.items():
        assert list(methods) == (["dividemix", "dividemix-dlt"] if four else list(ROWS))
        for method_name, (best, last) in methods.items():
            if best is None or last is None:
                missing.add((method_name, *setting))
                continue
            assert 0 < last <= best < 100  # holds everywhere in the paper
    asymmetric = set() if four else {("m-correction", "asymmetric", rate) for rate in (0.2, 0.3, 0.4)}
    unreadable = {("dlt-window", "asymmetric", 0.3)} if name == "table2" else set()
    assert missing == asymmetric | unreadable


def test_the_papers_numbers_here_and_there():
    assert paper.TABLE1["symmetric", 0.6]["ce"] == (77.7, 44.9)
    assert paper.TABLE1["asymmetric", 0.4]["dlt-window"] == (92.8, 92.2)
    assert paper.TABLE1["asymmetric", 0.3]["dividemix"] == (93.3, 92.5)
    assert [paper.TABLE2[setting]["ce"][1] for setting in paper.SIX] == [57.5, 41.2, 24.4, 59.6, 51.8, 42.6]
    assert paper.TABLE2["asymmetric", 0.3]["dlt-window"] == (72.8, None)
    assert paper.TABLE2["symmetric", 0.6]["m-correction"] == (59.7, 50.7)
    assert paper.TABLE3 == {
        "ce": 69.21,
        "f-correction": 69.84,
        "m-correction": 71.00,
        "meta-learning": 73.47,
        "dividemix": 74.76,
        "dlt-last-epoch": 74.04,
        "dlt-window": 73.58,
    }
    assert [cell["dividemix"][1] for cell in paper.TABLE4["cifar100"].values()] == [76.9, 74.2, 59.6]
    assert paper.TABLE4["cifar10"]["symmetric", 0.5]["dividemix-dlt"] == (95.5, 95.2)
    assert list(paper.TABLE5["cifar10"].values()) == [21.6, 31.8, 40.9, 49.5, 59.1]
    assert list(paper.TABLE5["cifar100"].values()) == [25.3, 31.5, 39.8, 47.8, 56.6]
    assert list(paper.TABLE5["cifar10"]) == list(paper.TABLE5["cifar100"]) == [20, 30, 40, 50, 60]
