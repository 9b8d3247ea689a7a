"""CLAIMS.md: every claim of the paper's text on its results, and what the shipped records say to it."""

from pathlib import Path

import numpy as np

from dlt.artifact import experiments
from dlt.artifact.exhibits import EXHIBITS
from dlt.artifact.experiments import PICTURE_PROFILES
from dlt.artifact.printing import counted
from dlt.artifact.verdicts import FAILS, HOLDS, NOT_RUN, OPEN, PART, Claim, Difference, decide, summarise, where_run
from dlt.harness.records import find_record

GAP = 2.0  # points between Best and Last above which a method "overfits", and below which it "keeps" its Best
LAST_IN_TABLE_1 = ("asymmetric", 0.4)  # where DLT (Last Epoch) "falls short of" DivideMix, the paper says


# ---------------------------------------------------------------------- tables of accuracies
def _last(table, profile, method, column, seed, stores) -> float | None:
    config = table.config(profile, method, column, seed)
    record = config and find_record(config, stores)
    return record.result[table.accuracy(method)]["last"] if record else None


def differences(table, first: str, other: str, columns, profile, seeds, stores) -> list[Difference]:
    """Last of `first` minus that of `other` in every column where both were run with a common seed."""
    found = []
    for column in columns:
        pairs = {s: [_last(table, profile, m, column, s, stores) for m in (first, other)] for s in seeds}
        by_seed = {s: a - b for s, (a, b) in pairs.items() if a is not None and b is not None}
        if by_seed:
            found.append(Difference(experiments.headings([column])[0], by_seed))
    return found


def above(name: str, first: str, *others: str, noise: str | None = None, only=None, but=None):
    """Whether `first` ends above each of `others` in the columns of a table: of a noise, `only` one, all `but` one."""

    def check(profile, seeds, stores):
        table = experiments.TABLES[name]
        columns = [
            column
            for column in table.columns
            if noise in (None, column.noise) and only in (None, column[1:]) and column[1:] != but
        ]
        found = [d for other in others for d in differences(table, first, other, columns, profile, seeds, stores)]
        if not found:
            return None
        return summarise(decide(found), len(columns) * len(others)), _figures(found)

    return check


def above_in_most(name: str, first: str, other: str):
    """Whether `first` ends above `other` by the mean over columns, one number a seed that all columns have."""

    def check(profile, seeds, stores):
        table = experiments.TABLES[name]
        found = differences(table, first, other, table.columns, profile, seeds, stores)
        if not found:
            return None
        common = [s for s in seeds if all(s in difference.by_seed for difference in found)]
        if not common:
            return None
        means = {s: float(np.mean([difference.by_seed[s] for difference in found])) for s in common}
        pooled = Difference("mean of columns", means)
        higher = sum(difference.mean > 0 for difference in found)
        words = f"{pooled}; higher in {higher} of {len(found)} columns: {_figures(found)}"
        return summarise(decide([pooled])) + where_run(len(found), len(table.columns)), words

    return check


def _figures(found: list[Difference]) -> str:
    seeds = sorted({len(difference.values) for difference in found})
    n = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return f"{'; '.join(map(str, found))} (n = {n})"


def best_minus_last(method: str, sign: int):
    """Whether Best and Last are more (`sign` 1) or less (-1) than GAP apart in every column of Table 1."""

    def check(profile, seeds, stores):
        table = experiments.TABLES["table1"]
        found = []
        for column in table.columns:
            records = {s: find_record(table.config(profile, method, column, s), stores) for s in seeds}
            accuracies = {s: record.result["test_accuracy"] for s, record in records.items() if record}
            if accuracies:
                gaps = {s: accuracy["best"] - accuracy["last"] for s, accuracy in accuracies.items()}
                found.append(Difference(experiments.headings([column])[0], gaps))
        if not found:
            return None
        beyond = [Difference(d.column, {s: sign * (gap - GAP) for s, gap in d.by_seed.items()}) for d in found]
        return summarise(decide(beyond), len(table.columns)), f"Best - Last: {_figures(found)}"

    return check


def _clothing_gap(profile, seeds, stores):
    table = experiments.TABLES["table3"]
    found = differences(table, "dividemix", "dlt-last-epoch", table.columns, profile, seeds, stores)
    if not found:
        return None
    gap = found[0].mean
    verdict = HOLDS if 0 <= gap <= 2 else FAILS
    return verdict, f"DivideMix - DLT: {gap:.1f} points, {counted(len(found[0].values), 'seed')}"


