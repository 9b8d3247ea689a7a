"""From records to a table of accuracies: collect the numbers, then put them into words.

Only what finished runs of the very configuration measured is shown; the same records give the same bytes.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from dlt.artifact.experiments import (
    DATA_NAMES,
    PROFILES_LIKE_PAPER,
    Column,
    Table,
    dataset_in,
    headings,
    profile_with,
)
from dlt.artifact.printing import Text, command_note, compute, fixed, signed, with_deviation
from dlt.harness.errors import InputError
from dlt.harness.measures import LAST_EPOCHS
from dlt.harness.records import Record, find_record

if TYPE_CHECKING:  # imported where it is used: a server that only trains may lack it
    import pandas

METRICS = {"last": "Last", "best": "Best (oracle)"}


# ---------------------------------------------------------------------- numbers
def collect(table: Table, profile: str, seeds: list[int], stores: list[Path]) -> "pandas.DataFrame":
    """Every cell of a table in long form: two rows, "last" and "best", for each method and column.

    mean, std     of our test accuracy over the n seeds whose runs are finished, in percent; NaN for none,
                  std (ddof 1) also for one
    paper         the paper's accuracy, NaN where it gives none
    difference    mean - paper, where data and network are the paper's (profiles short and paper)
    gain          mean over the same seeds of the accuracy over the baseline's Last in the same column, in
                  points; NaN unless the baseline was run with all of them
    paper_gain    the same of the paper's numbers
    hours, device of all runs of the cell: of CPU cores (as many as threads) or of a GPU

    `dataset` is what was trained on (empty: nothing stands in), `paper_dataset` what the paper trained on.
    The first of the `stores` that has a run gives it. Raises InputError for a corrupt record.
    """
    import pandas

    rows = []
    for column in table.columns:
        baseline = _runs(table, profile, table.baseline, column, seeds, stores)["last"]
        paper_baseline = table.paper_accuracy(table.baseline, column, "last")
        for method in table.rows:
            runs = _runs(table, profile, method, column, seeds, stores)
            for metric in METRICS:
                mean, paper = runs[metric].mean(), table.paper_accuracy(method, column, metric)
                rows.append(
                    {
                        "profile": profile,
                        "dataset": dataset_in(profile, column.dataset) or "",
                        "paper_dataset": column.dataset,
                        "noise": column.noise,
                        "rate": column.rate,
                        "method": method,
                        "metric": metric,
                        "mean": mean,
                        "std": runs[metric].std(),
                        "n": len(runs),
                        "paper": paper,
                        "difference": mean - paper if profile in PROFILES_LIKE_PAPER else float("nan"),
                        "gain": (runs[metric] - baseline.reindex(runs.index)).mean(skipna=False),
                        "paper_gain": paper - paper_baseline,
                        "hours": runs["hours"].sum(),
                        "device": " and ".join(sorted(set(runs["device"]))),
                    }
                )
    return pandas.DataFrame(rows)


def _runs(table, profile, method, column, seeds, stores) -> "pandas.DataFrame":
    """What the finished runs of a cell measured, a row a seed."""
    import pandas

    found = {}
    for seed in seeds:
        config = table.config(profile, method, column, seed)
        record = config and find_record(config, stores)
        if record:
            found[seed] = _measured(record, table.accuracy(method))
    runs = pandas.DataFrame.from_dict(found, orient="index", columns=["last", "best", "hours", "device"])
    return runs.astype({"last": float, "best": float, "hours": float})


def _measured(record: Record, accuracy: str) -> tuple[float, float, float, str]:
    """Last and Best in percent, device hours, device."""
    hours = record.hours
    try:
        last, best = (float(record.result[accuracy][metric]) for metric in METRICS)
        device = record.run["device"]
        if record.run.get("precision") == "bf16":
            device += ", bf16"
        if not (0 <= last <= best <= 100 and hours >= 0):
            raise ValueError(f"last {last}, best {best}, {hours} hours")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"record: {record.folder} is corrupt ({error!r}); remove its folder to run it again"
        ) from error
    return last, best, hours, device


# ---------------------------------------------------------------------- words
def text(table: Table, profile: str, frame: "pandas.DataFrame") -> Text:
    """The table that the frame of `collect` fills."""
    seeds = frame["n"].max()
    comparison = "paper / difference" if profile in PROFILES_LIKE_PAPER else "gain / paper's"
    if frame["paper"].isna().all():
        comparison = "gain"
    elif seeds == 0:
        comparison = "paper"
    columns = _shown(table, frame)
    return Text(
        table.name,
        table.title,
        table.describe(profile, columns, seeds, "mean ± standard deviation") + ".",
        ["Method", "", *headings(columns, seeds_of(columns, frame))],
        _lines(table, columns, frame, comparison),
        _notes(table, profile, frame, comparison),
        left=2,
    )


def _shown(table: Table, frame: "pandas.DataFrame") -> list[Column]:
    """The columns; of a brief table, which may have many, those with a run, once there is one."""
    run = {(cell.paper_dataset, cell.noise, cell.rate) for cell in frame.itertuples() if cell.n}
    return [column for column in table.columns if tuple(column) in run or not (table.brief and run)]


def seeds_of(columns: list[Column], frame: "pandas.DataFrame") -> list[int]:
    """How many seeds the columns were run with, by the rows that have most."""
    most = frame.groupby(["paper_dataset", "noise", "rate"])["n"].max()
    return [int(most[tuple(column)]) for column in columns]


def _lines(table: Table, columns: list[Column], frame: "pandas.DataFrame", comparison: str) -> list[list[str]]:
    """Our accuracies of every method and metric, and under them the comparison, where there is one."""
    cells = {(cell.method, cell.paper_dataset, cell.noise, cell.rate, cell.metric): cell for cell in frame.itertuples()}
    seeds = seeds_of(columns, frame)
    metrics = {"last": METRICS["last"]} if table.brief else METRICS
    lines = []
    for method in table.rows:
        for metric, label in metrics.items():
            row = [cells[method, *column, metric] for column in columns]
            name = table.rows[method] if metric == "last" else ""
            means = [with_deviation(cell.mean, cell.std, cell.n, n) for cell, n in zip(row, seeds, strict=True)]
            lines.append([name, label, *means])
            itself = (method, metric) == (table.baseline, "last")
            compared = [_compared(cell, comparison, itself) for cell in row]
            if any(compared):
                lines.append(["", comparison, *compared])
        if table.brief:
            lines.append(["", "work", *_works(table, columns, frame["profile"].iloc[0], method)])
    return lines


def _works(table: Table, columns: list[Column], profile: str, method: str) -> list[str]:
    """What a run of each column costs, in CE-epochs, by the cost model."""
    configs = [table.config(profile, method, column, 1) for column in columns]
    return [f"{config.cost:.0f}" if config else "" for config in configs]


def _compared(cell, comparison: str, itself: bool) -> str:
    """What stands under an accuracy; `itself`: the baseline's Last, over which gains are counted."""
    if comparison == "gain / paper's" and not cell.dataset:  # nothing of ours to gain: the number itself
        return f"paper {fixed(cell.paper)}" if cell.paper == cell.paper else ""
    if itself and comparison.startswith("gain"):
        return ""
    return _COMPARISONS[comparison](cell)


