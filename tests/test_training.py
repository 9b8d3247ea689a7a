"""The harness's promises: every method honours the contract, no run is lost, equal runs are equal."""

import errno
import itertools
import os
import signal
import subprocess
import sys
import time
import types
from copy import deepcopy

import numpy as np
import pytest
import torch

from dlt.harness import records
from dlt.harness.config import make_config
from dlt.harness.errors import InputError
from dlt.harness.method import METHODS
from dlt.harness.progress import Bar
from dlt.harness.run import Run
from dlt.harness.sweep import End, Job, _work, sweep
from dlt.harness.training import evaluate, train, train_epoch

CPU = torch.device("cpu")
SAME = ("epochs.csv", "losses.npz", "weights.safetensors")


def finish(config, store):
    for run in [*config.required, config]:
        for _ in train(run, store, "cpu"):
            pass
    return records.folder_of(store, config)


def same_files(one, other):
    return [name for name in SAME if (one / name).read_bytes() != (other / name).read_bytes()] == []


@pytest.mark.parametrize("method", METHODS)
def test_contract(method, tiny_config, tmp_path):
    """Three epochs on 250 synthetic images; finite; stopped after each epoch and resumed bit for bit."""
    config = tiny_config(method)
    whole = finish(config, tmp_path / "whole")
    epochs = records.read_record(whole).epochs()
    assert list(epochs.index) == [1, 2, 3]
    assert np.isfinite(epochs.train_loss).all()
    assert epochs.test_accuracy.between(0, 100).all()
    assert epochs.loss_clean_mean.notna().all()

    parts = tmp_path / "parts"
    for required in config.required:
        finish(required, parts)
    for _ in range(3):  # each call lives for one epoch; the checkpoint is written before the row is given
        next(train(config, parts, "cpu", checkpoint_seconds=0), None)
    assert same_files(whole, finish(config, parts))


@pytest.mark.parametrize("method", METHODS)
def test_state_round_trip(method, tiny_config, tmp_path):
    config = tiny_config(method)
    for required in config.required:
        finish(required, tmp_path)
    run, copy = (Run(config, CPU, store=tmp_path) for _ in range(2))
    for epoch in (1, 2):
        train_epoch(run, epoch)
    copy.method.load_state(deepcopy(run.method.state()))
    for ours, theirs in zip(run.networks, copy.networks, strict=True):
        theirs.load_state_dict(ours.state_dict())
    for ours, theirs in zip(run.optimizers, copy.optimizers, strict=True):
        theirs.load_state_dict(deepcopy(ours.state_dict()))
    assert train_epoch(run, 3) == train_epoch(copy, 3)
    assert run.networks[0](run.plain(torch.arange(8))).shape == (8, 4)


def test_workers_change_nothing(tiny_config, tmp_path):
    configs = [tiny_config("dlt-window", seed=seed) for seed in (1, 2, 3)]
    for workers in (1, 2):
        assert sweep(configs, Job(tmp_path / str(workers), "cpu", workers, say=lambda line: None)) == {}
    for config in configs:
        assert same_files(*(records.folder_of(tmp_path / str(workers), config) for workers in (1, 2)))


def test_sweep_runs_only_what_is_missing(tiny_config, tmp_path):
    configs = [tiny_config("ce", seed=seed) for seed in (1, 2)]
    finish(configs[0], tmp_path)
    before = (records.folder_of(tmp_path, configs[0]) / "timing.csv").read_bytes()
    said = []
    sweep(configs, Job(tmp_path, "cpu", 1, say=said.append))
    assert said[0].startswith("1 of 2 runs to train")
    assert (records.folder_of(tmp_path, configs[0]) / "timing.csv").read_bytes() == before
    assert sweep(configs, Job(tmp_path, "cpu", 1, say=said.append)) == {}
    assert len(said) == 2


BROKEN = """
import os, signal, torch
from baselines.robust_losses import CE

class NaN(CE):
    def loss(self, batch):
        steps = self.steps = getattr(self, "steps", 0) + 1
        return super().loss(batch) * (float("nan") if steps == 6 else 1)

class Dies(CE):
    def loss(self, batch):
        os.kill(os.getpid(), signal.SIGKILL)

class DiesOnce(CE):
    def start_epoch(self, epoch):
        self.step = 0
    def loss(self, batch):
        self.step += 1
        flag = os.environ["FLAG"]
        if (self.run.epoch, self.step) == (3, 2) and not os.path.exists(flag):
            open(flag, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(batch)
"""


@pytest.fixture
def broken(own_modules):
    (own_modules / "broken.py").write_text(BROKEN)
    return own_modules


