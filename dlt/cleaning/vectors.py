"""Read a user's labelled vectors: embeddings in an archive or in .npy files, or a table of numbers."""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dlt.cleaning.apply_list import LABELS
from dlt.cleaning.apply_source import open_source
from dlt.cleaning.listing import Shown
from dlt.cleaning.tables import LISTS, picture_column, read_npy, read_table, unlabelled
from dlt.harness.arrays import read_archive
from dlt.harness.errors import InputError
from dlt.harness.features import SCALINGS

LEAST_SAMPLES = 50
MOST_NAMED = 12  # of a table's columns, in a line
MOST = 1e18  # of a feature's absolute value: its square is still a float32


@dataclass(frozen=True, eq=False)
class Vectors:
    """float32 features (N, D), int64 labels (N,) in 0..len(class_names)-1, and the `ids` of the N samples.

    `scaling` is one of `dlt.harness.features.SCALINGS`; `rows` are the N rows of a table, whole, to be shown, and
    `columns` says which of its columns are features; `views` (V, N, D) are what an archive may bring, or augmented
    pictures gave; `data_sha256` is that by which decisions are known to fit.
    """

    name: str
    features: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    ids: list[str]
    scaling: str
    data_sha256: str
    rows: list[dict] | None = None
    columns: str = ""
    views: np.ndarray | None = None
    pictures: Shown | None = None  # of which the features are

    def __len__(self) -> int:
        return len(self.labels)


def is_vectors(path: Path) -> bool:
    """Whether what lies at `path` is for `read_vectors`: a list of no pictures, .npy, or an archive with features."""
    path = Path(path)
    if path.suffix in LISTS and path.is_file():
        with suppress(InputError):  # `read_vectors` says it better
            return picture_column(read_table(path, rows=100)) is None
    if path.suffix == ".npz" and path.is_file():
        return "features" in read_archive(path, ("features", "images"))
    return path.suffix in (*LISTS, ".npy")


