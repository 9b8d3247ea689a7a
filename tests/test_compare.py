"""`compare`: which runs are meant, what is compared with what, and what is written."""

import dataclasses
import json
import shutil

import pandas
import pytest
from handmade import ASYM, SYM

from dlt.__main__ import main
from dlt.artifact.compare import collect, columns_of, compare, options
from dlt.artifact.experiments import TABLES
from dlt.artifact.finding import find_runs
from dlt.harness import records
from dlt.harness.config import make_config

TABLE = TABLES["table1"]
OWN = "from baselines.robust_losses import CE\n\n\nclass Mine(CE):\n    pass\n"


@pytest.fixture
def store(stores, own_modules, write_run, monkeypatch):
    """An own method with seeds 1 to 4, CE with 2 to 5 (shipped), DLT with another window; SCE with seed 9 alone."""
    (own_modules / "my_method.py").write_text(OWN)
    monkeypatch.chdir(stores)
    for seed in (2, 3, 4, 5):
        write_run("ce", SYM, seed, 80.0 + seed, 90.0, table=TABLE)
        write_run("ce", ASYM, seed, 80.0, 90.0, table=TABLE)
    shutil.move(stores / "digits", records.CHECKPOINTS / "digits")
    for seed, more in ((1, 0.0), (2, 5.0), (3, 5.2), (4, 4.8)):
        write_run("my_method:Mine", SYM, seed, 80.0 + seed + more, 95.0, table=TABLE)
        write_run("dlt-window", SYM, seed, 90.0, 95.0, table=TABLE)
    write_run("sce", SYM, 9, 70.0, 95.0, table=TABLE)
    for seed in (1, 2):
        (folder,) = stores.glob(f"digits/*dlt-window-s{seed}-*")
        other = shutil.copytree(folder, folder.with_name(f"{folder.name[:-10]}{'0' * 10}"))
        about = json.loads((folder / "run.json").read_text())
        about["config"]["method_config"]["window"] = 5
        (other / "run.json").write_text(json.dumps(about))
    shutil.move(stores / "digits", records.RUNS / "digits")
    return stores


def found(*texts):
    return find_runs(list(texts), [records.RUNS, records.CHECKPOINTS])


def test_differences_are_paired_over_the_seeds_that_both_have(store):
    frame = collect(columns_of(found("my_method:Mine", "ce", "sce"))).set_index("method")
    assert set(frame["column"]) == {"digits symmetric0.4"}  # at asymmetric 0.2 there is CE alone
    ce = frame.loc["ce"]
    assert (ce["n"], ce["shared"]) == (4, 3)
    assert ce["difference"] == pytest.approx(5.0)
    assert ce["half_width"] == pytest.approx(4.3027 * 0.2 / 3**0.5, rel=1e-4)
    assert ce["verdict"] == "higher"
    assert ce["work"] == 60
    assert pandas.isna(frame.loc["sce"]["difference"])
    assert pandas.isna(frame.loc["my_method:Mine"]["difference"])
    reverse = collect(columns_of(found("ce", "my_method:Mine"))).set_index("method").loc["my_method:Mine"]
    assert (reverse["difference"], reverse["verdict"]) == (pytest.approx(-5.0), "lower")


def test_a_method_is_meant_as_tables_have_it_a_folder_with_all_its_versions(store):
    assert len(found("dlt-window")) == 4
    assert len(found("runs/digits")) == 4 + 4 + 2 + 1
    versions = found("digits-symmetric0.4-dlt-window-*")
    frame = collect(columns_of(versions)).set_index("method")
    assert sorted(frame.index) == ["dlt-window (window=10)", "dlt-window (window=5)"]
    one = versions[0].folder
    for text in (str(one), one.name, f"runs/*/{one.name[:-3]}*"):
        assert [record.folder.name for record in found(text)] == [one.name]


def test_an_edited_method_is_another_contender(store, own_modules, write_run):
    (own_modules / "my_method.py").write_text(OWN + "# edited\n")
    write_run("my_method:Mine", SYM, 1, 85.0, 95.0, table=TABLE)
    shutil.copytree(store / "digits", records.RUNS / "digits", dirs_exist_ok=True)
    assert len(found("my_method:Mine")) == 1
    (column,) = columns_of(found("*-my_method.Mine-*"))
    codes = {run.config.method_sha256[:6] for runs in column.contenders.values() for run in runs.values()}
    assert set(column.contenders) == {f"my_method:Mine (code={code})" for code in codes}
    assert len(codes) == 2


def test_labels_of_an_edited_noise_are_a_column_of_their_own(store):
    runs = []
    for noise_sha256 in ("1234567", "abcdef0"):
        for run in found("my_method:Mine", "ce"):
            about = run.run | {"config": run.run["config"] | {"noise_sha256": noise_sha256}}
            runs.append(dataclasses.replace(run, run=about))
    columns = columns_of(runs)
    assert [column.heading for column in columns] == ["digits symmetric0.4 (123456)", "digits symmetric0.4 (abcdef)"]


def test_the_command_prints_and_writes(store, capsys):
    assert main(["compare", "my_method:Mine", "ce", "digits-symmetric0.4-dlt-window-*"]) == 0
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if "| ce " in line]
    assert [cell.strip() for cell in line.split("|")[3:-1]] == ["4", "83.5 ± 1.3", "60", "3", "+5.0 ± 0.5", "higher"]
    names = [f"comparison.{suffix}" for suffix in ("md", "tex", "csv")]
    names += [f"comparison_curves.{suffix}" for suffix in ("png", "pdf", "csv")]
    assert f"written: {', '.join(f'runs/compared/{name}' for name in names)}\n" in out
    assert (store / "runs/compared/comparison.md").read_text() in out
    curves = pandas.read_csv(store / "runs/compared/comparison_curves.csv")
    assert set(curves["method"]) == {"my_method:Mine", "ce", "dlt-window (window=10)", "dlt-window (window=5)"}


@pytest.mark.parametrize(
    ("texts", "line"),
    [
        (["nothing"], "run: 'nothing' is no finished run, folder or glob of runs, nor a method run in runs and"),
        (["elr"], "run: 'elr' is no finished run"),
        (["nowhere:Mine"], "method: cannot import 'nowhere:Mine'"),
        (["ce"], "compare: 8 runs of ce, but on no data and noise is there both a run of ce and one to compare"),
    ],
)
def test_bad_input(store, texts, line, capsys):
    assert main(["compare", *texts]) == 2
    assert line in capsys.readouterr().err


def test_without_its_file_a_methods_work_is_not_known(store, tmp_path):
    runs = found("my_method:Mine", "ce")
    texts = [json.dumps(run.run).replace("my_method:", "gone:") for run in runs]
    gone = [dataclasses.replace(run, run=json.loads(text)) for run, text in zip(runs, texts, strict=True)]
    text, _ = compare(gone, tmp_path / "out")
    (line,) = [line for line in text.splitlines() if "gone:Mine  " in line or "gone:Mine |" in line]
    assert [cell.strip() for cell in line.split("|")[3:6]] == ["4", "86.3 ± 3.6", ""]


def test_the_options_of_a_run_are_what_differs_from_its_usual_ones():
    start = ("digits", "digits", "dlt-window", "symmetric", 0.4)
    assert options(make_config(*start, seed=2)) == ""
    other = make_config(*start, learning_rate=0.1, options={"window": 5}, assumed_rate=0.3, hard="incomplete")
    assert options(other) == "learning_rate=0.1, assumed_rate=0.3, window=5, hard=incomplete"
    gone = dataclasses.replace(make_config(*start), dataset="gone.npz")
    assert options(gone) == ""
