"""Several processes, maybe of several machines, over one store: a run is trained once, and none is lost."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from dlt.artifact.experiments import TABLES, Column
from dlt.artifact.selection import noise_of
from dlt.harness import records
from dlt.harness.records import ROOT, find_record, folder_of, locked
from dlt.harness.sweep import Job, sweep
from dlt.harness.training import train


def test_a_run_of_another_process_is_waited_for_and_taken_over(tiny_config, tmp_path):
    """The sweep goes on with the others meanwhile; the other process dies before it has finished."""
    held, free = (tiny_config("ce", seed=seed) for seed in (1, 2))
    said, failures = [], []
    job = Job(tmp_path, "cpu", 1, say=said.append)
    swept = threading.Thread(target=lambda: failures.append(sweep([held, free], job)))
    with locked(folder_of(tmp_path, held)):
        swept.start()
        while not any("waiting for runs that other processes train" in line for line in said):
            time.sleep(0.1)
        assert find_record(free, [tmp_path])
        assert not find_record(held, [tmp_path])
    swept.join()
    assert failures == [{}]
    assert find_record(held, [tmp_path])


def test_a_run_that_was_finished_meanwhile_is_not_trained_again(tiny_config, tmp_path, monkeypatch):
    config = tiny_config("ce")
    list(train(config, tmp_path / "other", "cpu"))

    @contextlib.contextmanager
    def late(folder):
        shutil.copytree(folder_of(tmp_path / "other", config), folder)
        yield

    monkeypatch.setattr(records, "locked", late)
    assert list(train(config, tmp_path / "store", "cpu")) == []


@pytest.mark.slow
def test_two_clones_share_a_sweep_and_one_is_killed(tmp_path):
    """Both begin at once; in its second run one is killed with all its processes, and the other ends the rest."""
    store, noises = tmp_path / "runs", "symmetric0.2,symmetric0.35,symmetric0.4,asymmetric0.2"
    store.mkdir()
    command = [sys.executable, "-P", "-m", "dlt", "table1", "--profile", "digits", "--methods", "ce,sce"]
    command += ["--noise", noises, "--no-shipped", "--workers", "1", "--device", "cpu"]
    processes, logs = [], [tmp_path / "a.log", tmp_path / "b.log"]
    for log in logs:
        clone = log.with_suffix("")
        subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
        (clone / "runs").symlink_to(store)
        options = {"cwd": clone, "env": os.environ | {"PYTHONPATH": str(clone)}, "start_new_session": True}
        with log.open("w") as file:
            processes.append(subprocess.Popen(command, stdout=file, stderr=file, **options))
    while processes[0].poll() is None and ": Last " not in logs[0].read_text():
        time.sleep(0.2)
    time.sleep(2)
    os.killpg(processes[0].pid, signal.SIGKILL)
    finished = {path: path.stat().st_mtime_ns for path in store.glob("*/*/timing.csv")}
    assert processes[1].wait() == 0
    assert "FAILED" not in logs[1].read_text()
    columns = [Column("cifar10", *noise_of(noise)) for noise in noises.split(",")]
    for config in (TABLES["table1"].config("digits", method, c, 1) for method in ("ce", "sce") for c in columns):
        assert len(find_record(config, [store]).epochs()) == 60
    assert 1 <= len(finished) < 8
    assert {path: path.stat().st_mtime_ns for path in finished} == finished  # none of them trained again
