"""What each part of DLT that needs no rate brings. No exhibit of the paper."""

from pathlib import Path
from typing import TYPE_CHECKING

from dlt.artifact import printing
from dlt.artifact.exhibits.common import cifar10, found, setting_line
from dlt.artifact.experiments import Column, dataset_in, headings
from dlt.artifact.printing import Text, command_note, fixed, signed, with_deviation
from dlt.harness.config import RunConfig
from dlt.harness.measures import LAST_EPOCHS
from dlt.harness.settings import schedule_for

if TYPE_CHECKING:
    import pandas

TITLE = "DLT that needs no rate, part by part"
ONE_PASS = {"views": 2, "passes": 1}
ALL = "and q falls in a third of the time"
PARTS = {  # method and options; T_grad is the schedule's but in the last
    "as in the paper: w is the nominal rate": ("dlt-window", {}),
    "w anew every epoch": ("dlt-auto", {"average": 0.0, **ONE_PASS}),
    "a teacher": ("dlt-auto", {"rate": "assumed", **ONE_PASS}),
    "two passes of one view": ("dlt-auto", {"average": 0.0, "rate": "assumed"}),
    "these three": ("dlt-auto", {}),
    ALL: ("dlt-auto", {}),
}
COLUMNS = {
    "mini": (("symmetric", 0.4), ("human-worse", 0.4021)),
    "digits": (("symmetric", 0.2), ("symmetric", 0.6), ("asymmetric", 0.4), ("instance", 0.4)),
}
CLAIMS = ()


def _columns(profile: str) -> tuple:
    return COLUMNS.get(profile, COLUMNS["mini"])


def _run(profile: str, part: str, noise: tuple[str, float], seed: int) -> RunConfig:
    method, options = PARTS[part]
    if part != ALL:
        options = options | {"decay_epochs": schedule_for(profile, dataset_in(profile, "cifar10")).decay_epochs}
    return cifar10(profile, method, noise, seed, options=options)


def runs(profile: str, seed: int) -> dict[str, RunConfig]:
    """Every part on every column."""
    configs = [_run(profile, part, noise, seed) for noise in _columns(profile) for part in PARTS]
    return {config.name: config for config in configs}


def collect_parts(profile: str, seeds: list[int], stores: list[Path]) -> "pandas.DataFrame":
    """A row for each part and noise: Last (%) and its difference from the paper's, the w of the end, wrong labels.

    Of a column only the seeds count that every part has which was run at all, so that its rows can be compared.
    """
    import pandas

    rows = []
    for noise, rate in _columns(profile):
        papers = None
        run = {part: found({s: _run(profile, part, (noise, rate), s) for s in seeds}, stores) for part in PARTS}
        common = set(seeds).intersection(*(records for records in run.values() if records))
        for part in PARTS:
            records = {seed: record for seed, record in run[part].items() if seed in common}
            last = pandas.Series({s: r.result["test_accuracy"]["last"] for s, r in records.items()}, dtype=float)
            papers = last if papers is None else papers
            assumed = [r.epochs()["w"].iloc[-1] if PARTS[part][0] == "dlt-auto" else rate for r in records.values()]
            wrong = [r.run["label_noise"]["realised_rate"] for r in records.values()]
            rows.append(
                {
                    "profile": profile,
                    "noise": noise,
                    "rate": rate,
                    "part": part,
                    "mean": last.mean(),
                    "std": last.std(),
                    "n": len(last),
                    "difference": (last - papers).mean(),
                    "w": pandas.Series(assumed, dtype=float).mean(),
                    "wrong": pandas.Series(wrong, dtype=float).mean(),
                }
            )
    return pandas.DataFrame(rows)


def _text(profile: str, frame: "pandas.DataFrame") -> Text:
    seeds, lines = int(frame["n"].max()), []
    for part, cells in frame.groupby("part", sort=False):
        line = [part]
        for cell in cells.itertuples():
            itself = cell.part == next(iter(PARTS))
            line.append(with_deviation(cell.mean, cell.std, cell.n, seeds))
            line.append("" if itself else signed(cell.difference))
            line.append(fixed(100 * cell.w))
        lines.append(line)
    head = ["DLT (Slide Window)"]
    columns = [Column("cifar10", *noise) for noise in _columns(profile)]
    for heading, (_, cells) in zip(headings(columns), frame.groupby(["noise", "rate"], sort=False), strict=True):
        wrong = fixed(100 * cells["wrong"].mean())
        head += [f"{heading}: Last", "difference", f"w ({wrong} wrong)" if wrong else "w"]
    notes = [
        f"Last: mean test accuracy of the last {LAST_EPOCHS} epochs. Difference: from the paper's, in points; of a "
        "column only the seeds count that all its rows have. w of Eq. 7 in the last epoch, and how many labels are "
        "wrong, in percent.",
        command_note("parts", profile, seeds, int(frame["n"].sum()), seeds * len(frame)),
    ]
    return Text("parts", TITLE, setting_line(profile, seeds), head, lines, notes, left=1)


def write(profile: str, seeds: list[int], stores: list[Path], folder: Path) -> tuple[str, list[Path]]:
    """The table, as text and as files."""
    frame = collect_parts(profile, seeds, stores)
    text = _text(profile, frame)
    return printing.to_markdown(text), printing.write(text, profile, frame, folder)
