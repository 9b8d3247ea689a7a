"""./reproduce.sh table1 and its relatives, as `python -m dlt`."""

import json
import math
import shutil

import pytest
from handmade import SHORT, SYM

from dlt.__main__ import main
from dlt.artifact import costs, reproduce, shipping
from dlt.artifact.experiments import TABLES
from dlt.harness import records
from dlt.harness.config import make_config
from dlt.harness.errors import InputError
from dlt.harness.training import train

ONE_CELL = ["table1", "--profile", "digits", "--device", "cpu", "--methods", "ce", "--noise", "symmetric0.2"]


def test_one_cell_from_nothing_to_the_table(stores, capsys, monkeypatch):
    monkeypatch.chdir(stores)
    assert main([*ONE_CELL, "--dry-run"]) == 0
    assert "1 run, 0 finished, 1 to train on cpu" in capsys.readouterr().out
    assert not (stores / "runs").exists()

    assert main([*ONE_CELL, "--workers", "1"]) == 0
    out = capsys.readouterr().out
    run = next((stores / "runs/digits").iterdir())
    last = records.read_record(run).result["test_accuracy"]["last"]
    assert f"{run.name}: Last {last:.1f}" in out
    table = (stores / "runs/selected/digits/table1.md").read_text()
    assert f" {last:.1f} |" in table
    assert table in out
    assert "1 run: 0 shipped, 0 in runs/ before, 1 trained now\n\n### Table 1" in out
    assert "written: runs/selected/digits/table1.md" in out

    timing = (run / "timing.csv").read_bytes()
    assert main(ONE_CELL) == 0  # a second call trains nothing
    assert "1 finished, 0 to train" in capsys.readouterr().out
    assert (run / "timing.csv").read_bytes() == timing

    assert main(["status", "--profile", "digits"]) == 0
    out = capsys.readouterr().out
    assert "table1 (digits): 1 done, 0 running, 0 stopped, 0 shipped, 38 missing" in out
    assert f"missing  {run.name}" not in out
    assert f"  done     {last:>5.1f}  runs/digits/{run.name}" in out

    assert main(["ship", "--profile", "digits"]) == 0
    assert main(["table1", "--profile", "digits", "--cached"]) == 0
    assert f" {last:.1f} |" in (stores / "figures/digits/table1.md").read_text()
    assert main(["verify"]) == 0


def test_fresh_moves_old_runs_aside(stores):
    config = make_config("digits", "digits", "ce", "symmetric", 0.2)
    folder = records.folder_of(records.RUNS, config)
    folder.mkdir(parents=True)
    (folder / "kept").write_text("me")
    reproduce._move_aside([config], records.RUNS)
    assert not folder.exists()
    assert next((stores / "runs/old").glob(f"*/digits/{config.name}/kept")).read_text() == "me"
    with records.locked(folder), pytest.raises(InputError, match="trained by another process"):
        reproduce._move_aside([config], records.RUNS)