def test_nan_stops_the_run_with_epoch_and_step(broken, tiny_config):
    config = tiny_config("broken:NaN")
    with pytest.raises(FloatingPointError, match="nan at epoch 2, step 2"):
        finish(config, broken)
    assert records.read_record(records.folder_of(broken, config)) is None


def test_a_dead_worker_is_reported_and_the_rest_goes_on(broken, tiny_config):
    configs = [tiny_config("broken:Dies"), tiny_config("broken:NaN"), tiny_config("ce")]
    failures = sweep(configs, Job(broken, "cpu", 1, say=lambda line: None))
    assert list(failures) == [configs[0].name, configs[1].name]
    assert "exit code -9" in failures[configs[0].name]
    assert records.find_record(configs[2], [broken]) is not None


def test_sigkill_in_the_middle_of_an_epoch_loses_nothing(broken, tiny):
    def run(method, output, flag):
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "dlt",
                "train",
                "--profile",
                "digits",
                "--dataset",
                tiny,
                "--method",
                method,
                "--noise-rate",
                "0.4",
                "--output",
                output,
                "--checkpoint-seconds",
                "0",
                "--device",
                "cpu",
                "--setting",
                "epochs=4",
                "--setting",
                "drop_after=2",
            ],
            env=os.environ | {"FLAG": str(flag)},
            capture_output=True,
            text=True,
            cwd=broken,
        )

    killed = run("broken:DiesOnce", broken / "killed", broken / "flag")
    assert killed.returncode == -signal.SIGKILL
    resumed = run("broken:DiesOnce", broken / "killed", broken / "flag")
    assert resumed.returncode == 0, resumed.stderr
    assert "2/4" in resumed.stderr  # it went on after epoch 2
    assert "1/4" not in resumed.stderr
    whole = run("broken:DiesOnce", broken / "whole", broken / "flag")  # the flag is there: undisturbed
    assert whole.returncode == 0
    folders = [next((broken / name / "digits").iterdir()) for name in ("killed", "whole")]
    assert same_files(*folders)
    assert not (folders[0] / "checkpoint.pt").exists()


def test_two_processes_cannot_take_one_run(tiny_config, tmp_path):
    config = tiny_config("ce")
    first = train(config, tmp_path, "cpu")
    next(first)
    with pytest.raises(InputError, match="trained by another process"):
        next(train(config, tmp_path, "cpu"))
    first.close()
    assert len(list(train(config, tmp_path, "cpu"))) == 2  # what was stopped had been saved


def test_no_space_left_keeps_what_was_saved(tiny_config, tmp_path, monkeypatch):
    config = tiny_config("ce")
    next(train(config, tmp_path, "cpu", checkpoint_seconds=0))
    folder = records.folder_of(tmp_path, config)
    saved = (folder / "checkpoint.pt").read_bytes()

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match="no space left to write"):
            finish(config, tmp_path)
    assert (folder / "checkpoint.pt").read_bytes() == saved
    assert not list(folder.glob(".*.*"))
    assert same_files(finish(config, tmp_path), finish(config, tmp_path / "whole"))


def test_too_little_disk_is_refused_first(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: types.SimpleNamespace(free=2**20))
    with pytest.raises(InputError, match="1 MiB free"):
        finish(tiny_config("ce"), tmp_path)


