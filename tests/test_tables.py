"""Tables and figures from records that are written here by hand, and the paper's numbers."""

import dataclasses
import json

import pandas
import pytest

from dlt.artifact import paper, printing, tables
from dlt.artifact.experiments import PROFILES_LIKE_PAPER, ROWS, TABLES, Column, Table, dataset_in, profile_with
from dlt.artifact.figures import accuracy_curves, collect_curves
from dlt.artifact.printing import to_csv
from dlt.artifact.tables import collect
from dlt.harness import method
from dlt.harness.config import make_config, setting_for
from dlt.harness.errors import InputError
from dlt.harness.records import csv_text, folder_of

SYM, ASYM = Column("cifar10", "symmetric", 0.4), Column("cifar10", "asymmetric", 0.2)
SMALL = Table(
    "table9",
    "test accuracy (%) of two_methods",
    {"ce": "CE", "dlt-window": "DLT"},
    {"cifar10": {(c.noise, c.rate): paper.TABLE1[c.noise, c.rate] for c in (SYM, ASYM)}},
)


def markdown(table, profile, frame):
    return printing.to_markdown(tables.text(table, profile, frame))


def latex(table, profile, frame):
    return printing.to_latex(tables.text(table, profile, frame), profile)


def write(table, profile, frame, folder):
    return printing.write(tables.text(table, profile, frame), profile, frame, folder)


@pytest.fixture
def run(tmp_path):
    """Write the record of a finished run with these results; of two networks the ensemble is 1 point better."""

    def write_run(
        method, column, seed, last, best, profile="digits", device="cpu: Toy CPU", seconds=60.0, table=SMALL
    ):  # fmt: skip
        config = table.config(profile, method, column, seed)
        folder = folder_of(tmp_path, config)
        folder.mkdir(parents=True)
        result = {
            "test_accuracy": {"last": last, "best": best, "best_epoch": 2},
            "test_accuracy_ensemble": {"last": last + 1, "best": best + 1, "best_epoch": 2},
        }
        about = {"config": dataclasses.asdict(config), "device": device, "threads": 2, "result": result}
        (folder / "run.json").write_text(json.dumps(about))
        accuracies = [{"epoch": 1, "test_accuracy": best}, {"epoch": 2, "test_accuracy": last}]
        (folder / "epochs.csv").write_text(csv_text(accuracies))
        timing = [{"epoch": epoch, "train_s": seconds, "test_s": 0.0} for epoch in (1, 2)]
        (folder / "timing.csv").write_text(csv_text(timing))
        return folder

    return write_run


@pytest.fixture
def frame(run, tmp_path):
    """Three seeds of CE, and of DLT three with symmetric noise, one with asymmetric."""
    for seed, last in ((1, 60.0), (2, 62.0), (3, 64.0)):
        run("ce", SYM, seed, last, 80.0)
        run("ce", ASYM, seed, last + 20, 90.0)
        run("dlt-window", SYM, seed, last + 30, 95.5)
    run("dlt-window", ASYM, 2, 81.5, 85.0)
    return collect(SMALL, "digits", [1, 2, 3], [tmp_path])


def cell(frame, method, column, metric="last"):
    row = frame.query("method == @method and noise == @column.noise and rate == @column.rate and metric == @metric")
    return row.iloc[0]


# ---------------------------------------------------------------------- numbers
def test_mean_deviation_and_gain_over_the_seeds_that_are_there(frame):
    symmetric = cell(frame, "dlt-window", SYM)
    assert (symmetric["mean"], symmetric["std"], symmetric["n"]) == (92.0, 2.0, 3)
    assert symmetric["gain"] == 30.0  # 92 - 62
    assert symmetric["paper_gain"] == pytest.approx(95.3 - 65.0)
    one = cell(frame, "dlt-window", ASYM)
    assert (one["mean"], one["n"]) == (81.5, 1)
    assert pandas.isna(one["std"])
    assert one["gain"] == -0.5  # over CE with seed 2 alone: 82
    assert cell(frame, "dlt-window", SYM, "best")["gain"] == 33.5  # over CE's Last, not its Best
    assert frame["difference"].isna().all()