def _pair(left: str, right: str) -> str:
    return f"{left or '—'} / {right or '—'}" if left or right else ""


_COMPARISONS = {
    "paper": lambda cell: fixed(cell.paper),
    "paper / difference": lambda cell: _pair(fixed(cell.paper), signed(cell.difference)),
    "gain": lambda cell: signed(cell.gain),
    "gain / paper's": lambda cell: _pair(signed(cell.gain), signed(cell.paper_gain)),
}


def _notes(table: Table, profile: str, frame: "pandas.DataFrame", comparison: str) -> list[str]:
    notes = [
        f"Last: mean test accuracy of the last {LAST_EPOCHS} epochs. "
        "Best (oracle): the highest of all epochs, chosen on the test set."
    ]
    if comparison.startswith("gain"):
        why = "" if comparison == "gain" else "; the data are not the paper's, so accuracies cannot be compared"
        notes.append(
            f"Gain: points over the Last of {table.rows[table.baseline]} in the same column (ours: with the same seeds)"
            f"{why}."
        )
    if table.brief:
        notes.append("Work: of a run, in epochs of cross-entropy training, by the cost model.")
    notes += table.notes
    shown = _shown(table, frame)
    if len(shown) < len(table.columns):
        named = zip(headings(table.columns), table.columns, strict=True)
        notes.append(
            f"Not shown, as nothing was run: {', '.join(name for name, column in named if column not in shown)}."
        )
    if frame["n"].any():
        notes.append(_compute(frame))
    absent = [d for d in table.paper if dataset_in(profile, d) is None]
    command = f"./reproduce.sh {table.name} --profile"
    if len(absent) < len(table.paper):
        seeds = max(int(frame["n"].max()), 1)
        here = int(frame.loc[frame["metric"] == "last", "n"].sum())
        whole = seeds * len(table.runs(profile, [1]))
        chosen = table.command and f"`{command} {profile} {table.command}` makes this, training what is not there."
        notes.append(chosen or command_note(table.name, profile, seeds, here, whole))
    for d in absent:
        notes.append(f"`{command} {profile_with(d)}` runs {DATA_NAMES[d]}, for which nothing stands in here.")
    return notes


def _compute(frame: "pandas.DataFrame") -> str:
    cells = frame[(frame["metric"] == "last") & (frame["n"] > 0)]
    hours = cells.groupby("device")["hours"].sum()
    return f"Compute: {compute(hours, cells['n'].sum())}."
