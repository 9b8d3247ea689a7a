"""From records to a printed table: collect the numbers, then write them as markdown, LaTeX and CSV.

Only what finished runs of the very configuration measured is shown; the same records give the same bytes.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dlt.artifact.experiments import DATA_NAMES, PROFILES_LIKE_PAPER, Table, dataset_in, headings, profile_with
from dlt.harness.errors import InputError
from dlt.harness.measures import LAST_EPOCHS
from dlt.harness.records import Record, find_record, write_atomic

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
                rows.append({
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
                })  # fmt: skip
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
    timing = record.timing()
    try:
        last, best = (float(record.result[accuracy][metric]) for metric in METRICS)
        device = record.run["device"]
        units = record.run["threads"] if device.startswith("cpu") else 1
        hours = timing.to_numpy(float).sum() * units / 3600
        if not (0 <= last <= best <= 100 and hours >= 0):
            raise ValueError(f"last {last}, best {best}, {hours} hours")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"record: {record.folder} is corrupt ({error!r}); remove its folder to run it again"
        ) from error
    return last, best, hours, device


# ---------------------------------------------------------------------- words
@dataclass(frozen=True)
class _Text:
    """A table as text, whatever the format. A method's name stands in the first of its `lines` only."""

    title: str
    setting: str
    head: list[str]
    lines: list[list[str]]
    notes: list[str]


def _text(table: Table, profile: str, frame: "pandas.DataFrame") -> _Text:
    seeds = frame["n"].max()
    comparison = "paper / difference" if profile in PROFILES_LIKE_PAPER else "gain / paper's"
    if seeds == 0:
        comparison = "paper"
    return _Text(
        table.title,
        table.describe(profile, seeds, "mean ± standard deviation") + ".",
        ["Method", "", *headings(table.columns)],
        _lines(table, frame, comparison),
        _notes(table, profile, frame, comparison),
    )


def _lines(table: Table, frame: "pandas.DataFrame", comparison: str) -> list[list[str]]:
    """Our accuracies of every method and metric, and under them the comparison, where there is one."""
    cells = {(cell.method, cell.paper_dataset, cell.noise, cell.rate, cell.metric): cell for cell in frame.itertuples()}
    seeds = frame["n"].max()
    lines = []
    for method in table.rows:
        for metric, label in METRICS.items():
            row = [cells[method, *column, metric] for column in table.columns]
            name = table.rows[method] if metric == "last" else ""
            lines.append([name, label, *(_accuracy(cell, seeds) for cell in row)])
            itself = (method, metric) == (table.baseline, "last")
            compared = [_compared(cell, comparison, itself) for cell in row]
            if any(compared):
                lines.append(["", comparison, *compared])
    return lines


def _compared(cell, comparison: str, itself: bool) -> str:
    """What stands under an accuracy; `itself`: the baseline's Last, over which gains are counted."""
    if comparison == "gain / paper's" and not cell.dataset:  # nothing of ours to gain: the number itself
        return f"paper {_fixed(cell.paper)}" if cell.paper == cell.paper else ""
    if comparison == "gain / paper's" and itself:
        return ""
    return _COMPARISONS[comparison](cell)


def _fixed(value: float) -> str:
    return "" if value != value else f"{value:.1f}"


def _signed(value: float) -> str:
    text = "" if value != value else f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def _accuracy(cell, seeds: int) -> str:
    """Mean and deviation; the number of seeds where it is less than elsewhere in the table."""
    deviation = f" ± {_fixed(cell.std)}" if cell.n > 1 else ""
    return _fixed(cell.mean) + deviation + (f" (n={cell.n})" if 0 < cell.n < seeds else "")


def _pair(left: str, right: str) -> str:
    return f"{left or '—'} / {right or '—'}" if left or right else ""


_COMPARISONS = {
    "paper": lambda cell: _fixed(cell.paper),
    "paper / difference": lambda cell: _pair(_fixed(cell.paper), _signed(cell.difference)),
    "gain / paper's": lambda cell: _pair(_signed(cell.gain), _signed(cell.paper_gain)),
}