def test_difference_to_the_paper_where_data_and_network_are_its_own(run, tmp_path):
    run("dlt-window", SYM, 1, 95.0, 96.0, profile="short")
    row = cell(collect(SMALL, "short", [1], [tmp_path]), "dlt-window", SYM)
    assert row["difference"] == pytest.approx(95.0 - 95.3)
    assert pandas.isna(row["gain"])  # CE was not run


def test_gain_is_empty_unless_the_baseline_has_all_the_seeds(run, tmp_path):
    run("ce", SYM, 1, 60.0, 80.0)
    for seed in (1, 2):
        run("dlt-window", SYM, seed, 90.0, 91.0)
    row = cell(collect(SMALL, "digits", [1, 2], [tmp_path]), "dlt-window", SYM)
    assert row["n"] == 2
    assert pandas.isna(row["gain"])


def test_a_cell_is_filled_by_its_own_runs_only(run, tmp_path):
    run("ce", SYM, 1, 60.0, 80.0)
    for other in (
        collect(SMALL, "mini", [1], [tmp_path]),
        collect(SMALL, "digits", [2], [tmp_path]),
        collect(SMALL, "digits", [1], [tmp_path / "elsewhere"]),
    ):
        assert other["n"].sum() == 0
        assert other["mean"].isna().all()
    assert collect(SMALL, "digits", [1], [tmp_path])["n"].sum() == 2  # Last and Best of one cell


def test_the_first_store_that_has_a_run_gives_it(run, tmp_path):
    run("ce", SYM, 1, 60.0, 80.0)
    frame = collect(SMALL, "digits", [1], [tmp_path / "none", tmp_path, tmp_path])
    assert (cell(frame, "ce", SYM)["n"], cell(frame, "ce", SYM)["mean"]) == (1, 60.0)


RUN_JSON = '{"config": {}, "device": "cpu: Toy CPU", "threads": 1, "result": %s}'


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("run.json", "{"),
        ("run.json", RUN_JSON % "{}"),
        ("run.json", RUN_JSON % '{"test_accuracy": {"last": "x", "best": 80.0}}'),
        ("run.json", RUN_JSON % '{"test_accuracy": {"last": 90.0, "best": 80.0}}'),
        ("timing.csv", "epoch,train_s\n1,fast\n"),
        ("timing.csv", ""),
    ],
)
def test_a_corrupt_record_is_named(run, tmp_path, file, text):
    folder = run("ce", SYM, 1, 60.0, 80.0)
    (folder / file).write_text(text)
    with pytest.raises(InputError, match=folder.name):
        collect(SMALL, "digits", [1], [tmp_path])


