"""How the runs of a sweep end, and the one bar that shows how far they are."""

import sys
from enum import Enum
from pathlib import Path

from dlt.harness.config import RunConfig
from dlt.harness.method import load_method
from dlt.harness.records import find_record


class End(Enum):
    """How a worker ended a run that did not fail."""

    FINISHED = "finished"
    OUT_OF_TIME = "out of time"
    NOT_BEGUN = "not begun"


class Taken(str):
    """Why a run was not begun: another process trains it."""


class DeviceLost(str):
    """Why a run failed, where its process can use its device no more."""


class Bar:
    """One bar for the whole sweep, in CE-epochs of work, and a line for every finished run."""

    def __init__(self, configs, say):
        from tqdm import tqdm

        self._say = say
        total = sum(config.cost for config in configs)
        interval = 0.1 if sys.stderr.isatty() else 30  # a file is not filled with bars
        self._bar = tqdm(
            total=total,
            unit="CE-epoch",
            file=sys.stderr,
            smoothing=0,  # the mean rate: epochs of several workers come unevenly
            miniters=0,
            dynamic_ncols=True,
            mininterval=interval,
            maxinterval=max(interval, 10),
            bar_format="{percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} CE-epochs [{elapsed}, {remaining} left]{postfix}",
        )
        self._done: dict[str, float] = {}  # of the runs that have begun

    def epoch(self, config: RunConfig, row: dict) -> None:
        method = load_method(config.method)
        done = sum(method.epoch_cost(epoch, config) for epoch in range(1, row["epoch"] + 1))
        if not self._done:
            self._bar.reset()  # the clock: until here the workers were starting
        self._bar.set_postfix_str(f"{config.method} {row['epoch']}/{config.setting.epochs}", refresh=False)
        self._advance(config, done, computed=config.name in self._done)

    def ended(self, config: RunConfig, store: Path, how: End | str) -> None:
        if how is End.NOT_BEGUN:
            return
        if how is End.OUT_OF_TIME:
            self.line(f"{config.name}: out of time, saved")
            return
        self._advance(config, config.cost, computed=False)
        if isinstance(how, str):
            self.line(f"FAILED {config.name}: {how}")
            return
        accuracy = find_record(config, [store]).result["test_accuracy"]
        self.line(f"{config.name}: Last {accuracy['last']:.1f}, Best {accuracy['best']:.1f}")

    def _advance(self, config: RunConfig, done: float, computed: bool) -> None:
        """A run is `done` CE-epochs far. Those before its first row here were restored, not `computed`: the time left
        is not estimated by them."""
        left = self._bar.total - self._bar.n  # rounding never makes it more than all
        gained = min(done - self._done.get(config.name, 0.0), left)
        if not computed:
            self._bar.initial += gained
        self._bar.update(gained)
        self._done[config.name] = done

    def line(self, text: str) -> None:
        self._bar.clear()
        self._say(text)
        self._bar.refresh()

    def close(self) -> None:
        self._bar.close()
