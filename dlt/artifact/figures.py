"""From records to figures, each written as PNG, PDF and the plotted numbers as CSV.

The same records give the same bytes. matplotlib is imported where it is used: training does without.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from dlt.artifact.experiments import Column, Table, dataset_in
from dlt.artifact.tables import describe, headings, rounded_csv
from dlt.harness.config import setting_for
from dlt.harness.errors import InputError
from dlt.harness.measures import LAST_EPOCHS
from dlt.harness.records import Record, find_record, write_atomic

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart with any colour vision; the dashes do without colour.
STYLES = {
    "ce": ("#000000", (0, (1, 1))),
    "apl": ("#CC79A7", (0, (4, 1.5))),
    "sce": ("#E69F00", (0, (5, 1, 1, 1))),
    "m-correction": ("#009E73", (0, (2, 1))),
    "dividemix": ("#D55E00", (0, (6, 1, 1, 1, 1, 1))),
    "dlt-last-epoch": ("#56B4E9", (0, (7, 1))),
    "dlt-window": ("#0072B2", "-"),
}
OTHER_STYLE = ("#777777", (0, (3, 1, 1, 1)))
LABEL_SIZE = 7  # points

RC = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # text stays text
}


def accuracy_curves(
    table: Table, profile: str, seeds: list[int], stores: list[Path], folder: Path
) -> list[Path]:
    """Test accuracy by epoch, a panel for each of the table's columns: <folder>/<profile>/<table>_curves.*.

    Runs that are not finished are left out. Raises InputError for a corrupt record.
    """
    import matplotlib.style

    curves = collect_curves(table, profile, seeds, stores)
    with matplotlib.style.context(["default", RC]):
        figure = _curves_figure(table, profile, curves)
        return _write(figure, curves, Path(folder) / profile / f"{table.name}_curves")


def collect_curves(
    table: Table, profile: str, seeds: list[int], stores: list[Path]
) -> "pandas.DataFrame":
    """Test accuracy (%) after each epoch: mean, min and max of the n seeds whose runs are finished.

    One row for each method, column (`paper_dataset`, noise, rate) and epoch.
    """
    import pandas

    parts = []
    for column in table.columns:
        for method in table.methods:
            configs = [table.config(profile, method, column, seed) for seed in seeds]
            records = [find_record(config, stores) for config in configs if config]
            runs = [_curve(record, table.accuracy) for record in records if record]
            if runs:
                part = pandas.concat(runs, axis=1).agg(["mean", "min", "max"], axis=1).reset_index()
                key = {"paper_dataset": column.dataset, "noise": column.noise, "rate": column.rate}
                parts.append(part.assign(**key, method=method, n=len(runs)))
    names = ["paper_dataset", "noise", "rate", "method", "epoch", "mean", "min", "max", "n"]
    return pandas.concat(parts)[names] if parts else pandas.DataFrame(columns=names)


def _curve(record: Record, accuracy: str) -> "pandas.Series":
    try:
        return record.epochs()[accuracy].astype(float)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"record: {record.folder / 'epochs.csv'} is corrupt ({error!r}); remove its folder to run it again"
        ) from error


def _curves_figure(table: Table, profile: str, curves: "pandas.DataFrame") -> "Figure":
    from matplotlib.figure import Figure

    columns = table.columns
    figure = Figure(figsize=(10, 5.8), layout="constrained")
    panels = figure.subplots(2, len(columns) // 2, sharex=True, sharey="row")
    for panel, column, heading in zip(panels.flat, columns, headings(columns), strict=True):
        panel.set_title(heading, loc="left", fontweight="bold")
        _curves_panel(panel, table, profile, column, curves)
    for row in panels:
        _set_height(row, curves)
    return figure