def read_vectors(
    path: Path, label: str | None = None, id_column: str | None = None, clean_label: str | None = None
) -> Vectors:
    """What lies at `path`; `label` is the column of a list or the .npy file of the labels. Raises InputError.

    The column `clean_label` of a list, the true labels, is no feature.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"path: there is no file {path}")
    if path.suffix == ".npy":
        vectors = _read_npy(path, label)
    elif path.suffix == ".npz":
        vectors = _read_archive(path)
    else:
        vectors = _read_table(path, label, id_column, clean_label)
    return _checked(path, vectors)


def _read_npy(path: Path, label: str | None) -> Vectors:
    if label is None:
        raise InputError(f"label: {path} needs the file of its labels: --label labels.npy")
    features, labels = read_npy(path, "path"), read_npy(Path(label), "label")
    data = {"features": features, "labels": labels}
    return _from_arrays(path, data, sha256="")


def _read_archive(path: Path) -> Vectors:
    keys = ("features", "labels", "class_names", "views", "scaling")
    return _from_arrays(path, read_archive(path, keys), open_source(path).data_hash())


def _from_arrays(path: Path, arrays: dict, sha256: str) -> Vectors:
    for key in ("features", "labels"):
        if key not in arrays:
            raise InputError(f"path: {path} has no array {key}; it has {', '.join(arrays) or 'none known'}")
    features, given = arrays["features"], arrays["labels"]
    if features.ndim != 2 or features.dtype.kind not in "fiu" or not features.size:
        raise InputError(f"path: {path}: features are {features.dtype} {features.shape}; must be numbers (N, D)")
    if given.shape != features.shape[:1] or given.dtype.kind not in "iuU":
        raise InputError(
            f"path: {path}: labels are {given.dtype} {given.shape}; must be {len(features)} whole numbers or texts"
        )
    if given.dtype.kind == "U" or "class_names" not in arrays:
        names, labels = np.unique(given, return_inverse=True)
    else:
        names, labels = arrays["class_names"], given.astype(np.int64)
        if labels.min() < 0 or labels.max() >= len(names):
            raise InputError(f"path: {path}: labels are {labels.min()}..{labels.max()}; class_names are {len(names)}")
    ids = [str(row) for row in range(len(labels))]
    views, scaling = arrays.get("views"), str(arrays.get("scaling", "unit"))
    return Vectors(path.stem, features, labels, tuple(map(str, names)), ids, scaling, sha256, views=views)


def _read_table(path: Path, label: str | None, id_column: str | None, clean_label: str | None) -> Vectors:
    """The columns of a table that measure something; all columns are kept to be shown."""
    source = open_source(path, label, id_column)
    table = read_table(path)
    label = label or next(name for name in LABELS if name in table.columns)
    inputs = table.drop(columns=[name for name in {label, id_column, clean_label} if name])
    numbers = inputs.select_dtypes("number")
    numbers = numbers.drop(columns=[name for name in numbers.columns if _numbers_rows(numbers[name])])
    if not len(numbers.columns):
        raise InputError(
            f"path: {path} has no column of measured numbers beside {label!r}: "
            f"{', '.join(map(str, inputs.columns)) or 'none'}. "
            "Texts and pictures need features first: embed them, and give features and labels in an .npz file"
        )
    if nameless := unlabelled(path, table, label, source.labels):
        raise InputError(
            f"path: {path}: {len(nameless)} rows have no {label!r}, the first is row {nameless[0]}; fill them in or "
            "leave the rows out"
        )
    if (missing := numbers.isna().sum())[missing > 0].size:
        column = missing[missing > 0].index[0]
        row = int(numbers[column].isna().to_numpy().nonzero()[0][0])
        raise InputError(
            f"path: {path}: column {column!r} has {int(missing[column])} missing values, the first in row {row}; fill "
            "them in or leave the column out"
        )
    names, labels = np.unique(source.labels, return_inverse=True)
    rows = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
    features, class_names = numbers.to_numpy(np.float64), tuple(map(str, names))
    columns = f"features: {_listed(numbers.columns)}"
    if left := [name for name in inputs.columns if name not in numbers.columns]:
        columns += f"; no features (texts, or numbers of rows): {_listed(left)}"
    return Vectors(path.stem, features, labels, class_names, source.ids, "standard", source.data_hash(), rows, columns)


def _numbers_rows(column) -> bool:
    """Whether a column only tells rows apart: whole numbers, all different, without a gap or called an id."""
    if column.dtype.kind not in "iu" or not column.is_unique:
        return False
    gapless = int(column.max()) - int(column.min()) == len(column) - 1
    return gapless or re.search(r"(^|[_\s.-])(id|index|idx)$", str(column.name), re.IGNORECASE) is not None


def _listed(names) -> str:
    """Column names in a line; of many the first."""
    names = [*map(str, names)]
    return ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")


def _checked(path: Path, vectors: Vectors) -> Vectors:
    if len(vectors) < LEAST_SAMPLES:
        raise InputError(f"path: {path} has {len(vectors)} samples; at least {LEAST_SAMPLES} are needed")
    if not (finite := np.isfinite(vectors.features)).all():
        row, column = np.argwhere(~finite)[0]
        raise InputError(
            f"path: {path}: {int((~finite).sum())} features are NaN or infinite; the first in row {row}, "
            f"column {column}"
        )
    if (largest := np.abs(vectors.features.astype(np.float64)).max()) > MOST:
        raise InputError(f"path: {path}: a feature of {largest:.3g} is too large; at most {MOST:g}: scale them first")
    if vectors.scaling not in SCALINGS:
        raise InputError(f"path: {path}: scaling is {vectors.scaling!r}; must be one of {', '.join(SCALINGS)}")
    if vectors.views is not None:
        _check_views(path, vectors.views, vectors.features.shape)
    counts = np.bincount(vectors.labels, minlength=len(vectors.class_names))
    if (counts > 0).sum() < 2:
        name = vectors.class_names[int(counts.argmax())]
        raise InputError(f"path: {path} has one class, {name!r}; a wrong label needs another class")
    if (counts == 0).any():
        name = vectors.class_names[int(counts.argmin())]
        raise InputError(f"path: {path}: no sample has the class {name!r} of class_names")
    if len(vectors) < 2 * len(counts):
        raise InputError(
            f"path: {path} has {len(vectors)} samples of {len(counts)} classes; at least two a class are needed: a "
            "label is judged by others of its class"
        )
    if not np.ptp(vectors.features, axis=0).any():
        raise InputError(f"path: {path}: all samples have the same features")
    if vectors.scaling == "unit" and vectors.features.shape[1] < 2:
        raise InputError(f"path: {path}: features of one number have no direction; give scaling='standard' with them")
    return vectors


def _check_views(path: Path, views: np.ndarray, shape: tuple[int, int]) -> None:
    if views.ndim != 3 or views.shape[1:] != shape or views.dtype.kind not in "fiu" or not len(views):
        needed = f"(V, {shape[0]}, {shape[1]})"
        raise InputError(f"path: {path}: views are {views.dtype} {views.shape}; must be numbers {needed}")
    if not np.isfinite(views).all() or np.abs(views.astype(np.float64)).max() > MOST:
        raise InputError(f"path: {path}: views are NaN, infinite or beyond {MOST:g}")
