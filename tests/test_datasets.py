"""Data sets: what is loaded, what is refused, and that augmentation equals a slow one."""

import hashlib
import os
import pickle
import threading
import time
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision

from dlt.harness import datasets
from dlt.harness.datasets import Dataset, DeviceImages, Images, load
from dlt.harness.errors import InputError

# ---------------------------------------------------------------- digits


def test_digits_are_scikit_learns_split_by_class():
    digits = load("digits", "digits")
    assert digits.train.images.shape == (1297, 8, 8, 1)
    assert digits.test.images.shape == (500, 8, 8, 1)
    assert digits.train.images.dtype == np.uint8
    assert digits.train.labels.dtype == np.int64
    assert set(np.unique(digits.train.images)) == set(np.rint(np.arange(17) * 255 / 16).astype(int))
    assert (digits.num_classes, digits.padding, digits.flip) == (10, 1, False)
    counts = [np.bincount(part.labels) for part in (digits.train, digits.test)]
    assert np.abs(counts[1] - sum(counts) * 500 / 1797).max() <= 1
    pixels = digits.train.images / 255
    assert digits.mean == pytest.approx([pixels.mean()])
    assert digits.std == pytest.approx([pixels.std()])


def test_digits_are_the_same_every_time_and_no_image_is_in_both_parts():
    from sklearn.datasets import load_digits

    first, second = load("digits", "digits"), load("digits", "digits")
    assert np.array_equal(first.train.images, second.train.images)
    assert np.array_equal(first.test.labels, second.test.labels)
    both = np.concatenate([first.train.images, first.test.images])[..., 0]
    every = np.rint(load_digits().images * 255 / 16).astype(np.uint8)
    assert sorted(x.tobytes() for x in both) == sorted(x.tobytes() for x in every)


# ---------------------------------------------------------------- batches on a device


def make_dataset(count=20, height=8, width=10, channels=3, padding=2, flip=True):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    part = Images(images, np.arange(count) % 2, ("a", "b"))
    mean, std = (0.5, 0.4, 0.3)[:channels], (0.2, 0.3, 0.4)[:channels]
    return Dataset("made", part, part, mean, std, padding, flip)


def normalised(images, dataset):
    """(B, C, H, W) float64, image by image."""
    return np.stack([((x / 255 - dataset.mean) / dataset.std).transpose(2, 0, 1) for x in images])


def test_plain_images_are_the_images_normalised():
    dataset = make_dataset()
    images = DeviceImages(dataset.train.images, dataset, "cpu")
    assert len(images) == 20
    assert images.shape == (3, 8, 10)
    index = torch.tensor([3, 0, 19, 3])
    batch = images.plain(index)
    assert batch.dtype == torch.float32
    assert np.allclose(batch.numpy(), normalised(dataset.train.images[index], dataset), atol=2e-6)


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"height": 32, "width": 32, "padding": 4},
        {"height": 8, "width": 8, "channels": 1, "padding": 1, "flip": False},
        {"padding": 0},
    ],
)
def test_augmentation_equals_a_slow_one_with_the_same_draws(sizes):
    dataset = make_dataset(**sizes)
    images = DeviceImages(dataset.train.images, dataset, "cpu")
    index = torch.randint(len(images), (64,), generator=torch.Generator().manual_seed(7))
    batch = images.augmented(index, torch.Generator().manual_seed(5))

    generator = torch.Generator().manual_seed(5)
    pad = dataset.padding
    top, left = torch.randint(2 * pad + 1, (2, 64), generator=generator).tolist()
    mirrored = torch.randint(2, (64,), generator=generator).tolist() if dataset.flip else [0] * 64
    _, height, width = images.shape
    expected = []
    for i, t, l, m in zip(index, top, left, mirrored, strict=True):  # noqa: E741
        padded = np.pad(dataset.train.images[i], ((pad, pad), (pad, pad), (0, 0)))
        crop = padded[t : t + height, l : l + width]
        expected.append(crop[:, ::-1] if m else crop)
    assert np.allclose(batch.numpy(), normalised(expected, dataset), atol=2e-6)


def views_of_one_image(dataset, draws=4000):
    images = DeviceImages(dataset.train.images, dataset, "cpu")
    batch = images.augmented(torch.zeros(draws, dtype=torch.int64), torch.Generator().manual_seed(0))
    return {view.numpy().tobytes() for view in batch.contiguous()}


