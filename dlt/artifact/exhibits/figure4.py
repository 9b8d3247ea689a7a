"""Figure 4: test accuracy early on, with the threshold that decreases (Eq. 7) and with q = 1 - w at once."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dlt.artifact.drawing import caption, mark, new_figure, write_figure
from dlt.artifact.exhibits.common import HALF, cifar10, found, setting_line
from dlt.artifact.verdicts import Claim, Difference, decide
from dlt.harness.config import RunConfig

if TYPE_CHECKING:
    import pandas

TITLE = "test accuracy with and without the decreasing threshold"
COLOURS = {"decreasing": "#0072B2", "at once": "#D55E00"}
DASHES = {"decreasing": "", "at once": (6, 1.5)}


def runs(profile: str, seed: int) -> dict[str, RunConfig]:
    """With and without the decreasing threshold of Eq. 7."""
    return {
        "decreasing": cifar10(profile, "dlt-window", HALF, seed),
        "at once": cifar10(profile, "dlt-window", HALF, seed, options={"decay_epochs": 0}),
    }


def write(profile: str, seeds: list[int], stores: list[Path], folder: Path) -> tuple[str, list[Path]]:
    """The early stage, until twice T_grad after warm-up."""
    frame = collect_early(profile, seeds, stores)
    schedule = runs(profile, seeds[0])["decreasing"].schedule
    with new_figure(8, 3.6) as figure:
        panel = figure.subplots()
        if len(frame):
            _draw(panel, frame, schedule.decay_epochs)
            later = frame[frame["epoch"] > schedule.warmup_epochs // 2]
            panel.set_ylim(bottom=later["test_accuracy"].min() - 5)
        mark(panel, schedule.warmup_epochs, "warm-up ends")
        last = schedule.warmup_epochs + 2 * schedule.decay_epochs
        panel.set(xlabel="epoch", ylabel="test accuracy (%)", xlim=(1, last))
        caption(
            figure,
            "Test accuracy early on, with and without the decreasing threshold: DLT (Slide Window), symmetric noise "
            f"0.5; mean, each seed\n{_in_words(frame, schedule.warmup_epochs)}\n"
            f"{setting_line(profile, frame['seed'].nunique())}",
        )
        return "", write_figure(figure, frame, Path(folder) / profile / "figure4")


def collect_early(profile: str, seeds: list[int], stores: list[Path]) -> "pandas.DataFrame":
    """Test accuracy (%) by epoch of both thresholds and each seed, until twice T_grad after warm-up."""
    import pandas

    parts = []
    for threshold in COLOURS:
        records = found({seed: runs(profile, seed)[threshold] for seed in seeds}, stores)
        for seed, record in records.items():
            schedule = record.config.schedule
            early = record.epochs()["test_accuracy"].head(schedule.warmup_epochs + 2 * schedule.decay_epochs)
            parts.append(early.reset_index().assign(seed=seed, threshold=threshold))
    names = ["epoch", "seed", "test_accuracy", "threshold"]
    return pandas.concat(parts, ignore_index=True)[names] if parts else pandas.DataFrame(columns=names)


def _draw(panel, frame: "pandas.DataFrame", decay_epochs: int) -> None:
    import seaborn

    columns = {"data": frame, "x": "epoch", "y": "test_accuracy", "hue": "threshold", "style": "threshold", "ax": panel}
    look = {"palette": COLOURS, "dashes": DASHES}
    seaborn.lineplot(**columns, **look, errorbar=None, linewidth=2)
    seaborn.lineplot(**columns, **look, units="seed", estimator=None, linewidth=0.6, alpha=0.6, legend=False)
    legend = panel.legend(loc="lower right")
    for text in legend.get_texts():
        epochs = decay_epochs if text.get_text() == "decreasing" else 0
        text.set_text(f"T_grad = {epochs}: {text.get_text()}")


def falls(frame: "pandas.DataFrame", threshold: str, warmup: int) -> dict[int, float]:
    """{seed: points of accuracy lost an epoch after warm-up}: only falls, as what an epoch gains is learning."""
    part = frame[(frame["threshold"] == threshold) & (frame["epoch"] >= warmup)]
    accuracies = part.groupby("seed")["test_accuracy"]
    return {seed: float((-values.diff()).clip(lower=0).mean()) for seed, values in accuracies}


def _in_words(frame: "pandas.DataFrame", warmup: int) -> str:
    """How much test accuracy fluctuates after warm-up: the paper says, more without the decreasing threshold."""
    texts = []
    for threshold in COLOURS:
        lost = [*falls(frame, threshold, warmup).values()]
        texts.append(f"{threshold} {np.mean(lost):.2f} points" if lost else f"{threshold} not run")
    return f"Accuracy lost from epoch to epoch after warm-up, falls alone: {'; '.join(texts)}"


def _calmer(profile, seeds, stores):
    frame = collect_early(profile, seeds, stores)
    warmup = runs(profile, seeds[0])["decreasing"].schedule.warmup_epochs
    calm, abrupt = (falls(frame, threshold, warmup) for threshold in COLOURS)
    both = sorted(calm.keys() & abrupt.keys())
    if not both:
        return None
    words = (
        f"accuracy lost an epoch after warm-up: {np.mean([calm[seed] for seed in both]):.2f} points decreasing, "
        f"{np.mean([abrupt[seed] for seed in both]):.2f} at once (n = {len(both)})"
    )
    return decide([Difference("", {seed: abrupt[seed] - calm[seed] for seed in both})])[0], words


CLAIMS = (
    Claim(
        "3.1.3, Figure 4",
        "the decreasing threshold calms the early fluctuation of test accuracy",
        "figure4",
        _calmer,
    ),
)
