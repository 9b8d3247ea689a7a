"""Table 5: the noise rate estimated from losses, by the paper's rule (Eq. 8) and by ours."""

import functools
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from dlt.artifact import paper, printing
from dlt.artifact.exhibits.common import setting_line
from dlt.artifact.experiments import DATA_NAMES, dataset_in
from dlt.artifact.printing import Text, command_note, counted, fixed, signed
from dlt.artifact.verdicts import FAILS, HOLDS, PART, Claim
from dlt.harness.config import RunConfig, make_config
from dlt.harness.label_noise import HUMAN_NOISES
from dlt.harness.records import Record, early_losses, find_record, read_record
from dlt.noise_rate import NoiseRate, estimate_from_margins, estimate_noise_rate

if TYPE_CHECKING:
    import pandas

TITLE = "noise rate estimated from losses"
HUMAN = ("human-aggre", "human-worse")
ROW = ["paper_dataset", "noise", "nominal"]  # what a row of the table is
NOISE_WORDS = {
    "symmetric": "sym",
    "asymmetric": "asym",
    "human-aggre": "human, aggregate",
    "human-worse": "human, worse",
}


def runs(profile: str, seed: int) -> dict[tuple[str, str, float], RunConfig]:
    """(the paper's data set, noise, rate) -> the plain CE run whose losses are looked at."""
    runs = {}
    for dataset in paper.TABLE5:
        if (stand_in := dataset_in(profile, dataset)) is None:
            continue
        for percent in paper.TABLE5[dataset]:
            key = (dataset, "symmetric", percent / 100)
            runs[key] = make_config(profile, stand_in, "ce", *key[1:], seed=seed)
        if dataset == "cifar10":  # beyond the paper's table: the very CE runs of Table 1
            for rate in (0.2, 0.3, 0.4):
                runs[dataset, "asymmetric", rate] = make_config(profile, stand_in, "ce", "asymmetric", rate, seed=seed)
        for noise in HUMAN:
            if HUMAN_NOISES[noise][0] == stand_in:
                config = make_config(profile, stand_in, "ce", noise, seed=seed)
                runs[dataset, noise, config.noise_rate] = config
    return runs


def estimates(record: Record) -> tuple[NoiseRate, NoiseRate]:
    """The paper's estimate from the losses of a CE run, and ours."""
    return _estimates(record.folder)


@functools.cache  # which several claims ask for
def _estimates(folder: Path) -> tuple[NoiseRate, NoiseRate]:
    record = read_record(folder)
    early, late = record.early_and_late_losses
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that one Gaussian fits as well: here all rates are known
        return estimate_noise_rate(early, late), estimate_from_margins(early_losses(record))


def collect_rates(profile: str, seeds: list[int], stores: list[Path]) -> "pandas.DataFrame":
    """A row for each data set, noise, rate and seed that was run: all rates in percent."""
    import pandas

    rows = []
    for seed in seeds:
        for (dataset, noise, rate), config in runs(profile, seed).items():
            if (record := find_record(config, stores)) is None:
                continue
            theirs, ours = estimates(record)
            rows.append(
                {
                    "profile": profile,
                    "paper_dataset": dataset,
                    "noise": noise,
                    "nominal": 100 * rate,
                    "seed": seed,
                    "realised": 100 * record.run["label_noise"]["realised_rate"],
                    "paper_rule": 100 * theirs.rate,
                    "our_rule": 100 * ours.rate,
                    "early_epoch": record.config.setting.early_epoch,
                    "first_epoch": ours.epochs[0],
                    "last_epoch": ours.epochs[-1],
                }
            )
    names = [
        "profile",
        "paper_dataset",
        "noise",
        "nominal",
        "seed",
        "realised",
        "paper_rule",
        "our_rule",
        "early_epoch",
        "first_epoch",
        "last_epoch",
    ]
    return pandas.DataFrame(rows, columns=names)


