"""The data sets: real images with their true labels.

Noise is put into the labels elsewhere: label_noise.py.
"""

import os
import shutil
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path

import numpy as np
from filelock import FileLock

from dlt.harness.arrays import read_arrays
from dlt.harness.errors import InputError
from dlt.harness.features import Features, load_features, scale
from dlt.harness.images import Dataset, Images, hold_out
from dlt.harness.places import ROOT

DEFAULT_FOLDER = ROOT / "data"
# Channel means and standard deviations as in DivideMix, whose setting the paper takes over.
CIFAR_STATISTICS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.507, 0.487, 0.441), (0.267, 0.256, 0.276)),
}
MINI_IMAGES = {"cifar10": (512, 200), "cifar100": (100, 20)}  # of each class in profile mini: train, test


def load(dataset: str, profile: str, data_dir: str | Path | None = None, download: bool = True) -> Dataset:
    """Load "digits", "cifar10", "cifar100", "clothing1m" or the archive at a path ending in ".npz" (`load_arrays`).

    Of a path ending in ".json", `dlt.harness.listed_pictures` says what it lists.

    CIFAR and Clothing1M lie in the folder `data_dir`, else $DLT_DATA, else `data/` in the repository; only the
    latter two are filled by download, with CIFAR. Profile "mini" takes the first images of each class of CIFAR, as
    many as MINI_IMAGES says, every other profile the whole. Raises InputError for an unknown data set, and for
    data that are missing, malformed or damaged.
    """
    if profile == "mini" and dataset in ("digits", "clothing1m"):
        raise InputError(f"dataset: {dataset!r} is not run in profile mini; allowed: cifar10, cifar100, or a .npz file")
    if dataset == "digits":
        return _digits_as_features() if profile == "features" else _digits()
    if dataset in CIFAR_STATISTICS:
        return _cifar(dataset, profile == "mini", data_dir, download)
    if dataset == "clothing1m":
        from dlt.harness.clothing1m import load_clothing1m  # here, because torchvision takes a second

        return load_clothing1m(data_folder(data_dir) / dataset)
    if str(dataset).endswith(".npz"):
        return load_features(dataset) if profile == "features" else load_arrays(dataset)
    if str(dataset).endswith(".json"):
        from dlt.harness.listed_pictures import load_listed  # as above

        return load_listed(dataset)
    raise InputError(f"dataset: {dataset!r} is not digits, cifar10, cifar100, clothing1m or a path ending in .npz")


def load_arrays(path: str | Path) -> Dataset:
    """A user's own data; `dlt.harness.arrays.read_arrays` says what the archive holds.

    The name is the file's stem. Without test images a stratified fifth is held out, always the same one.
    Colour images are flipped in training; grey ones (digits, letters) are not. Raises InputError.
    """
    arrays = read_arrays(path)
    names = tuple(arrays["class_names"].tolist())
    images, labels, clean = arrays["images"], arrays["labels"], arrays.get("clean_labels")
    if "test_images" in arrays:
        train = Images(images, labels, names, clean_labels=clean)
        test = Images(arrays["test_images"], arrays["test_labels"], names)
    else:
        counts = np.bincount(labels)
        if counts.min() < 5:
            raise InputError(
                f"dataset: {path}: class {counts.argmin()} has {counts.min()} images; must have at least 5 "
                "(one is held out), or add test_images and test_labels"
            )
        train, test = hold_out(images, labels, 0.2, names, clean)
    return _measured(Path(path).stem, train, test, flip=images.shape[-1] == 3)


def _digits() -> Dataset:
    """scikit-learn's 1,797 handwritten digits, 8x8 pixels in 17 grey levels: 1,297 train, 500 test."""
    from sklearn.datasets import load_digits  # here, because it takes a second and CIFAR does without

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    train, test = hold_out(images, digits.target.astype(np.int64), 500, tuple("0123456789"))
    return _measured("digits", train, test, flip=False)


