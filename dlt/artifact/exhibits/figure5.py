"""Figure 5: what the noise rate is estimated from, the losses early, late and their difference; and our log-odds."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dlt.artifact.drawing import POPULATIONS, caption, new_figure, write_figure
from dlt.artifact.exhibits.common import HALF, cifar10, found, labels_of, setting_line
from dlt.artifact.exhibits.table5 import estimates
from dlt.harness.config import RunConfig
from dlt.harness.records import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "losses early, late, and their difference"


def runs(profile: str, seed: int) -> dict[str, RunConfig]:
    """The run whose early and late losses Section 3.2 compares."""
    return {"ce": cifar10(profile, "ce", HALF, seed)}


def write(profile: str, seeds: list[int], stores: list[Path], folder: Path) -> tuple[str, list[Path]]:
    """Losses early, late and their difference with the fitted mixture; and our log-odds. Of the first seed run.

    Needs the data set, to know which labels are wrong.
    """
    import pandas

    records = found({s: runs(profile, s)["ce"] for s in seeds}, stores)
    panels = _panels_of(next(iter(records.values()))) if records else []
    rows = []
    with new_figure(8, 5.4, **{"hatch.linewidth": 0.5}) as figure:
        axes = figure.subplots(2, 2)
        for axis, panel in zip(axes.flat, panels, strict=False):
            rows += _histogram(axis, **panel)
        handles, labels = axes[1, 1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
        seed = next(iter(records), None)
        caption(
            figure,
            f"What the noise rate is estimated from: plain cross-entropy training, symmetric noise 0.5, seed {seed}\n"
            f"{setting_line(profile, min(len(records), 1))}",
        )
        return "", write_figure(figure, pandas.DataFrame(rows), Path(folder) / profile / "figure5")


def _panels_of(record: Record) -> list[dict]:
    labels, setting = labels_of(record), record.config.setting
    noisy = labels.labels != labels.true_labels
    early, late = record.early_and_late_losses
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


CLAIMS = ()
