"""decisions.csv, which review.html writes: read, and checked against the data that it is about.

Its columns are id, given_label, decision (one of DECISIONS), new_label (of relabel only) and data_sha256. Like every
CSV file here that a spreadsheet may open it is UTF-8 with a byte-order mark, and a text that a spreadsheet would take
for a formula has an apostrophe before it, which reading takes off.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dlt.harness.errors import InputError

DECISIONS = ("keep", "relabel", "ambiguous", "drop")
COLUMNS = ("id", "given_label", "decision", "new_label", "data_sha256")


@dataclass(frozen=True)
class Decision:
    """What becomes of one label; `new` is "" but of relabel."""

    id: str
    given: str
    decision: str
    new: str


def shown(text: str) -> str:
    """A text that can be written as UTF-8: bytes of a file name that are none become their escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def safe_csv(rows: Iterable[dict], columns: Sequence[str]) -> str:
    """Rows of texts as the text of a CSV file for spreadsheets and for `read_csv`."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([re.sub(r"^(?='*[=+\-@\t\r])", "'", str(row[column])) for column in columns] for row in rows)
    return "\ufeff" + out.getvalue()


def read_csv(path: Path, columns: Sequence[str]) -> list[tuple[int, dict]]:
    """The rows of such a file, each with the number of its last line; InputError where it is none of these columns."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig", "surrogateescape")
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
        header = next(lines, [])
        if missing := [column for column in columns if column not in header]:
            raise InputError(f"{path.name}: {path} has no column {', '.join(missing)}; expected {', '.join(columns)}")
        rows = [(lines.line_num, fields) for fields in lines if any(fields)]
    except (OSError, csv.Error) as error:
        raise InputError(f"{path.name}: {path} cannot be read ({error})") from None
    for line, fields in rows:
        if len(fields) != len(header):
            raise InputError(f"{path.name}: line {line} has {len(fields)} fields; the first line has {len(header)}")
    return [(line, dict(zip(header, map(_plain, fields), strict=True))) for line, fields in rows]


def _delimiter(text: str) -> str:
    """A spreadsheet of some countries saves with semicolons."""
    first = text.partition("\n")[0]
    return max(",;\t", key=first.count)


def _plain(text: str) -> str:
    return re.sub(r"^'(?='*[=+\-@\t\r])", "", text)


def read_decisions(path: Path, source) -> dict[str, Decision]:
    """{id: its decision} of a file about `source` (an `apply_source.Source`).

    InputError, in one line, for a file about other data, an unknown id, class or decision, an id with two lines, and a
    line that contradicts itself or the data.
    """
    rows = read_csv(Path(path), COLUMNS)
    if not rows:
        raise InputError(f"decisions: {path} has no decision")
    given = dict(zip(source.ids, source.labels, strict=True))
    sha256 = source.data_hash()
    decided: dict[str, Decision] = {}
    for line, row in rows:
        where = f"decisions: line {line} of {Path(path).name}"
        if row["data_sha256"] != sha256:
            other = f"{where}: is about other data ({row['data_sha256'][:12]}...) than {source.path}"
            raise InputError(f"{other}, or --label or --id are not those of clean")
        decision = Decision(row["id"], row["given_label"], row["decision"], row["new_label"])
        _check(where, decision, given, source.classes)
        if decision.id in decided:
            kind = "repeats" if decided[decision.id] == decision else "contradicts"
            raise InputError(f"{where}: {kind} an earlier line about {decision.id!r}")
        decided[decision.id] = decision
    return decided


def _check(where: str, line: Decision, given: dict[str, str], classes: Sequence[str]) -> None:
    if line.id not in given:
        raise InputError(f"{where}: id {line.id!r} is not in the data")
    if line.given != given[line.id]:
        raise InputError(f"{where}: given_label of {line.id!r} is {line.given!r}; in the data it is {given[line.id]!r}")
    if line.decision not in DECISIONS:
        raise InputError(f"{where}: decision {line.decision!r} is not one of {', '.join(DECISIONS)}")
    if line.decision != "relabel":
        if line.new:
            raise InputError(f"{where}: decision {line.decision} has new_label {line.new!r}; only relabel has one")
    elif line.new not in classes:
        raise InputError(f"{where}: new_label {line.new!r} is not a class of the data: {_some(classes)}")
    elif line.new == line.given:
        raise InputError(f"{where}: new_label {line.new!r} is the given label; that is decision keep")


def _some(names: Sequence[str], most: int = 10) -> str:
    return ", ".join([*names[:most], *(["..."] if len(names) > most else [])])
