"""From records to figures, each written as PNG, PDF and the plotted numbers as CSV: here the curves of a table.

The same records give the same bytes. matplotlib is imported where it is used: training does without.
"""

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

from dlt.artifact.experiments import Column, Table, dataset_in, headings
from dlt.artifact.printing import to_csv
from dlt.harness.errors import InputError
from dlt.harness.measures import LAST_EPOCHS
from dlt.harness.records import Record, find_record, write_atomic
from dlt.harness.settings import setting_for

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours are told apart with any colour vision, the dashes in grey.
STYLES = {
    "ce": ("#000000", (0, (1, 1))),
    "apl": ("#CC79A7", (0, (3, 3))),
    "sce": ("#E69F00", (0, (5, 1, 1, 1))),
    "m-correction": ("#009E73", (0, (2, 0.8))),
    "dividemix": ("#D55E00", (0, (6, 1, 1, 1, 1, 1))),
    "dlt-last-epoch": ("#56B4E9", (0, (10, 1.5))),
    "dlt-window": ("#0072B2", "-"),
    "dividemix-dlt": ("#0072B2", "-"),
}
OTHER_STYLE = ("#777777", (0, (3, 1, 1, 1)))
LOOK = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # text stays text
}
LABEL_GAP = 0.055  # between the numbers beside a panel, of its height
KEY = ["paper_dataset", "noise", "rate"]  # of a table's column


def accuracy_curves(table: Table, profile: str, seeds: list[int], stores: list[Path], folder: Path) -> list[Path]:
    """Test accuracy by epoch, a panel for each column: <folder>/<profile>/<table>_curves.png, .pdf and .csv.

    Runs that are not finished are left out; without any there is no picture. Raises InputError for a corrupt record.
    """
    import matplotlib.style

    curves = collect_curves(table, profile, seeds, stores)
    if curves.empty:
        return []
    with matplotlib.style.context(["default", LOOK]):
        figure = _draw(table, profile, curves)
        return write_figure(figure, curves, Path(folder) / profile / f"{table.name}_curves")


def collect_curves(table: Table, profile: str, seeds: list[int], stores: list[Path]) -> "pandas.DataFrame":
    """Test accuracy (%) after each epoch: mean, min and max over the n seeds whose runs are finished.

    One row for each column (`paper_dataset`, noise, rate), method and epoch.
    """
    import pandas

    parts = []
    for column in table.columns:
        for method in table.methods:
            configs = [table.config(profile, method, column, seed) for seed in seeds]
            records = [find_record(config, stores) for config in configs if config]
            runs = [_curve(record, table.accuracy(method)) for record in records if record]
            if not runs:
                continue
            runs = pandas.concat(runs, axis=1)
            numbers = {"mean": runs.mean(axis=1), "min": runs.min(axis=1), "max": runs.max(axis=1)}
            part = pandas.DataFrame(numbers).reset_index(names="epoch")
            parts.append(part.assign(**dict(zip(KEY, column, strict=True)), method=method, n=runs.shape[1]))
    names = [*KEY, "method", "epoch", "mean", "min", "max", "n"]
    return pandas.concat(parts)[names] if parts else pandas.DataFrame(columns=names)


def _curve(record: Record, accuracy: str) -> "pandas.Series":
    try:
        return record.epochs()[accuracy].astype(float)
    except KeyError as error:
        raise InputError(
            f"record: {record.folder / 'epochs.csv'} is corrupt (no column {error}); remove its folder to run it again"
        ) from error


def _draw(table: Table, profile: str, curves: "pandas.DataFrame") -> "Figure":
    from matplotlib.figure import Figure

    columns = _shown_columns(table, curves)
    down = 2 if len(columns) > 3 else 1
    across = len(columns) // down
    figure = Figure(figsize=(10 if across > 1 else 8, 3 * down if across > 1 else 4), layout="constrained")
    panels = figure.subplots(down, across, sharex=True, sharey="row", squeeze=False)
    parts = [curves[(curves[KEY] == list(column)).all(axis=1)] for column in columns]
    for i, row in enumerate(panels):
        row[0].set_ylim(_limits(parts[i * across : (i + 1) * across]))
        row[0].set_ylabel("test accuracy (%)")
    for panel, column, heading, part in zip(panels.flat, columns, headings(columns), parts, strict=True):
        panel.set_title(heading, loc="left", fontweight="bold")
        if part.empty:
            panel.text(0.5, 0.5, "not run", transform=panel.transAxes, ha="center", color="#777777")
            continue
        _draw_curves(panel, part)
        _draw_last(panel, part)
        _mark_drop(panel, setting_for(profile, dataset_in(profile, column.dataset)).drop_after)
    for panel in panels[-1]:
        panel.set_xlabel("epoch")
    setting = table.describe(profile, curves["n"].max() if len(curves) else 0, "mean and range")
    figure.suptitle(
        f"{table.name.replace('table', 'Table ').capitalize()}, test accuracy in each column; right of each curve "
        f"its Last, the mean of the last {LAST_EPOCHS} epochs\n{setting}",
        x=0.01,
        ha="left",
        fontsize=8,
    )
    drawn = set(curves["method"])
    _legend(figure, {method: table.rows[method] for method in table.methods if method in drawn})
    return figure