def test_the_profile_is_that_of_the_device_asked_for(stores, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert main(["table1", "--device", "cpu", "--dry-run"]) == 0
    assert "table1, profile digits: " in capsys.readouterr().out
    assert main(["table1", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "table1, profile short: " in out
    assert "to train on cuda" in out


def test_an_epoch_costs_what_it_took_on_this_device(write_run, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RUNS", tmp_path)
    for seed, device, seconds in [(1, "cpu: Toy CPU", 3.0), (2, "Toy GPU", 0.5), (3, "Toy GPU", 0.5)]:
        write_run("ce", SYM, seed, 80.0, 90.0, table=TABLES["table1"], device=device, seconds=seconds)
    config = make_config("digits", "digits", "dlt-window", "symmetric", 0.4)
    assert costs.training_seconds([config], "cpu") == pytest.approx(3.0 * config.cost)
    assert costs.training_seconds([config], "cuda") == pytest.approx(0.5 * config.cost)


def test_status_lists_every_run(stores, tiny, tiny_config, own_modules, capsys, monkeypatch):
    """Those of no target too: own methods, data, seeds and settings, of any profile."""
    monkeypatch.chdir(stores)
    (own_modules / "mine.py").write_text("from baselines.robust_losses import CE\nclass Mine(CE): pass")
    done, stopped, running = (tiny_config("mine:Mine", seed=seed) for seed in (7, 8, 9))
    list(train(done, records.RUNS, "cpu"))
    rows = train(stopped, records.RUNS, "cpu")
    next(rows)
    rows.close()
    other = make_config("mini", tiny, "ce", "symmetric", 0.4, **SHORT)
    list(train(other, records.RUNS, "cpu"))
    (records.RUNS / "old/digits").mkdir(parents=True)
    (records.RUNS / "digits/notes").mkdir()
    with records.locked(records.folder_of(records.RUNS, running)):
        assert main(["status", "--profile", "digits"]) == 0
    runs = capsys.readouterr().out.partition("\n\n")[0].splitlines()
    assert runs.pop(0) == "runs in runs, with Last:"
    assert [line.split()[0] for line in runs] == ["done", "stopped", "running", "done"]
    assert [line.split()[-1] for line in runs] == [
        f"runs/{c.profile}/{c.name}" for c in (done, stopped, running, other)
    ]
    last = records.find_record(done, [records.RUNS]).result["test_accuracy"]["last"]
    assert runs[0].split()[1] == f"{last:.1f}"


def test_status_names_a_missing_run_once(stores, write_run, capsys):
    shutil.move(write_run("ce", SYM, 1, 80.0, 90.0, table=TABLES["table1"]).parent, records.CHECKPOINTS / "digits")
    assert main(["status", "--profile", "digits"]) == 0
    out = capsys.readouterr().out
    names = [line.split(maxsplit=1)[1] for line in out.splitlines() if line.startswith("  missing")]
    runs = [name for name in names if not name.startswith("and ")]
    assert len(runs) == len(set(runs)) > 30
    assert "table1 (digits): 0 done, 0 running, 0 stopped, 1 shipped, 38 missing\n" in out
    assert names[10] == "and 28 more"
    assert out.startswith("no runs in ")


def test_status_says_what_the_shipped_runs_took(stores, write_run, capsys):
    """Core-hours, on what: of two threads twice the hours."""
    for seed in (1, 2):
        folder = write_run("ce", SYM, seed, 80.0, 90.0, table=TABLES["table1"])
        run = json.loads((folder / "run.json").read_text()) | {"device": f"cpu: Old {seed}", "threads": seed}
        (folder / "run.json").write_text(json.dumps(run))
        (folder / "timing.csv").write_text("epoch,train_s,test_s\n1,3000,600\n2,3600,0\n")
    shutil.move(folder.parent, records.CHECKPOINTS / "digits")
    assert main(["status", "--profile", "digits"]) == 0
    line = "shipped (digits): 2.0 core-hours on Old 1; 4.0 core-hours on Old 2; 2 runs"
    assert line in capsys.readouterr().out.splitlines()


@pytest.fixture
def shipped(stores, write_run):
    """CE of Table 1 at one setting: seeds 1 to 4, and one on which settings were chosen."""
    for seed in (1, 2, 3, 4, 11):
        write_run("ce", SYM, seed, 80.0 + seed, 90.0, table=TABLES["table1"])
    shutil.move(stores / "digits", records.CHECKPOINTS / "digits")


def test_cached_shows_all_seeds_that_there_are(shipped, stores, capsys):
    assert main(["table1", "--profile", "digits", "--cached"]) == 0
    assert "of 4 seeds" in capsys.readouterr().out
    assert " 82.5 ± " in (stores / "figures/digits/table1.md").read_text()


def test_cached_says_which_seeds_there_are_not(shipped, capsys):
    assert main(["table1", "--profile", "digits", "--cached", "--seeds", "6"]) == 0
    out = capsys.readouterr().out
    assert "seeds: digits has no shipped records of 5, 6; shown: 1, 2, 3, 4\n" in out
    assert "of 4 seeds" in out
    assert main(["table1", "--profile", "digits", "--cached", "--seeds", "2"]) == 0
    out = capsys.readouterr().out
    assert "of 2 seeds" in out
    assert "seeds: " not in out
    assert main(["table1", "--profile", "mini", "--cached", "--seeds", "1"]) == 0
    assert "seeds: mini has no shipped records of 1; shown: none\n" in capsys.readouterr().out


def test_cached_without_records_is_an_empty_table(stores, capsys):
    assert main(["table1", "--profile", "mini", "--cached"]) == 0
    assert "88.1" in capsys.readouterr().out  # the paper's CE at symmetric 0.2


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--seeds", "0"], "seeds: 0"),
        (["--workers", "0"], "workers: 0"),
        (["--workers", "-2"], "workers: -2"),
        (["--time-budget", "soon"], "time-budget: 'soon'"),
        (["--time-budget=-3m"], "time-budget: '-3m'"),
        (["--seeds", "1,x"], "seeds: 1,x is neither a number from 1 on nor a list like 1,2,5"),
        (["--methods", "dlt"], "method: 'dlt' is not one of ce,"),
        (["--methods", "nowhere:Mine"], "method: cannot import 'nowhere:Mine'"),
        (["--noise", "salt0.4"], "noise: 'salt' is not one of none, symmetric,"),
        (["--noise", "symmetric"], "noise: 'symmetric' lacks its rate: write it behind, symmetric0.4"),
        (["--noise", "nowhere:flip0.4"], "noise: cannot import 'nowhere:flip'"),
        (["--methods", "m-correction", "--noise", "asymmetric0.2"], "table1: nothing that was asked for can be run"),
        (["--profile", "huge"], "profile: 'huge'"),
        (["--device", "cuda"], "device: cuda was asked for"),
        (["--profile", "mini", "--data-dir", "/nowhere"], "data-dir: /nowhere"),
    ],
)
def test_bad_input(stores, capsys, monkeypatch, arguments, line):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["table1", "--profile", "digits", *arguments]) == 2
    assert line in capsys.readouterr().err
    assert not (stores / "runs").exists()


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("9m", 540), ("1.5h", 5400), ("20", 20), (None, math.inf)])
def test_time_budgets(text, seconds):
    assert reproduce._budget(text) == seconds


