"""From decisions to a corrected copy of the data, and back again.

A copy is a folder of its own, the source is only read:

data/         the corrected data: the class folders, or the list or archive by its name
dropped/      what was left out, laid out as data/
changes.csv   every item that changed: its row in the source, labels, decision, and what `undo` needs
about.json    the kind of the source, its hash, and the options
"""

import contextlib
import json
import os
import shutil
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from dlt.cleaning.apply_archive import Archive
from dlt.cleaning.apply_folder import Folder
from dlt.cleaning.apply_list import TextList
from dlt.cleaning.apply_source import DATA, Source, open_source
from dlt.cleaning.apply_table import Table
from dlt.cleaning.decisions import Decision, read_csv, read_decisions, safe_csv
from dlt.harness.errors import InputError
from dlt.harness.records import write_atomic

KINDS = {"folder": Folder, "list": TextList, "table": Table, "archive": Archive}
CHANGES = ("id", "row", "given_label", "decision", "new_label", "place", "original")


@dataclass(frozen=True)
class Outcome:
    """What apply did, or would do: numbers of items; `emptied` are the classes that lose their last one."""

    output: Path
    items: int
    kept: int  # decided to keep; those without a decision stay as well
    relabelled: int
    ambiguous: int
    dropped: int
    left_out: int  # dropped, and ambiguous ones where these are left out
    emptied: tuple[str, ...]
    dry_run: bool

    def __str__(self) -> str:
        lines = [
            f"{self.items} items: {self.relabelled} relabelled, {self.dropped} dropped, {self.ambiguous} ambiguous, "
            f"{self.kept} confirmed; {self.items - self.left_out} in the copy, {self.left_out} left out"
        ]
        if self.emptied:
            lines.append(f"warning: no item is left of {', '.join(self.emptied)}")
        lines.append(f"nothing written (dry run): {self.output}" if self.dry_run else f"written: {self.output}/{DATA}")
        return "\n".join(lines)


def apply_decisions(
    source: Path,
    decisions: Path,
    output: Path,
    dry_run: bool = False,
    ambiguous: str = "drop",
    label: str | None = None,
    id_column: str | None = None,
) -> Outcome:
    """Write a corrected copy of `source` into the new folder `output`; with `dry_run` only say what would become of it.

    `ambiguous` is "drop", or "keep" with the given label; `label` and `id_column` are those of a list, as they were
    for `apply_source.data_hash`. InputError, in one line, for all that does not fit, before anything is written.
    """
    if ambiguous not in ("keep", "drop"):
        raise InputError(f"ambiguous: {ambiguous!r} is not keep or drop")
    source, output = Path(source), Path(output)
    _check_output(source, output)
    data = open_source(source, label, id_column)
    decided = read_decisions(decisions, data)
    changing = _changing(decided, ambiguous)
    outcome = _outcome(data, decided, changing, output, dry_run)
    if outcome.left_out == outcome.items:
        raise InputError(f"decisions: {decisions} leaves nothing of {source}")
    if not dry_run:
        with _new_folder(output) as folder:
            _write(folder, data, decided, changing, {"ambiguous": ambiguous, "label": label, "id_column": id_column})
    return outcome


def undo(copy: Path, output: Path) -> Path:
    """Write into the new folder `output` what `copy` was made of: its files, byte-equal; `output`.

    An archive has equal arrays, a Parquet file equal values and schema. InputError for a folder that is no copy, and
    for one that was changed since.
    """
    copy, output = Path(copy), Path(output)
    _check_output(copy, output)
    about = _about(copy)
    changes = [row for _, row in read_csv(copy / "changes.csv", CHANGES)]
    moved = [row for row in changes if row["place"]]
    with _new_folder(output) as folder:
        try:
            KINDS[about["kind"]].restore(copy, moved, folder, about)
            restored = folder if about["kind"] == "folder" else folder / about["name"]
            fits = open_source(restored, about["label"], about["id_column"]).data_hash() == about["data_sha256"]
        except (
            FileNotFoundError,
            KeyError,
            ValueError,
            IndexError,
            StopIteration,
        ):  # what is missing or too much; InputError is one
            fits = False
        if not fits:
            raise InputError(f"copy: {copy} was changed since it was made; what it was made of cannot be restored")
    return output


def _changing(decided: dict[str, Decision], ambiguous: str) -> dict[str, Decision]:
    """Relabelled items, and "drop" for all that are left out."""
    left_out = ("drop", "ambiguous") if ambiguous == "drop" else ("drop",)
    changing = {
        name: replace(decision, decision="drop") if decision.decision in left_out else decision
        for name, decision in decided.items()
    }
    return {name: decision for name, decision in changing.items() if decision.decision in ("drop", "relabel")}


def _outcome(data: Source, decided: dict, changing: dict, output: Path, dry_run: bool) -> Outcome:
    counts = Counter(decision.decision for decision in decided.values())
    left = Counter(data.labels)
    for decision in changing.values():
        left[decision.given] -= 1
        left[decision.new] += decision.decision == "relabel"
    return Outcome(
        output,
        len(data.ids),
        counts["keep"],
        counts["relabel"],
        counts["ambiguous"],
        counts["drop"],
        sum(decision.decision == "drop" for decision in changing.values()),
        tuple(name for name in sorted(set(data.labels)) if not left[name]),
        dry_run,
    )


def _write(folder: Path, data: Source, decided: dict, changing: dict, options: dict) -> None:
    moved = data.write(folder, changing)
    rows = [
        {
            "id": name,
            "row": row,
            "given_label": decided[name].given,
            "decision": decided[name].decision,
            "new_label": decided[name].new,
        }
        | moved.get(name, {"place": "", "original": ""})
        for row, name in enumerate(data.ids)
        if name in decided
    ]
    write_atomic(folder / "changes.csv", safe_csv(rows, CHANGES))
    about = {
        "kind": next(kind for kind, of in KINDS.items() if isinstance(data, of)),
        "name": data.path.name,
        "data_sha256": data.data_hash(),
        **options,
    }
    write_atomic(folder / "about.json", json.dumps(about, indent=1) + "\n")


def _about(copy: Path) -> dict:
    try:
        about = json.loads((copy / "about.json").read_text(encoding="utf-8"))
        if about["kind"] in KINDS and Path(about["name"]).name == about["name"]:
            return about
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise InputError(f"copy: {copy} has no about.json of a corrected copy")


def _check_output(source: Path, output: Path) -> None:
    """InputError for an output that has something in it, or lies in the source."""
    if not source.exists():
        raise InputError(f"source: {source} does not exist")
    real, inner = source.resolve(), output.resolve()
    if inner == real or (real.is_dir() and inner.is_relative_to(real)):
        raise InputError(f"output: {output} lies in {source}, which is never changed; give another")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"output: {output} is not an empty folder; nothing in it was touched")


@contextlib.contextmanager
def _new_folder(output: Path):
    """A folder to fill, which takes the name `output` when all is in it, and is gone when something fails."""
    part = output.with_name(f".{output.name}.part-{os.getpid()}")
    try:
        part.mkdir(parents=True)
        yield part
        if output.exists():
            output.rmdir()
        part.rename(output)
    except OSError as error:
        raise InputError(f"output: {output} cannot be written ({error})") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
