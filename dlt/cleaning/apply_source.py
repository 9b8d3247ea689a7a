"""Labelled data that decisions are about: what apply reads, and a hash by which decisions are known to fit."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from dlt.cleaning.decisions import Decision
from dlt.harness.errors import InputError

DATA, DROPPED = "data", "dropped"  # the folders of a copy


@dataclass(frozen=True, eq=False)
class Source:
    """Data at `path` with N labels: `ids` and `labels` are N texts, `classes` every label that there is.

    `contents` is what else the hash is of. A kind of data is a subclass with its own `write` and `restore`.
    """

    path: Path
    ids: list[str]
    labels: list[str]
    classes: list[str]
    contents: list

    def data_hash(self) -> str:
        """sha256 of the ids with their labels and of the contents, in any order of the files."""
        text = json.dumps([sorted(zip(self.ids, self.labels, strict=True)), self.contents])
        return hashlib.sha256(text.encode()).hexdigest()

    def write(self, folder: Path, decided: dict[str, Decision]) -> dict[str, dict]:
        """Write the corrected copy into folder/data, what is left out into folder/dropped.

        `decided` are those that change something, and "drop" for what is left out. {id: {place, original}}: where
        below `folder` each of these now is, and what `restore` needs.
        """
        raise NotImplementedError

    @classmethod
    def restore(cls, copy: Path, changes: list[dict], output: Path, about: dict) -> None:
        """Write into `output` what `write` was given; `changes` are rows of changes.csv."""
        raise NotImplementedError


def open_source(path: Path, label: str | None = None, id_column: str | None = None) -> Source:
    """A folder of class folders, a list (.csv, .tsv, .txt, .parquet) or an .npz archive; InputError for all else.

    Of a list `label` is the column of the labels (default: label, or the only one of a few usual names), and ids are
    those of `id_column`, or row numbers from 0. Ids of a folder are paths below it, of an archive row numbers.
    """
    from dlt.cleaning.apply_archive import open_archive
    from dlt.cleaning.apply_folder import open_folder
    from dlt.cleaning.apply_list import LISTS, open_list

    path = Path(path)
    if path.is_dir():
        source = open_folder(path.resolve())
    elif path.is_file() and path.suffix == ".npz":
        source = open_archive(path)
    elif path.is_file() and path.suffix in (*LISTS, ".parquet"):
        source = open_list(path, label, id_column)
    else:
        raise InputError(f"source: {path} is no folder of class folders, no .npz and no {', '.join(LISTS)} or .parquet")
    if not source.ids:
        raise InputError(f"source: {path} has no rows")
    if len(set(source.ids)) < len(source.ids):
        twice = next(name for name in source.ids if source.ids.count(name) > 1)
        raise InputError(f"source: {path}: the id {twice!r} comes twice")
    return source


def data_hash(source: Path, label: str | None = None, id_column: str | None = None) -> str:
    """What `Source.data_hash` says of the data at a path; InputError."""
    return open_source(source, label, id_column).data_hash()
