"""Each table of the paper as a list of runs."""

from dataclasses import dataclass
from typing import NamedTuple

from dlt.artifact import paper
from dlt.harness.config import SETTINGS, RunConfig, make_config, setting_for
from dlt.harness.method import METHODS

# Data and network are the paper's, so that a difference of accuracies means something.
PROFILES_LIKE_PAPER = ("short", "paper")
# "specifically designed for symmetric noise, thus we only report its results under symmetric noise" (4.1)
SYMMETRIC_ONLY = ("m-correction",)


class Column(NamedTuple):
    """The setting of a table's column; `dataset` is the paper's, whatever stands in for it."""

    dataset: str
    noise: str
    rate: float


def dataset_in(profile: str, dataset: str) -> str | None:
    """The data set that stands for the paper's `dataset` in a profile; None where nothing does."""
    if profile == "digits":
        return "digits" if dataset == "cifar10" else None
    return dataset if (profile, dataset) in SETTINGS else None


@dataclass(frozen=True)
class Table:
    """A table of test accuracies: methods by settings."""

    name: str  # as on the command line and in file names
    title: str
    rows: dict[str, str]  # method id -> name in print, in the paper's order
    paper: dict[str, dict]  # the paper's data set -> its cells, as in paper.py; they give the columns
    baseline: str = "ce"  # over whose Last gains are counted
    accuracy: str = "test_accuracy"  # which of a run's test accuracies

    @property
    def columns(self) -> list[Column]:
        return [Column(dataset, *setting) for dataset, cells in self.paper.items() for setting in cells]

    @property
    def methods(self) -> list[str]:
        """The ids of the rows; a method that METHODS does not know has none."""
        return [method for method in self.rows if method in METHODS]

    def config(self, profile: str, method: str, column: Column, seed: int) -> RunConfig | None:
        """The run that measures a cell; None for a cell that cannot be run in this profile, or at all."""
        dataset = dataset_in(profile, column.dataset)
        if dataset is None or (method in SYMMETRIC_ONLY and column.noise != "symmetric"):
            return None
        # Table 5 estimates the noise rate from the losses of these very runs.
        loss_epochs = setting_for(profile, dataset).estimation_epochs if method == "ce" else ()
        return make_config(profile, dataset, method, column.noise, column.rate, seed, loss_epochs=loss_epochs)

    def runs(self, profile: str, seeds: list[int], methods: list[str] | None = None) -> list[RunConfig]:
        """Every run that the table reads, seed by seed, so that one whole table is there first."""
        configs = (
            self.config(profile, method, column, seed)
            for seed in seeds
            for column in self.columns
            for method in methods or self.methods
        )
        return [config for config in configs if config is not None]

    def paper_accuracy(self, method: str, column: Column, metric: str) -> float:
        """The paper's "best" or "last" in percent; NaN where it gives none."""
        cells = self.paper[column.dataset][column.noise, column.rate]
        value = cells.get(method, (None, None))[("best", "last").index(metric)]
        return float("nan") if value is None else value


ROWS = {
    "ce": "Cross-Entropy (CE)",
    "apl": "APL",
    "sce": "SCE",
    "m-correction": "M-correction",
    "dividemix": "DivideMix",
    "dlt-last-epoch": "DLT (Last Epoch)",
    "dlt-window": "DLT (Slide Window)",
}

TABLES = {
    table.name: table
    for table in (Table("table1", "test accuracy (%) on CIFAR-10 with label noise", ROWS, {"cifar10": paper.TABLE1}),)
}
