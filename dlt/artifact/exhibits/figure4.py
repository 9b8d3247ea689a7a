"""Figure 4: test accuracy early on, with the threshold that decreases (Eq. 7) and with q = 1 - w at once."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dlt.artifact.drawing import caption, mark, new_figure, write_figure
from dlt.artifact.exhibits.common import HALF, cifar10, found, setting_line
from dlt.artifact.verdicts import Claim, Difference, decide
from dlt.harness.config import RunConfig
from dlt.harness.records import Record

if TYPE_CHECKING:
    import pandas

TITLE = "test accuracy with and without the decreasing threshold"


def runs(profile: str, seed: int) -> dict[str, RunConfig]:
    """Figure 4: with and without the decreasing threshold of Eq. 7."""
    return {
        "decreasing": cifar10(profile, "dlt-window", HALF, seed),
        "at once": cifar10(profile, "dlt-window", HALF, seed, options={"decay_epochs": 0}),
    }


DECAY_STYLES = {"decreasing": ("#0072B2", "-"), "at once": ("#D55E00", (0, (6, 1.5)))}


def write(profile: str, seeds: list[int], stores: list[Path], folder: Path) -> tuple[str, list[Path]]:
    """Test accuracy in the early stage, with the threshold that decreases (Eq. 7) and with q = 1 - w at once."""
    import pandas

    configs = {key: {s: runs(profile, s)[key] for s in seeds} for key in DECAY_STYLES}
    config = configs["decreasing"][seeds[0]].method_config
    shown = min(config["warmup_epochs"] + 2 * config["decay_epochs"], configs["decreasing"][seeds[0]].setting.epochs)
    parts = []
    with new_figure(8, 3.6) as figure:
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
        caption(
            figure,
            "Test accuracy early on, with and without the decreasing threshold: DLT (Slide Window), symmetric noise "
            f"0.5; mean, each seed\n{_fluctuation(frame, config['warmup_epochs'])}"
            f"{setting_line(profile, frame['seed'].nunique())}",
        )
        return "", write_figure(figure, frame, Path(folder) / profile / "figure4")


def _fluctuation(frame: "pandas.DataFrame", warmup: int) -> str:
    """How much test accuracy moves after warm-up, in words: the paper says, more without the decreasing threshold."""
    texts = []
    for key, part in frame[frame["epoch"] >= warmup].groupby("threshold", sort=False):
        moves = part.groupby("seed")["test_accuracy"].apply(lambda accuracy: accuracy.diff().abs().mean())
        low = part[part["epoch"] > warmup].groupby("seed")["test_accuracy"].min()
        texts.append(f"{key} {moves.mean():.1f} points (lowest {low.mean():.1f}%)")
    return f"Mean change from epoch to epoch after warm-up: {'; '.join(texts)}\n" if texts else ""


def _calmer(profile, seeds, stores):
    falls = {key: _falls_by_seed(found({s: runs(profile, s)[key] for s in seeds}, stores)) for key in DECAY_STYLES}
    both = falls["decreasing"].keys() & falls["at once"].keys()
    if not both:
        return None
    difference = Difference("", [falls["at once"][seed] - falls["decreasing"][seed] for seed in sorted(both)])
    means = [np.mean([falls[key][seed] for seed in both]) for key in ("decreasing", "at once")]
    words = (
        f"mean fall an epoch after warm-up: {means[0]:.2f} points decreasing, {means[1]:.2f} at once (n = {len(both)})"
    )
    return decide([difference])[0], words


def _falls_by_seed(records: dict[int, Record]) -> dict[int, float]:
    """Points that test accuracy loses an epoch, until twice T_grad after warm-up; what it gains is learning."""
    falls = {}
    for seed, record in records.items():
        config = record.config
        first = config.method_config["warmup_epochs"]
        stage = record.epochs()["test_accuracy"].loc[first : first + 2 * config.schedule.decay_epochs]
        falls[seed] = float((-stage.diff()).clip(lower=0).mean())
    return falls


CLAIMS = (
    Claim(
        "3.1.3, Figure 4",
        "the decreasing threshold calms the early fluctuation of test accuracy",
        "figure4",
        _calmer,
    ),
)
