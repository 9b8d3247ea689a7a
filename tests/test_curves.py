"""Curves of test accuracy from records that are written by hand."""

import pandas
import pytest
from handmade import CLOTHING, SMALL, SYM

from dlt.artifact.curves import Panel, accuracy_curves, collect_curves, draw_panels
from dlt.artifact.drawing import new_figure, styles_of
from dlt.artifact.experiments import TABLES
from dlt.harness.errors import InputError
from dlt.harness.records import csv_text, folder_of

CURVES = ["method", "seed", "epoch", "accuracy"]


def test_curves_are_drawn_and_their_numbers_written(frame, tmp_path):
    first, second = (
        accuracy_curves(TABLES["table1"], "digits", [1, 2, 3], [tmp_path], tmp_path / name) for name in "ab"
    )
    assert [path.name for path in first] == [
        "table1_curves.png",
        "table1_curves.pdf",
        "table1_curves.csv",
    ]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert first[0].read_bytes().startswith(b"\x89PNG")
    assert first[1].read_bytes().startswith(b"%PDF")
    assert b"Date" not in first[1].read_bytes()
    numbers = pandas.read_csv(first[2])
    assert len(numbers) == 4 * 2  # cells x epochs
    assert numbers.query("method == 'ce' and noise == 'symmetric'").iloc[1].to_dict() == {
        "paper_dataset": "cifar10",
        "noise": "symmetric",
        "rate": 0.4,
        "method": "ce",
        "epoch": 2,
        "mean": 62.0,
        "min": 60.0,
        "max": 64.0,
        "n": 3,
    }


def test_what_is_drawn_is_the_mean_error_also_where_a_run_has_none():
    """On a log scale: not the mean of logarithms, which no error at all would make endless."""
    seeds = {1: (60.0, 100.0), 2: (80.0, 90.0)}
    rows = [("ce", seed, epoch, value) for seed, values in seeds.items() for epoch, value in enumerate(values, 1)]
    runs = pandas.DataFrame(rows, columns=CURVES)
    with new_figure(4, 4) as figure:
        draw_panels(figure, [Panel("", runs, 1)], styles_of(["ce"]))
        assert figure.axes[0].lines[0].get_ydata().tolist() == [30.0, 5.0]


def test_a_shorter_training_has_an_axis_of_its_own():
    long = pandas.DataFrame([("ce", 1, epoch, 50.0) for epoch in range(1, 101)], columns=CURVES)
    with new_figure(8, 4) as figure:
        draw_panels(figure, [Panel("", long[long["epoch"] <= 60], 1), Panel("", long, 1)], styles_of(["ce"]))
        assert [axis.get_xlim()[1] for axis in figure.axes] == [60, 100]


@pytest.mark.parametrize("name", ["table2", "table3", "table4"])
def test_without_any_run_there_is_no_picture(name, tmp_path):
    assert accuracy_curves(TABLES[name], "digits", [1], [tmp_path], tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_curves_of_one_column_show_the_ensemble_where_the_table_does(write_run, tmp_path):
    for method_name, last in (("dividemix", 70.0), ("ce", 60.0)):
        write_run(method_name, CLOTHING, 1, last, 80.0, profile="paper", table=TABLES["table3"])
    both = [{"epoch": e, "test_accuracy": 1.0, "test_accuracy_ensemble": 80.0 - e} for e in (1, 2)]
    folder = folder_of(tmp_path, TABLES["table3"].config("paper", "dividemix", CLOTHING, 1))
    (folder / "epochs.csv").write_text(csv_text(both))
    png, _, numbers = accuracy_curves(TABLES["table3"], "paper", [1], [tmp_path], tmp_path)
    assert png.read_bytes().startswith(b"\x89PNG")
    numbers = pandas.read_csv(numbers)
    assert numbers.query("method == 'dividemix'")["mean"].tolist() == [79.0, 78.0]
    assert numbers.query("method == 'ce'")["mean"].tolist() == [80.0, 60.0]


def test_a_corrupt_curve_is_named(write_run, tmp_path):
    folder = write_run("ce", SYM, 1, 60.0, 80.0)
    (folder / "epochs.csv").write_text("epoch,loss\n1,2.0\n")
    with pytest.raises(InputError, match=folder.name):
        collect_curves(SMALL, "digits", [1], [tmp_path])