def test_corrupt_files_are_named(tiny_config, tmp_path):
    config = tiny_config("ce")
    next(train(config, tmp_path, "cpu", checkpoint_seconds=0))
    checkpoint = records.folder_of(tmp_path, config) / "checkpoint.pt"
    whole = checkpoint.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"cos\nsystem\n(S'true'\ntR."):
        checkpoint.write_bytes(damaged)
        with pytest.raises(InputError, match=r"checkpoint\.pt is corrupt"):
            finish(config, tmp_path)
        assert checkpoint.read_bytes() == damaged  # nothing lost, nothing overwritten
    checkpoint.write_bytes(whole)
    folder = finish(config, tmp_path)
    (folder / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json is corrupt"):
        records.read_record(folder)


def test_record_tells_where_it_came_from(tiny_config, tmp_path):
    config = tiny_config("dlt-window", assumed_rate="realised", loss_epochs=(2,))
    record = records.read_record(finish(config, tmp_path))
    noise = record.run["label_noise"]
    assert noise["nominal_rate"] == 0.4
    assert noise["assumed_rate"] == noise["realised_rate"] == pytest.approx(0.3, abs=0.08)
    assert len(noise["sha256"]) == 64
    assert record.config.setting.epochs == 3
    assert record.config.method_config["strategy"] == "window"
    assert record.run["versions"]["torch"] == torch.__version__
    losses = record.losses()
    assert losses["loss_2"].shape == losses["kept_3"].shape == (250,)
    assert losses["loss_2"].dtype == np.float16
    accuracies = record.epochs().test_accuracy
    assert record.result["test_accuracy"]["best"] == pytest.approx(accuracies.max(), abs=1e-3)
    assert record.result["test_accuracy"]["last"] == pytest.approx(accuracies.mean(), abs=1e-3)


def test_evaluate_gives_the_last_epochs_accuracy(tiny, tiny_config, tmp_path):
    folder = finish(tiny_config("ce"), tmp_path)
    last = records.read_record(folder).epochs().test_accuracy.iloc[-1]
    assert evaluate(folder, "cpu", dataset=tiny) == {"test_accuracy": pytest.approx(last, abs=1e-3)}
    other = tmp_path / "other.npz"
    np.savez(other, **np.load(tiny), more=0)
    with pytest.raises(InputError, match=r"is not the \.npz file that the run in"):
        evaluate(folder, "cpu", dataset=str(other))


def test_draws_are_keyed_by_seed_epoch_and_purpose(tiny_config):
    def draw(seed, epoch, purpose):
        run = Run(tiny_config("ce", seed=seed), CPU)
        run.begin_epoch(epoch)
        return torch.rand(4, generator=run.generator(purpose)).tolist()

    keys = list(itertools.product((1, 2), (1, 2), ("a", "b")))
    assert len({tuple(draw(*key)) for key in keys}) == len(keys)
    assert draw(1, 1, "a") == draw(1, 1, "a")


def test_the_hash_names_what_decides_the_numbers(tiny):
    def name(**changes):
        arguments = {"method": "ce", "noise": "symmetric", "noise_rate": 0.4, "seed": 1} | changes
        return make_config("digits", tiny, **arguments).name

    different = [name(), name(seed=2), name(noise_rate=0.2), name(precision="bf16"), name(threads=2), name(epochs=3)]
    assert len(set(different)) == len(different)
    assert name() == name()


def test_a_deadline_stops_at_an_epoch_and_the_next_call_goes_on(tiny_config, tmp_path, monkeypatch):
    config, sent = tiny_config("ce"), []
    clock = iter([0.0, 0.0, 9.0])  # before the first epoch, after it, after the second
    monkeypatch.setattr("dlt.harness.sweep.time.time", lambda: next(clock))
    inbox = [config]

    def receive():
        if not inbox:
            raise EOFError
        return inbox.pop()

    _work(types.SimpleNamespace(recv=receive, send=sent.append), tmp_path, "cpu", None, 5.0)
    monkeypatch.undo()
    assert [message["epoch"] for message in sent[:2]] == [1, 2]
    assert sent[2] is End.OUT_OF_TIME
    folder = records.folder_of(tmp_path, config)
    assert torch.load(folder / "checkpoint.pt", weights_only=True)["epoch"] == 2
    assert sweep([config], Job(tmp_path, "cpu", 1, say=lambda line: None, deadline=time.time() - 1)) == {}  # no time
    assert records.read_record(folder) is None
    assert sweep([config], Job(tmp_path, "cpu", 1, say=lambda line: None)) == {}
    assert same_files(folder, finish(config, tmp_path / "whole"))


def test_the_time_left_is_not_estimated_by_restored_epochs(tiny_config, monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    one, other = (tiny_config("ce", seed=seed, epochs=100) for seed in (1, 2))
    bar = Bar([one, other], print)
    for seconds, config, epoch in [(100, one, 60), (140, one, 61), (180, other, 99), (220, one, 62)]:
        now[0] = seconds
        bar.epoch(config, {"epoch": epoch})
    bar.close()
    shown = capsys.readouterr().err
    assert " 61/200 CE-epochs [00:40, 1:32:40 left], ce 61/100" in shown  # 139 epochs of 40 s
    assert "161/200 CE-epochs [02:00, 39:00 left], ce 62/100" in shown  # 39 of 60 s


def test_what_fits_goes_first(tiny_config, tmp_path):
    configs = [tiny_config("ce", seed=seed) for seed in (1, 2)]
    seconds = {configs[0].name: 1e6, configs[1].name: 1.0}
    said = []
    sweep(
        configs, Job(tmp_path, "cpu", 1, say=said.append, deadline=time.time() + 600, seconds=lambda c: seconds[c.name])
    )
    assert [line.split(":")[0] for line in said[1:]] == [configs[1].name, configs[0].name]
