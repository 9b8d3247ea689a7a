"""A user's list as a table: read by pandas, and whether it lists pictures."""

from pathlib import Path

import numpy as np

from dlt.cleaning.apply_list import LABELS
from dlt.harness.errors import InputError

LISTS = (".csv", ".tsv", ".parquet")
PICTURES = ("path", "file", "filename", "image", "picture")  # columns that are taken for the paths of pictures


def read_table(path: Path, rows: int | None = None):
    """The list at `path`, or its first `rows`, as a pandas DataFrame; InputError for what is none."""
    import pandas

    try:
        if path.suffix == ".parquet":
            return pandas.read_parquet(path)
        return pandas.read_csv(path, sep=None if path.suffix == ".csv" else "\t", engine="python", nrows=rows)
    except UnicodeDecodeError as error:
        where = f"byte {error.object[error.start]:#04x}"
        raise InputError(f"path: {path} is no text in UTF-8 ({where}); save it as UTF-8") from None
    except Exception as error:  # whatever a broken file may do to pandas
        raise InputError(f"path: {path} cannot be read ({str(error).splitlines()[0]})") from None


def read_npy(path: Path, field: str) -> np.ndarray:
    """The array of a .npy file of plain numbers or texts; InputError naming `field`."""
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise InputError(f"{field}: {path} is no .npy file of plain numbers ({str(error).splitlines()[0]})") from None


def unlabelled(path: Path, table, label: str | None, labels: list[str]) -> list[int]:
    """The rows that have no label: of text an empty field, of Parquet a missing value."""
    if path.suffix != ".parquet":
        return [row for row, name in enumerate(labels) if not name]
    column = table[label or next(name for name in LABELS if name in table.columns)]
    return column.isna().to_numpy().nonzero()[0].tolist()


def picture_column(table) -> str | None:
    """The column of the paths of pictures; None where there is none, and where decimals say that it has features."""
    if len(table.select_dtypes("floating").columns):
        return None
    return next((name for name in PICTURES if name in table.columns and table[name].dtype.kind not in "iuf"), None)
