"""A user's labelled pictures before any is read: of a folder with one folder a class, a list of paths, an archive."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dlt.cleaning.apply_source import open_source
from dlt.cleaning.review import thumbnail_bytes
from dlt.cleaning.tables import LISTS, picture_column, read_table, unlabelled
from dlt.harness.arrays import read_arrays
from dlt.harness.errors import InputError
from dlt.harness.images import open_picture

LEAST_IMAGES = 100  # a network that sees fewer learns too little to doubt a label


@dataclass(frozen=True, eq=False)
class Listed:
    """N labelled pictures of which none is read yet: `sources` are paths below `root`, or rows of `images`."""

    name: str
    sources: list[str]
    ids: list[str]
    labels: list[str]
    skipped: dict[str, str]
    root: Path | None = None
    images: np.ndarray | None = None  # uint8 (N, H, W, C) of an archive

    def __len__(self) -> int:
        return len(self.labels)

    def open(self, row: int):
        """Picture `row` as Pillow's RGB image, and whether it is grey."""
        from PIL import Image

        if self.root is not None:
            return open_picture(self.root / self.sources[row])
        return Image.fromarray(self.images[row].squeeze()).convert("RGB"), self.images.shape[-1] == 1

    def numbered(self, rows: list[int]) -> tuple[np.ndarray, tuple[str, ...]]:
        """(labels (n,) as int64, class names) of the pictures `rows`; classes are those that these have."""
        names = sorted({self.labels[row] for row in rows})
        place = {name: label for label, name in enumerate(names)}
        return np.array([place[self.labels[row]] for row in rows], dtype=np.int64), tuple(map(_text, names))


def list_pictures(path: Path, label: str | None = None, id_column: str | None = None, column: str | None = None):
    """What lies at `path`, as Listed; the columns are those of a list. InputError."""
    path = Path(path)
    if path.is_dir():
        return _list_folder(path.resolve())
    if path.suffix in LISTS and path.is_file():
        return _list_list(path, label, id_column, column)
    if path.suffix == ".npz" and path.is_file():
        arrays = read_arrays(path)
        rows = [str(row) for row in range(len(arrays["labels"]))]
        labels = [str(arrays["class_names"][label]) for label in arrays["labels"]]
        return Listed(path.stem, rows, rows, labels, {}, images=arrays["images"])
    raise InputError(
        f"path: {path} is neither a folder of class folders, nor a list ({', '.join(LISTS)}), nor an .npz file"
    )


@dataclass(frozen=True, eq=False)
class Shown:
    """The pictures `rows` of a listing, numbered from 0, for people to look at."""

    listed: Listed
    rows: list[int]

    @property
    def sources(self) -> list[str]:
        return [self.listed.sources[row] for row in self.rows]

    def thumbnail(self, number: int) -> bytes:
        """A JPEG or PNG."""
        return thumbnail_bytes(self.listed.open(self.rows[number])[0])

    def link(self, number: int, output: Path) -> str | None:
        """The way from the folder `output` to the user's file, where there is one."""
        if self.listed.root is None:
            return None
        return os.path.relpath(self.listed.root / self.listed.sources[self.rows[number]], Path(output).resolve())


def check_enough(path: Path | str, labels: np.ndarray, class_names) -> None:
    """InputError for labels (N,) of one class, or of too few pictures."""
    if len(class_names) < 2:
        raise InputError(f"path: {path} has one class, {class_names[0]!r}; a wrong label needs another class")
    if len(labels) < 2 * len(class_names):
        raise InputError(
            f"path: {path} has {len(labels)} readable images of {len(class_names)} classes; at least two a class are "
            "needed: a label is judged by others of its class"
        )
    if len(labels) < LEAST_IMAGES:
        raise InputError(f"path: {path} has {len(labels)} readable images; at least {LEAST_IMAGES} are needed")


def _list_folder(root: Path) -> Listed:
    files, skipped = _files(root)
    if not files:
        raise InputError(f"path: {root} has no pictures in folders; expected {root.name}/<class>/<picture>")
    names = [file.relative_to(root) for file in files]
    sources = [*map(str, names)]
    return Listed(root.name, sources, sources, [name.parts[0] for name in names], skipped, root)


def _list_list(path: Path, label: str | None, id_column: str | None, column: str | None) -> Listed:
    table = read_table(path)
    column = column or picture_column(table)
    if column not in table.columns:
        raise InputError(f"path: {path} has no column {column!r}: {', '.join(map(str, table.columns))}")
    source = open_source(path, label, id_column)
    if len(source.labels) != len(table):
        raise InputError(f"path: {path} has {len(source.labels)} rows, {len(table)} of them readable as a table")
    files = ["" if value != value else str(value) for value in table[column]]  # NaN is an empty field
    nameless = set(unlabelled(path, table, label, source.labels))
    kept, skipped = [], {}
    for row, file in enumerate(files):
        if not (path.parent / file).is_file():
            skipped[f"row {source.ids[row]}: {_text(file)}"] = "there is no such file" if file else "no file is given"
        elif row in nameless:
            skipped[f"row {source.ids[row]}: {_text(file)}"] = "it has no label"
        else:
            kept.append(row)
    if not kept:
        raise InputError(f"path: none of the {len(files)} pictures in {path} can be read; the first: {_first(skipped)}")
    sources, ids, labels = ([values[row] for row in kept] for values in (files, source.ids, source.labels))
    return Listed(path.stem, sources, ids, labels, skipped, path.resolve().parent)


def _first(skipped: dict[str, str]) -> str:
    return ": ".join(next(iter(skipped.items())))


def readable(listed: Listed, found: list) -> list[int]:
    """The rows of which `found` is no text that says why it cannot be read; those go to `skipped`. InputError: none."""
    for source, what in zip(listed.sources, found, strict=True):
        if isinstance(what, str):
            listed.skipped[_text(source)] = what
    good = [row for row, what in enumerate(found) if not isinstance(what, str)]
    if not good:
        raise InputError(
            f"path: none of the {len(found)} pictures of {listed.name} can be read; the first: {_first(listed.skipped)}"
        )
    return good


def _files(root: Path) -> tuple[list[Path], dict[str, str]]:
    """What to read in the folders of `root`; and {file: why} for what is none: hidden, or a link that leads nowhere."""
    files, skipped = [], {}
    for folder in sorted(root.iterdir()):
        if not folder.is_dir():
            continue
        for file in sorted(folder.rglob("*")):
            name = file.relative_to(root)
            if file.is_symlink() and not file.exists():
                skipped[_text(name)] = "a link that leads nowhere"
            elif file.is_file() and any(part.startswith(".") for part in name.parts):
                skipped[_text(name)] = "hidden"
            elif file.is_file():
                files.append(file)
    return files, skipped


def _text(name) -> str:
    """A name of the file system with the bytes that are no UTF-8 replaced, so that it can be shown."""
    return str(name).encode(errors="replace").decode()


def in_a_line(error: Exception) -> str:
    return _text(error).splitlines()[0] if str(error) else type(error).__name__
