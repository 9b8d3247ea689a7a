"""A list with a label column: of a text file only the labels' own characters change, all others stay byte-equal."""

import re
from dataclasses import dataclass
from pathlib import Path

from dlt.cleaning.apply_source import DATA, DROPPED, Source
from dlt.cleaning.decisions import Decision, shown
from dlt.harness.errors import InputError

LISTS = (".csv", ".tsv", ".txt")
LABELS = ("label", "given_label", "labels", "class", "target")  # columns that are taken for the labels'


@dataclass(frozen=True)
class Record:
    """A line of a list (several, where a field in quotes has line ends), and where its fields lie in the text.

    Blank lines belong to the record before them.
    """

    text: str
    spans: tuple[tuple[int, int], ...]

    def field(self, column: int) -> str:
        raw = self.raw(column)
        return raw[1:-1].replace('""', '"') if raw.startswith('"') else raw

    def raw(self, column: int) -> str:
        return self.text[slice(*self.spans[column])]

    def replaced(self, column: int, raw: str) -> str:
        start, end = self.spans[column]
        return self.text[:start] + raw + self.text[end:]


@dataclass(frozen=True, eq=False)
class TextList(Source):
    """A list as text: its header and N records; `column` is the labels'."""

    header: Record
    records: list[Record]
    column: int
    delimiter: str

    def write(self, folder: Path, decided: dict[str, Decision]) -> dict[str, dict]:
        kept, dropped, changes = [self.header.text], [self.header.text], {}
        for name, record in zip(self.ids, self.records, strict=True):
            decision = decided.get(name)
            if decision and decision.decision == "drop":
                dropped.append(record.text)
            else:
                kept.append(self._relabelled(record, decision.new) if decision else record.text)
            if decision:
                place = DROPPED if decision.decision == "drop" else DATA
                changes[name] = {"place": f"{place}/{self.path.name}", "original": record.raw(self.column)}
        _write(folder / DATA / self.path.name, kept)
        if len(dropped) > 1:
            _write(folder / DROPPED / self.path.name, dropped)
        return changes

    def _relabelled(self, record: Record, label: str) -> str:
        """In quotes where it needs them, or had them."""
        quoted = record.raw(self.column).startswith('"') or re.search(rf'["\r\n{self.delimiter}]|^\s|\s$', label)
        return record.replaced(self.column, '"{}"'.format(label.replace('"', '""')) if quoted else label)

    @classmethod
    def restore(cls, copy: Path, changes: list[dict], output: Path, about: dict) -> None:
        name, changed = about["name"], {int(row["row"]): row for row in changes}
        source = open_list(copy / DATA / name, about["label"], None)
        kept, dropped = iter(source.records), iter(())
        count = len(source.records)
        if (copy / DROPPED / name).exists():
            left_out = open_list(copy / DROPPED / name, about["label"], None).records
            dropped, count = iter(left_out), count + len(left_out)
        texts = [source.header.text]
        for row in range(count):
            change = changed.get(row)
            record = next(dropped if change and change["place"].startswith(DROPPED) else kept)
            texts.append(record.replaced(source.column, change["original"]) if change else record.text)
        _write(output / name, texts)


def open_list(path: Path, label: str | None, id_column: str | None) -> Source:
    """As `apply_source.open_source`, of a list."""
    if path.suffix == ".parquet":
        from dlt.cleaning.apply_table import open_table

        return open_table(path, label, id_column)
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise InputError(f"source: {path} cannot be read ({error.strerror})") from None
    if "\0" in text:
        raise InputError(f"source: {path} is no text in UTF-8: it has zero bytes")
    first = text.partition("\n")[0]
    delimiter = "\t" if path.suffix == ".tsv" else max(",;\t", key=first.count)
    header, *records = _records(path, text, delimiter) or [Record("", ())]
    columns = [header.field(i) for i in range(len(header.spans))]
    column = label_column(path, columns, label)
    ids = column_of(path, columns, id_column) if id_column else None
    for row, record in enumerate(records):
        if len(record.spans) != len(columns):
            raise InputError(f"source: {path}: row {row} has {len(record.spans)} fields; the header has {len(columns)}")
    labels = [shown(record.field(column)) for record in records]
    names = map(str, range(len(records))) if ids is None else (shown(record.field(ids)) for record in records)
    size = path.stat().st_size
    return TextList(path, [*names], labels, sorted(set(labels)), [size], header, records, column, delimiter)


def label_column(path: Path, columns: list[str], label: str | None) -> int:
    """The number of the column of the labels; InputError."""
    if label is None:
        label = next((name for name in LABELS if name in columns), None)
    if label is None:
        raise InputError(f"source: {path} has no column {' or '.join(LABELS)}; it has {', '.join(columns) or 'none'}")
    return column_of(path, columns, label)


def column_of(path: Path, columns: list[str], name: str) -> int:
    if columns.count(name) != 1:
        raise InputError(f"source: {path} has {columns.count(name) or 'no'} column {name!r}: {', '.join(columns)}")
    return columns.index(name)


def _records(path: Path, text: str, delimiter: str) -> list[Record]:
    """The text cut into records: put together again they are the text."""
    field = re.compile(rf'"[^"]*(?:""[^"]*)*"|(?!")[^{delimiter}\r\n]*')
    after = re.compile(rf"{delimiter}|(?:\r\n|\r|\n)+|$")
    records, spans, start, place = [], [], 0, len(text) - len(text.lstrip("\ufeff\r\n"))
    while place < len(text):
        found = field.match(text, place)
        end = found and after.match(text, found.end())
        if end is None:
            raise InputError(f"source: {path}: record {len(records)} has a quote that does not close, or closes early")
        spans.append((found.start() - start, found.end() - start))
        place = end.end()
        if end[0] != delimiter:
            records.append(Record(text[start:place], tuple(spans)))
            spans, start = [], place
        elif place == len(text):
            spans.append((place - start, place - start))
    if spans:
        records.append(Record(text[start:], tuple(spans)))
    return records


def _write(path: Path, texts: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(texts).encode("utf-8", "surrogateescape"))
