"""Figures 2, 3, 4 and 6: the two strategies, what is kept, the early stage, and what hard samples look like."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dlt.artifact import studies
from dlt.artifact.figures import LOOK, write_figure
from dlt.artifact.loss_figures import KINDS, POPULATIONS, mark
from dlt.artifact.study_tables import found, setting_line
from dlt.harness.records import Record

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _look():
    import matplotlib.style

    return matplotlib.style.context(["default", LOOK])


# ---------------------------------------------------------------------- Figure 2
def figure2(profile: str, seeds: list[int], stores: list[Path], folder: Path) -> list[Path]:
    """The scheme of the two strategies, drawn; it needs no run."""
    import pandas

    batches, current, window = 6, 3, 4
    shown = {
        "(a) Last epoch strategy (Eq. 2)": range(batches),
        "(b) Slide window strategy (Eq. 3)": range(batches + current - window, batches + current),
    }
    with _look():
        figure = _figure(8, 2.9)
        for panel, (title, used) in zip(figure.subplots(2, 1), shown.items(), strict=True):
            _draw_batches(panel, title, set(used), batches, current)
        figure.suptitle(
            "Which losses give the threshold of the current batch: q-quantile of the losses in the shaded batches",
            x=0.01,
            ha="left",
            fontsize=8,
        )
        rows = [
            {"panel": title, "batch": i % batches + 1, "epoch": ("t - 1", "t")[i // batches], "used": i in used}
            for title, used in shown.items()
            for i in range(2 * batches)
        ]
        return write_figure(figure, pandas.DataFrame(rows), Path(folder) / profile / "figure2")


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


# ---------------------------------------------------------------------- Figure 3
def figure3(profile: str, seeds: list[int], stores: list[Path], folder: Path) -> list[Path]:
    """The shares of clean and of noisy samples whose labels are kept, by epoch."""
    records = found({s: studies.ratio_runs(profile, s)["dlt-window"] for s in seeds}, stores)
    frame = collect_ratios(list(records.values()))
    config = studies.ratio_runs(profile, seeds[0])["dlt-window"]
    with _look():
        figure = _figure(8, 3.4)
        panel = figure.subplots()
        for population, part in frame.groupby("population", sort=False):
            style = POPULATIONS[population]
            panel.plot(
                part["epoch"],
                part["mean"],
                color=style["color"],
                linestyle=style["linestyle"],
                linewidth=2,
                label=f"{population} samples",
            )
            panel.fill_between(part["epoch"], part["min"], part["max"], color=style["color"], alpha=0.2, linewidth=0)
            end = part.iloc[-1]
            panel.annotate(
                f"{end['mean']:.1f}",
                (end["epoch"], end["mean"]),
                xytext=(3, 0),
                va="center",
                textcoords="offset points",
                fontsize=7,
                color=style["color"],
            )
        mark(panel, config.method_config["warmup_epochs"], "warm-up ends", height=0.2)
        panel.set(xlabel="epoch", ylabel="labels kept (%)", xlim=(1, config.setting.epochs), ylim=(0, 103))
        if len(frame):
            panel.legend(loc="center right")
        figure.suptitle(
            "Labels kept, of all clean and of all noisy samples: DLT (Slide Window), symmetric noise 0.5; mean and "
            f"range of seeds\n{setting_line(profile, len(records))}",
            x=0.01,
            ha="left",
            fontsize=8,
        )
        return write_figure(figure, frame, Path(folder) / profile / "figure3")


def collect_ratios(records: list[Record]) -> "pandas.DataFrame":
    """Percent of the clean and of the noisy samples kept after each epoch: mean, min and max over the runs."""
    import pandas

    parts = []
    for population in ("clean", "noisy"):
        curves = []
        for record in records:
            noise = record.run["label_noise"]
            share = {"noisy": noise["realised_rate"], "clean": 1 - noise["realised_rate"]}[population]
            kept = record.epochs()[f"{population}_kept"]
            curves.append(100 * kept.fillna(share * noise["samples"]) / (share * noise["samples"]))  # warm-up: all
        if curves:
            table = pandas.concat(curves, axis=1)
            part = pandas.DataFrame({"mean": table.mean(axis=1), "min": table.min(axis=1), "max": table.max(axis=1)})
            parts.append(part.reset_index(names="epoch").assign(population=population, n=len(curves)))
    names = ["population", "epoch", "mean", "min", "max", "n"]
    return pandas.concat(parts)[names] if parts else pandas.DataFrame(columns=names)


# ---------------------------------------------------------------------- Figure 4
DECAY_STYLES = {"decreasing": ("#0072B2", "-"), "at once": ("#D55E00", (0, (6, 1.5)))}


def figure4(profile: str, seeds: list[int], stores: list[Path], folder: Path) -> list[Path]:
    """Test accuracy in the early stage, with the threshold that decreases (Eq. 7) and with q = 1 - w at once."""
    import pandas

    configs = {key: {s: studies.decay_runs(profile, s)[key] for s in seeds} for key in DECAY_STYLES}
    config = configs["decreasing"][seeds[0]].method_config
    shown = min(config["warmup_epochs"] + 2 * config["decay_epochs"], configs["decreasing"][seeds[0]].setting.epochs)
    parts = []
    with _look():
        figure = _figure(8, 3.6)
        panel = figure.subplots()
        for key, (color, dashes) in DECAY_STYLES.items():
            curves = {s: r.epochs()["test_accuracy"].head(shown) for s, r in found(configs[key], stores).items()}
            if not curves:
                continue
            table = pandas.DataFrame(curves)
            label = f"T_grad = {config['decay_epochs'] if key == 'decreasing' else 0}: {key}"
            panel.plot(table.index, table.mean(axis=1), color=color, linestyle=dashes, linewidth=2, label=label)
            for seed in table:
                panel.plot(table.index, table[seed], color=color, linestyle=dashes, linewidth=0.6, alpha=0.6)
            part = table.rename_axis("epoch").reset_index().melt("epoch", var_name="seed", value_name="test_accuracy")
            parts.append(part.assign(threshold=key))
        mark(panel, config["warmup_epochs"], "warm-up ends")
        panel.set(xlabel="epoch", ylabel="test accuracy (%)", xlim=(1, shown))
        if parts:
            later = [part[part["epoch"] > config["warmup_epochs"] // 2]["test_accuracy"].min() for part in parts]
            panel.set_ylim(bottom=min(later) - 5)
            panel.legend(loc="lower right")
        names = ["epoch", "seed", "test_accuracy", "threshold"]
        frame = pandas.concat(parts) if parts else pandas.DataFrame(columns=names)
        figure.suptitle(
            "Test accuracy early on, with and without the decreasing threshold: DLT (Slide Window), symmetric noise "
            f"0.5; mean, each seed\n{_fluctuation(frame, config['warmup_epochs'])}"
            f"{setting_line(profile, frame['seed'].nunique())}",
            x=0.01,
            ha="left",
            fontsize=8,
        )
        return write_figure(figure, frame, Path(folder) / profile / "figure4")


def _fluctuation(frame: "pandas.DataFrame", warmup: int) -> str:
    """How much test accuracy moves after warm-up, in words: the paper says, more without the decreasing threshold."""
    texts = []
    for key, part in frame[frame["epoch"] >= warmup].groupby("threshold", sort=False):
        moves = part.groupby("seed")["test_accuracy"].apply(lambda accuracy: accuracy.diff().abs().mean())
        low = part[part["epoch"] > warmup].groupby("seed")["test_accuracy"].min()
        texts.append(f"{key} {moves.mean():.1f} points (lowest {low.mean():.1f}%)")
    return f"Mean change from epoch to epoch after warm-up: {'; '.join(texts)}\n" if texts else ""


# ---------------------------------------------------------------------- Figure 6
def figure6(profile: str, seeds: list[int], stores: list[Path], folder: Path) -> list[Path]:
    """Originals above their hard copies, one of each class, as the runs of Figure 7 trained on them."""
    import pandas

    found_records = {
        kind: found({s: studies.hard_runs(profile, s)[f"dlt-window {kind}"] for s in seeds}, stores) for kind in KINDS
    }
    there = {kind: next(iter(records.values())) for kind, records in found_records.items() if records}
    rows = []
    with _look():
        figure = _figure(8, 0.9 + 2.1 * max(len(there), 1))
        parts = figure.subfigures(max(len(there), 1), 1, squeeze=False)[:, 0]
        for part, (kind, record) in zip(parts, there.items(), strict=False):
            arrays = record.losses()
            _draw_gallery(part, KINDS[kind], arrays["hard_originals"], arrays["hard_copies"])
            difference = np.abs(arrays["hard_copies"].astype(int) - arrays["hard_originals"])
            rows += [
                {"kind": kind, "image": i, "mean_change": d.mean(), "largest_change": int(d.max())}
                for i, d in enumerate(difference)
            ]
        title = f"Clean samples and the hard copies made of them\n{setting_line(profile, min(len(there), 1))}"
        figure.suptitle(title, x=0.01, ha="left", fontsize=8)
        return write_figure(figure, pandas.DataFrame(rows), Path(folder) / profile / "figure6")


def _draw_gallery(figure, title: str, originals: np.ndarray, copies: np.ndarray) -> None:
    figure.suptitle(title, fontsize=8, fontweight="bold", x=0.01, ha="left")
    panels = figure.subplots(2, len(originals), squeeze=False)
    for row, (words, images) in zip(panels, (("original", originals), ("hard", copies)), strict=True):
        for panel, image in zip(row, images, strict=True):
            panel.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            panel.set(xticks=[], yticks=[])
            panel.grid(False)
        row[0].set_ylabel(words)