def test_every_shift_is_reached_mirrored_or_not():
    assert len(views_of_one_image(make_dataset(padding=4))) == 9 * 9 * 2
    assert len(views_of_one_image(make_dataset(padding=1, flip=False))) == 3 * 3


def test_digits_are_shifted_and_never_mirrored():
    digits = load("digits", "digits")
    padded = np.pad(digits.train.images[0], ((1, 1), (1, 1), (0, 0)))
    shifts = np.stack([padded[t : t + 8, l : l + 8] for t in range(3) for l in range(3)])  # noqa: E741
    expected = {view.tobytes() for view in normalised(shifts, digits).astype(np.float32).round(4)}
    batch = DeviceImages(digits.train.images, digits, "cpu").augmented(
        torch.zeros(500, dtype=torch.int64), torch.Generator().manual_seed(0)
    )
    assert {view.tobytes() for view in batch.numpy().round(4)} == expected


def test_the_border_is_black():
    dataset = make_dataset(padding=4)
    dataset.train.images[:] = 255
    images = DeviceImages(dataset.train.images, dataset, "cpu")
    batch = images.augmented(torch.arange(20), torch.Generator().manual_seed(0))
    black, white = normalised(np.array([0, 255])[:, None, None, None] * np.ones((1, 1, 1, 3)), dataset)
    is_black = np.isclose(batch.numpy(), black, atol=1e-5)
    is_white = np.isclose(batch.numpy(), white, atol=1e-5)
    assert (is_black ^ is_white).all()
    assert is_black.any()
    assert np.allclose(images.plain(torch.arange(20)).numpy(), white, atol=1e-5)


@pytest.mark.parametrize("size", [128, 7, 1, 0])
def test_batches_of_any_size_are_channels_last(size):
    dataset = make_dataset()
    images = DeviceImages(dataset.train.images, dataset, "cpu")
    index = torch.arange(size) % 20
    for batch in (images.plain(index), images.augmented(index, torch.Generator().manual_seed(0))):
        assert batch.shape == (size, 3, 8, 10)
        assert batch.is_contiguous(memory_format=torch.channels_last)


def test_the_generator_fixes_the_views_and_the_global_one_has_no_part():
    dataset = make_dataset()
    images, index = DeviceImages(dataset.train.images, dataset, "cpu"), torch.arange(20)
    before = torch.get_rng_state()
    generator = torch.Generator().manual_seed(3)
    first, second = images.augmented(index, generator), images.augmented(index, generator)
    assert torch.equal(images.augmented(index, torch.Generator().manual_seed(3)), first)
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


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
    monkeypatch.setattr(datasets, "MINI_TRAIN", 5)
    monkeypatch.setattr(datasets, "MINI_TEST", 2)
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
        ("cifar100", "mini", "mini"),
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


def test_real_cifar100():
    whole = real("cifar100", "short", "cifar-100-python")
    assert whole.train.images.shape == (50000, 32, 32, 3)
    assert whole.num_classes == 100
    assert (np.bincount(whole.test.labels) == 100).all()
    pixels = whole.train.images[:2000] / 255
    assert np.allclose(pixels.mean(axis=(0, 1, 2)), whole.mean, atol=0.01)
    assert np.allclose(pixels.std(axis=(0, 1, 2)), whole.std, atol=0.01)


# ---------------------------------------------------------------- the user's own archive


def archive(path, **changes):
    """A valid archive of 40 grey images in four classes with `changes`; None leaves an array out."""
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 12), dtype=np.uint8)
    arrays = {"images": images, "labels": np.arange(40) % 4} | changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return str(path)


def test_archive_without_test_images_holds_a_stratified_fifth_out(tmp_path):
    path = archive(tmp_path / "mine.npz")
    first, second = load(path, "short"), load(path, "mini")
    assert first.name == "mine"
    assert first.train.images.shape == (32, 16, 12, 1)
    assert np.bincount(first.test.labels).tolist() == [2, 2, 2, 2]
    assert first.train.class_names == ("0", "1", "2", "3")
    assert (first.padding, first.flip) == (2, False)
    assert np.array_equal(first.train.images, second.train.images)


