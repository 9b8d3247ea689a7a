"""CLAIMS.md: every claim of the paper's text, and what the shipped records say to it.

A comparison of two methods is the mean of the differences over the seeds that both were run with, with a 95%
confidence interval (Student's t); it is decided where the interval does not hold 0, so never by one seed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dlt.artifact import experiments, studies, study_tables
from dlt.artifact.printing import counted
from dlt.artifact.split_figures import collect_ratios
from dlt.harness.records import find_record
from dlt.harness.settings import PROFILES, schedule_for

SEEDS = [1, 2, 3]
HOLDS, FAILS, PART, OPEN, NOT_RUN = "holds", "**fails**", "in part", "undecided", "not run"


@dataclass(frozen=True)
class Claim:
    """`check(profile, stores)` gives a verdict and the figures behind it; None where nothing was run."""

    where: str
    words: str
    target: str  # the command that shows it
    check: Callable[[str, list[Path]], tuple[str, str] | None]


# ---------------------------------------------------------------------- comparisons
def interval(differences: list[float]) -> tuple[float, float]:
    """Mean and half width of the 95% confidence interval; the width is NaN for fewer than two."""
    from scipy.stats import t

    n = len(differences)
    mean = float(np.mean(differences)) if n else float("nan")
    if n < 2:
        return mean, float("nan")
    return mean, float(t.ppf(0.975, n - 1) * np.std(differences, ddof=1) / n**0.5)


def decide(mean: float, half: float) -> str:
    """Whether the first method is higher; one seed decides nothing."""
    if not abs(mean) > half:
        return OPEN
    return HOLDS if mean > 0 else FAILS


def _last(table, profile, method, column, seed, stores) -> float | None:
    config = table.config(profile, method, column, seed)
    record = config and find_record(config, stores)
    return record.result[table.accuracy(method)]["last"] if record else None


def compare(name: str, first: str, others: tuple[str, ...], noise: str | None = None):
    """Last of `first` against each of `others` in every column of a table."""

    def check(profile, stores):
        table = experiments.TABLES[name]
        verdicts, texts = [], []
        for other in others:
            for column in table.columns:
                if noise and column.noise != noise:
                    continue
                pairs = [[_last(table, profile, m, column, s, stores) for m in (first, other)] for s in SEEDS]
                differences = [a - b for a, b in pairs if a is not None and b is not None]
                if differences:
                    mean, half = interval(differences)
                    verdicts.append(decide(mean, half))
                    spread = f" ± {half:.1f}" if half == half else " (1 seed)"
                    texts.append(f"{experiments.headings([column])[0]} {mean:+.1f}{spread}")
        return (summarise(verdicts), "; ".join(texts)) if verdicts else None

    return check


def summarise(verdicts: list[str]) -> str:
    """One verdict of many columns, with their counts where they differ."""
    kinds = set(verdicts)
    if len(kinds) == 1:
        return verdicts[0]
    counts = ", ".join(f"{verdicts.count(kind)} {kind.strip('*')}" for kind in (HOLDS, OPEN, FAILS) if kind in kinds)
    return f"{PART} ({counts})"


def _method_claim(other: str) -> Claim:
    name = experiments.ROWS[other]
    noises = "symmetric noise" if other in experiments.SYMMETRIC_ONLY else "all noises"
    return Claim(
        "4.2, Table 1",
        f"DLT (Slide Window) ends above {name} (Last), for {noises}",
        "table1",
        compare("table1", "dlt-window", (other,)),
    )


# ---------------------------------------------------------------------- single records
def _records(runs, key, profile, stores) -> list:
    return list(study_tables.found({s: runs(profile, s)[key] for s in SEEDS}, stores).values())


def _best_minus_last(method: str, at_most: float | None, at_least: float | None):
    def check(profile, stores):
        table = experiments.TABLES["table1"]
        gaps, texts = [], []
        for column in table.columns:
            records = [find_record(table.config(profile, method, column, s), stores) for s in SEEDS]
            values = [r.result["test_accuracy"] for r in records if r]
            if values:
                gaps.append(float(np.mean([v["best"] - v["last"] for v in values])))
                texts.append(f"{experiments.headings([column])[0]} {gaps[-1]:.1f}")
        if not gaps:
            return None
        good = [(at_most is None or g <= at_most) and (at_least is None or g >= at_least) for g in gaps]
        return (HOLDS if all(good) else PART if any(good) else FAILS), "Best - Last: " + "; ".join(texts)

    return check


def _ce_learns_clean_first(profile, stores):
    records = _records(studies.loss_runs, "ce", profile, stores)
    if not records:
        return None
    early = np.mean([_losses(r, r.config["setting"]["early_epoch"]) for r in records], axis=0)
    return (HOLDS if early[1] > 1.5 * early[0] else FAILS), f"early epoch: clean {early[0]:.2f}, noisy {early[1]:.2f}"


def _ce_fits_noisy_labels(profile, stores):
    records = _records(studies.loss_runs, "ce", profile, stores)
    if not records:
        return None
    clean, noisy = np.mean([_losses(r, r.config["setting"]["epochs"]) for r in records], axis=0)
    peak = np.mean([r.epochs()["loss_noisy_mean"].max() for r in records])
    verdict = HOLDS if noisy < 0.5 * peak else PART if noisy < 0.9 * peak else FAILS
    return verdict, f"noisy samples' mean loss: highest {peak:.2f}, last epoch {noisy:.2f} (clean {clean:.2f})"


def _dlt_avoids_fitting(profile, stores):
    records = _records(studies.loss_runs, "dlt-window", profile, stores)
    if not records:
        return None
    warm = np.mean([_losses(r, r.config["method_config"]["warmup_epochs"])[1] for r in records])
    last = np.mean([_losses(r, r.config["setting"]["epochs"])[1] for r in records])
    figures = f"noisy samples' mean loss: end of warm-up {warm:.2f}, last epoch {last:.2f}"
    return (HOLDS if last >= warm else FAILS), figures


def _losses(record, epoch: int) -> tuple[float, float]:
    row = record.epochs().loc[epoch]
    return row["loss_clean_mean"], row["loss_noisy_mean"]


def _keeps_clean(profile, stores):
    records = _records(studies.ratio_runs, "dlt-window", profile, stores)
    if not records:
        return None
    frame = collect_ratios(records)
    last = frame[frame["epoch"] == frame["epoch"].max()].set_index("population")["mean"]
    most, few = last["clean"] > 75, last["noisy"] < 15
    verdict = HOLDS if most and few else PART if last["clean"] > 2 * last["noisy"] else FAILS
    return verdict, f"kept at the end: {last['clean']:.1f}% of the clean, {last['noisy']:.1f}% of the noisy"


def _decreasing_is_calmer(profile, stores):
    moves = {}
    for key in ("decreasing", "at once"):
        for record in _records(studies.decay_runs, key, profile, stores):
            warmup = record.config["method_config"]["warmup_epochs"]
            decay = schedule_for(profile, record.config["dataset"]).decay_epochs
            accuracy = record.epochs()["test_accuracy"].loc[warmup : warmup + 2 * decay]
            moves.setdefault(record.config["seed"], {})[key] = accuracy.diff().abs().mean()
    pairs = [pair for pair in moves.values() if len(pair) == 2]
    if not pairs:
        return None
    mean, half = interval([pair["at once"] - pair["decreasing"] for pair in pairs])
    means = [np.mean([pair[key] for pair in pairs]) for key in ("decreasing", "at once")]
    figures = f"mean change an epoch after warm-up: {means[0]:.1f} points decreasing, {means[1]:.1f} at once"
    return decide(mean, half), figures


def _clothing_gap(profile, stores):
    table = experiments.TABLES["table3"]
    methods, column = ("dividemix", "dlt-last-epoch"), table.columns[0]
    pairs = [[_last(table, profile, method, column, seed, stores) for method in methods] for seed in SEEDS]
    gaps = [theirs - ours for theirs, ours in pairs if theirs is not None and ours is not None]
    if not gaps:
        return None
    gap = float(np.mean(gaps))
    return (HOLDS if 0 <= gap <= 2 else FAILS), f"DivideMix - DLT: {gap:.1f} points, {len(gaps)} seeds"


def _rates(rule: str, noise: str = "symmetric"):
    def check(profile, stores):
        frame = study_tables.collect_rates(profile, SEEDS, stores)
        frame = frame[frame["noise"] == noise]
        if frame.empty:
            return None
        error = (frame[rule] - frame["realised"]).abs()
        verdict = HOLDS if error.max() < 5 else PART if error.mean() < 5 else FAILS
        figures = f"error against the realised rate: mean {error.mean():.1f}, largest {error.max():.1f} points"
        return verdict, f"{figures} ({counted(len(error), 'run')})"

    return check


def _hard_like_clean(method: str):
    def check(profile, stores):
        verdicts, texts = [], []
        for kind in ("incomplete", "adversarial"):
            records = _records(studies.hard_runs, f"{method} {kind}", profile, stores)
            if records:
                names = [f"loss_{p}_mean" for p in ("clean", "hard", "noisy")]
                clean, hard, noisy = np.mean([r.epochs()[names].iloc[-1] for r in records], axis=0)
                verdicts.append(HOLDS if hard - clean < noisy - hard else FAILS)
                texts.append(f"{kind}: clean {clean:.2f}, hard {hard:.2f}, noisy {noisy:.2f}")
        return (summarise(verdicts), "mean loss at the end, " + "; ".join(texts)) if verdicts else None

    return check


def _hard_kept(profile, stores):
    frame = study_tables.collect_hard(profile, SEEDS, stores)
    frame = frame[(frame["n"] > 0) & (frame["kind"] != "none")]
    if frame.empty:
        return None
    texts = [
        f"{row.kind}{f' {255 * row.epsilon:.0f}/255' if row.epsilon else ''} {row.hard_kept:.1f}%"
        for row in frame.itertuples()
    ]
    good = frame["hard_kept"] > 75
    return (HOLDS if good.all() else PART if good.any() else FAILS), "hard samples kept: " + "; ".join(texts)


CLAIMS = (
    Claim(
        "1, Figure 1a",
        "clean samples are fitted first: noisy ones have notably larger (1.5 times) losses early",
        "figure1",
        _ce_learns_clean_first,
    ),
    Claim(
        "1, Figure 1a",
        "cross-entropy ends up fitting the noisy labels (their loss falls to half of its highest)",
        "figure1",
        _ce_fits_noisy_labels,
    ),
    Claim(
        "1, Figure 1b",
        "DLT avoids fitting label noise (the noisy samples' loss does not fall after warm-up)",
        "figure1",
        _dlt_avoids_fitting,
    ),
    Claim(
        "3.1.1, Figure 3",
        "most clean samples (over 75%) are retained, few noisy ones (under 15%) get in",
        "figure3",
        _keeps_clean,
    ),
    Claim(
        "3.1.3, Figure 4",
        "the decreasing threshold calms the early fluctuation of test accuracy",
        "figure4",
        _decreasing_is_calmer,
    ),
    Claim(
        "4.2, Table 1",
        "cross-entropy's Last falls below its Best (by over 2 points)",
        "table1",
        _best_minus_last("ce", None, 2.0),
    ),
    Claim(
        "4.2, Table 1",
        "DLT (Slide Window) keeps its Best (within 2 points)",
        "table1",
        _best_minus_last("dlt-window", 2.0, None),
    ),
    *map(_method_claim, ("ce", "apl", "sce", "m-correction", "dividemix")),
    Claim(
        "4.2, Table 1",
        "the slide window is slightly superior to the last epoch strategy in most cases",
        "table1",
        compare("table1", "dlt-window", ("dlt-last-epoch",)),
    ),
    Claim(
        "4.2, Table 2",
        "DLT (Slide Window) outperforms DivideMix on CIFAR-100",
        "table2",
        compare("table2", "dlt-window", ("dividemix",)),
    ),
    Claim(
        "4.2, Table 3",
        "on Clothing1M DLT (Last Epoch) is about 1 point (0 to 2) below DivideMix",
        "table3",
        _clothing_gap,
    ),
    Claim(
        "4.2, Table 4",
        "DLT's detection in DivideMix (DLT*) outperforms DivideMix",
        "table4",
        compare("table4", "dividemix-dlt", ("dividemix",)),
    ),
    Claim(
        "4.2, Table 5",
        "the rate of symmetric noise is estimated accurately (each within 5 points) by Eq. 8",
        "table5",
        _rates("paper_rule"),
    ),
    Claim(
        "not in the paper",
        "the rate of symmetric noise is estimated accurately (each within 5 points) by our rule",
        "table5",
        _rates("our_rule"),
    ),
    Claim(
        "not in the paper",
        "the rate of asymmetric noise is estimated accurately (each within 5 points) by our rule",
        "table5",
        _rates("our_rule", "asymmetric"),
    ),
    Claim(
        "4.2, Figure 7",
        "hard samples' losses under cross-entropy are nearer to the clean ones'",
        "figure7",
        _hard_like_clean("ce"),
    ),
    Claim(
        "4.2, Figure 7",
        "hard samples' losses under DLT are nearer to the clean ones'",
        "figure7",
        _hard_like_clean("dlt-window"),
    ),
    Claim("4.2, Figure 7", "DLT puts hard samples into the clean set (over 75% kept)", "figure7", _hard_kept),
)


def to_markdown(stores: list[Path]) -> str:
    """The checklist: a table for each profile that has records, the claims in the paper's order."""
    parts = [
        "# The paper's claims, and what our records say",
        "Made by `./reproduce.sh claims` from [checkpoints](checkpoints). Differences are in points of test accuracy "
        "(Last), means over the seeds that both methods were run with, ± half of a 95% confidence interval; "
        "*undecided*: the interval holds 0, or there is only one seed. What was run in a profile without the paper's "
        "data and network settles nothing about these: a claim that fails here may hold there.",
    ]
    for profile in PROFILES:
        if not any(path for store in stores for path in (store / profile).glob("*/run.json")):
            continue
        lines = ["| where | claim | verdict | figures | shown by |", "| --- | --- | --- | --- | --- |"]
        for claim in CLAIMS:
            runnable = experiments.dataset_in(profile, "cifar10") is not None
            verdict, figures = (claim.check(profile, stores) if runnable else None) or (NOT_RUN, "")
            lines.append(f"| {claim.where} | {claim.words} | {verdict} | {figures} | `{claim.target}` |")
        data = experiments.DATA_OF_PROFILE.get(profile, "CIFAR-10/100")
        parts += [f"## Profile `{profile}`: {data}", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"