def _digits_as_features() -> Features:
    """The digits as vectors of 64 pixels."""
    digits = _digits()
    vectors = [part.images.reshape(len(part), -1).astype(np.float32) for part in (digits.train, digits.test)]
    train, test = (
        replace(part, images=scale(values, vectors[0], "unit"))
        for part, values in zip((digits.train, digits.test), vectors, strict=True)
    )
    return Features("digits", train, test, (), (), padding=0, flip=False)


def _measured(name: str, train: Images, test: Images, flip: bool) -> Dataset:
    """With the statistics of the training images, and CIFAR's padding: an eighth of the height."""
    # Squared bytes fit 16 bits, so that no float copy of the images is needed.
    square = np.square(train.images, dtype=np.uint16).mean(axis=(0, 1, 2), dtype=np.float64) / 255**2
    mean = train.images.mean(axis=(0, 1, 2), dtype=np.float64) / 255
    # A channel of a single value has no spread to divide by: one grey level is the least.
    std = np.sqrt(np.maximum(square - mean**2, 255**-2))
    padding = max(1, train.images.shape[1] // 8)
    return Dataset(name, train, test, tuple(mean.tolist()), tuple(std.tolist()), padding, flip)


def data_folder(data_dir: str | Path | None) -> Path:
    """`data_dir`, else $DLT_DATA, else data/ in the repository (of an installed package: where the user stands)."""
    return Path(data_dir or os.environ.get("DLT_DATA") or DEFAULT_FOLDER).expanduser()


def _cifar(dataset: str, mini: bool, data_dir: str | Path | None, download: bool) -> Dataset:
    from torchvision import datasets  # here, because it takes a second and digits do without

    source = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[dataset]
    root = data_folder(data_dir)
    if missing := _missing(source, root):
        if data_dir or not download:
            field = "data-dir" if data_dir else "data folder"
            found = f"has no {missing[0]}" if root.is_dir() else "is not a folder"
            raise InputError(f"{field}: {root} {found}; {_layout(source)}")
        _download(source, root)
    try:
        parts = [source(root, train=train) for train in (True, False)]
    except RuntimeError as error:  # torchvision compares checksums, but does not say of which file
        raise InputError(f"data folder: {root / _damaged(source, root)} is damaged; replace it") from error
    limits = MINI_IMAGES[dataset] if mini else (None, None)
    train, test = (_first_of_each_class(part, limit) for part, limit in zip(parts, limits, strict=True))
    return Dataset(dataset, train, test, *CIFAR_STATISTICS[dataset], padding=4, flip=True)


def _first_of_each_class(part, limit: int | None) -> Images:
    """The first `limit` images of each class of a torchvision CIFAR part, in the original order."""
    labels = np.array(part.targets)
    index = np.sort(np.concatenate([np.flatnonzero(labels == c)[:limit] for c in range(len(part.classes))]))
    return Images(np.ascontiguousarray(part.data[index]), labels[index], tuple(part.classes), index)


def _checksums(source) -> dict[str, str]:
    """{path in the data folder: MD5} of a torchvision CIFAR class."""
    files = [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]
    return {f"{source.base_folder}/{name}": md5 for name, md5 in files}


def _missing(source, root: Path) -> list[str]:
    return [path for path in _checksums(source) if not (root / path).is_file()]


def _damaged(source, root: Path) -> str:
    from torchvision.datasets.utils import check_integrity

    return next(path for path, md5 in _checksums(source).items() if not check_integrity(root / path, md5))


def _layout(source) -> str:
    names = ", ".join(Path(path).name for path in _checksums(source))
    return (
        f"expected {source.base_folder}/ with {names}, as unpacked from {source.url}; "
        "name the folder around it with --data-dir or DLT_DATA"
    )


def _download(source, root: Path) -> None:
    """Fetch what is missing. Killed at any instant or run twice at once, it leaves only whole files."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".lock"):
            missing = _missing(source, root)  # none, if another process was faster
            staging = root / ".download"
            try:
                if missing:
                    shutil.rmtree(staging, ignore_errors=True)
                    source(staging, download=True)
                    (root / source.base_folder).mkdir(exist_ok=True)
                for path in missing:
                    os.replace(staging / path, root / path)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: a wrong checksum
        raise InputError(f"data folder: the download to {root} failed ({error}); {_layout(source)}") from error
