"""Tables from records that are written by hand."""

import dataclasses

import pandas
import pytest
from handmade import ASYM, CLOTHING, SMALL, SYM

from dlt.artifact import printing, tables
from dlt.artifact.experiments import TABLES, Column
from dlt.artifact.printing import fixed, to_csv
from dlt.artifact.tables import collect
from dlt.harness import method
from dlt.harness.errors import InputError
from dlt.harness.settings import setting_for


def markdown(table, profile, frame):
    return printing.to_markdown(tables.text(table, profile, frame))


def latex(table, profile, frame):
    return printing.to_latex(tables.text(table, profile, frame), profile)


def write(table, profile, frame, folder):
    return printing.write(tables.text(table, profile, frame), profile, frame, folder)


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


def test_difference_to_the_paper_where_data_and_network_are_its_own(write_run, tmp_path):
    write_run("dlt-window", SYM, 1, 95.0, 96.0, profile="short")
    row = cell(collect(SMALL, "short", [1], [tmp_path]), "dlt-window", SYM)
    assert row["difference"] == pytest.approx(95.0 - 95.3)
    assert pandas.isna(row["gain"])  # CE was not run


def test_gain_is_empty_unless_the_baseline_has_all_the_seeds(write_run, tmp_path):
    write_run("ce", SYM, 1, 60.0, 80.0)
    for seed in (1, 2):
        write_run("dlt-window", SYM, seed, 90.0, 91.0)
    row = cell(collect(SMALL, "digits", [1, 2], [tmp_path]), "dlt-window", SYM)
    assert row["n"] == 2
    assert pandas.isna(row["gain"])


def test_a_cell_is_filled_by_its_own_runs_only(write_run, tmp_path):
    write_run("ce", SYM, 1, 60.0, 80.0)
    for other in (
        collect(SMALL, "mini", [1], [tmp_path]),
        collect(SMALL, "digits", [2], [tmp_path]),
        collect(SMALL, "digits", [1], [tmp_path / "elsewhere"]),
    ):
        assert other["n"].sum() == 0
        assert other["mean"].isna().all()
    assert collect(SMALL, "digits", [1], [tmp_path])["n"].sum() == 2  # Last and Best of one cell


def test_the_first_store_that_has_a_run_gives_it(write_run, tmp_path):
    write_run("ce", SYM, 1, 60.0, 80.0)
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
def test_a_corrupt_record_is_named(write_run, tmp_path, file, text):
    folder = write_run("ce", SYM, 1, 60.0, 80.0)
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
- `./reproduce.sh table9 --profile digits --seeds 3` makes the whole, 12 runs, training what runs/ lacks; 10 of them \
are here.
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
\texttt{{./reproduce.sh table9 -{{}}-profile digits -{{}}-seeds 3}} makes the whole, 12 runs, training @
what runs/ lacks; 10 of them are here.\par
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


def test_a_column_with_fewer_seeds_says_so_once(write_run, tmp_path):
    for column, seeds in ((SYM, (1, 2)), (ASYM, (1,))):
        for seed in seeds:
            write_run("ce", column, seed, 60.0, 80.0)
            write_run("dlt-window", column, seed, 90.0, 91.0)
    text = tables.text(SMALL, "digits", collect(SMALL, "digits", [1, 2], [tmp_path]))
    assert text.head == ["Method", "", "sym 0.4", "asym 0.2 (n=1)"]
    assert text.lines[0] == ["CE", "Last", "60.0 ± 0.0", "60.0"]


def test_written_twice_is_the_same_bytes(frame, tmp_path):
    first, second = (write(SMALL, "digits", frame, tmp_path / name) for name in "ab")
    assert [path.relative_to(tmp_path / "a").as_posix() for path in first] == [
        "digits/table9.md",
        "digits/table9.tex",
        "digits/table9.csv",
    ]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert str(tmp_path) not in "".join(path.read_text() for path in first)


def grid(markdown):
    """The cells of a markdown table, without the rule under its head."""
    rows = [line for line in markdown.splitlines() if line.startswith("|") and "---" not in line]
    return [[text.strip() for text in row.split("|")[1:-1]] for row in rows]


def test_short_prints_the_paper_and_the_difference(write_run, tmp_path):
    write_run("dlt-window", SYM, 1, 95.0, 96.0, profile="short", device="NVIDIA Toy", seconds=1.0)
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
    assert "- Compute: 0.0 GPU-minutes on NVIDIA Toy; 1 run." in text


def test_compute_is_counted_by_device(write_run, tmp_path):
    write_run("ce", SYM, 1, 60.0, 80.0, device="NVIDIA Toy", seconds=3600.0)
    write_run("ce", ASYM, 1, 60.0, 80.0, seconds=3600.0)
    write_run("dlt-window", SYM, 1, 60.0, 80.0, seconds=1800.0)
    write_run("dlt-window", SYM, 2, 60.0, 80.0, device="NVIDIA Toy", seconds=1800.0)
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


def test_beside_gains_the_papers_own_numbers_where_nothing_stands_in(write_run, tmp_path):
    table = TABLES["table4"]
    write_run("dividemix", Column("cifar10", "symmetric", 0.5), 1, 80.0, 85.0, table=table)
    write_run("dividemix-dlt", Column("cifar10", "symmetric", 0.5), 1, 82.0, 86.0, table=table)
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
    assert "Meta-Learning (MLNT) runs on small data only, in `beyond`: here it is quoted." in text


def test_clothing1m_beside_the_paper(write_run, tmp_path):
    table = TABLES["table3"]
    for method_name in ("ce", "dividemix", "dlt-window"):
        write_run(method_name, CLOTHING, 1, 70.0, 73.0, profile="paper", table=table)
    text = markdown(table, "paper", collect(table, "paper", [1], [tmp_path]))
    rows = {row[0]: [other[2] for other in grid(text)[i : i + 4]] for i, row in enumerate(grid(text)) if row[0]}
    assert rows["Cross-Entropy (CE)"] == ["70.0", "69.2 / +0.8", "73.0", "69.2 / +3.8"]
    assert rows["DivideMix"] == ["71.0", "74.8 / -3.8", "74.0", "74.8 / -0.8"]  # of the ensemble
    assert rows["DLT (Slide Window)"][:2] == ["70.0", "73.6 / -3.6"]
    assert rows["Meta-Learning"] == ["", "73.5 / —", "", "73.5 / —"]
    assert "Profile paper: Clothing1M; network resnet50, 80 epochs, 1 seed." in text
    assert r"\begin{tabular}{llr}" in latex(table, "paper", collect(table, "paper", [1], [tmp_path]))


def test_of_a_method_that_is_not_there_the_papers_numbers_are_quoted(frame, monkeypatch, tmp_path):
    monkeypatch.delitem(method.METHODS, "dlt-window")
    row = cell(collect(SMALL, "digits", [1, 2, 3], [tmp_path]), "dlt-window", SYM)
    assert (row["n"], row["paper"]) == (0, 95.3)
    assert pandas.isna(row["mean"])
    assert {run.method for run in SMALL.runs("digits", [1])} == {"ce"}


@pytest.mark.parametrize("error", [-1e-12, 0.0, 1e-12])
def test_a_half_goes_up_however_it_was_added_up(error):
    assert [fixed(97.65 + error), fixed(38.05 + error), fixed(97.64)] == ["97.7", "38.1", "97.6"]
    assert fixed(float("nan")) == ""
