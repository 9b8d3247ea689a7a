"""Figure 2: the scheme of the last epoch and the slide window strategy; it needs no run."""

from pathlib import Path
from typing import TYPE_CHECKING

from dlt.artifact.drawing import caption, new_figure, write_figure
from dlt.harness.config import RunConfig

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "scheme of the last epoch and slide window strategies"


def runs(profile: str, seed: int) -> dict[str, RunConfig]:
    """None."""
    return {}


def write(profile: str, seeds: list[int], stores: list[Path], folder: Path) -> tuple[str, list[Path]]:
    """The scheme of the two strategies, drawn; it needs no run."""
    import pandas

    batches, current, window = 6, 3, 4
    shown = {
        "(a) Last epoch strategy (Eq. 2)": range(batches),
        "(b) Slide window strategy (Eq. 3)": range(batches + current - window, batches + current),
    }
    with new_figure(8, 2.9) as figure:
        for panel, (title, used) in zip(figure.subplots(2, 1), shown.items(), strict=True):
            _draw_batches(panel, title, set(used), batches, current)
        caption(
            figure,
            "Which losses give the threshold of the current batch: q-quantile of the losses in the shaded batches",
        )
        rows = [
            {"panel": title, "batch": i % batches + 1, "epoch": ("t - 1", "t")[i // batches], "used": i in used}
            for title, used in shown.items()
            for i in range(2 * batches)
        ]
        return "", write_figure(figure, pandas.DataFrame(rows), Path(folder) / profile / "figure2")


def _draw_batches(panel: "Axes", title: str, used: set, batches: int, current: int) -> None:
    from matplotlib.patches import Rectangle

    def box(left, **style):
        panel.add_patch(Rectangle((left, 0), 0.9, 0.8, **style))

    for i in range(2 * batches):
        epoch, batch = divmod(i, batches)
        left = i + 0.5 * epoch
        now = i == batches + current
        if i in used:
            box(left, facecolor="#CC79A7", alpha=0.75, hatch="////", edgecolor="white", linewidth=0)
        box(left, facecolor="none", edgecolor="black", linewidth=2.2 if now else 0.7)
        time = "t-1" if epoch == 0 else "t"
        words = rf"$\mathcal{{B}}_{{{batch + 1}}}^{{{time}}}$"
        panel.text(
            left + 0.45,
            0.4,
            words,
            ha="center",
            va="center",
            fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.85},
        )
        if now:
            panel.text(left + 0.45, 0.9, "current batch", ha="center", va="bottom", fontsize=7)
    for epoch, words in enumerate(("epoch t - 1", "epoch t")):
        panel.text(epoch * (batches + 0.5) + batches / 2, -0.12, words, ha="center", va="top", fontsize=8)
    panel.set_xlim(-0.2, 2 * batches + 0.7)
    panel.set_ylim(-0.5, 1.25)
    panel.set_axis_off()
    panel.set_title(title, loc="left", fontweight="bold")


CLAIMS = ()
