"""A list as a Parquet file (needs pyarrow): what is restored has equal values and schema, not equal bytes."""

from dataclasses import dataclass
from pathlib import Path

from dlt.cleaning.apply_source import DATA, DROPPED, Source
from dlt.cleaning.decisions import Decision, shown
from dlt.harness.errors import InputError


@dataclass(frozen=True, eq=False)
class Table(Source):
    """`table` is the pyarrow table, `column` that of the labels, `values` {class: its label in the column}."""

    table: object
    column: int
    values: dict

    def write(self, folder: Path, decided: dict[str, Decision]) -> dict[str, dict]:
        labels = self.table.column(self.column).to_pylist()
        kept, left_out, changes = [], [], {}
        for row, name in enumerate(self.ids):
            drop = name in decided and decided[name].decision == "drop"
            (left_out if drop else kept).append(row)
            if name in decided:
                place = DROPPED if drop else DATA
                changes[name] = {"place": f"{place}/{self.path.name}", "original": self.labels[row]}
                labels[row] = labels[row] if drop else self.values[decided[name].new]
        _write(folder / DATA / self.path.name, _labelled(self.table, self.column, labels).take(kept))
        if left_out:
            _write(folder / DROPPED / self.path.name, self.table.take(left_out))
        return changes

    @classmethod
    def restore(cls, copy: Path, changes: list[dict], output: Path, about: dict) -> None:
        import pyarrow

        name = about["name"]
        source = open_table(copy / DATA / name, about["label"], None)
        parts, left_out = [source.table], {int(row["row"]) for row in changes if row["place"].startswith(DROPPED)}
        values = dict(source.values)
        if left_out:
            dropped = open_table(copy / DROPPED / name, about["label"], None)
            parts.append(dropped.table)
            values |= dropped.values
        count = sum(len(part) for part in parts)
        origin = [row for row in range(count) if row not in left_out] + sorted(left_out)
        table = pyarrow.concat_tables(parts).take(sorted(range(count), key=origin.__getitem__))
        labels = table.column(source.column).to_pylist()
        by_text = values | {text: value for text, value in _typed(changes, labels)}
        for row in changes:
            labels[int(row["row"])] = by_text[row["original"]]
        _write(output / name, _labelled(table, source.column, labels))


def open_table(path: Path, label: str | None, id_column: str | None) -> Table:
    """As `apply_source.open_source`, of a Parquet file."""
    from dlt.cleaning.apply_list import column_of, label_column

    table = _read(path)
    columns = table.column_names
    column = label_column(path, columns, label)
    values = table.column(column).to_pylist()
    labels = [shown(str(value)) for value in values]
    ids = range(len(labels)) if id_column is None else table.column(column_of(path, columns, id_column)).to_pylist()
    by_name = dict(sorted(zip(labels, values, strict=True)))
    schema = [[field.name, str(field.type)] for field in table.schema]
    names = [shown(str(name)) for name in ids]
    return Table(path, names, labels, list(by_name), schema, table, column, by_name)


def _typed(changes: list[dict], labels: list) -> list[tuple[str, object]]:
    """Labels that are in no row any more, as numbers where labels are numbers."""
    kind = type(next((label for label in labels if label is not None), ""))
    return [(row["original"], kind(row["original"])) for row in changes]


def _labelled(table, column: int, labels: list):
    import pyarrow

    field = table.schema.field(column)
    return table.set_column(column, field, pyarrow.array(labels, type=field.type))


def _read(path: Path):
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(f"source: {path}: a Parquet file needs the package pyarrow") from None
    try:
        return pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"source: {path} is not a Parquet file ({str(error).splitlines()[0]})") from None


def _write(path: Path, table) -> None:
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table, path)