def test_archive_with_test_images_is_taken_as_it_is(tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    images[..., 2] = 7  # a channel of a single value
    path = archive(
        tmp_path / "mine.npz",
        images=np.asfortranarray(images),
        test_images=images[:12],
        test_labels=np.zeros(12, np.int8),
        class_names=np.array(["cat", "dog", "ship", "truck"]),
    )
    mine = load(path, "short")
    assert np.array_equal(mine.train.images, images)
    assert mine.test.images.shape == (12, 8, 8, 3)
    assert mine.test.labels.dtype == np.int64
    assert mine.train.class_names == ("cat", "dog", "ship", "truck")
    assert mine.flip
    assert mine.mean == pytest.approx((images / 255).mean(axis=(0, 1, 2)))
    assert mine.std[:2] == pytest.approx((images / 255).std(axis=(0, 1, 2))[:2])
    assert mine.std[2] == pytest.approx(1 / 255)
    batch = DeviceImages(mine.train.images, mine, "cpu").plain(torch.arange(40))
    assert np.allclose(batch.numpy(), normalised(images, mine), atol=1e-5)


GREY = np.zeros((40, 8, 8), np.uint8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "has no array images; it has labels"),
        ({"labels": None}, "has no array labels"),
        ({"images": GREY.astype(np.float32)}, r"images is float32 \(40, 8, 8\); must be uint8"),
        ({"images": GREY[0]}, r"images is uint8 \(8, 8\)"),
        ({"images": np.zeros((40, 3, 8, 8), np.uint8)}, r"images is uint8 \(40, 3, 8, 8\)"),
        ({"images": GREY[:, :0]}, r"images is uint8 \(40, 0, 8\)"),
        ({"images": GREY[:39]}, r"labels is int64 \(40,\); must be integers \(39,\)"),
        ({"labels": np.arange(40) / 2}, "labels is float64"),
        ({"labels": np.eye(40, 4, dtype=int)}, r"labels is int64 \(40, 4\)"),
        ({"labels": np.arange(40) % 4 - 1}, "labels has -1; must not be negative"),
        ({"labels": np.zeros(40, int)}, "labels are 0; must be 0, 1"),
        ({"labels": np.arange(40) % 2 * 2}, "labels are 0, 2; must be 0, 1"),
        ({"labels": np.full(40, 2**63, np.uint64)}, "labels has -9223372036854775808|labels are"),
        ({"images": GREY[:8], "labels": np.arange(8) % 2}, "images has 8 images; must have at least 10"),
        ({"labels": np.arange(40) % 20}, "class 0 has 2 images; must have at least 5"),
        ({"class_names": np.array(["cat", "dog"])}, "class_names is <U3 .*must be 4 strings"),
        ({"class_names": np.arange(4)}, "class_names is int64"),
        ({"class_names": np.array(["a", "b", "c", None])}, "is not a numpy.savez archive of plain arrays"),
        ({"test_images": GREY}, "has no array test_labels"),
        ({"test_labels": np.arange(40) % 4}, "has no array test_images"),
        (
            {"test_images": GREY, "test_labels": np.arange(40) % 4},
            r"test_images are \(8, 8, 1\); images are \(16, 12, 1\)",
        ),
        (
            {"images": GREY, "test_images": GREY, "test_labels": np.arange(40) % 5},
            "test_labels go up to 4; must be in 0..3",
        ),
    ],
)
def test_malformed_archives_are_refused(tmp_path, changes, message):
    path = archive(tmp_path / "mine.npz", **changes)
    with pytest.raises(InputError, match=message) as raised:
        load(path, "short")
    assert path in str(raised.value)
    assert "\n" not in str(raised.value)


def test_files_that_are_no_archive_are_refused(tmp_path):
    path = tmp_path / "mine.npz"
    whole = Path(archive(path)).read_bytes()
    damaged = bytearray(whole)
    damaged[200] ^= 255
    with open(tmp_path / "lone.npy", "wb") as file:
        np.save(file, GREY)
    lone = (tmp_path / "lone.npy").read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2], bytes(damaged), lone):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"mine.npz is not a numpy.savez archive"):
            load(str(path), "short")
    with pytest.raises(InputError, match=r"absent.npz"):
        load(str(tmp_path / "absent.npz"), "short")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(InputError, match=r"folder.npz"):
        load(str(tmp_path / "folder.npz"), "short")