# ---------------------------------------------------------------------- words
DIGITS = setting_for("digits", "digits")
MARKDOWN = f"""\
### Table 9: test accuracy (%) of two_methods

Profile digits: scikit-learn's 8x8 handwritten digits in place of CIFAR-10; network {DIGITS.network}, \
{DIGITS.epochs} epochs, mean ± standard deviation of 3 seeds.

| Method |                |       sym 0.4 |    asym 0.2 |
| ------ | -------------- | ------------: | ----------: |
| CE     | Last           |    62.0 ± 2.0 |  82.0 ± 2.0 |
|        | Best (oracle)  |    80.0 ± 0.0 |  90.0 ± 0.0 |
|        | gain / paper's | +18.0 / +19.3 | +8.0 / +2.8 |
| DLT    | Last           |    92.0 ± 2.0 |  81.5 (n=1) |
|        | gain / paper's | +30.0 / +30.3 | -0.5 / +6.1 |
|        | Best (oracle)  |    95.5 ± 0.0 |  85.0 (n=1) |
|        | gain / paper's | +33.5 / +30.6 | +3.0 / +6.5 |

- Last: mean test accuracy of the last 10 epochs. Best (oracle): the highest of all epochs, chosen on the \
test set.
- Gain: points over the Last of CE in the same column (ours: with the same seeds); the data are not the \
paper's, so accuracies cannot be compared.
- Compute: 0.7 core-hours on Toy CPU; 10 runs.
- `./reproduce.sh table9 --profile digits --seeds 3` makes this table, running only what is missing.
"""
LATEX = rf"""\begin{{table*}}
\centering\footnotesize\setlength{{\tabcolsep}}{{4pt}}
\caption{{Test accuracy (\%) of two\_methods. Profile digits: scikit-learn's 8x8 handwritten digits in place @
of CIFAR-10; network {DIGITS.network}, {DIGITS.epochs} epochs, mean $\pm$ standard deviation of 3 seeds.}}
\label{{tab:table9-digits}}
\begin{{tabular}}{{llrr}}
\toprule
Method &  & sym 0.4 & asym 0.2 \\
\midrule
CE & Last & 62.0 $\pm$ 2.0 & 82.0 $\pm$ 2.0 \\
 & Best (oracle) & 80.0 $\pm$ 0.0 & 90.0 $\pm$ 0.0 \\
 & gain / paper's & +18.0 / +19.3 & +8.0 / +2.8 \\
\addlinespace DLT & Last & 92.0 $\pm$ 2.0 & 81.5 (n=1) \\
 & gain / paper's & +30.0 / +30.3 & $-$0.5 / +6.1 \\
 & Best (oracle) & 95.5 $\pm$ 0.0 & 85.0 (n=1) \\
 & gain / paper's & +33.5 / +30.6 & +3.0 / +6.5 \\
\bottomrule
\end{{tabular}}\par\smallskip\raggedright
Last: mean test accuracy of the last 10 epochs. Best (oracle): the highest of all epochs, chosen on the @
test set.\par
Gain: points over the Last of CE in the same column (ours: with the same seeds); the data are not the @
paper's, so accuracies cannot be compared.\par
Compute: 0.7 core-hours on Toy CPU; 10 runs.\par
\texttt{{./reproduce.sh table9 -{{}}-profile digits -{{}}-seeds 3}} makes this table, running only what is @
missing.\par
\end{{table*}}
""".replace("@\n", "")
CSV = """\
profile,dataset,paper_dataset,noise,rate,method,metric,mean,std,n,paper,difference,gain,paper_gain,hours,device
digits,digits,cifar10,symmetric,0.4,ce,last,62.0,2.0,3,65.0,,0.0,0.0,0.2,cpu: Toy CPU
digits,digits,cifar10,symmetric,0.4,ce,best,80.0,0.0,3,84.3,,18.0,19.3,0.2,cpu: Toy CPU
digits,digits,cifar10,symmetric,0.4,dlt-window,last,92.0,2.0,3,95.3,,30.0,30.3,0.2,cpu: Toy CPU
digits,digits,cifar10,symmetric,0.4,dlt-window,best,95.5,0.0,3,95.6,,33.5,30.6,0.2,cpu: Toy CPU
digits,digits,cifar10,asymmetric,0.2,ce,last,82.0,2.0,3,87.8,,0.0,0.0,0.2,cpu: Toy CPU
digits,digits,cifar10,asymmetric,0.2,ce,best,90.0,0.0,3,90.6,,8.0,2.8,0.2,cpu: Toy CPU
digits,digits,cifar10,asymmetric,0.2,dlt-window,last,81.5,,1,93.9,,-0.5,6.1,0.0667,cpu: Toy CPU
digits,digits,cifar10,asymmetric,0.2,dlt-window,best,85.0,,1,94.3,,3.0,6.5,0.0667,cpu: Toy CPU
"""


def test_the_three_formats_word_by_word(frame):
    assert markdown(SMALL, "digits", frame) == MARKDOWN
    assert latex(SMALL, "digits", frame) == LATEX
    assert to_csv(frame) == CSV


def test_written_twice_is_the_same_bytes(frame, tmp_path):
    first, second = (write(SMALL, "digits", frame, tmp_path / name) for name in "ab")
    assert [path.relative_to(tmp_path / "a").as_posix() for path in first] == [
        "digits/table9.md", "digits/table9.tex", "digits/table9.csv",
    ]  # fmt: skip
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert str(tmp_path) not in "".join(path.read_text() for path in first)


def grid(markdown):
    """The cells of a markdown table, without the rule under its head."""
    rows = [line for line in markdown.splitlines() if line.startswith("|") and "---" not in line]
    return [[text.strip() for text in row.split("|")[1:-1]] for row in rows]


