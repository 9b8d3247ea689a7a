"""Figures 1, 5 and 7: the losses of clean, noisy and hard samples."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dlt.artifact import studies
from dlt.artifact.figures import LOOK, write_figure
from dlt.artifact.study_tables import estimates, found, setting_line
from dlt.harness.config import RunConfig, config_from_dict
from dlt.harness.datasets import load
from dlt.harness.records import Record
from dlt.harness.run import noisy_labels

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Blue, vermillion and green of Okabe and Ito; dashes and hatches tell them apart in grey.
POPULATIONS = {
    "clean": {"color": "#0072B2", "linestyle": "-", "hatch": ""},
    "hard": {"color": "#009E73", "linestyle": (0, (2, 0.8)), "hatch": "...."},
    "noisy": {"color": "#D55E00", "linestyle": (0, (6, 1.5)), "hatch": "////"},
}
METHODS = {"ce": "Cross-Entropy", "dlt-window": "DLT (Slide Window)"}
KINDS = {"incomplete": "incomplete information", "adversarial": "adversarial, epsilon 8/255"}


# ---------------------------------------------------------------------- losses by epoch
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
        panel.text(0.5, 0.5, "not run", transform=panel.transAxes, ha="center", color="#777777")
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
        mark(panel, warmup, "warm-up ends")


def mark(panel: "Axes", epoch: float, words: str, height: float = 1.0) -> None:
    """A thin upright line at an epoch, with what happens there written at a height between 0 and 1."""
    panel.axvline(epoch + 0.5, color="#777777", linewidth=0.7, linestyle=(0, (1, 2)), zorder=0)
    panel.annotate(
        words,
        (epoch + 0.5, height),
        xycoords=("data", "axes fraction"),
        xytext=(3, -8),
        textcoords="offset points",
        fontsize=6,
        color="#777777",
    )


def _loss_panels(name, profile, seeds, stores, folder, runs, titles, words) -> list[Path]:
    """Panels of losses by epoch, two in a row, written as <folder>/<profile>/<name>."""
    import matplotlib.style
    from matplotlib.figure import Figure

    frame = collect_losses({key: {s: runs(profile, s)[key] for s in seeds} for key in titles}, stores)
    with matplotlib.style.context(["default", LOOK]):
        rows = len(titles) // 2
        figure = Figure(figsize=(8, 0.8 + 2.6 * rows), layout="constrained")
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
        words = f"{words}\n{_ends(frame, titles)}{setting_line(profile, count)}"
        figure.suptitle(words, x=0.01, ha="left", fontsize=8)
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


def figure1(profile: str, seeds: list[int], stores: list[Path], folder: Path) -> list[Path]:
    """Cross-entropy loss under 50% symmetric noise, trained with cross-entropy and with DLT."""
    words = "Loss of clean and noisy samples, symmetric noise 0.5: mean (bold), 90% of the samples, all (shaded)"
    return _loss_panels("figure1", profile, seeds, stores, folder, studies.loss_runs, METHODS, words)


def figure7(profile: str, seeds: list[int], stores: list[Path], folder: Path) -> list[Path]:
    """Losses of noisy, hard and original clean samples, two kinds of hard ones, under CE and under DLT."""
    titles = {f"{m} {k}": f"{METHODS[m]}; {KINDS[k]}" for k in KINDS for m in METHODS}
    words = (
        "Loss when a hard copy of each clean sample is added, symmetric noise 0.5: mean (bold), 90% of the samples, "
        "all (shaded)"
    )
    return _loss_panels("figure7", profile, seeds, stores, folder, studies.hard_runs, titles, words)


# ---------------------------------------------------------------------- Figure 5
def figure5(profile: str, seeds: list[int], stores: list[Path], folder: Path) -> list[Path]:
    """Losses early, late and their difference with the fitted mixture; and our log-odds. Of the first seed run.

    Needs the data set, to know which labels are wrong.
    """
    import matplotlib.style
    import pandas
    from matplotlib.figure import Figure

    records = found({s: studies.difference_runs(profile, s)["ce"] for s in seeds}, stores)
    panels = _panels_of(next(iter(records.values()))) if records else []
    rows = []
    with matplotlib.style.context(["default", LOOK | {"hatch.linewidth": 0.5}]):
        figure = Figure(figsize=(8, 5.4), layout="constrained")
        axes = figure.subplots(2, 2)
        for axis, panel in zip(axes.flat, panels, strict=False):
            rows += _histogram(axis, **panel)
        handles, labels = axes[1, 1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
        seed = next(iter(records), None)
        figure.suptitle(
            f"What the noise rate is estimated from: plain cross-entropy training, symmetric noise 0.5, seed {seed}\n"
            f"{setting_line(profile, min(len(records), 1))}",
            x=0.01,
            ha="left",
            fontsize=8,
        )
        return write_figure(figure, pandas.DataFrame(rows), Path(folder) / profile / "figure5")


def _panels_of(record: Record) -> list[dict]:
    config = config_from_dict(record.config)
    labels = noisy_labels(load(config.dataset, config.profile, download=False), config)
    noisy = labels.labels != labels.true_labels
    losses, setting = record.losses(), config.setting
    early, late = (losses[f"loss_{e}"].astype(float) for e in (setting.early_epoch, setting.epochs))
    paper, ours = estimates(record)
    return [
        {"title": f"early: epoch {setting.early_epoch}", "axis_label": "loss", "values": early, "noisy": noisy},
        {"title": f"late: epoch {setting.epochs}", "axis_label": "loss", "values": late, "noisy": noisy},
        {
            "title": f"the paper's mixture: {100 * paper.rate:.1f}% noisy",
            "axis_label": "early - late loss, scaled",
            "values": paper.values,
            "noisy": noisy,
            "fit": paper.mixture,
        },
        {
            "title": f"ours, epochs {ours.epochs[0]}-{ours.epochs[-1]}: {100 * ours.rate:.1f}% noisy",
            "axis_label": "mean log-odds of the label",
            "values": ours.values,
            "noisy": noisy,
            "fit": ours.mixture,
        },
    ]


def _histogram(axis: "Axes", title, axis_label, values, noisy, fit=None) -> list[dict]:
    """Clean and noisy samples as overlaid histograms, with a fitted mixture; the counts as rows."""
    edges = np.linspace(values.min(), values.max(), 41)
    rows = []
    for population, chosen in (("clean", ~noisy), ("noisy", noisy)):
        style = POPULATIONS[population]
        counts, _, _ = axis.hist(
            values[chosen],
            edges,
            label=f"{population} samples",
            alpha=0.45,
            color=style["color"],
            edgecolor=style["color"],
            hatch=style["hatch"],
        )
        rows += [
            {"panel": title, "population": population, "left": left, "right": right, "count": int(count)}
            for left, right, count in zip(edges, edges[1:], counts, strict=False)
        ]
    if fit is not None:
        from scipy.stats import norm

        x, area = np.linspace(edges[0], edges[-1], 400), len(values) * (edges[1] - edges[0])
        names = (("lower Gaussian", "-"), ("upper Gaussian", (0, (4, 2))))
        for component, (name, dashes) in zip(fit.means_[:, 0].argsort(), names, strict=True):
            density = norm.pdf(x, fit.means_[component, 0], fit.covariances_[component, 0, 0] ** 0.5)
            axis.plot(x, area * fit.weights_[component] * density, color="black", linestyle=dashes, label=name)
    axis.set_title(title, loc="left", fontweight="bold")
    axis.set_xlabel(axis_label)
    axis.set_ylabel("samples")
    return rows
