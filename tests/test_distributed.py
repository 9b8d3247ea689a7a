"""One run over two processes: what torchrun starts computes what one process would, and is no less safe."""

import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from handmade import SHORT, words
from PIL import Image
from readme import command

from dlt.harness import distributed, records
from dlt.harness.clothing1m import ImageFiles
from dlt.harness.config import make_config
from dlt.harness.errors import InputError
from dlt.harness.images import Dataset, Images
from dlt.harness.method import METHODS
from dlt.harness.training import train

# Every method of the table, noting threshold, loss and per-sample losses of every step; with DOUBLE in float64.
PROBE = """
import atexit, json, os, pathlib, signal
import torch
from torch import nn
from dlt.harness.method import METHODS, load_method
from dlt.harness.networks import NETWORKS

RANK = os.environ.get("RANK", "0")
NETWORKS["no-batch-norm"] = lambda channels, classes: nn.Sequential(
    nn.Conv2d(channels, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
    nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, classes))
if "DOUBLE" in os.environ:
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double

class Probe:
    step = 0

    def loss(self, batch):
        loss = super().loss(batch)
        tau = float((getattr(self, "taus", None) or [torch.nan])[-1])
        with open(os.path.join(os.environ["NOTES"], RANK), "a") as file:
            losses = self.run.observed.losses[batch.index]
            file.write(json.dumps([self.run.epoch, tau, float(loss), losses.tolist()]) + "\\n")
        return loss

for name in METHODS:
    globals()[name.replace("-", "_")] = type(name, (Probe, load_method(name)), {})

@atexit.register
def note_threads():
    "What threads are left: one of a process group may abort the process at its exit."
    names = [task.joinpath("comm").read_text() for task in pathlib.Path("/proc/self/task").glob("*")]
    with open(os.path.join(os.environ["NOTES"], RANK + "-threads"), "w") as file:
        file.writelines(names)

class DiesOnce(dlt_window):
    def loss(self, batch):
        flag = os.environ["NOTES"] + "/flag"
        self.count = getattr(self, "count", 0) + 1
        if RANK == "1" and self.run.epoch == 3 and self.count > 9 and not os.path.exists(flag):
            open(flag, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(batch)
"""


@pytest.fixture
def start(own_modules, tmp_path, tiny):
    """Train with `processes` processes into the store `name`; beside it, their notes."""
    (own_modules / "probe.py").write_text(PROBE)

    def start(name, processes, method, *more, double=False, dataset=tiny, **setting):
        (tmp_path / f"{name}-notes").mkdir(exist_ok=True)
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command = [sys.executable, *(launcher if processes > 1 else []), "-m", "dlt", "train", "--device", "cpu"]
        command += ["--method", method, "--profile", "digits", "--dataset", dataset, "--output", tmp_path / name]
        command += ["--noise-rate", "0.4", "--checkpoint-seconds", "0", *more]
        command += words(SHORT | setting)
        variables = {"NOTES": str(tmp_path / f"{name}-notes")} | ({"DOUBLE": "1"} if double else {})
        return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, timeout=300)

    return start


def notes(folder, rank):
    return [json.loads(line) for line in (folder / str(rank)).read_text().splitlines()]


def run_folder(store):
    return next(store.glob("*/*probe*"))


def assert_as_one_process(tmp_path, start, method, *more, **settings):
    """Both ranks note the same at every step, to the bit, and what a single process notes, nearly."""

    def run(name, processes):
        return start(name, processes, method, *more, network="no-batch-norm", double=True, **settings)

    with ThreadPoolExecutor() as pool:
        for done in pool.map(run, ("two", "one"), (2, 1)):
            assert done.returncode == 0, done.stderr
    for rank in (0, 1):
        assert "gloo" not in (tmp_path / f"two-notes/{rank}-threads").read_text()
    first, second, alone = (notes(tmp_path / f"{name}-notes", r) for name, r in (("two", 0), ("two", 1), ("one", 0)))
    assert json.dumps(first) == json.dumps(second)
    assert len(first) == len(alone)
    taus = np.array([step[1] for step in first])
    assert (np.isfinite(taus) == np.array([step[0] > 1 for step in first])).all()
    for ours, theirs in zip(first, alone, strict=True):
        for mine, single in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine, single, rtol=1e-6, atol=1e-9)


# 250 rows are three batches of 83, halves of 41 and 42, and one of a single row, of which one rank has none.
@pytest.mark.parametrize("strategy", ["window", pytest.param("last-epoch", marks=pytest.mark.slow)])
def test_two_processes_compute_what_one_does(strategy, start, tmp_path):
    assert_as_one_process(tmp_path, start, "probe:dlt_window", "--option", f"strategy={strategy}", batch_size=83)


@pytest.mark.slow
def test_images_in_files(start, tmp_path):
    write_photographs(tmp_path / "data/clothing1m")
    assert_as_one_process(
        tmp_path,
        start,
        "probe:dlt_window",
        "--profile",
        "paper",
        "--noise",
        "none",
        "--noise-rate",
        "0",
        "--data-dir",
        tmp_path / "data",
        "--option",
        "window=2",
        "--option",
        "warmup_epochs=1",
        dataset="clothing1m",
        batch_size=7,
        epoch_samples=24,
        precision="fp32",
        threads=1,
    )