def _notes(table: Table, profile: str, frame: "pandas.DataFrame", comparison: str) -> list[str]:
    notes = [
        f"Last: mean test accuracy of the last {LAST_EPOCHS} epochs. "
        "Best (oracle): the highest of all epochs, chosen on the test set."
    ]
    if comparison == "gain / paper's":
        notes.append(
            f"Gain: points over the Last of {table.rows[table.baseline]} in the same column (ours: with the "
            "same seeds); the data are not the paper's, so accuracies cannot be compared."
        )
    notes += table.notes
    if frame["n"].any():
        notes.append(_compute(frame))
    absent = [d for d in table.paper if dataset_in(profile, d) is None]
    command = f"./reproduce.sh {table.name} --profile"
    if len(absent) < len(table.paper):
        seeds = max(frame["n"].max(), 1)
        notes.append(f"`{command} {profile} --seeds {seeds}` makes this table, running only what is missing.")
    for d in absent:
        notes.append(f"`{command} {profile_with(d)}` runs {DATA_NAMES[d]}, for which nothing stands in here.")
    return notes


def _compute(frame: "pandas.DataFrame") -> str:
    cells = frame[(frame["metric"] == "last") & (frame["n"] > 0)]
    hours = cells.groupby("device")["hours"].sum()
    return f"Compute: {'; '.join(_cost(*cost) for cost in hours.items())}; {cells['n'].sum()} runs."


def _cost(device: str, hours: float) -> str:
    on_cpu = [name.startswith("cpu") for name in device.split(" and ")]
    unit = "core" if all(on_cpu) else "device" if any(on_cpu) else "GPU"
    amount = f"{60 * hours:.1f} {unit}-minutes" if hours < 0.05 else f"{hours:.1f} {unit}-hours"
    return f"{amount} on {device.replace('cpu: ', '')}"


# ---------------------------------------------------------------------- formats
def to_markdown(table: Table, profile: str, frame: "pandas.DataFrame") -> str:
    """The table as markdown, its columns aligned so that it reads well in a terminal too."""
    text = _text(table, profile, frame)
    widths = [max(map(len, column)) for column in zip(text.head, *text.lines, strict=True)]
    aligned = [str.ljust, str.ljust, *[str.rjust] * len(table.columns)]

    def line(cells):
        return f"| {' | '.join(pad(c, w) for pad, c, w in zip(aligned, cells, widths, strict=True))} |"

    rule = [("-" if pad is str.ljust else ":").rjust(w, "-") for pad, w in zip(aligned, widths, strict=True)]
    grid = [line(text.head), line(rule), *map(line, text.lines)]
    title = f"### Table {table.name.removeprefix('table')}: {text.title}"
    return "\n\n".join([title, text.setting, "\n".join(grid), "\n".join(f"- {n}" for n in text.notes)]) + "\n"


def to_latex(table: Table, profile: str, frame: "pandas.DataFrame") -> str:
    """The table as a LaTeX float over both columns of a page; it needs the package booktabs."""
    text = _text(table, profile, frame)

    def line(cells):
        return " & ".join(map(_latex, cells)) + r" \\"

    body = [r"\addlinespace " * bool(i and cells[0]) + line(cells) for i, cells in enumerate(text.lines)]
    caption = _latex(f"{text.title[0].upper()}{text.title[1:]}. {text.setting}")
    return "\n".join([
        r"\begin{table*}", r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{caption}}}", rf"\label{{tab:{table.name}-{profile}}}",
        rf"\begin{{tabular}}{{ll{'r' * len(table.columns)}}}", r"\toprule", line(text.head), r"\midrule",
        *body, r"\bottomrule", r"\end{tabular}\par\smallskip\raggedright",
        *(_latex(note) + r"\par" for note in text.notes), r"\end{table*}", "",
    ])  # fmt: skip


_LATEX = {character: f"\\{character}" for character in "{}$&#_%"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "—": "---", "--": "-{}-",
}  # fmt: skip


def _latex(text: str) -> str:
    """Escaped; `code` in a typewriter font, the sign of a number a minus."""
    text = re.sub(r"--|[\\{}$&#_%~^±—]", lambda match: _LATEX[match[0]], text)
    text = re.sub(r"(^| )-(?=\d)", r"\1$-$", text)
    return re.sub(r"`([^`]*)`", r"\\texttt{\1}", text)


def to_csv(frame: "pandas.DataFrame") -> str:
    """The frame of `collect`, numbers to four decimals."""
    rounded = frame.round(4)
    numbers = rounded.select_dtypes("float").columns
    rounded[numbers] += 0.0  # no -0.0
    return rounded.to_csv(index=False, lineterminator="\n")


def write(table: Table, profile: str, frame: "pandas.DataFrame", folder: Path) -> list[Path]:
    """Write <folder>/<profile>/<table>.md, .tex and .csv."""
    texts = {
        "md": to_markdown(table, profile, frame),
        "tex": to_latex(table, profile, frame),
        "csv": to_csv(frame),
    }
    paths = [Path(folder) / profile / f"{table.name}.{suffix}" for suffix in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_atomic(path, text)
    return paths