def test_a_time_budget_says_what_is_left(stores, capsys):
    assert main([*ONE_CELL, "--time-budget", "0.001s"]) == 0
    assert "time is up; left: 1 run, about" in capsys.readouterr().out


def test_overview_runs_nothing(stores, capsys):
    assert main([]) == 0
    assert "table1" in capsys.readouterr().out
    assert not list(stores.iterdir())


def test_verify_names_what_is_wrong(stores, tiny_config, monkeypatch, capsys):
    monkeypatch.setattr(shipping, "has_losses", lambda config: config.seed == 1)
    for method, seed in (("ce", 1), ("ce", 2), ("sce", 3)):
        list(train(tiny_config(method, seed=seed), records.RUNS, "cpu"))
    assert shipping.ship(records.RUNS, records.CHECKPOINTS, "digits") == 3
    first, second, third = sorted((records.CHECKPOINTS / "digits").iterdir())
    monkeypatch.setattr(shipping, "headline_runs", lambda: {second.name, third.name})
    (records.RUNS / "digits" / third.name / "epochs.csv").write_text("measured otherwise")
    assert shipping.ship(records.RUNS, records.CHECKPOINTS, "digits") == 0
    assert [(f / "weights.safetensors").exists() for f in (first, second, third)] == [False, True, False]
    assert [(f / "losses.npz").exists() for f in (first, second, third)] == [True, False, False]
    assert shipping.verify(records.CHECKPOINTS) == []
    text = (first / "epochs.csv").read_text()
    (first / "epochs.csv").write_text(text.replace("0.02", "0.03", 1))
    shutil.rmtree(second)
    (first / "notes.txt").write_text("mine")
    assert main(["verify"]) == 1
    out = capsys.readouterr().out
    assert f"digits/{first.name}/epochs.csv: changed" in out
    assert f"digits/{second.name}/run.json: missing" in out
    assert f"digits/{first.name}/notes.txt: not in the manifest" in out
    assert len(out.splitlines()) == 6  # four files of the second, its weights among them


def test_what_is_shipped_is_shown_whole(capsys):
    assert main(["table1", "--cached", "--methods", "ce"]) == 2
    assert "without it --methods and --noise take shipped runs too" in capsys.readouterr().err
    assert main(["table1", "--cached", "--dry-run"]) == 2
    assert "cached: it trains nothing and writes at once" in capsys.readouterr().err


def test_there_are_no_tables_of_vectors(stores, capsys):
    assert main(["table1", "--profile", "features"]) == 2
    assert "tables are of digits, mini, short, paper" in capsys.readouterr().err
