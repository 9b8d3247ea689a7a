"""What the paper leaves open, tried: each gap as an experiment. No exhibit of the paper."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dlt.artifact import printing
from dlt.artifact.exhibits.common import cifar10, found, setting_line
from dlt.artifact.experiments import dataset_in
from dlt.artifact.printing import Text, command_note, fixed, signed, with_deviation
from dlt.harness.config import RunConfig
from dlt.harness.datasets import MINI_IMAGES
from dlt.harness.measures import LAST_EPOCHS
from dlt.harness.settings import schedule_for, setting_for

if TYPE_CHECKING:
    import pandas

TITLE = "what the paper leaves open, tried"
DECAYS = (0, 1, 10, 30)  # T_grad in the paper's 300 epochs with T_grad 10: scaled to a profile's
COLUMNS = (("symmetric", 0.6), ("asymmetric", 0.4))


@dataclass(frozen=True)
class Variant:
    """A choice that the paper leaves open, and one answer: a method, and `more` arguments of make_config."""

    choice: str
    answer: str
    more: dict
    method: str = "dlt-window"
    of_noisy_loss: bool = False  # nothing changes where lambda_n is 0, as it is under asymmetric noise

    def applies(self, default: RunConfig) -> bool:
        return not (self.of_noisy_loss and default.method_config["noisy_weight"] == 0)


def options(**values) -> dict:
    """Of the method, as an argument of make_config."""
    return {"options": values}


def variants(profile: str) -> list[Variant]:
    """The paper's gaps as experiments. The first stands for every default."""
    dataset = dataset_in(profile, "cifar10")
    schedule = schedule_for(profile, dataset)
    steps = math.ceil(_rows(profile) / setting_for(profile, dataset).batch_size)
    decays = {round(decay * schedule.decay_epochs / 10) for decay in DECAYS}
    decays -= {1, schedule.decay_epochs}  # by Eq. 7 T_grad 1 is T_grad 0
    windows = {"one batch": 1, "a quarter of an epoch": max(1, steps // 4), "an epoch": steps}
    return [
        Variant("our defaults", "", {}),
        *(
            Variant("T_grad", f"{decay} epochs" if decay else "0 or 1 epochs", options(decay_epochs=decay))
            for decay in sorted(decays)
        ),
        *(
            Variant("T_warm", f"{warm} epochs", options(warmup_epochs=warm))
            for warm in (schedule.warmup_epochs // 2, 2 * schedule.warmup_epochs)
        ),
        *(Variant("w of Eq. 7", rate, {"assumed_rate": rate}) for rate in ("realised", "estimated")),
        Variant("detection on", "an augmented view", options(detection="augmented")),
        Variant("detection on", "the training loss (lines 4 and 6: one l)", options(detection="training")),
        Variant("mixup partners", "any row (MixMatch's union)", options(partners="union")),
        *(Variant("window s", f"{words} ({s})", options(window=s)) for words, s in windows.items()),
        Variant("threshold from", "the last epoch", {}, method="dlt-last-epoch"),
        *(
            Variant("running statistics of", f"{which} images", options(running_statistics=which))
            for which in ("mixed", "all")
        ),
        Variant("ramp of lambda_n", "none", options(ramp_epochs=0), of_noisy_loss=True),
        Variant("discarded images", "not used (lambda_n = 0)", options(noisy_weight=0.0), of_noisy_loss=True),
    ]


def variant_run(profile: str, variant: Variant, noise: tuple[str, float], seed: int) -> RunConfig:
    """The run of a variant. Where its answer is the default, the defaults' own run."""
    return cifar10(profile, variant.method, noise, seed, **variant.more)


def runs(profile: str, seed: int) -> dict[str, RunConfig]:
    """Every variant on every column, a run of several once."""
    found = {}
    for noise in COLUMNS:
        default = cifar10(profile, "dlt-window", noise, seed)
        for variant in variants(profile):
            if variant.applies(default):
                run = variant_run(profile, variant, noise, seed)
                found[run.name] = run
    return found


def _rows(profile: str) -> int:
    return {"digits": 1297, "mini": 10 * MINI_IMAGES["cifar10"][0]}.get(profile, 50000)


def collect_ablations(profile: str, seeds: list[int], stores: list[Path]) -> "pandas.DataFrame":
    """A row for each variant and noise: Last, the split's precision and recall in the last epochs (percent)."""
    import pandas

    rows = []
    for noise in COLUMNS:
        default = None
        applicable = [v for v in variants(profile) if v.applies(cifar10(profile, "dlt-window", noise, seeds[0]))]
        for variant in applicable:
            records = found({s: variant_run(profile, variant, noise, s) for s in seeds}, stores)
            last = pandas.Series({s: r.result["test_accuracy"]["last"] for s, r in records.items()}, dtype=float)
            default = last if default is None else default
            split = [r.epochs()[["precision", "recall"]].tail(LAST_EPOCHS).mean() for r in records.values()]
            precision, recall = 100 * np.mean(split, axis=0) if split else (np.nan, np.nan)
            difference = (last - default).dropna()
            rows.append(
                {
                    "profile": profile,
                    "noise": noise[0],
                    "rate": noise[1],
                    "choice": variant.choice,
                    "answer": variant.answer,
                    "mean": last.mean(),
                    "std": last.std(),
                    "n": len(last),
                    "difference": difference.mean(),
                    "difference_std": difference.std(),
                    "precision": precision,
                    "recall": recall,
                }
            )
    return pandas.DataFrame(rows)


def ablations_text(profile: str, frame: "pandas.DataFrame") -> Text:
    """One table: Last of every variant, and its difference from the defaults over the same seeds."""
    seeds = int(frame["n"].max())
    lines = []
    for (choice, answer), part in frame.groupby(["choice", "answer"], sort=False):
        cells = []
        for noise, rate in COLUMNS:
            if not ((part["noise"] == noise) & (part["rate"] == rate)).any():
                cells += ["no effect", "", "", ""]
                continue
            (cell,) = part[(part["noise"] == noise) & (part["rate"] == rate)].itertuples()
            itself = choice == "our defaults"
            spread = f" ± {fixed(cell.difference_std)}" if cell.n > 1 else ""
            difference = "" if itself or not cell.n else signed(cell.difference) + spread
            last = with_deviation(cell.mean, cell.std, cell.n, seeds)
            cells += [last, difference, fixed(cell.precision), fixed(cell.recall)]
        lines.append([choice, answer, *cells])
    head = ["Choice", "answer"]
    for noise, rate in COLUMNS:
        head += [f"{'sym' if noise == 'symmetric' else 'asym'} {rate:g}: Last", "difference", "precision", "recall"]
    notes = [
        f"DLT (Slide Window). Last: mean test accuracy of the last {LAST_EPOCHS} epochs, mean ± standard deviation of "
        "seeds. Difference: from our defaults, over the same seeds, in points. Precision and recall of the discarded "
        "labels in these epochs, in percent. No effect: lambda_n is 0 there.",
        command_note("ablations", profile, seeds, int(frame["n"].sum()), seeds * len(frame)),
    ]
    title = "what the paper leaves open, tried"
    return Text("ablations", title, setting_line(profile, seeds), head, lines, notes, left=2)


def write(profile: str, seeds: list[int], stores: list[Path], folder: Path) -> tuple[str, list[Path]]:
    """The table, as text and as files."""
    frame = collect_ablations(profile, seeds, stores)
    text = ablations_text(profile, frame)
    return printing.to_markdown(text), printing.write(text, profile, frame, folder)


CLAIMS = ()
