"""CIFAR: what is downloaded, read, refused and left alone; a small stand-in of the same layout, and the real one."""

import hashlib
import os
import pickle
import threading
import time
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torchvision

from dlt.harness import datasets
from dlt.harness.datasets import load
from dlt.harness.errors import InputError

# ---------------------------------------------------------------- CIFAR: a small stand-in of the same layout


class SmallCIFAR(torchvision.datasets.CIFAR10):
    """torchvision's layout and checks with 60 + 30 images of three classes."""

    downloads = 0

    def download(self):
        type(self).downloads += 1
        time.sleep(0.1)  # long enough for a second process to arrive
        for path, content in FILES.items():
            (Path(self.root) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(self.root) / path).write_bytes(content)


def small_part(count, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)
    return {"data": pixels, "labels": [i % 3 for i in range(count)]}


FILES = {
    f"cifar-10-batches-py/{name}": pickle.dumps(content)
    for name, content in {
        "data_batch_1": small_part(40, 1),
        "data_batch_2": small_part(20, 2),
        "test_batch": small_part(30, 3),
        "batches.meta": {"label_names": ["cat", "dog", "ship"]},
    }.items()
}


@pytest.fixture
def small_cifar(monkeypatch, tmp_path):
    """A stand-in for CIFAR-10 whose default folder, still absent, is the value of this fixture."""
    sums = [[Path(path).name, hashlib.md5(content).hexdigest()] for path, content in FILES.items()]
    monkeypatch.setattr(SmallCIFAR, "train_list", sums[:2])
    monkeypatch.setattr(SmallCIFAR, "test_list", sums[2:3])
    monkeypatch.setattr(SmallCIFAR, "meta", SmallCIFAR.meta | {"md5": sums[3][1]})
    monkeypatch.setattr(SmallCIFAR, "downloads", 0)
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", SmallCIFAR)
    monkeypatch.setenv("DLT_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def test_default_folder_is_filled_once_and_nothing_else_is_left_in_it(small_cifar):
    first, second = load("cifar10", "short"), load("cifar10", "short")
    assert SmallCIFAR.downloads == 1
    assert first.train.images.shape == (60, 32, 32, 3)
    assert first.train.images.flags.c_contiguous
    expected = small_part(40, 1)["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    assert np.array_equal(second.train.images[:40], expected)
    assert first.train.class_names == ("cat", "dog", "ship")
    assert (first.num_classes, first.padding, first.flip) == (3, 4, True)
    assert first.mean == (0.4914, 0.4822, 0.4465)
    assert sorted(p.name for p in small_cifar.iterdir()) == [".lock", "cifar-10-batches-py"]


def test_default_folder_is_the_repository_where_no_variable_is_set(small_cifar, monkeypatch, tmp_path):
    assert datasets.DEFAULT_FOLDER == Path(__file__).parents[1] / "data"
    monkeypatch.delenv("DLT_DATA")
    monkeypatch.setattr(datasets, "DEFAULT_FOLDER", tmp_path / "elsewhere")
    load("cifar10", "short")
    assert (tmp_path / "elsewhere" / "cifar-10-batches-py").is_dir()


def test_two_processes_download_once(small_cifar):
    # flock belongs to an open file, so two threads compete as two processes do.
    loaded = []
    threads = [threading.Thread(target=lambda: loaded.append(load("cifar10", "short"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loaded) == 2
    assert SmallCIFAR.downloads == 1


def test_a_download_that_is_interrupted_starts_over(small_cifar, monkeypatch):
    def interrupted(self):
        folder = Path(self.root) / self.base_folder
        folder.mkdir(parents=True)
        (folder / "data_batch_1").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SmallCIFAR, "download", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load("cifar10", "short")
    (small_cifar / ".download").mkdir()  # what a kill leaves behind
    assert len(load("cifar10", "short").train) == 60


def test_mini_is_the_first_images_of_each_class_in_the_original_order(small_cifar, monkeypatch):
    monkeypatch.setitem(datasets.MINI_IMAGES, "cifar10", (5, 2))
    whole, mini = load("cifar10", "short"), load("cifar10", "mini")
    assert np.array_equal(mini.train.images, whole.train.images[:15])
    assert np.array_equal(mini.test.labels, whole.test.labels[:6])


def test_named_folder_is_never_filled(small_cifar, tmp_path):
    with pytest.raises(InputError, match=r"data-dir: .*absent is not a folder; expected cifar-10"):
        load("cifar10", "short", data_dir=tmp_path / "absent")
    assert not (tmp_path / "absent").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"data-dir: .*empty has no cifar-10-batches-py/data_batch_1;"):
        load("cifar10", "short", data_dir=str(tmp_path / "empty"))
    assert not any((tmp_path / "empty").iterdir())
    assert SmallCIFAR.downloads == 0


def test_named_folder_with_the_data_is_only_read(small_cifar, tmp_path):
    load("cifar10", "short")
    small_cifar.rename(tmp_path / "mine")
    (tmp_path / "mine" / ".lock").unlink()
    assert len(load("cifar10", "short", data_dir=tmp_path / "mine").test) == 30
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["cifar-10-batches-py"]


def test_no_download_when_told_so(small_cifar):
    with pytest.raises(InputError, match=r"data folder: .*--data-dir or DLT_DATA"):
        load("cifar10", "short", download=False)
    assert not small_cifar.exists()


@pytest.mark.parametrize("error", [URLError("no network"), RuntimeError("File not found or corrupted.")])
def test_failing_download_says_what_is_expected_where(small_cifar, monkeypatch, error):
    def failing(self):
        raise error

    monkeypatch.setattr(SmallCIFAR, "download", failing)
    with pytest.raises(InputError) as raised:
        load("cifar10", "short")
    for part in (str(small_cifar), "cifar-10-batches-py/", "https://", "--data-dir", "DLT_DATA", str(error)):
        assert part in str(raised.value)
    assert "\n" not in str(raised.value)
    assert [p.name for p in small_cifar.iterdir()] == [".lock"]


@pytest.mark.parametrize("name", ["data_batch_2", "test_batch", "batches.meta"])
def test_damaged_file_is_named_and_kept(small_cifar, name):
    load("cifar10", "short")
    path = small_cifar / "cifar-10-batches-py" / name
    path.write_bytes(path.read_bytes()[:-1])
    damaged = path.read_bytes()
    with pytest.raises(InputError, match=f"data folder: .*{name} is damaged"):
        load("cifar10", "short")
    assert path.read_bytes() == damaged


@pytest.mark.parametrize(
    ("dataset", "profile", "message"),
    [
        ("digits", "mini", "mini"),
        ("mnist", "short", "dataset: 'mnist' is not digits, cifar10, cifar100, clothing1m or a path ending in .npz"),
    ],
)
def test_unknown_combinations_are_refused(dataset, profile, message):
    with pytest.raises(InputError, match=message):
        load(dataset, profile)


# ---------------------------------------------------------------- CIFAR: the real one


def real(dataset, profile, folder):
    root = Path(os.environ.get("DLT_DATA") or datasets.DEFAULT_FOLDER)
    if not (root / folder).is_dir():
        pytest.skip(f"no {dataset} in {root}")
    return load(dataset, profile, data_dir=root)


def test_real_cifar10_mini():
    mini = real("cifar10", "mini", "cifar-10-batches-py")
    assert mini.train.images.shape == (5120, 32, 32, 3)
    assert mini.test.images.shape == (2000, 32, 32, 3)
    assert (np.bincount(mini.train.labels) == 512).all()
    assert (np.bincount(mini.test.labels) == 200).all()
    assert mini.train.labels[:5].tolist() == [6, 9, 9, 4, 1]
    assert mini.train.class_names[6] == "frog"


def test_real_cifar100_mini():
    mini = real("cifar100", "mini", "cifar-100-python")
    assert (len(mini.train), len(mini.test)) == (10_000, 2_000)
    assert (np.bincount(mini.train.labels) == 100).all()
    assert (np.bincount(mini.test.labels) == 20).all()


def test_real_cifar100():
    whole = real("cifar100", "short", "cifar-100-python")
    assert whole.train.images.shape == (50000, 32, 32, 3)
    assert whole.num_classes == 100
    assert (np.bincount(whole.test.labels) == 100).all()
    pixels = whole.train.images[:2000] / 255
    assert np.allclose(pixels.mean(axis=(0, 1, 2)), whole.mean, atol=0.01)
    assert np.allclose(pixels.std(axis=(0, 1, 2)), whole.std, atol=0.01)
