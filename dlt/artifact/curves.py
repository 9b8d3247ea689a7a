"""The curves of a table of accuracies: test error by epoch, a panel for each column."""

from pathlib import Path
from typing import TYPE_CHECKING

from dlt.artifact.drawing import (
    ERROR_TICKS,
    GREY,
    METHOD_STYLES,
    OTHER_STYLE,
    caption,
    log_scale,
    method_legend,
    new_figure,
    not_run,
    write_figure,
)
from dlt.artifact.experiments import Column, Table, dataset_in, headings
from dlt.harness.errors import InputError
from dlt.harness.measures import LAST_EPOCHS
from dlt.harness.records import Record, find_record
from dlt.harness.settings import setting_for

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

LABEL_GAP = 0.062  # between the numbers beside a panel, of its height
KEY = ["paper_dataset", "noise", "rate"]  # of a table's column


def accuracy_curves(table: Table, profile: str, seeds: list[int], stores: list[Path], folder: Path) -> list[Path]:
    """Test error by epoch, a panel for each column: <folder>/<profile>/<table>_curves.png, .pdf and .csv.

    Runs that are not finished are left out; without any there is no picture. Raises InputError for a corrupt record.
    """
    runs = collect_curves(table, profile, seeds, stores)
    if runs.empty:
        return []
    columns = _shown_columns(table, runs)
    down = 2 if len(columns) > 3 else 1
    across = len(columns) // down
    with new_figure(10 if across > 1 else 8, 3.2 * down if across > 1 else 4) as figure:
        panels = figure.subplots(down, across, sharex=True, sharey="row", squeeze=False)
        _draw(table, profile, columns, runs, panels)
        setting = table.describe(profile, runs["seed"].nunique(), "mean and range")
        name = table.name.replace("table", "Table ").capitalize()
        caption(
            figure,
            f"{name}: test error by epoch, on a log scale; right of each curve its Last, "
            f"the mean accuracy of the last {LAST_EPOCHS} epochs\n{setting}",
        )
        drawn = set(runs["method"])
        method_legend(figure, {method: table.rows[method] for method in table.methods if method in drawn})
        return write_figure(figure, summarised(runs), Path(folder) / profile / f"{table.name}_curves")


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
                    curve = _curve(record, table.accuracy(method))
                    parts.append(curve.assign(**dict(zip(KEY, column, strict=True)), method=method, seed=seed))
    names = [*KEY, "method", "seed", "epoch", "accuracy"]
    return pandas.concat(parts, ignore_index=True)[names] if parts else pandas.DataFrame(columns=names)


def summarised(runs: "pandas.DataFrame") -> "pandas.DataFrame":
    """Over the n seeds of each column, method and epoch: mean, min and max of the accuracy."""
    groups = runs.groupby([*KEY, "method", "epoch"], sort=False)["accuracy"]
    return groups.agg(["mean", "min", "max", "count"]).rename(columns={"count": "n"}).reset_index()


def _curve(record: Record, accuracy: str) -> "pandas.DataFrame":
    try:
        return record.epochs()[accuracy].astype(float).rename("accuracy").reset_index()
    except KeyError as error:
        raise InputError(
            f"record: {record.folder / 'epochs.csv'} is corrupt (no column {error}); remove its folder to run it again"
        ) from error


def _draw(table: Table, profile: str, columns: list[Column], runs: "pandas.DataFrame", panels) -> None:
    parts = [runs[(runs[KEY] == list(column)).all(axis=1)] for column in columns]
    across = panels.shape[1]
    for i, row in enumerate(panels):
        log_scale(row[0], "y", ERROR_TICKS)
        row[0].set_ylim(_limits(parts[i * across : (i + 1) * across]))
    for panel, column, heading, part in zip(panels.flat, columns, headings(columns), parts, strict=True):
        panel.set_title(heading, loc="left", fontweight="bold")
        if part.empty:
            not_run(panel)
        else:
            _draw_curves(panel, part)
            _draw_last(panel, part)
            _mark_drop(panel, setting_for(profile, dataset_in(profile, column.dataset)).drop_after)
        panel.set(xlabel="", ylabel="")
    for panel in panels[-1]:
        panel.set_xlabel("epoch")
    for row in panels:
        row[0].set_ylabel("test error (%)")


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


def _draw_curves(panel: "Axes", part: "pandas.DataFrame") -> None:
    """The mean over seeds, and their range."""
    import seaborn

    styles = {method: METHOD_STYLES.get(method, OTHER_STYLE) for method in part["method"].unique()}
    seaborn.lineplot(
        part.assign(error=100 - part["accuracy"]),
        x="epoch",
        y="error",
        hue="method",
        style="method",
        palette={method: color for method, (color, _) in styles.items()},
        dashes={method: _dashes(line) for method, (_, line) in styles.items()},
        errorbar=("pi", 100),
        err_kws={"alpha": 0.13, "linewidth": 0},
        linewidth=1.4,
        legend=False,
        ax=panel,
    )
    panel.set_xlim(0, part["epoch"].max())


def _dashes(line):
    """A line style of matplotlib's as seaborn wants it."""
    return "" if line == "-" else line[1]


def _draw_last(panel: "Axes", part: "pandas.DataFrame") -> None:
    """Each method's Last beside its curve's end; numbers too close to be read move up, their order kept."""
    late = part[part["epoch"] > part["epoch"].max() - LAST_EPOCHS]
    last = late.groupby("method")["accuracy"].mean()
    height = -1.0
    for method, accuracy in last.sort_values(ascending=False, kind="stable").items():
        _, at = panel.transAxes.inverted().transform(panel.transData.transform((0, 100 - accuracy)))
        height = max(at, height + LABEL_GAP)
        panel.annotate(
            f"{accuracy:.1f}",
            (1.01, height),
            xycoords="axes fraction",
            annotation_clip=False,
            va="center",
            fontsize=7,
            color=METHOD_STYLES.get(method, OTHER_STYLE)[0],
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