def _method_claim(other: str) -> Claim:
    symmetric = other in experiments.SYMMETRIC_ONLY
    noises = "symmetric noise" if symmetric else "all noises"
    words = f"DLT (Slide Window) ends above {experiments.ROWS[other]} (Last), for {noises}"
    check = above("table1", "dlt-window", other, noise="symmetric" if symmetric else None)
    return Claim("4.2, Table 1", words, "table1", check)


OTHERS = ("ce", "apl", "sce", "m-correction", "dividemix")
TABLE_CLAIMS = (
    Claim(
        "4.2, Table 1",
        "cross-entropy's Last falls below its Best (by over 2 points)",
        "table1",
        best_minus_last("ce", 1),
    ),
    Claim(
        "4.2, Table 1",
        "DLT (Slide Window) keeps its Best (within 2 points)",
        "table1",
        best_minus_last("dlt-window", -1),
    ),
    *map(_method_claim, OTHERS),
    Claim(
        "4.2, Table 1",
        "DLT (Last Epoch) ends above DivideMix but at asymmetric 0.4",
        "table1",
        above("table1", "dlt-last-epoch", "dividemix", but=LAST_IN_TABLE_1),
    ),
    Claim(
        "4.2, Table 1",
        "DLT (Last Epoch) ends below DivideMix at asymmetric 0.4",
        "table1",
        above("table1", "dividemix", "dlt-last-epoch", only=LAST_IN_TABLE_1),
    ),
    Claim(
        "4.2, Table 1",
        "the slide window is slightly superior to the last epoch strategy in most cases",
        "table1",
        above_in_most("table1", "dlt-window", "dlt-last-epoch"),
    ),
    Claim(
        "4.2, Table 2",
        "DLT (Slide Window) outperforms the other methods on CIFAR-100",
        "table2",
        above("table2", "dlt-window", *OTHERS),
    ),
    Claim(
        "4.2, Table 2",
        "DLT (Last Epoch) ends below DivideMix on CIFAR-100 at asymmetric 0.3",
        "table2",
        above("table2", "dividemix", "dlt-last-epoch", only=("asymmetric", 0.3)),
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
        above("table4", "dividemix-dlt", "dividemix"),
    ),
)
_ALL = [*TABLE_CLAIMS, *(claim for exhibit in EXHIBITS for claim in exhibit.CLAIMS)]
CLAIMS = sorted(_ALL, key=lambda claim: claim.where.split(",")[0])  # in the order of the paper's sections


# ---------------------------------------------------------------------- the page
def to_markdown(stores: list[Path], profiles: tuple[str, ...] = PICTURE_PROFILES) -> str:
    """The checklist: a table for each profile that has records, the claims in the paper's order."""
    parts = [
        "# The paper's claims, and what our records say",
        "Made by `./reproduce.sh claims` from [checkpoints](checkpoints): the paper's claims on its results, and two "
        "of our own. Differences are in points of test accuracy (Last), means over the n seeds that both methods were "
        "run with, ± half of a 95% confidence interval. The columns of a claim are tested together (paired t-tests, "
        "Holm's correction, 5%), so an interval may exclude 0 in a column that is *undecided*; one seed decides "
        "nothing. *Fails*: a column contradicts it, and none holds; *in part*: some of it holds. Claims on figures and "
        "on Table 5 are read off against the bound in their words, untested. What was run in a profile without the "
        "paper's data and network settles nothing about these: a claim that fails here may hold there.",
    ]
    for profile in profiles:
        if any(path for store in stores for path in (store / profile).glob("*/run.json")):
            parts += _of_profile(profile, stores)
    return "\n\n".join(parts) + "\n"


def _of_profile(profile: str, stores: list[Path]) -> list[str]:
    seeds = experiments.reported_seeds(profile, stores) or [1]
    lines = ["| where | claim | verdict | figures | shown by |", "| --- | --- | --- | --- | --- |"]
    count = dict.fromkeys((HOLDS, PART, OPEN, FAILS, NOT_RUN), 0)
    for claim in CLAIMS:
        verdict, figures = claim.check(profile, seeds, stores) or (NOT_RUN, "")
        count[next(kind for kind in count if verdict.startswith(kind))] += 1
        lines.append(f"| {claim.where} | {claim.words} | {verdict} | {figures} | `{claim.target}` |")
    datasets = [dataset for dataset in ("cifar10", "cifar100") if experiments.dataset_in(profile, dataset)]
    words = "Of {} claims {} hold, {} hold in part, {} are undecided, {} fail, {} were not run."
    summary = words.format(len(CLAIMS), *count.values())
    return [f"## Profile `{profile}`: {experiments.data_in(profile, datasets)}", summary, "\n".join(lines)]
