"""Table 5, the ablations and Figures 1 to 7 from runs of a few epochs."""

import dataclasses
import itertools

import numpy as np
import pandas
import pytest

from dlt.__main__ import TARGETS as NAMES
from dlt.artifact import reproduce, studies, study_tables
from dlt.artifact.targets import TARGETS
from dlt.harness import settings
from dlt.harness.errors import InputError
from dlt.harness.training import train

FIGURES = [f"figure{i}" for i in range(1, 8)]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One seed of every run but the ablations' and the sweep of epsilon, on digits, of six epochs."""
    patch = pytest.MonkeyPatch()
    row = ("digits", "digits")
    tiny = dataclasses.replace(settings.SETTINGS[row], epochs=6, drop_after=4, early_epoch=2)
    patch.setitem(settings.SETTINGS, row, tiny)
    patch.setitem(settings.SCHEDULES, row, settings.Schedule(2, 1, 1, 10))
    patch.setattr(studies, "EPSILONS", (8,))
    folder = tmp_path_factory.mktemp("runs")
    runs = itertools.chain(*(TARGETS[name].runs("digits", [1]) for name in ("figure7", "figure4", "table5")))
    for run in runs:
        for needed in [*run.required, run]:
            list(train(needed, folder, "cpu"))
    yield folder
    patch.undo()


def test_the_command_line_knows_every_target():
    assert (*TARGETS, "all") == NAMES


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_drawn_and_have_their_numbers(store, name, tmp_path):
    _, first = TARGETS[name].write("digits", [1], [store], tmp_path / "a")
    _, second = TARGETS[name].write("digits", [1], [store], tmp_path / "b")
    assert {path.suffix for path in first} >= {".png", ".pdf", ".csv"}
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]  # no dates in them
    assert len(pandas.read_csv(tmp_path / f"a/digits/{name}.csv")) > 5


@pytest.mark.parametrize("name", [*FIGURES, "table5", "ablations"])
def test_without_records_nothing_crashes(store, name, tmp_path):
    _, written = TARGETS[name].write("digits", [1, 2], [tmp_path / "empty"], tmp_path)
    assert all(path.stat().st_size for path in written)


def test_figure3_counts_what_was_kept(store, tmp_path):
    TARGETS["figure3"].write("digits", [1], [store], tmp_path)
    numbers = pandas.read_csv(tmp_path / "digits/figure3.csv")
    (record,) = study_tables.found({1: studies.ratio_runs("digits", 1)["dlt-window"]}, [store]).values()
    noise, last = record.run["label_noise"], record.epochs().iloc[-1]
    noisy = noise["realised_rate"] * noise["samples"]
    end = numbers[numbers["epoch"] == 6].set_index("population")["mean"]
    assert end["noisy"] == pytest.approx(100 * last["noisy_kept"] / noisy, abs=1e-3)
    assert end["clean"] == pytest.approx(100 * last["clean_kept"] / (noise["samples"] - noisy), abs=1e-3)
    assert (numbers[numbers["epoch"] == 1]["mean"] == 100).all()  # warm-up keeps all


def test_table5_sets_both_rules_beside_the_truth(store, tmp_path):
    text, _ = TARGETS["table5"].write("digits", [1], [store], tmp_path)
    numbers = pandas.read_csv(tmp_path / "digits/table5.csv")
    assert list(numbers["nominal"]) == [20, 30, 40, 50, 60, 20, 30, 40]
    assert (numbers["realised"] < numbers["nominal"]).all()
    row = numbers.iloc[2]
    assert "| sym 40 " in text
    assert f"{row['our_rule']:.1f}" in text
    assert " 40.9 |" in text  # the paper's estimate at 40%


def test_the_numbers_beside_figure7(store):
    frame = study_tables.collect_hard("digits", [1], [store]).set_index("kind")
    assert list(frame["n"]) == [1, 1, 1]
    assert np.isnan(frame["hard_kept"]["none"])
    record = study_tables.found({1: studies.hard_table_runs("digits", 1)["incomplete", 0]}, [store])[1]
    hard = record.run["label_noise"]["hard_samples"]
    expected = 100 * record.epochs()["hard_kept"].mean() / hard  # fewer than ten epochs: all that have a split
    assert frame["hard_kept"]["incomplete"] == pytest.approx(expected)


def test_ablations_change_one_thing_each():
    names = [variant.choice for variant in studies.variants("digits")]
    default = studies.ablation_run("digits", studies.variants("digits")[0], ("symmetric", 0.6), 1)
    assert names[0] == "our defaults"
    for variant in studies.variants("digits")[1:]:
        other = studies.ablation_run("digits", variant, ("symmetric", 0.6), 1)
        changed = {k for k, v in other.method_config.items() if v != default.method_config[k]}
        if "assumed_rate" in variant.more:
            assert other.assumed_rate != default.assumed_rate
            assert changed <= {"noisy_weight"}  # the estimate decides on lambda_n too
        else:
            assert len(changed) == 1, variant


def test_human_labels_are_left_out_where_they_are_not(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("DLT_DATA", str(tmp_path))
    runs = TARGETS["table5"].runs("mini", [1])
    assert [run.noise for run in runs] == ["symmetric"] * 5 + ["asymmetric"] * 3 + ["human-aggre", "human-worse"]
    assert reproduce._with_labels(runs, None) == runs[:-2]
    said = capsys.readouterr().out
    assert "left out: 2 runs with human labels, no CIFAR-10_human.pt or cifar10n.npz in" in said
    with pytest.raises(InputError, match="left out: 2 runs with human labels"):
        reproduce._with_labels(runs[-2:], None)
    (tmp_path / "cifar10n.npz").write_bytes(b"")
    assert reproduce._with_labels(runs, None) == runs
    assert capsys.readouterr().out == ""
