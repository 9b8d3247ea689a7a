"""Read and check a user's own data: a NumPy archive of images and labels."""

import contextlib
import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dlt.harness.errors import InputError

KEYS = ("images", "labels", "clean_labels", "test_images", "test_labels", "class_names")


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The checked arrays of KEYS in an archive written with `numpy.savez`.

    images, labels            uint8 (N, H, W, C) or (N, H, W), C 1 or 3; integers (N,), every class of
                              0..C-1 present; N at least 10
    clean_labels              optional, integers (N,): the true labels, where `labels` came with errors
    test_images, test_labels  optional, together; of the same size and with no other classes
    class_names               optional, one string a class; default "0", "1", ...

    Comes back as uint8 (N, H, W, C), int64 (N,) and strings (C,). Raises InputError for anything else.
    Pickled arrays are refused: loading them would run code from the file.
    """
    arrays = read_archive(path, KEYS)
    images, labels = _checked_part(path, arrays, "")
    classes = np.unique(labels)
    if len(classes) < 2 or classes[-1] != len(classes) - 1:
        shown = f"{', '.join(map(str, classes[:10]))}{', ...' if len(classes) > 10 else ''}"
        raise InputError(f"dataset: {path}: labels are {shown}; must be 0, 1, ... without a gap")
    names = arrays.get("class_names", classes.astype(str))
    if names.dtype.kind != "U" or names.shape != classes.shape:
        raise InputError(f"dataset: {path}: class_names is {names.dtype} {names.shape}; must be {len(classes)} strings")
    checked = {"images": images, "labels": labels, "class_names": names}
    if "clean_labels" in arrays:
        checked["clean_labels"] = checked_clean_labels(path, arrays, len(labels), len(classes))
    if "test_images" in arrays or "test_labels" in arrays:
        test_images, test_labels = _checked_part(path, arrays, "test_")
        if test_images.shape[1:] != images.shape[1:]:
            raise InputError(f"dataset: {path}: test_images are {test_images.shape[1:]}; images are {images.shape[1:]}")
        if test_labels.max() >= len(classes):
            raise InputError(
                f"dataset: {path}: test_labels go up to {test_labels.max()}; must be in 0..{len(classes) - 1}"
            )
        checked |= {"test_images": test_images, "test_labels": test_labels}
    return checked


def read_archive(path: str | Path, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Those of the arrays `keys` that the archive has; InputError for what is no archive, or needs code to be run."""
    with open_archive(path, "dataset") as archive:
        return {key: np.asarray(archive[key]) for key in keys if key in archive}


@contextlib.contextmanager
def open_archive(path: str | Path, field: str) -> Iterator:
    """NumPy's archive at `path`, not yet read; InputError naming `field`, also for what reading it then raises."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            _check_size(path, field, sum(member.file_size for member in archive.zip.infolist()))
            yield archive
    except InputError:
        raise
    # Besides damage of every layer: a missing file, a lone array (it has no `with`: TypeError), a header that claims
    # more than there is (MemoryError), a password (RuntimeError).
    except (
        OSError,
        EOFError,
        ValueError,
        TypeError,
        MemoryError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{field}: {path} is not a numpy.savez archive of plain arrays ({reason})") from error


def _check_size(path: str | Path, field: str, size: int) -> None:
    """InputError for `size` bytes after unpacking, more than half of the memory: a small file may claim them."""
    if hasattr(os, "sysconf"):  # not on Windows
        most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
        if size > most:
            raise InputError(
                f"{field}: {path} unpacks to {size / 2**30:.1f} GiB; must be at most half of the memory, "
                f"{most / 2**30:.1f} GiB"
            )


def _checked_part(path: str | Path, arrays: dict, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """`images` as (N, H, W, C) and `labels` as int64 of the training ("") or test ("test_") part."""
    for key in (f"{prefix}images", f"{prefix}labels"):
        if key not in arrays:
            raise InputError(
                f"dataset: {path} has no array {key} (vectors are called features, and `clean` takes them); of "
                f"the arrays with a name known here it has {', '.join(arrays) or 'none'}"
            )
    images = arrays[f"{prefix}images"]
    shape = (*images.shape, 1) if images.ndim == 3 else images.shape
    if images.dtype != np.uint8 or len(shape) != 4 or shape[-1] not in (1, 3) or not images.size:
        raise InputError(
            f"dataset: {path}: {prefix}images is {images.dtype} {images.shape}; "
            "must be uint8 (N, H, W), or (N, H, W, C) with C 1 or 3"
        )
    return images.reshape(shape), checked_labels(path, arrays, f"{prefix}labels", len(images))


def checked_labels(path: str | Path, arrays: dict, key: str, count: int) -> np.ndarray:
    """The array `key` as int64 labels of `count` samples, or InputError."""
    if key not in arrays:
        raise InputError(f"dataset: {path} has no array {key}; it has {', '.join(arrays)}")
    labels = arrays[key]
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"dataset: {path}: {key} is {labels.dtype} {labels.shape}; must be integers ({count},), one a sample"
        )
    if count < 10:
        raise InputError(f"dataset: {path}: {key} has {count} samples; must have at least 10")
    if labels.min() < 0:
        raise InputError(f"dataset: {path}: {key} has {labels.min()}; must not be negative")
    return labels.astype(np.int64)


def checked_clean_labels(path: str | Path, arrays: dict, count: int, classes: int) -> np.ndarray:
    """The array `clean_labels` as int64 of `count` samples in 0..classes-1, or InputError."""
    clean = checked_labels(path, arrays, "clean_labels", count)
    if clean.max() >= classes:
        raise InputError(
            f"dataset: {path}: clean_labels go up to {clean.max()}; must be in 0..{classes - 1}, as labels"
        )
    return clean


def sha256_of(path: str) -> str:
    """Of a file's bytes."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