def test_short_prints_the_paper_and_the_difference(run, tmp_path):
    run("dlt-window", SYM, 1, 95.0, 96.0, profile="short", device="NVIDIA Toy", seconds=1.0)
    text = markdown(SMALL, "short", collect(SMALL, "short", [1], [tmp_path]))
    assert grid(text) == [
        ["Method", "", "sym 0.4", "asym 0.2"],
        ["CE", "Last", "", ""],
        ["", "paper / difference", "65.0 / —", "87.8 / —"],
        ["", "Best (oracle)", "", ""],
        ["", "paper / difference", "84.3 / —", "90.6 / —"],
        ["DLT", "Last", "95.0", ""],
        ["", "paper / difference", "95.3 / -0.3", "93.9 / —"],
        ["", "Best (oracle)", "96.0", ""],
        ["", "paper / difference", "95.6 / +0.4", "94.3 / —"],
    ]
    assert "CIFAR-10; network preact-resnet18" in text
    assert "1 seed." in text
    assert "- Compute: 0.0 GPU-minutes on NVIDIA Toy; 1 runs." in text


def test_compute_is_counted_by_device(run, tmp_path):
    run("ce", SYM, 1, 60.0, 80.0, device="NVIDIA Toy", seconds=3600.0)
    run("ce", ASYM, 1, 60.0, 80.0, seconds=3600.0)
    run("dlt-window", SYM, 1, 60.0, 80.0, seconds=1800.0)
    run("dlt-window", SYM, 2, 60.0, 80.0, device="NVIDIA Toy", seconds=1800.0)
    text = markdown(SMALL, "digits", collect(SMALL, "digits", [1, 2], [tmp_path]))
    hours = "2.0 GPU-hours on NVIDIA Toy; 3.0 device-hours on NVIDIA Toy and Toy CPU; 4.0 core-hours on Toy CPU"
    assert f"- Compute: {hours}; 4 runs." in text


@pytest.mark.parametrize("profile", ["digits", "mini", "short", "paper"])
def test_without_any_run_the_paper_and_the_command_are_printed(profile, tmp_path):
    text = markdown(SMALL, profile, collect(SMALL, profile, [1, 2], [tmp_path]))
    assert "not run yet." in text
    assert "Compute" not in text
    assert ["", "paper", "95.3", "93.9"] in grid(text)
    assert ["DLT", "Last", "", ""] in grid(text)
    assert f"`./reproduce.sh table9 --profile {profile} --seeds 1`" in text


def test_a_data_set_without_stand_in_prints_the_command_that_fills_it(tmp_path):
    both = dataclasses.replace(SMALL, paper=dict.fromkeys(("cifar10", "cifar100"), SMALL.paper["cifar10"]))
    frame = collect(both, "digits", [1], [tmp_path])
    assert set(frame["dataset"]) == {"digits", ""}
    text = markdown(both, "digits", frame)
    assert grid(text)[0][2:] == [
        "CIFAR-10 sym 0.4",
        "CIFAR-10 asym 0.2",
        "CIFAR-100 sym 0.4",
        "CIFAR-100 asym 0.2",
    ]
    assert "`./reproduce.sh table9 --profile short` runs CIFAR-100" in text
    only = dataclasses.replace(SMALL, paper={"cifar100": SMALL.paper["cifar10"]})
    text = markdown(only, "digits", collect(only, "digits", [1], [tmp_path]))
    assert "--profile digits" not in text
    assert "nothing stands in for CIFAR-100" in text


def test_beside_gains_the_papers_own_numbers_where_nothing_stands_in(run, tmp_path):
    table = TABLES["table4"]
    run("dividemix", Column("cifar10", "symmetric", 0.5), 1, 80.0, 85.0, table=table)
    run("dividemix-dlt", Column("cifar10", "symmetric", 0.5), 1, 82.0, 86.0, table=table)
    text = markdown(table, "digits", collect(table, "digits", [1], [tmp_path]))
    rows = [[row[1], row[3], row[6]] for row in grid(text)]
    assert rows == [
        ["", "CIFAR-10 sym 0.5", "CIFAR-100 sym 0.5"],
        ["Last", "81.0", ""],
        ["gain / paper's", "", "paper 74.2"],
        ["Best (oracle)", "86.0", ""],
        ["gain / paper's", "+5.0 / +0.2", "paper 74.6"],
        ["Last", "83.0", ""],
        ["gain / paper's", "+2.0 / +0.8", "paper 75.2"],
        ["Best (oracle)", "87.0", ""],
        ["gain / paper's", "+6.0 / +1.1", "paper 75.9"],
    ]
    assert "Gain: points over the Last of DivideMix in the same column" in text
    assert "All accuracies are of the ensemble of two networks." in text


