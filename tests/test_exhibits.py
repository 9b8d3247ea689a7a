"""Every exhibit beside the tables of accuracies, from runs of a few epochs."""

import dataclasses
import itertools

import numpy as np
import pandas
import pytest

from dlt.__main__ import TARGETS as NAMES
from dlt.artifact import reproduce
from dlt.artifact.exhibits import EXHIBITS, ablations, cost, figure1, figure3, figure4, figure7, parts, table5
from dlt.artifact.exhibits.common import found, plain_losses
from dlt.artifact.targets import TARGETS
from dlt.harness import settings
from dlt.harness.errors import InputError
from dlt.harness.training import train

FIGURES = [*(f"figure{i}" for i in range(1, 8)), "cost"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One seed of every run but the ablations' and the sweep of epsilon, on digits, of six epochs."""
    patch = pytest.MonkeyPatch()
    row = ("digits", "digits")
    tiny = dataclasses.replace(settings.SETTINGS[row], epochs=6, drop_after=4, early_epoch=2)
    patch.setitem(settings.SETTINGS, row, tiny)
    patch.setitem(settings.SCHEDULES, row, settings.Schedule(2, 1, 1, 10))
    patch.setattr(figure7, "EPSILONS", (8,))
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


@pytest.mark.parametrize("name", [*FIGURES, "table5", "ablations", "parts"])
def test_without_records_nothing_crashes(store, name, tmp_path):
    _, written = TARGETS[name].write("digits", [1, 2], [tmp_path / "empty"], tmp_path)
    assert all(path.stat().st_size for path in written)


def test_figure3_counts_what_was_kept(store, tmp_path):
    TARGETS["figure3"].write("digits", [1], [store], tmp_path)
    numbers = pandas.read_csv(tmp_path / "digits/figure3.csv")
    (record,) = found({1: figure3.runs("digits", 1)["dlt-window"]}, [store]).values()
    noise, last = record.run["label_noise"], record.epochs().iloc[-1]
    noisy = noise["realised_rate"] * noise["samples"]
    end = numbers[numbers["epoch"] == 6].set_index("population")["mean"]
    assert end["noisy"] == pytest.approx(100 * last["noisy_kept"] / noisy, abs=1e-3)
    assert end["clean"] == pytest.approx(100 * last["clean_kept"] / (noise["samples"] - noisy), abs=1e-3)
    assert (numbers[numbers["epoch"] == 1]["mean"] == 100).all()  # warm-up keeps all


def test_the_mean_error_of_table5_counts_rows_not_runs():
    frame = pandas.DataFrame({"paper_dataset": "cifar10", "noise": "symmetric", "nominal": [20.0, 40.0, 40.0]})
    frame = frame.assign(realised=[18.0, 36.0, 35.0], our_rule=[22.0, 35.0, 36.0])
    assert table5._mean_error(frame, "our_rule") == 2.5  # 4 and 1, not 4, 1 and 1


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
    frame = figure7.collect_kept("digits", [1], [store]).set_index("kind")
    assert list(frame["n"]) == [1, 1, 1]
    assert np.isnan(frame["hard_kept"]["none"])
    record = found({1: figure7.kept_runs("digits", 1)["incomplete", 0]}, [store])[1]
    hard = record.run["label_noise"]["hard_samples"]
    expected = 100 * record.epochs()["hard_kept"].mean() / hard  # fewer than ten epochs: all that have a split
    assert frame["hard_kept"]["incomplete"] == pytest.approx(expected)


def test_ablations_change_one_thing_each():
    variants = ablations.variants("digits")
    default = ablations.variant_run("digits", variants[0], ("symmetric", 0.6), 1)
    assert variants[0].choice == "our defaults"
    for variant in variants[1:]:
        other = ablations.variant_run("digits", variant, ("symmetric", 0.6), 1)
        changed = {k for k, v in other.method_config.items() if v != default.method_config[k]}
        if "assumed_rate" in variant.more:
            assert other.assumed_rate != default.assumed_rate
            assert changed <= {"noisy_weight"}  # the estimate decides on lambda_n too
        else:
            assert len(changed) == 1, variant


@pytest.mark.parametrize("profile", ["digits", "mini", "paper"])
def test_ablations_hold_no_experiment_twice(profile):
    """By Eq. 7 T_grad 1 is T_grad 0; where lambda_n is 0 neither its ramp nor the discarded images change anything."""
    answers = [v.more["options"] for v in ablations.variants(profile) if v.choice == "T_grad"]
    assert {"decay_epochs": 0} in answers
    assert {"decay_epochs": 1} not in answers
    runs = ablations.runs(profile, 1).values()
    same_as_defaults = [run for run in runs if run.noise == "asymmetric" and run.method_config["ramp_epochs"] == 0]
    assert same_as_defaults == []


def test_an_ablation_without_effect_is_marked(tmp_path):
    text, _ = TARGETS["ablations"].write("digits", [1], [tmp_path], tmp_path)
    (line,) = [line for line in text.splitlines() if line.startswith("| ramp of lambda_n")]
    assert line.count("no effect") == 1


def test_only_falls_are_fluctuation():
    accuracy = [50.0, 60.0, 58.0, 70.0]  # learns twelve points and more, loses two once
    frame = pandas.DataFrame({"epoch": [2, 3, 4, 5], "seed": 1, "test_accuracy": accuracy, "threshold": "at once"})
    assert figure4.falls(frame, "at once", 2) == {1: pytest.approx(2 / 3)}
    assert "decreasing not run; at once 0.67 points" in figure4._in_words(frame.assign(threshold="at once"), 2).replace(
        "falls alone: ", ""
    )


def test_claims_on_cross_entropy_are_of_plain_images_and_of_the_curves(store):
    """The kept losses of the early epoch, and those of training, which are of augmented views: both must say it."""
    record = found({1: figure1.runs("digits", 1)["ce"]}, [store])[1]
    clean, noisy = plain_losses(record, 2)
    losses = record.losses()["loss_2"].astype(float)
    labels = np.sort([clean, noisy])
    assert losses.min() < labels[0] < losses.mean() < labels[1] < losses.max()
    row = record.epochs().loc[2]
    assert abs(clean - row["loss_clean_mean"]) > 1e-3
    verdict, words = figure1.CLAIMS[0].check("digits", [1], [store])
    drawn = row["loss_clean_mean"], row["loss_noisy_mean"]
    assert f"early epoch: clean {clean:.2f}, noisy {noisy:.2f}" in words
    assert f"augmented views, clean {drawn[0]:.2f}, noisy {drawn[1]:.2f}" in words
    assert (verdict == "holds") == (min(noisy / clean, drawn[1] / drawn[0]) > 1.5)
    assert figure1._of_both(["holds", "**fails**"]) == "in part"


def test_the_cost_figure_has_work_and_front(write_run, tmp_path):
    from dlt.artifact.experiments import TABLES, Column

    column = Column("cifar10", "symmetric", 0.4)
    for method, last in (("ce", 60.0), ("sce", 70.0), ("dlt-window", 80.0), ("dividemix", 75.0)):
        write_run(method, column, 1, last, 90.0, table=TABLES["table1"])
    frame = cost.collect_costs("digits", [1, 2], [tmp_path]).set_index("method")
    assert frame["front"].to_dict() == {"ce": False, "sce": True, "dividemix": False, "dlt-window": True}
    assert frame["work"]["ce"] == settings.SETTINGS["digits", "digits"].epochs
    assert frame["work"]["dividemix"] > frame["work"]["dlt-window"] > frame["work"]["ce"]
    write_run("dlt-window", column, 2, 60.0, 90.0, table=TABLES["table1"])  # its mean is 70 now, of a seed it has alone
    frame = cost.collect_costs("digits", [1, 2], [tmp_path]).set_index("method")
    assert frame["mean"]["dlt-window"] == 70
    assert frame["front"].to_dict() == {"ce": False, "sce": True, "dividemix": False, "dlt-window": True}


def test_the_parts_are_what_they_say(tmp_path):
    """Each alone, all, and what each differs by; of w what the run found."""
    names = ("average", "rate", "views", "passes", "decay_epochs")
    options = [tuple(map(run.method_config.get, names)) for run in parts.runs("mini", 1).values()]
    papers, anew, teacher = (None, None, 2, None, 16), (0.0, "estimated", 2, 1, 16), (0.99, "assumed", 2, 1, 16)
    three = (0.99, "estimated", 1, 2)
    assert options == 2 * [papers, anew, teacher, (0.0, "assumed", 1, 2, 16), (*three, 16), (*three, 5)]
    frame = parts.collect_parts("mini", [1], [tmp_path])
    assert (len(frame), frame["n"].sum()) == (12, 0)


@pytest.mark.parametrize("exhibit", EXHIBITS)
def test_an_exhibit_is_one_file(exhibit):
    assert exhibit.TITLE
    assert isinstance(exhibit.runs("digits", 1), dict)
    assert all(claim.target == exhibit.__name__.rpartition(".")[2] for claim in exhibit.CLAIMS)


def test_human_labels_are_left_out_where_they_are_not(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("DLT_DATA", str(tmp_path))
    runs = TARGETS["table5"].runs("mini", [1])
    human = [run for run in runs if run.noise.startswith("human")]
    others = [run for run in runs if run not in human]
    assert [run.noise for run in human] == ["human-aggre", "human-worse"]
    assert [run.noise for run in others] == ["symmetric"] * 5 + ["asymmetric"] * 3 + ["symmetric"] * 5
    assert reproduce._with_labels(runs, None, []) == others
    said = capsys.readouterr().out
    assert "left out: 2 runs with human labels, no CIFAR-10_human.pt or cifar10n.npz in" in said
    with pytest.raises(InputError, match="left out: 2 runs with human labels"):
        reproduce._with_labels(human, None, [])
    (tmp_path / "cifar10n.npz").write_bytes(b"")
    assert reproduce._with_labels(runs, None, []) == runs
    assert capsys.readouterr().out == ""
