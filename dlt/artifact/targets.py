"""What `./reproduce.sh TARGET` knows: for each target its runs, and how it is written from their records."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

from dlt.artifact import curves, experiments, printing, tables
from dlt.artifact.exhibits import EXHIBITS
from dlt.harness.config import RunConfig


@dataclass(frozen=True)
class Target:
    """A table or figure. `write(profile, seeds, stores, folder)` gives what to print and the files it wrote."""

    name: str
    title: str
    runs: Callable[[str, list[int]], list[RunConfig]]
    write: Callable[[str, list[int], list[Path], Path], tuple[str, list[Path]]]
    table: experiments.Table | None = None  # of accuracies


def accuracies(table: experiments.Table) -> Target:
    """A table of accuracies, with their curves; where there are too many methods for these, `cost` is the picture."""

    def write(profile, seeds, stores, folder):
        frame = tables.collect(table, profile, seeds, stores)
        text = tables.text(table, profile, frame)
        written = printing.write(text, profile, frame, folder)
        if not table.brief:
            written += curves.accuracy_curves(table, profile, seeds, stores, folder)
        return printing.to_markdown(text), written

    return Target(table.name, table.title, table.runs, write, table)


def _exhibit(module: ModuleType) -> Target:
    return Target(module.__name__.rpartition(".")[2], module.TITLE, partial(_runs, module), module.write)


def _runs(module: ModuleType, profile: str, seeds: list[int]) -> list[RunConfig]:
    """The runs of an exhibit, seed by seed, each once."""
    runs = [config for seed in seeds for config in module.runs(profile, seed).values()]
    return [*{config.name: config for config in runs}.values()]


_PAPERS = [accuracies(table) for name, table in experiments.TABLES.items() if name != "beyond"]
TARGETS = {
    target.name: target for target in (*_PAPERS, *map(_exhibit, EXHIBITS), accuracies(experiments.TABLES["beyond"]))
}
