"""The stopwatch runs, and its ratios are what they say."""

import pandas
import pytest

from dlt import bench
from dlt.__main__ import main
from dlt.bench import Timing


def test_it_times_and_writes(tmp_path, capsys):
    settings = ["--setting", "warmup_epochs=1", "--setting", "decay_epochs=1", "--output", str(tmp_path)]
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
    timings = [Timing("bare loop", [1.0, 1.2, 1.1], 100, 1.0), Timing("ce", [1.3, 1.32, 1.4], 100, 1.0),
               Timing("dlt-window", [3.96, 4.4, 4.0], 100, 3.0)]  # fmt: skip
    parts = [Timing("detection", [0.4], 100)]
    table = bench.frame({"timings": timings, "parts": parts, "about": {"profile": "x"}}).set_index("what")
    assert table["ratio"]["ce"] == pytest.approx(1.32 / 1.1)  # over the bare loop
    assert table["ratio"]["dlt-window"] == pytest.approx(4.0 / (3 * 1.32))  # over its model in CE-epochs
    assert table["share"]["detection"] == pytest.approx(10)
    assert table["images_per_s"]["bare loop"] == pytest.approx(100 / 1.1)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [(["--repeats", "0"], "repeats: 0"), (["--methods", "f-correction"], "cannot be timed alone"),
     (["--methods", "nothing"], "method: 'nothing'")],
)  # fmt: skip
def test_bad_input(capsys, arguments, line):
    assert main(["bench", "--profile", "digits", "--device", "cpu", *arguments]) == 2
    assert line in capsys.readouterr().err