def rates_text(profile: str, frame: "pandas.DataFrame") -> Text:
    """Table 5: nominal and realised rate, both estimates and their errors, and the paper's estimate of its data."""
    lines = []
    seeds = frame["seed"].nunique()
    for (dataset, noise, nominal), part in frame.groupby(ROW, sort=False):
        errors = [part[rule] - part["realised"] for rule in ("paper_rule", "our_rule")]
        published = paper.TABLE5[dataset].get(round(nominal)) if noise == "symmetric" else None
        name = f"{DATA_NAMES[dataset]}, " if frame["paper_dataset"].nunique() > 1 else ""
        few = f" (n={len(part)})" if len(part) < seeds else ""
        lines.append(
            [
                f"{name}{NOISE_WORDS.get(noise, noise)} {nominal:.0f}{few}",
                fixed(part["realised"].mean()),
                *(
                    cell
                    for rule, error in zip(("paper_rule", "our_rule"), errors, strict=True)
                    for cell in (_mean_deviation(part[rule]), signed(error.mean()), fixed(error.abs().max()))
                ),
                "" if published is None else f"{published:.1f}",
            ]
        )
    notes = [
        "Rates in percent. Error: estimate minus realised rate, the mean over seeds and the largest of a seed. "
        "Symmetric noise may draw the true label again, so on ten classes 0.9 of the nominal rate is realised; "
        "asymmetric noise strikes half of the classes.",
        "Paper's rule (Eq. 8): a mixture of two Gaussians on the difference of one early and the last epoch's losses. "
        "Our rule: on the mean log-odds of the label over the early epochs from that on which separates them best, or, "
        "where no component is clearly disbelieved, the share of labels whose log-odds are below 0. Neither sees a "
        "true label; `dlt/noise_rate.py` holds both.",
        *_mean_errors(frame),
        "Right: the paper's estimate on its data, to be compared with the nominal rate, as the paper does.",
        command_note("table5", profile, seeds, len(frame), seeds * len(runs(profile, 1))),
    ]
    head = ["Noise (nominal %)", "realised", "paper's rule", "error", "max", "our rule", "error", "max", "in the paper"]
    line = setting_line(profile, seeds, [*frame["paper_dataset"].unique()] or ["cifar10"])
    return Text("table5", "noise rate estimated from losses", line, head, lines, notes)


def _mean_errors(frame: "pandas.DataFrame") -> list[str]:
    notes = []
    kinds = frame["noise"].str.split("-").str[0]  # human-aggre and human-worse are one
    for words in ("symmetric", "asymmetric", "human"):
        if len(part := frame[kinds == words]):
            theirs, ours = (_mean_error(part, rule) for rule in ("paper_rule", "our_rule"))
            notes.append(f"Mean absolute error of the {words} rows: paper's rule {theirs:.1f}, ours {ours:.1f}.")
    return notes


def _mean_error(frame: "pandas.DataFrame", rule: str) -> float:
    """Mean absolute error, a row of the table counting as much as another, however many seeds it has."""
    errors = (frame[rule] - frame["realised"]).abs()
    return errors.groupby([frame[key] for key in ROW]).mean().mean()


def _mean_deviation(values: "pandas.Series") -> str:
    return fixed(values.mean()) + (f" ± {fixed(values.std())}" if len(values) > 1 else "")


def write(profile: str, seeds: list[int], stores: list[Path], folder: Path) -> tuple[str, list[Path]]:
    """The table, as text and as files."""
    frame = collect_rates(profile, seeds, stores)
    text = rates_text(profile, frame)
    return printing.to_markdown(text), printing.write(text, profile, frame, folder)


def _accurate(rule: str, noise: str):
    def check(profile, seeds, stores):
        frame = collect_rates(profile, seeds, stores)
        frame = frame[frame["noise"] == noise]
        if frame.empty:
            return None
        largest, mean = (frame[rule] - frame["realised"]).abs().max(), _mean_error(frame, rule)
        verdict = HOLDS if largest < 5 else PART if mean < 5 else FAILS
        words = f"error against the realised rate: mean of the table's rows {mean:.1f}, largest {largest:.1f} points"
        return verdict, f"{words} ({counted(len(frame), 'run')})"

    return check


def _claim(where: str, rule: str, words: str, noise: str) -> Claim:
    words = f"the rate of {noise} noise is estimated accurately (each within 5 points) by {words}"
    return Claim(where, words, "table5", _accurate(rule, noise))


CLAIMS = (
    _claim("4.2, Table 5", "paper_rule", "Eq. 8", "symmetric"),
    _claim("not in the paper", "our_rule", "our rule", "symmetric"),
    _claim("not in the paper", "our_rule", "our rule", "asymmetric"),
)
