"""Vectors as a data set: embeddings of pictures or texts, and tables of numbers. The profile is `features`.

A view of a sample is one of its stored views, where the archive has any, else its features plus noise.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dlt.harness.arrays import checked_clean_labels, checked_labels, read_archive
from dlt.harness.errors import InputError
from dlt.harness.images import Dataset, Images, hold_out

KEYS = ("features", "views", "labels", "clean_labels", "test_features", "test_labels", "class_names", "scaling")
SCALINGS = ("unit", "standard")
LENGTH = 10.0  # of a centred sample with scaling "unit"; by hand, on digits and scikit-learn's tables
NOISE = 0.5  # of a view, in standard deviations of each feature


@dataclass(frozen=True, eq=False)
class Features(Dataset):
    """Images are float32 (N, D), scaled already: those of `train` have mean 0."""

    views: np.ndarray | None = None  # (V, N, D) of `train`

    def source(self, part: Images, device: torch.device) -> "DeviceFeatures":
        """What gives batches of the features of `part`, one of `train` and `test`."""
        return DeviceFeatures(part.images, self.views if part is self.train else None, device)


class DeviceFeatures:
    """Features (N, D) on a device, cut into batches (B, D); the interface of `DeviceImages`."""

    def __init__(self, features: np.ndarray, views: np.ndarray | None, device: torch.device | str):
        self.device = torch.device(device)
        self.features = torch.from_numpy(features).to(device)
        self.views = None if views is None else torch.from_numpy(views).to(device)
        self.shape = features.shape[1:]
        self.spread = NOISE * self.features.std(0)

    def __len__(self) -> int:
        return len(self.features)

    def ahead(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """The batches of rows one by one."""
        return iter(batches)

    def plain(self, index: Tensor) -> Tensor:
        """The samples `index` as they are."""
        return self.features[index]

    def augmented(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """One of the stored views of each of the samples `index`, or the sample with noise."""
        if self.views is not None:
            chosen = torch.randint(len(self.views), (len(index),), generator=generator, device=self.device)
            return self.views[chosen, index]
        size = (len(index), *self.shape)
        return self.features[index] + self.spread * torch.randn(size, generator=generator, device=self.device)


def scale(features: np.ndarray, like: np.ndarray, scaling: str) -> np.ndarray:
    """float32 (..., D): centred at the mean of `like` (N, D), then of LENGTH each, or of deviation 1 a column.

    "unit" suits embeddings, whose direction has the meaning; "standard" suits columns of different units.
    """
    centred = np.asarray(features, dtype=np.float32) - like.mean(0, dtype=np.float64).astype(np.float32)
    if scaling == "unit":
        return LENGTH * centred / np.maximum(np.linalg.norm(centred, axis=-1, keepdims=True), 1e-12)
    deviation = like.std(0, dtype=np.float64).astype(np.float32)
    return centred / np.where(deviation > 0, deviation, 1)


def load_features(path: str | Path) -> Features:
    """The archive of features at `path`, written with `numpy.savez`; without test samples, a fifth is held out.

    features, labels              float or integer (N, D), finite; integers (N,), every class of 0..C-1 present
    clean_labels                  optional, integers (N,): the true labels, where `labels` came with errors
    views                         optional, (V, N, D): augmented versions of the samples
    test_features, test_labels    optional, together
    class_names                   optional, C strings
    scaling                       optional, one of SCALINGS: how features are scaled; "unit" is the default

    Raises InputError for anything else.
    """
    arrays = read_archive(path, KEYS)
    features = _checked(path, arrays, "features")
    labels = checked_labels(path, arrays, "labels", len(features))
    scaling = str(arrays.get("scaling", "unit"))
    if scaling not in SCALINGS:
        raise InputError(f"dataset: {path}: scaling is {scaling!r}; must be one of {', '.join(SCALINGS)}")
    classes = np.unique(labels)
    if len(classes) < 2 or classes[-1] != len(classes) - 1:
        raise InputError(f"dataset: {path}: labels are not 0, 1, ... without a gap")
    names = tuple(map(str, arrays.get("class_names", classes)))
    if len(names) != len(classes):
        raise InputError(f"dataset: {path}: class_names are {len(names)}; the labels have {len(classes)} classes")
    clean = checked_clean_labels(path, arrays, len(labels), len(classes)) if "clean_labels" in arrays else None
    views = arrays.get("views")
    if views is not None and (views.ndim != 3 or views.shape[1:] != features.shape or not np.isfinite(views).all()):
        raise InputError(f"dataset: {path}: views is {views.shape}; must be finite (V, {len(features)}, D) as features")
    if "test_features" in arrays or "test_labels" in arrays:
        test_features = _checked(path, arrays, "test_features")
        test_labels = checked_labels(path, arrays, "test_labels", len(test_features))
        if test_features.shape[1] != features.shape[1] or test_labels.max() >= len(classes):
            raise InputError(f"dataset: {path}: test_features or test_labels do not fit features and labels")
        train = Images(scale(features, features, scaling), labels, names, clean_labels=clean)
        test = Images(scale(test_features, features, scaling), test_labels, names)
    else:
        train, test = hold_out(features, labels, 0.2, names, clean)
        views = None if views is None else views[:, train.rows]
        train, test = (replace(part, images=scale(part.images, train.images, scaling)) for part in (train, test))
    if views is not None:
        views = scale(views, features if train.rows is None else features[train.rows], scaling)
    return Features(Path(path).stem, train, test, (), (), padding=0, flip=False, views=views)


def _checked(path: str | Path, arrays: dict, key: str) -> np.ndarray:
    """The array `key` as float32 (N, D), or InputError."""
    if key not in arrays:
        raise InputError(f"dataset: {path} has no array {key}; it has {', '.join(arrays) or 'none known'}")
    values = arrays[key]
    if values.dtype.kind not in "fiu" or values.ndim != 2 or min(values.shape) < 1:
        raise InputError(f"dataset: {path}: {key} is {values.dtype} {values.shape}; must be numbers (N, D)")
    if not (finite := np.isfinite(values)).all():
        row, column = np.argwhere(~finite)[0]
        raise InputError(
            f"dataset: {path}: {key} has {int((~finite).sum())} values that are NaN or infinite; the first in row "
            f"{row}, column {column}"
        )
    return values.astype(np.float32)