CLOTHING = Column("clothing1m", "none", 0.0)


@pytest.mark.parametrize("profile", ["digits", "mini", "short"])
def test_clothing1m_has_no_stand_in(profile, tmp_path):
    table = TABLES["table3"]
    assert table.runs(profile, [1]) == []
    text = markdown(table, profile, collect(table, profile, [1], [tmp_path]))
    assert grid(text)[0] == ["Method", "", "Clothing1M"]
    assert [row[2] for row in grid(text)[1::4]] == [""] * 7
    assert [row[2] for row in grid(text)[2::4]] == ["69.2", "69.8", "71.0", "73.5", "74.8", "74.0", "73.6"]
    assert "`./reproduce.sh table3 --profile paper` runs Clothing1M, for which nothing stands in here." in text
    assert f"--profile {profile}" not in text
    assert "Results of other methods are copied from the original papers" in text
    assert "Meta-Learning is not implemented, only quoted." in text


def test_clothing1m_beside_the_paper(run, tmp_path):
    table = TABLES["table3"]
    for method_name in ("ce", "dividemix", "dlt-window"):
        run(method_name, CLOTHING, 1, 70.0, 73.0, profile="paper", table=table)
    text = markdown(table, "paper", collect(table, "paper", [1], [tmp_path]))
    rows = {row[0]: [other[2] for other in grid(text)[i : i + 4]] for i, row in enumerate(grid(text)) if row[0]}
    assert rows["Cross-Entropy (CE)"] == ["70.0", "69.2 / +0.8", "73.0", "69.2 / +3.8"]
    assert rows["DivideMix"] == ["71.0", "74.8 / -3.8", "74.0", "74.8 / -0.8"]  # of the ensemble
    assert rows["DLT (Slide Window)"][:2] == ["70.0", "73.6 / -3.6"]
    assert rows["Meta-Learning"] == ["", "73.5 / —", "", "73.5 / —"]
    assert "Profile paper: Clothing1M; network resnet50, 80 epochs, 1 seed." in text
    assert r"\begin{tabular}{llr}" in latex(table, "paper", collect(table, "paper", [1], [tmp_path]))


# ---------------------------------------------------------------------- experiments
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
    assert all((set(DIGITS.estimation_epochs) <= set(run.loss_epochs)) == (run.method == "ce") for run in runs)
    assert {run.dataset for run in table.runs("short", [1])} == {"cifar10"}


def test_of_a_method_that_is_not_there_the_papers_numbers_are_quoted(frame, monkeypatch, tmp_path):
    monkeypatch.delitem(method.METHODS, "dlt-window")
    row = cell(collect(SMALL, "digits", [1, 2, 3], [tmp_path]), "dlt-window", SYM)
    assert (row["n"], row["paper"]) == (0, 95.3)
    assert pandas.isna(row["mean"])
    assert {run.method for run in SMALL.runs("digits", [1])} == {"ce"}


def test_runs_of_the_other_tables():
    assert {run.dataset for run in TABLES["table2"].runs("short", [1])} == {"cifar100"}
    assert len(TABLES["table2"].runs("paper", [1])) == 6 * 6 + 3
    assert TABLES["table2"].runs("mini", [1]) == []
    assert len(TABLES["table4"].runs("paper", [1, 2])) == 2 * 2 * 6
    clothing = TABLES["table3"].runs("paper", [1])
    assert [run.method for run in clothing] == [name for name in paper.TABLE3 if name != "meta-learning"]
    assert {(run.dataset, run.noise, run.assumed_rate) for run in clothing} == {("clothing1m", "none", 0.38)}
    assert list(TABLES["table3"].rows) == list(paper.TABLE3)


def test_the_table_beyond_the_paper():
    """No human labels but CIFAR's; M-correction takes part; gains over CE, and no number of the paper's."""
    beyond = TABLES["beyond"]
    digits = beyond.runs("digits", [1])
    assert {(run.noise, run.noise_rate) for run in digits} == {("instance", 0.2), ("instance", 0.4)}
    assert len(digits) == 2 * 7
    worse = beyond.config("mini", "dlt-window", Column("cifar10", "human-worse", 0.4021), 1)
    assert worse == make_config("mini", "cifar10", "dlt-window", "human-worse")
    lines = tables.text(beyond, "digits", collect(beyond, "digits", [1], [])).lines
    assert not any(any(cells[2:]) for cells in lines)


