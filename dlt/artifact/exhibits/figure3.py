"""Figure 3: the shares of clean and of noisy samples whose labels DLT keeps, by epoch."""

from pathlib import Path
from typing import TYPE_CHECKING

from dlt.artifact.drawing import POPULATIONS, caption, mark, new_figure, write_figure
from dlt.artifact.exhibits.common import HALF, cifar10, found, setting_line
from dlt.artifact.verdicts import FAILS, HOLDS, PART, Claim
from dlt.harness.config import RunConfig
from dlt.harness.records import Record

if TYPE_CHECKING:
    import pandas

TITLE = "ratio of clean and noisy samples sent to training"


def runs(profile: str, seed: int) -> dict[str, RunConfig]:
    """What DLT keeps."""
    return {"dlt-window": cifar10(profile, "dlt-window", HALF, seed)}


def write(profile: str, seeds: list[int], stores: list[Path], folder: Path) -> tuple[str, list[Path]]:
    """The shares of clean and of noisy samples whose labels are kept, by epoch."""
    records = found({s: runs(profile, s)["dlt-window"] for s in seeds}, stores)
    frame = collect_ratios(list(records.values()))
    config = runs(profile, seeds[0])["dlt-window"]
    with new_figure(8, 3.4) as figure:
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
        caption(
            figure,
            "Labels kept, of all clean and of all noisy samples: DLT (Slide Window), symmetric noise 0.5; mean and "
            f"range of seeds\n{setting_line(profile, len(records))}",
        )
        return "", write_figure(figure, frame, Path(folder) / profile / "figure3")


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


def _keeps_clean(profile, seeds, stores):
    records = found({seed: runs(profile, seed)["dlt-window"] for seed in seeds}, stores)
    if not records:
        return None
    frame = collect_ratios(list(records.values()))
    last = frame[frame["epoch"] == frame["epoch"].max()].set_index("population")["mean"]
    good = (last["clean"] > 75, last["noisy"] < 15)
    verdict = HOLDS if all(good) else PART if any(good) else FAILS
    return verdict, f"kept at the end: {last['clean']:.1f}% of the clean, {last['noisy']:.1f}% of the noisy"


CLAIMS = (
    Claim(
        "3.1.1, Figure 3",
        "most clean samples (over 75%) are retained, few noisy ones (under 15%) get in",
        "figure3",
        _keeps_clean,
    ),
)
