import dataclasses
import json
import os
import sys

import numpy as np
import pytest
import torch
from handmade import ASYM, SHORT, SMALL, SYM, quadrants

from dlt.artifact.tables import collect
from dlt.harness import records
from dlt.harness.config import make_config
from dlt.harness.method import load_method
from dlt.harness.records import ROOT, csv_text, folder_of

os.environ["HF_HUB_OFFLINE"] = "1"  # no test fetches weights


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A .npz of 250 synthetic grey 8x8 images (100 for the test) of 4 classes: a bright quadrant in noise."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    images, labels = quadrants(250, rng)
    test_images, test_labels = quadrants(100, rng)
    np.savez(path, images=images, labels=labels, test_images=test_images, test_labels=test_labels)
    return str(path)


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A file of weights of timm's smallest network, drawn at random."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    return path


@pytest.fixture
def tiny_config(tiny):
    """A configuration of three epochs with one of warm-up; the 250 images leave a short last batch."""

    def config(method, noise="symmetric", noise_rate=0.4, options=None, **more):
        has_window = "window" in load_method(method).Config.__dataclass_fields__
        options = ({"window": 2} if has_window else {}) | (options or {})
        return make_config("digits", tiny, method, noise, noise_rate, options=options, **SHORT | more)

    return config


@pytest.fixture
def own_modules(tmp_path, monkeypatch):
    """A folder whose modules this process can import, and those that it starts; afterwards they are forgotten."""
    monkeypatch.syspath_prepend(tmp_path)
    path = [str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    before = {*sys.modules}
    yield tmp_path
    for name in {*sys.modules} - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def stores(tmp_path, monkeypatch):
    """Empty runs/, checkpoints/ and figures/ in place of the repository's."""
    for name in ("RUNS", "CHECKPOINTS"):
        monkeypatch.setattr(records, name, tmp_path / name.lower())
    monkeypatch.setattr(records, "ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def write_run(tmp_path):
    """Write the record of a finished run with these results; of two networks the ensemble is 1 point better."""

    def write(method, column, seed, last, best, profile="digits", device="cpu: Toy CPU", seconds=60.0, table=SMALL):
        config = table.config(profile, method, column, seed)
        folder = folder_of(tmp_path, config)
        folder.mkdir(parents=True)
        result = {
            "test_accuracy": {"last": last, "best": best, "best_epoch": 2},
            "test_accuracy_ensemble": {"last": last + 1, "best": best + 1, "best_epoch": 2},
        }
        about = {"config": dataclasses.asdict(config), "device": device, "threads": 2, "result": result}
        (folder / "run.json").write_text(json.dumps(about))
        accuracies = [{"epoch": 1, "test_accuracy": best}, {"epoch": 2, "test_accuracy": last}]
        (folder / "epochs.csv").write_text(csv_text(accuracies))
        timing = [{"epoch": epoch, "train_s": seconds, "test_s": 0.0} for epoch in (1, 2)]
        (folder / "timing.csv").write_text(csv_text(timing))
        return folder

    return write


@pytest.fixture
def frame(write_run, tmp_path):
    """Three seeds of CE, and of DLT three with symmetric noise, one with asymmetric."""
    for seed, last in ((1, 60.0), (2, 62.0), (3, 64.0)):
        write_run("ce", SYM, seed, last, 80.0)
        write_run("ce", ASYM, seed, last + 20, 90.0)
        write_run("dlt-window", SYM, seed, last + 30, 95.5)
    write_run("dlt-window", ASYM, 2, 81.5, 85.0)
    return collect(SMALL, "digits", [1, 2, 3], [tmp_path])
