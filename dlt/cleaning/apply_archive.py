"""An .npz archive: labels change in their array, rows are left out of every array that has one a label."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dlt.cleaning.apply_source import DATA, DROPPED, Source
from dlt.cleaning.decisions import Decision, shown
from dlt.harness.arrays import open_archive as opened
from dlt.harness.errors import InputError


@dataclass(frozen=True, eq=False)
class Archive(Source):
    """`arrays` is all that the archive has, `values` {class: its label in the array}."""

    arrays: dict[str, np.ndarray]
    values: dict
    compressed: bool

    def write(self, folder: Path, decided: dict[str, Decision]) -> dict[str, dict]:
        labels = self.arrays["labels"].copy()
        stays = np.ones(len(labels), dtype=bool)
        for row, name in enumerate(self.ids):
            if name in decided and decided[name].decision == "drop":
                stays[row] = False
            elif name in decided:
                labels[row] = self.values[decided[name].new]
        whole = set(_per_row(self.arrays))
        kept = {k: v[stays] if k in whole else v for k, v in (self.arrays | {"labels": labels}).items()}
        _write(folder / DATA / self.path.name, kept, self.compressed)
        if not stays.all():
            left_out = {key: self.arrays[key][~stays] for key in self.arrays if key in whole}
            _write(folder / DROPPED / self.path.name, left_out, self.compressed)
        return {name: _change(self, row, stays[row]) for row, name in enumerate(self.ids) if name in decided}

    @classmethod
    def restore(cls, copy: Path, changes: list[dict], output: Path, about: dict) -> None:
        kept, compressed = _read(copy / DATA / about["name"])
        left_out = [int(row["id"]) for row in changes if row["place"].startswith(DROPPED)]
        stays = np.ones(len(kept["labels"]) + len(left_out), dtype=bool)
        stays[left_out] = False
        arrays = kept
        if left_out:
            dropped, _ = _read(copy / DROPPED / about["name"])
            arrays = {key: _merged(array, dropped, key, stays) for key, array in kept.items()}
        for row in changes:
            arrays["labels"][int(row["id"])] = row["original"]  # a text becomes a number where labels are numbers
        _write(output / about["name"], arrays, compressed)


def open_archive(path: Path) -> Archive:
    """An archive with an array `labels` (N,) of integers or texts, and perhaps `class_names`. InputError."""
    arrays, compressed = _read(path)
    labels = arrays.get("labels")
    if labels is None or labels.ndim != 1 or labels.dtype.kind not in "iuU" or not len(labels):
        what = "no array labels" if labels is None else f"labels of {labels.dtype} {labels.shape}"
        raise InputError(f"source: {path} has {what}; must be (N,) integers or texts")
    names = arrays.get("class_names")
    if names is not None and labels.dtype.kind in "iu":
        if names.ndim != 1 or labels.min() < 0 or labels.max() >= len(names) or len({*map(str, names)}) < len(names):
            raise InputError(f"source: {path}: class_names must be one name a class, labels 0..{names.size - 1}")
        values = {shown(str(name)): value for value, name in enumerate(names)}
    else:
        values = {shown(str(value)): value for value in np.unique(labels)}
    name_of = {value: name for name, value in values.items()}
    return Archive(
        path,
        [str(row) for row in range(len(labels))],
        [name_of[label] for label in labels.tolist()],
        list(values),
        [[key, str(array.dtype), list(array.shape)] for key, array in arrays.items()],
        arrays,
        values,
        compressed,
    )


def _per_row(arrays: dict) -> list[str]:
    """The names of the arrays with one row a label."""
    count = len(arrays["labels"])
    named = [key for key in arrays if key != "class_names" and not key.startswith("test_")]
    return [key for key in named if arrays[key].ndim and len(arrays[key]) == count]


def _change(source: Archive, row: int, stays: bool) -> dict:
    return {"place": f"{DATA if stays else DROPPED}/{source.path.name}", "original": source.arrays["labels"][row]}


def _merged(kept: np.ndarray, dropped: dict, key: str, stays: np.ndarray) -> np.ndarray:
    if key not in dropped:
        return kept
    whole = np.empty((len(stays), *kept.shape[1:]), kept.dtype)
    whole[stays], whole[~stays] = kept, dropped[key]
    return whole


def _read(path: Path) -> tuple[dict[str, np.ndarray], bool]:
    """The arrays, in their order, and whether they are compressed."""
    with opened(path, "source") as archive:
        kinds = {member.compress_type for member in archive.zip.infolist()}
        return {key: archive[key] for key in archive.files}, kinds != {zipfile.ZIP_STORED}


def _write(path: Path, arrays: dict[str, np.ndarray], compressed: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
