"""The first screen of the README: Last in the columns of Table 1 and on human labels, and the gains of both."""

import dataclasses
from pathlib import Path

from dlt.artifact import paper
from dlt.artifact.experiments import ROWS, ROWS_BEYOND, TABLES, Column, headings
from dlt.artifact.printing import signed, with_deviation
from dlt.artifact.tables import collect, seeds_of

# What the README shows: (profile, seeds).
SHOWN = (("mini", 3),)
OURS = "dlt-auto"
HUMAN = ("human-worse", 0.4021)
TABLE = dataclasses.replace(
    TABLES["table1"],
    rows=ROWS | {OURS: ROWS_BEYOND[OURS]},
    paper={"cifar10": paper.TABLE1 | {HUMAN: {}}},
)


def summary(profile: str, seeds: int, store: Path) -> str:
    """A markdown table of Last and gain over CE (the paper's gain), of the columns where a DLT was run."""
    frame = collect(TABLE, profile, list(range(1, seeds + 1)), [store])
    frame = frame[frame["metric"] == "last"]
    run = frame[frame["method"].isin(("dlt-window", OURS)) & (frame["n"] > 0)]
    there = {Column(cell.paper_dataset, cell.noise, cell.rate) for cell in run.itertuples()}
    shown = [column for column in TABLE.columns if column in there]
    most = seeds_of(shown, frame)
    lines = [f"| | {' | '.join(headings(shown, most))} |", "| --- |" + " ---: |" * len(shown)]
    for method, name in TABLE.rows.items():
        cells = frame[frame["method"] == method].set_index(["paper_dataset", "noise", "rate"])
        words = (_words(cells.loc[column], n, method) for column, n in zip(shown, most, strict=True))
        lines.append(f"| {name} | {' | '.join(words)} |")
    return "\n".join(lines)


def _words(cell, seeds: int, method: str) -> str:
    """57.1 ± 0.4, +11.0 (+16.7); no gain of CE over itself, and none of the paper where it has no number."""
    words = with_deviation(cell["mean"], cell["std"], cell["n"], seeds)
    if method == TABLE.baseline or not words:
        return words
    papers = signed(cell["paper_gain"])
    return f"{words}, {signed(cell['gain'])}" + (f" ({papers})" if papers else "")