def write_photographs(folder):
    """56 training and 4 test images of noise in Clothing1M's layout."""
    rng = np.random.default_rng(0)
    keys = [f"images/{i}.jpg" for i in range(60)]
    (folder / "images").mkdir(parents=True)
    for key in keys:
        Image.fromarray(rng.integers(0, 256, (256, 256 + rng.integers(40), 3), dtype=np.uint8)).save(folder / key)
    for name, part in (("noisy", keys[:56]), ("clean", keys[56:])):
        lists = ("noisy_train",) if name == "noisy" else ("clean_train", "clean_val", "clean_test")
        for listed in lists:
            (folder / f"{listed}_key_list.txt").write_text("".join(f"{key}\n" for key in part))
        (folder / f"{name}_label_kv.txt").write_text("".join(f"{key} {i % 14}\n" for i, key in enumerate(part)))


@pytest.mark.slow
def test_the_readmes_command(own_modules, tmp_path):
    write_photographs(tmp_path / "data/clothing1m")
    torchrun, *line = command(".venv/bin/torchrun")
    assert (torchrun, line[2]) == (".venv/bin/torchrun", "4")
    line[2] = "2"
    short = SHORT | {"batch_size": 7, "epoch_samples": 24, "precision": "fp32", "network": "preact-digits"}
    more = ["--device", "cpu", "--data-dir", tmp_path / "data", "--output", tmp_path / "runs", *words(short)]
    launcher = [sys.executable, "-m", "torch.distributed.run"]
    done = subprocess.run([*launcher, *line, *more], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.glob("runs/paper/*dlt-window*")
    assert records.read_record(folder).config.setting.processes == 2


def test_a_process_decodes_its_share_alone(tmp_path, monkeypatch):
    write_photographs(tmp_path)
    paths = [str(tmp_path / f"images/{i}.jpg") for i in range(9)]
    labels = np.zeros(9, np.int64)
    part = Images(paths, labels, ("only",))
    files = ImageFiles(paths, Dataset("some", part, part, (0.5,) * 3, (0.5,) * 3, 0, False), "cpu")
    index = torch.tensor([8, 1, 6, 3, 5])
    whole = files.plain(index), files.augmented(index, torch.Generator().manual_seed(0))
    monkeypatch.setattr(distributed, "size", lambda: 2)
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    monkeypatch.setattr(distributed, "gathered", lambda own, count: own)
    files._kept.clear()
    for _ in files.ahead([index]):
        ours = files.plain(index), files.augmented(index, torch.Generator().manual_seed(0))
    assert set(files._kept) == {1, 3}
    for mine, all_of_them in zip(ours, whole, strict=True):
        assert mine.equal(all_of_them[1::2])


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8])
def test_shares_are_all_rows(count, monkeypatch):
    monkeypatch.setattr(distributed, "size", lambda: 3)
    rows = []
    for rank in range(3):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        share = distributed.share(torch.arange(count)).tolist()
        assert len(share) in (count // 3, math.ceil(count / 3))
        rows += share
    assert sorted(rows) == list(range(count))


# The one whose network 0 does not learn, which DDP refuses, is always run.
@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=[] if name == "dlt-auto" else pytest.mark.slow) for name in METHODS]
)
def test_every_method(method, start, tmp_path):
    """With batch norm: ranks agree to the bit at every step, and the run ends as any does."""
    _, preset = METHODS[method]
    options = [text for pair in preset.items() for text in ("--option", "=".join(pair))]
    done = start("two", 2, f"probe:{method.replace('-', '_')}", *options)
    assert done.returncode == 0, done.stderr
    assert json.dumps(notes(tmp_path / "two-notes", 0)) == json.dumps(notes(tmp_path / "two-notes", 1))
    record = records.read_record(run_folder(tmp_path / "two"))
    assert np.isfinite(record.epochs().train_loss).all()
    assert record.config.setting.processes == 2
    assert done.stdout.count("Last ") == (2 if method in ("f-correction", "mlnt") else 1)  # one rank speaks


@pytest.mark.slow
def test_a_killed_process_ends_the_run_and_the_same_command_goes_on(start, tmp_path):
    killed = start("killed", 3, "probe:DiesOnce", epochs=4)
    assert killed.returncode == 1
    assert "Signal 9 (SIGKILL)" in killed.stderr
    assert "RuntimeError" not in killed.stderr
    folder = run_folder(tmp_path / "killed")
    assert records.read_record(folder) is None
    resumed = start("killed", 3, "probe:DiesOnce", epochs=4)
    assert resumed.returncode == 0, resumed.stderr
    assert "0/4" not in resumed.stderr  # it went on behind the first epochs
    (tmp_path / "whole-notes").mkdir()
    (tmp_path / "whole-notes/flag").touch()
    assert start("whole", 3, "probe:DiesOnce", epochs=4).returncode == 0
    for name in ("epochs.csv", "losses.npz", "weights.safetensors"):
        assert (folder / name).read_bytes() == (run_folder(tmp_path / "whole") / name).read_bytes()


def test_bad_input_is_one_line_and_ends_all(start):
    done = start("two", 2, "cee")
    assert done.returncode != 0
    assert done.stderr.count("error: ") == 1
    assert "error: method: 'cee' is not one of ce," in done.stderr
    assert done.stderr.count("exitcode  : 2") == 1  # of the process that speaks; torchrun's own is 1


def test_the_number_of_processes_is_part_of_a_run(tiny, tmp_path):
    one, two = (make_config("digits", tiny, "ce", "symmetric", 0.4, processes=count) for count in (1, 2))
    assert one.name == make_config("digits", tiny, "ce", "symmetric", 0.4).name != two.name
    with pytest.raises(InputError, match=r"processes: 2, but 1 share this run; .* --nproc-per-node 2"):
        next(train(two, tmp_path, "cpu"))
