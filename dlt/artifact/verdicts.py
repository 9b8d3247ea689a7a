"""When the records decide a claim: paired differences over seeds, their intervals, and one verdict of many columns."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HOLDS, FAILS, PART, OPEN, NOT_RUN = "holds", "**fails**", "in part", "undecided", "not run"
LEVEL = 0.05


@dataclass(frozen=True)
class Claim:
    """`check(profile, seeds, stores)` gives a verdict and the figures behind it; None where nothing was run."""

    where: str
    words: str
    target: str  # the command that shows it
    check: Callable[[str, list[int], list[Path]], tuple[str, str] | None]


@dataclass(frozen=True)
class Difference:
    """Of two numbers in one column, mostly two methods' Last: one a seed that has both."""

    column: str
    by_seed: dict[int, float]

    @property
    def values(self) -> list[float]:
        return [*self.by_seed.values()]

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def half_width(self) -> float:
        """Of the 95% confidence interval (Student's t) of the mean; NaN for one seed."""
        from scipy.stats import t

        n = len(self.values)
        if n < 2:
            return float("nan")
        return float(t.ppf(1 - LEVEL / 2, n - 1) * np.std(self.values, ddof=1) / n**0.5)

    @property
    def p_value(self) -> float:
        """Of the paired t-test; 1 for one seed, which decides nothing."""
        from scipy.stats import ttest_1samp

        if len(self.values) < 2:
            return 1.0
        if np.std(self.values) == 0:
            return 1.0 if self.mean == 0 else 0.0
        return float(ttest_1samp(self.values, 0).pvalue)

    def __str__(self) -> str:
        spread = f" ± {self.half_width:.1f}" if len(self.values) > 1 else ""
        return f"{self.column} {self.mean:+.1f}{spread}"


def significant(p_values: list[float]) -> list[bool]:
    """Holm's step-down test: which of several hypotheses are rejected, so that all hold together at 5%."""
    rejected = [False] * len(p_values)
    for rank, i in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[i] > LEVEL / (len(p_values) - rank):
            break
        rejected[i] = True
    return rejected


def decide(differences: list[Difference]) -> list[str]:
    """For each column whether the first method is higher; one of a single seed is open, and no test among them."""
    tested = [difference for difference in differences if len(difference.values) > 1]
    decided = iter(significant([difference.p_value for difference in tested]))
    verdicts = []
    for difference in differences:
        sure = len(difference.values) > 1 and next(decided)
        verdicts.append(OPEN if not sure else HOLDS if difference.mean > 0 else FAILS)
    return verdicts


def summarise(verdicts: list[str], total: int | None = None) -> str:
    """One verdict of many columns: with their counts where they differ, and their number where not all were run.

    A claim for all of them fails with one that contradicts it, unless there are some that hold: then it does in part.
    """
    counts = {kind: verdicts.count(kind) for kind in (HOLDS, OPEN, FAILS) if kind in verdicts}
    if HOLDS in counts:
        verdict = HOLDS if len(counts) == 1 else PART
    else:
        verdict = FAILS if FAILS in counts else OPEN
    if len(counts) > 1:
        texts = [f"{count} {kind.strip('*')}" for kind, count in counts.items()]
        verdict += f" ({', '.join(texts)})"
    return verdict + where_run(len(verdicts), total)


def where_run(run: int, total: int | None) -> str:
    """What to say where not all columns were run."""
    return "" if total in (None, run) else f", {run} of {total} columns run"