def _shown_columns(table: Table, curves: "pandas.DataFrame") -> list[Column]:
    """The columns that have runs where these are few; else all, to show what is missing."""
    run = {tuple(key) for key in curves[KEY].drop_duplicates().to_numpy().tolist()}
    some = [column for column in table.columns if tuple(column) in run]
    return some if 0 < len(some) <= 3 else table.columns


def _limits(parts: list["pandas.DataFrame"]) -> tuple[float, float]:
    """What holds the means from a tenth of the epochs on: before, all methods rise alike."""
    means = [part["mean"][part["epoch"] > part["epoch"].max() / 10] for part in parts if len(part)]
    if not means:
        return 0, 100
    high = 5 * math.ceil(max(map(max, means)) / 5)
    return min(5 * math.floor(min(map(min, means)) / 5), high - 5), high


def _draw_curves(panel: "Axes", part: "pandas.DataFrame") -> None:
    for method, curve in part.groupby("method", sort=False):
        style = _style(method)
        panel.plot(curve["epoch"], curve["mean"], **style)
        panel.fill_between(curve["epoch"], curve["min"], curve["max"], color=style["color"], alpha=0.18, linewidth=0)
    panel.set_xlim(0, part["epoch"].max())


def _draw_last(panel: "Axes", part: "pandas.DataFrame") -> None:
    """Each method's Last beside the panel; numbers too close to be read move down, their order kept."""
    last = part.groupby("method")["mean"].apply(lambda mean: mean.tail(LAST_EPOCHS).mean())
    low, high = panel.get_ylim()
    gap = LABEL_GAP * (high - low)
    y = high + gap
    for method, value in last.sort_values(ascending=False, kind="stable").items():
        y = min(value, y - gap)
        panel.annotate(
            f"{value:.1f}",
            (1.01, y),
            xycoords=("axes fraction", "data"),
            annotation_clip=False,
            va="center",
            fontsize=7,
            color=_style(method)["color"],
        )


def _style(method: str) -> dict:
    color, dashes = STYLES.get(method, OTHER_STYLE)
    return {"color": color, "linestyle": dashes, "linewidth": 1.4}


def _mark_drop(panel: "Axes", after: int) -> None:
    panel.axvline(after + 0.5, color="#777777", linewidth=0.7, linestyle=(0, (1, 2)), zorder=0)
    panel.annotate(
        "learning rate / 10",
        (after + 0.5, 0),
        xycoords=("data", "axes fraction"),
        xytext=(-3, 4),
        textcoords="offset points",
        annotation_clip=True,
        fontsize=6,
        color="#777777",
        ha="right",
    )


def _legend(figure: "Figure", names: dict[str, str]) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], **_style(method)) for method in names]
    figure.legend(lines, names.values(), loc="outside lower center", ncols=min(len(names), 4) or 1, handlelength=3.2)


def _smaller(png: io.BytesIO) -> bytes:
    """The picture with a palette of 256 colours: a third of the size, and nobody sees it."""
    from PIL import Image

    out = io.BytesIO()
    Image.open(png).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(out, "png", optimize=True)
    return out.getvalue()


def write_figure(figure: "Figure", numbers: "pandas.DataFrame", path: Path) -> list[Path]:
    """PNG and PDF without dates, and the numbers as CSV, beside each other."""
    metadata = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None, "Creator": None}}
    files = {}
    for suffix, about in metadata.items():
        out = io.BytesIO()
        figure.savefig(out, format=suffix, dpi=150, metadata=about)
        files[suffix] = _smaller(out) if suffix == "png" else out.getvalue()
    files["csv"] = to_csv(numbers)
    for suffix, data in files.items():
        write_atomic(path.with_suffix(f".{suffix}"), data)
    return [path.with_suffix(f".{suffix}") for suffix in files]
