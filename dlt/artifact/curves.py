"""The curves of a table of accuracies: test error by epoch, a panel for each column."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dlt.artifact.drawing import (
    ERROR_TICKS,
    GREY,
    caption,
    log_scale,
    method_legend,
    new_figure,
    not_run,
    styles_of,
    write_figure,
)
from dlt.artifact.experiments import Column, Table, dataset_in, headings
from dlt.artifact.printing import fixed
from dlt.harness.errors import InputError
from dlt.harness.measures import LAST_EPOCHS
from dlt.harness.records import Record, find_record
from dlt.harness.settings import setting_for

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABEL_GAP = 0.062  # between the numbers beside a panel, of its height
KEY = ["paper_dataset", "noise", "rate"]  # of a table's column


@dataclass(frozen=True)
class Panel:
    """What is drawn in a panel: test accuracy (%) in the columns method, seed, epoch, accuracy; maybe no row."""

    heading: str
    runs: "pandas.DataFrame"
    drop_after: int  # the epoch after which the learning rate falls


def accuracy_curves(table: Table, profile: str, seeds: list[int], stores: list[Path], folder: Path) -> list[Path]:
    """Test error by epoch, a panel for each column: <folder>/<profile>/<table>_curves.png, .pdf and .csv.

    Runs that are not finished are left out; without any there is no picture. Raises InputError for a corrupt record.
    """
    runs = collect_curves(table, profile, seeds, stores)
    if runs.empty:
        return []
    columns = _shown_columns(table, runs)
    parts = [runs[(runs[KEY] == list(column)).all(axis=1)] for column in columns]
    named = headings(columns, [part["seed"].nunique() for part in parts])
    panels = [
        Panel(heading, part, _drop_after(profile, column))
        for heading, part, column in zip(named, parts, columns, strict=True)
    ]
    drawn = set(runs["method"])
    names = {method: table.rows[method] for method in table.methods if method in drawn}
    with new_figure(*size_for(len(panels))) as figure:
        draw_panels(figure, panels, styles_of(names))
        fewer = any(part.groupby("method")["seed"].nunique().min() < part["seed"].nunique() for part in parts)
        setting = table.describe(profile, columns, runs["seed"].nunique(), "mean and range", fewer)
        name = table.name.replace("table", "Table ").capitalize()
        caption(
            figure,
            f"{name}: test error by epoch, on a log scale; right of each curve its Last, "
            f"the mean accuracy of the last {LAST_EPOCHS} epochs\n{setting}",
        )
        method_legend(figure, names)
        path = Path(folder) / profile / f"{table.name}_curves"
        return write_figure(figure, summarised(runs), path, [color for color, _ in styles_of(names).values()])


def collect_curves(table: Table, profile: str, seeds: list[int], stores: list[Path]) -> "pandas.DataFrame":
    """Test accuracy (%) after each epoch of the runs that are finished.

    One row for each column (`paper_dataset`, noise, rate), method, seed and epoch.
    """
    import pandas

    parts = []
    for column in table.columns:
        for method in table.methods:
            for seed in seeds:
                config = table.config(profile, method, column, seed)
                record = find_record(config, stores) if config else None
                if record:
                    curve = curve_of(record, table.accuracy(method))
                    parts.append(curve.assign(**dict(zip(KEY, column, strict=True)), method=method, seed=seed))
    names = [*KEY, "method", "seed", "epoch", "accuracy"]
    return pandas.concat(parts, ignore_index=True)[names] if parts else pandas.DataFrame(columns=names)


def summarised(runs: "pandas.DataFrame") -> "pandas.DataFrame":
    """Over the n seeds of each column, method and epoch: mean, min and max of the accuracy."""
    groups = runs.groupby([*KEY, "method", "epoch"], sort=False)["accuracy"]
    return groups.agg(["mean", "min", "max", "count"]).rename(columns={"count": "n"}).reset_index()


def curve_of(record: Record, accuracy: str) -> "pandas.DataFrame":
    """A row an epoch: its number and the test accuracy (%) of this name."""
    try:
        return record.epochs()[accuracy].astype(float).rename("accuracy").reset_index()
    except KeyError as error:
        raise InputError(
            f"record: {record.folder / 'epochs.csv'} is corrupt (no column {error}); remove its folder to run it again"
        ) from error


def size_for(count: int) -> tuple[float, float]:
    """Inches of a figure with so many panels."""
    down, across = _grid(count)
    return (10, 3.2 * down) if across > 1 else (8, 4)


def _grid(count: int) -> tuple[int, int]:
    down = 1 if count <= 3 else max(2, math.ceil(count / 4))
    return down, math.ceil(count / down)


def draw_panels(figure: "Figure", panels: list[Panel], styles: dict[str, tuple]) -> None:
    """Test error by epoch in each panel; `styles` are {method: (colour, dashes)}."""
    down, across = _grid(len(panels))
    lengths = {panel.runs["epoch"].max() for panel in panels if not panel.runs.empty}
    axes = figure.subplots(down, across, sharex=len(lengths) <= 1, sharey="row", squeeze=False)
    for i, row in enumerate(axes):
        log_scale(row[0], "y", ERROR_TICKS)
        row[0].set_ylim(_limits([panel.runs for panel in panels[i * across : (i + 1) * across]]))
    for axis, panel in zip(axes.flat, panels, strict=False):
        axis.set_title(panel.heading, loc="left", fontweight="bold")
        if panel.runs.empty:
            not_run(axis)
        else:
            _draw_curves(axis, panel.runs, styles)
            _draw_last(axis, panel.runs, styles)
            _mark_drop(axis, panel.drop_after)
        axis.set(xlabel="", ylabel="")
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    for row in axes:
        row[0].set_ylabel("test error (%)")
    for place in range(len(panels), down * across):  # the grid has room for more: the panel above gets the epochs
        axes.flat[place].set_axis_off()
        axes.flat[place - across].tick_params(labelbottom=True)
        axes.flat[place - across].set_xlabel("epoch", visible=True)


def _drop_after(profile: str, column: Column) -> int:
    dataset = dataset_in(profile, column.dataset)
    return setting_for(profile, dataset).drop_after if dataset else 0


def _shown_columns(table: Table, runs: "pandas.DataFrame") -> list[Column]:
    """The columns that have runs where these are few; else all, to show what is missing."""
    run = {tuple(key) for key in runs[KEY].drop_duplicates().to_numpy().tolist()}
    some = [column for column in table.columns if tuple(column) in run]
    return some if 0 < len(some) <= 3 else table.columns


def _limits(parts: list["pandas.DataFrame"]) -> tuple[float, float]:
    """What holds the mean errors from a tenth of the epochs on: before, all methods learn alike."""
    later = [part[part["epoch"] > part["epoch"].max() / 10] for part in parts if len(part)]
    if not later:
        return 1, 100
    errors = [100 - part.groupby(["method", "epoch"])["accuracy"].mean() for part in later]
    low, high = min(map(min, errors)), max(map(max, errors))
    return max(low / 1.1, 0.1), min(high * 1.1, 100)


def _draw_curves(panel: "Axes", part: "pandas.DataFrame", styles: dict[str, tuple]) -> None:
    """The mean over seeds, and their range. Means are of errors, not of their logarithms."""
    for method, (color, line) in styles.items():
        of_method = part[part["method"] == method]
        error = 100 - of_method.groupby("epoch")["accuracy"].agg(["mean", "min", "max"])
        panel.plot(error.index, error["mean"], color=color, linestyle=line, linewidth=1.4)
        panel.fill_between(error.index, error["min"], error["max"], color=color, alpha=0.13, linewidth=0)
    panel.set_xlim(0, part["epoch"].max())


def _draw_last(panel: "Axes", part: "pandas.DataFrame", styles: dict[str, tuple]) -> None:
    """Each method's Last beside its curve's end; numbers too close to be read move up, their order kept."""
    late = part[part["epoch"] > part.groupby("method")["epoch"].transform("max") - LAST_EPOCHS]
    last = late.groupby("method")["accuracy"].mean()
    height = -1.0
    for method, accuracy in last.sort_values(ascending=False, kind="stable").items():
        _, at = panel.transAxes.inverted().transform(panel.transData.transform((0, 100 - accuracy)))
        height = max(at, height + LABEL_GAP)
        panel.annotate(
            fixed(accuracy),
            (1.01, height),
            xycoords="axes fraction",
            annotation_clip=False,
            va="center",
            fontsize=7,
            color=styles[method][0],
        )


def _mark_drop(panel: "Axes", after: int) -> None:
    panel.axvline(after + 0.5, color=GREY, linewidth=0.7, linestyle=(0, (1, 2)), zorder=0)
    panel.annotate(
        "learning rate / 10",
        (after + 0.5, 1),
        xycoords=("data", "axes fraction"),
        xytext=(3, -7),
        textcoords="offset points",
        annotation_clip=True,
        fontsize=6,
        color=GREY,
    )
