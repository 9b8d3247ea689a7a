"""What accuracy costs: Last of every method against its work, those since the paper too. No exhibit of the paper."""

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
    point_style,
    write_figure,
)
from dlt.artifact.exhibits.common import found
from dlt.artifact.experiments import TABLES, Column, headings
from dlt.harness.config import RunConfig

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

TITLE = "accuracy against work, and which methods nothing cheaper beats"
TABLE = TABLES["beyond"]
ACROSS = 4
FEW_ERROR_TICKS = [0.3, 0.5, 1, 2, 3, 5, 10, 20, 50]  # percent, for more than a decade in a low panel
WORK_TICKS = [60, 100, 200, 300, 500, 1000, 2000, 5000]
CLAIMS = ()


def runs(profile: str, seed: int) -> dict[str, RunConfig]:
    """Those of the table beyond the paper, which has the columns of Table 1."""
    return {run.name: run for run in TABLE.runs(profile, [seed])}


def write(profile: str, seeds: list[int], stores: list[Path], folder: Path) -> tuple[str, list[Path]]:
    """A panel for each column: work in CE-epochs and test error, both on a log scale, and the Pareto front."""
    frame = collect_costs(profile, seeds, stores)
    columns = _shown_columns(profile)
    parts = [frame[(frame["noise"] == column.noise) & (frame["rate"] == column.rate)] for column in columns]
    most = [int(part["n"].max()) if len(part) else 0 for part in parts]
    fewer = any((part["n"] < n).any() for part, n in zip(parts, most, strict=True))
    with new_figure(11, 2.5 * len(columns) / ACROSS + 1.2) as figure:
        panels = figure.subplots(len(columns) // ACROSS, ACROSS, sharex=True, sharey="row")
        for panel, heading, part in zip(panels.flat, headings(columns, most), parts, strict=True):
            panel.set_title(heading, loc="left", fontweight="bold")
            _draw(panel, part)
        for row in panels:
            _scale(row)
        for panel in panels[-1]:
            panel.set_xlabel("work (epochs of CE training)")
        for panel in panels[:, 0]:
            panel.set_ylabel("test error, Last (%)")
        drawn = [method for method in TABLE.methods if method in set(frame["method"])]
        method_legend(figure, {method: TABLE.rows[method] for method in drawn}, points=True)
        caption(
            figure,
            "Error against work by the cost model: nearer to the lower left is better; ringed are the methods that "
            "none matches at as much work or less, over the seeds that both have\n"
            + TABLE.describe(profile, columns, max(most), "mean and range", fewer),
        )
        return "", write_figure(figure, frame, Path(folder) / profile / "cost")


def _shown_columns(profile: str) -> list[Column]:
    """Whole rows of panels: Table 1's columns and two more, which the profile has."""
    there = [column for column in TABLE.columns if TABLE.config(profile, "ce", column, 1)]
    own = [column for column in there if column.noise in ("human-worse", "human-aggre")] or there[6:]
    return there[:6] + own[-2:]


def collect_costs(profile: str, seeds: list[int], stores: list[Path]) -> "pandas.DataFrame":
    """A row for each column and method that was run: work in CE-epochs, Last (%) over n seeds, on the front or not."""
    import pandas

    rows = []
    for column in TABLE.columns:
        cells = []
        for method in TABLE.methods:
            configs = {seed: TABLE.config(profile, method, column, seed) for seed in seeds}
            records = found({seed: config for seed, config in configs.items() if config}, stores)
            if records:
                last = pandas.Series({s: record.result["test_accuracy"]["last"] for s, record in records.items()})
                numbers = {"mean": last.mean(), "min": last.min(), "max": last.max(), "n": len(last), "last": last}
                work = next(iter(records.values())).config.cost
                cells.append({"noise": column.noise, "rate": column.rate, "method": method, "work": work} | numbers)
        rows += [cell | {"front": on_front(cell, cells)} for cell in cells]
    names = ["noise", "rate", "method", "work", "mean", "min", "max", "n", "front"]
    return pandas.DataFrame(rows, columns=names)


def on_front(cell: dict, cells: list[dict]) -> bool:
    """Whether every method works more that is as accurate over the seeds that both have: the Pareto front."""
    cheaper = [other for other in cells if other is not cell and other["work"] <= cell["work"]]
    return not any((other["last"] - cell["last"]).mean() >= 0 for other in cheaper)


def _draw(panel: "Axes", part: "pandas.DataFrame") -> None:
    if part.empty:
        not_run(panel)
        return
    front = part[part["front"]].sort_values("work")
    ring = {"marker": "o", "markersize": 13, "markerfacecolor": "none"}
    panel.plot(front["work"], 100 - front["mean"], color=GREY, linewidth=0.8, zorder=1, **ring)
    for cell in part.itertuples():
        color, _ = METHOD_STYLES.get(cell.method, OTHER_STYLE)
        spread = [[cell.max - cell.mean], [cell.mean - cell.min]]
        look = {"linestyle": "", "color": color, "elinewidth": 0.8, **point_style(cell.method)}
        panel.errorbar(cell.work, 100 - cell.mean, spread, **look)


def _scale(row: list["Axes"]) -> None:
    """Both axes on a log scale, some way around what is drawn; where nothing is, without errors to read."""
    for panel in row:
        log_scale(panel, "x", WORK_TICKS)
    low, high = row[0].get_ylim()
    if not any(panel.has_data() for panel in row):
        row[0].set_yticks([])
        return
    low = max(low, FEW_ERROR_TICKS[0])
    log_scale(row[0], "y", FEW_ERROR_TICKS if high > 10 * low else ERROR_TICKS)
    row[0].set_ylim(low / 1.05, high * 1.05)