@pytest.mark.parametrize("name", TABLES)
def test_every_data_set_can_be_run_somewhere(name):
    for dataset in TABLES[name].paper:
        assert profile_with(dataset) in PROFILES_LIKE_PAPER
        assert dataset_in(profile_with(dataset), dataset) == dataset


def test_data_sets_by_profile():
    assert [dataset_in(p, "cifar10") for p in ("digits", "mini", "short", "paper")] == [
        "digits", "cifar10", "cifar10", "cifar10",
    ]  # fmt: skip
    assert [dataset_in(p, "cifar100") for p in ("digits", "mini", "short", "paper")] == [
        None, None, "cifar100", "cifar100",
    ]  # fmt: skip


# ---------------------------------------------------------------------- figures
def test_curves_are_drawn_and_their_numbers_written(frame, tmp_path):
    first, second = (
        accuracy_curves(TABLES["table1"], "digits", [1, 2, 3], [tmp_path], tmp_path / name) for name in "ab"
    )
    assert [path.name for path in first] == [
        "table1_curves.png", "table1_curves.pdf", "table1_curves.csv",
    ]  # fmt: skip
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert first[0].read_bytes().startswith(b"\x89PNG")
    assert first[1].read_bytes().startswith(b"%PDF")
    assert b"Date" not in first[1].read_bytes()
    numbers = pandas.read_csv(first[2])
    assert len(numbers) == 4 * 2  # cells x epochs
    assert numbers.query("method == 'ce' and noise == 'symmetric'").iloc[1].to_dict() == {
        "paper_dataset": "cifar10", "noise": "symmetric", "rate": 0.4, "method": "ce", "epoch": 2,
        "mean": 62.0, "min": 60.0, "max": 64.0, "n": 3,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["table2", "table3", "table4"])
def test_without_any_run_there_is_no_picture(name, tmp_path):
    assert accuracy_curves(TABLES[name], "digits", [1], [tmp_path], tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_curves_of_one_column_show_the_ensemble_where_the_table_does(run, tmp_path):
    for method_name, last in (("dividemix", 70.0), ("ce", 60.0)):
        run(method_name, CLOTHING, 1, last, 80.0, profile="paper", table=TABLES["table3"])
    both = [{"epoch": e, "test_accuracy": 1.0, "test_accuracy_ensemble": 80.0 - e} for e in (1, 2)]
    folder = folder_of(tmp_path, TABLES["table3"].config("paper", "dividemix", CLOTHING, 1))
    (folder / "epochs.csv").write_text(csv_text(both))
    png, _, numbers = accuracy_curves(TABLES["table3"], "paper", [1], [tmp_path], tmp_path)
    assert png.read_bytes().startswith(b"\x89PNG")
    numbers = pandas.read_csv(numbers)
    assert numbers.query("method == 'dividemix'")["mean"].tolist() == [79.0, 78.0]
    assert numbers.query("method == 'ce'")["mean"].tolist() == [80.0, 60.0]


def test_a_corrupt_curve_is_named(run, tmp_path):
    folder = run("ce", SYM, 1, 60.0, 80.0)
    (folder / "epochs.csv").write_text("epoch,loss\n1,2.0\n")
    with pytest.raises(InputError, match=folder.name):
        collect_curves(SMALL, "digits", [1], [tmp_path])


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
        "ce": 69.21, "f-correction": 69.84, "m-correction": 71.00, "meta-learning": 73.47,
        "dividemix": 74.76, "dlt-last-epoch": 74.04, "dlt-window": 73.58,
    }  # fmt: skip
    assert [cell["dividemix"][1] for cell in paper.TABLE4["cifar100"].values()] == [76.9, 74.2, 59.6]
    assert paper.TABLE4["cifar10"]["symmetric", 0.5]["dividemix-dlt"] == (95.5, 95.2)
    assert list(paper.TABLE5["cifar10"].values()) == [21.6, 31.8, 40.9, 49.5, 59.1]
    assert list(paper.TABLE5["cifar100"].values()) == [25.3, 31.5, 39.8, 47.8, 56.6]
    assert list(paper.TABLE5["cifar10"]) == list(paper.TABLE5["cifar100"]) == [20, 30, 40, 50, 60]
