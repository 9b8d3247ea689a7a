"""Figures 1 and 7: the losses of clean, noisy and hard samples by epoch, a panel for each run."""

from pathlib import Path
from typing import TYPE_CHECKING

from dlt.artifact.drawing import POPULATIONS, caption, mark, new_figure, not_run, write_figure
from dlt.artifact.exhibits.common import found, setting_line
from dlt.harness.config import RunConfig

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What epochs.csv holds: cheap for every method, and what each one looks at itself.
MEASURE = (
    "Cross-entropy, and DLT in warm-up: the loss that is trained on, of an augmented view;\n"
    "DLT afterwards: the detection loss, of the plain image in evaluation mode"
)
METHODS = {"ce": "Cross-Entropy", "dlt-window": "DLT (Slide Window)"}


def collect_losses(runs: dict[str, dict[int, RunConfig]], stores: list[Path]) -> "pandas.DataFrame":
    """Loss of each population after each epoch of {panel: {seed: run}}: means over the n seeds of the samples'
    mean, smallest, 5%, 95% and largest loss. A row a panel, population and epoch."""
    import pandas

    statistics = ["mean", "min", "q05", "q95", "max"]
    parts = []
    for panel, configs in runs.items():
        epochs = [record.epochs() for record in found(configs, stores).values()]
        for population in POPULATIONS:
            columns = [f"loss_{population}_{name}" for name in statistics]
            if not epochs or columns[0] not in epochs[0]:
                continue
            mean = sum(table[columns] for table in epochs) / len(epochs)
            part = mean.set_axis(statistics, axis=1).reset_index()
            parts.append(part.assign(panel=panel, population=population, n=len(epochs)))
    names = ["panel", "population", "epoch", *statistics, "n"]
    return pandas.concat(parts)[names] if parts else pandas.DataFrame(columns=names)


def draw_losses(panel: "Axes", part: "pandas.DataFrame", warmup: int | None) -> None:
    """Mean in bold, 90% of the samples shaded, all of them shaded lightly."""
    if part.empty:
        not_run(panel)
        return
    for population, style in POPULATIONS.items():
        curve = part[part["population"] == population]
        color, line = style["color"], style["linestyle"]
        panel.fill_between(curve["epoch"], curve["min"], curve["max"], color=color, alpha=0.07, linewidth=0)
        panel.fill_between(curve["epoch"], curve["q05"], curve["q95"], color=color, alpha=0.16, linewidth=0)
        panel.plot(curve["epoch"], curve["mean"], color=color, linestyle=line, linewidth=2, label=population)
    panel.set_xlim(1, part["epoch"].max())
    panel.set_ylim(0, min(1.05 * part["max"].max(), 2 * part["q95"].max()))
    if warmup:
        mark(panel, warmup, "warm-up ends; plain images")


def write_loss_panels(name, profile, seeds, stores, folder, runs, titles, words) -> list[Path]:
    """Panels of losses by epoch, two in a row, written as <folder>/<profile>/<name>."""
    frame = collect_losses({key: {s: runs(profile, s)[key] for s in seeds} for key in titles}, stores)
    rows = len(titles) // 2
    with new_figure(8, 1.15 + 2.6 * rows) as figure:
        panels = figure.subplots(rows, 2, sharex=True, sharey="row", squeeze=False)
        for panel, (key, title) in zip(panels.flat, titles.items(), strict=True):
            config = runs(profile, seeds[0])[key]
            draw_losses(panel, frame[frame["panel"] == key], config.method_config.get("warmup_epochs"))
            panel.set_title(title, loc="left", fontweight="bold")
        for panel in panels[-1]:
            panel.set_xlabel("epoch")
        for panel in panels[:, 0]:
            panel.set_ylabel("cross-entropy loss")
        _legend(figure, frame["population"].unique())
        count = int(frame["n"].max()) if len(frame) else 0
        words = f"{words}\n{MEASURE}\n{_ends(frame, titles)}{setting_line(profile, count)}"
        caption(figure, words)
        return write_figure(figure, frame, Path(folder) / profile / name)


def _ends(frame: "pandas.DataFrame", titles: dict[str, str]) -> str:
    """The mean losses after the last epoch in words, for a figure of two panels."""
    if frame.empty or len(titles) > 2:
        return ""
    last = frame[frame["epoch"] == frame["epoch"].max()].set_index(["panel", "population"])["mean"]
    texts = [
        f"{titles[panel]}: clean {last[panel, 'clean']:.2f}, noisy {last[panel, 'noisy']:.2f}"
        for panel in titles
        if (panel, "clean") in last
    ]
    return f"Mean loss after the last epoch: {'; '.join(texts)}\n"


def _legend(figure: "Figure", populations) -> None:
    from matplotlib.lines import Line2D

    there = [name for name in POPULATIONS if name in populations]
    lines = [
        Line2D([], [], color=POPULATIONS[n]["color"], linestyle=POPULATIONS[n]["linestyle"], linewidth=2) for n in there
    ]
    figure.legend(lines, [f"{name} samples" for name in there], loc="outside lower center", ncols=3, handlelength=3.5)
