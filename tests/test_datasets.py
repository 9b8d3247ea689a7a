"""Data sets: what is loaded, what is refused, and that augmentation equals a slow one."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dlt.harness.datasets import load
from dlt.harness.errors import InputError
from dlt.harness.images import Dataset, DeviceImages, Images

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
        ({"images": None}, "has no array images .* it has labels"),
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
        ({"images": GREY[:8], "labels": np.arange(8) % 2}, "labels has 8 samples; must have at least 10"),
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
