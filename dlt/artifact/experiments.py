"""Each table of the paper as a list of runs."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dlt.artifact import paper
from dlt.artifact.printing import seeds_in_words
from dlt.harness.config import RunConfig, make_config
from dlt.harness.datasets import MINI_IMAGES, data_folder
from dlt.harness.label_noise import HUMAN_FILES, HUMAN_NOISES
from dlt.harness.method import METHODS, load_method
from dlt.harness.own_code import is_own
from dlt.harness.settings import PROFILES, SETTINGS, setting_for

PICTURE_PROFILES = tuple(profile for profile in PROFILES if profile != "features")  # for which there are tables
# Data and network are the paper's, so that a difference of accuracies means something.
PROFILES_LIKE_PAPER = ("short", "paper")
# "specifically designed for symmetric noise, thus we only report its results under symmetric noise" (4.1)
SYMMETRIC_ONLY = ("m-correction",)
SMALL_DATA_ONLY = ("mlnt",)  # it works 18 times as long as cross-entropy
TUNING_SEEDS = (11, 12, 13)  # on which settings were chosen: not reported
DATA_NAMES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "clothing1m": "Clothing1M"}
NOISE_NAMES = {"symmetric": "sym", "asymmetric": "asym"}  # others go by their own
DIGITS = "scikit-learn's 8x8 handwritten digits in place of CIFAR-10"


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


def data_in(profile: str, datasets: list[str]) -> str:
    """What a profile trains on in place of the paper's data sets, in words."""
    if profile == "digits":
        return DIGITS
    if profile != "mini":
        return " and ".join(DATA_NAMES[dataset] for dataset in datasets)
    train, test = MINI_IMAGES[datasets[0]]
    words = f"the first {train} training and {test} test images of each class of {DATA_NAMES[datasets[0]]}"
    for dataset in datasets[1:]:
        train, test = MINI_IMAGES[dataset]
        words += f" ({DATA_NAMES[dataset]}: {train} and {test})"
    return words


def profile_in_words(profile: str, datasets: list[str]) -> str:
    """What a profile trains on in place of the paper's data sets, on which network and for how many epochs."""
    settings = {dataset: setting_for(profile, dataset_in(profile, dataset)) for dataset in datasets}
    first = settings[datasets[0]]
    others = [f" ({DATA_NAMES[d]}: {own.epochs})" for d, own in settings.items() if own.epochs != first.epochs]
    epochs = f"{first.epochs} epochs{''.join(others)}"
    return f"Profile {profile}: {data_in(profile, datasets)}; network {first.network}, {epochs}"


def profile_with(dataset: str) -> str:
    """The cheapest profile that trains on the paper's `dataset` itself."""
    return next(profile for profile, own in SETTINGS if own == dataset and profile in PROFILES_LIKE_PAPER)


def headings(columns: list[Column], seeds: list[int] | None = None) -> list[str]:
    """The least that tells the columns apart; real noise needs no more than the data set's name.

    `seeds`: how many each column was run with, said of those with fewer than others.
    """
    several = len({column.dataset for column in columns}) > 1
    seeds = seeds or [0] * len(columns)
    texts = []
    for column, n in zip(columns, seeds, strict=True):
        name = NOISE_NAMES.get(column.noise, column.noise.replace("-", " "))
        rate = "" if column.noise in HUMAN_NOISES else f" {column.rate:g}"
        noise = [] if column.noise == "none" else [name + rate]
        data = [DATA_NAMES[column.dataset]] if several or not noise else []
        fewer = [f"(n={n})"] if 0 < n < max(seeds) else []
        texts.append(" ".join(data + noise + fewer))
    return texts


@dataclass(frozen=True)
class Table:
    """A table of test accuracies: methods by settings."""

    name: str  # as on the command line and in file names
    title: str
    rows: dict[str, str]  # method id -> name in print, in the paper's order
    paper: dict[str, dict]  # the paper's data set -> its cells, as in paper.py; they give the columns
    baseline: str = "ce"  # over whose Last gains are counted
    ensemble: bool = False  # a method of two networks is tested as their ensemble, not by the first
    brief: bool = False  # of each method only Last, and what it costs
    notes: tuple[str, ...] = ()  # what else a reader of the table must know
    command: str = ""  # the words of the command line that chose rows, columns and seeds; empty: the whole table

    @property
    def columns(self) -> list[Column]:
        return [Column(dataset, *setting) for dataset, cells in self.paper.items() for setting in cells]

    @property
    def methods(self) -> list[str]:
        """The rows that can be run; of a method that METHODS does not know the paper's numbers are quoted."""
        return [method for method in self.rows if _is_there(method)]

    def accuracy(self, method: str) -> str:
        """Which of a run's test accuracies the table shows."""
        two = self.ensemble and load_method(method).networks > 1
        return "test_accuracy_ensemble" if two else "test_accuracy"

    def config(self, profile: str, method: str, column: Column, seed: int) -> RunConfig | None:
        """The run that measures a cell; None for a cell that cannot be run in this profile, or at all."""
        dataset = dataset_in(profile, column.dataset)
        if dataset is None or not _is_there(method):
            return None
        if method in SYMMETRIC_ONLY and column.noise.startswith("asymmetric"):
            return None
        if method in SMALL_DATA_ONLY and profile in PROFILES_LIKE_PAPER:
            return None
        if column.noise in HUMAN_NOISES and dataset != HUMAN_NOISES[column.noise][0]:
            return None
        return make_config(profile, dataset, method, column.noise, column.rate, seed=seed)

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

    def describe(self, profile: str, columns: list[Column], seeds: int, spread: str, fewer: bool = False) -> str:
        """What a profile trains for these columns, and what their numbers are when there are several seeds.

        `fewer`: whether some method has fewer seeds than another in its column.
        """
        shown = {column.dataset for column in columns}
        datasets = [dataset for dataset in self.paper if dataset in shown and dataset_in(profile, dataset)]
        if not datasets:
            return f"Profile {profile}: nothing stands in for {' and '.join(DATA_NAMES[d] for d in self.paper)}"
        numbers = seeds_in_words(seeds, f"{spread} of ")
        return f"{profile_in_words(profile, datasets)}, {numbers}" + (", of some methods fewer" if fewer else "")


def _is_there(method: str) -> bool:
    """Whether a row can be run: one of ours, or the user's own."""
    return method in METHODS or is_own(method)


def reported_seeds(profile: str, stores: list[Path]) -> list[int]:
    """The seeds of a profile's records ("*": of all) but those that settings were tuned on."""
    names = [path.parent.name for store in stores for path in Path(store).glob(f"{profile}/*/run.json")]
    found = {int(re.search(r"-s(\d+)-[0-9a-f]+$", name)[1]) for name in names}
    return sorted(found - set(TUNING_SEEDS))


def lacks_human_file(config: RunConfig, data_dir: str | None = None) -> bool:
    """Whether a run needs the labels that people gave, and their file is not in the data folder."""
    if config.noise not in HUMAN_NOISES:
        return False
    return not any((data_folder(data_dir) / name).is_file() for name in HUMAN_FILES[config.dataset])


ROWS = {
    "ce": "Cross-Entropy (CE)",
    "apl": "APL",
    "sce": "SCE",
    "m-correction": "M-correction",
    "dividemix": "DivideMix",
    "dlt-last-epoch": "DLT (Last Epoch)",
    "dlt-window": "DLT (Slide Window)",
}

_NAMES = ROWS | {"f-correction": "F-correction", "meta-learning": "Meta-Learning"}
TABLE3_ROWS = {method: _NAMES[method] for method in paper.TABLE3}
# One accuracy a method: beside our Last and beside our Best, as a note says.
TABLE3_CELLS = {("none", 0.0): {method: (value, value) for method, value in paper.TABLE3.items()}}

ROWS_BEYOND = {  # that the paper does not run, and ours
    "co-teaching": "Co-teaching",
    "elr": "ELR",
    "elr-plus": "ELR+",
    "cores2": "CORES²",
    "pes": "PES (semi)",
    "ssr": "SSR",
    "sop": "SOP",
    "sop-plus": "SOP+",
    "eps-softmax": "ε-softmax",
    "mlnt": "MLNT",
    "dlt-auto": "DLT, told no rate (ours)",
}
# What the paper does not have: labels that people gave, and noise that depends on the image. Its own columns have the
# methods that it does not have. No cell has a number.
BEYOND = {
    "cifar10": {column: {} for column in paper.TABLE1}
    | {
        ("human-aggre", 0.0901): {},
        ("human-random1", 0.1723): {},
        ("human-worse", 0.4021): {},
        ("instance", 0.2): {},
        ("instance", 0.4): {},
    },
    "cifar100": {("human-noisy", 0.402): {}},
}

ONE_NETWORK = "Methods of two networks are tested with the first alone, as the paper tests DivideMix in Tables 1 and 2."

TABLES = {
    table.name: table
    for table in (
        Table(
            "table1",
            "test accuracy (%) on CIFAR-10 with label noise",
            ROWS,
            {"cifar10": paper.TABLE1},
            notes=(
                ONE_NETWORK,
                "One learning rate holds for all rows; it is at least twice that of APL's authors (0.01), whose loss "
                "has slopes up to 9.2: docs/results.md says what that costs it.",
            ),
        ),
        Table(
            "table2",
            "test accuracy (%) on CIFAR-100 with label noise",
            ROWS,
            {"cifar100": paper.TABLE2},
            notes=(
                ONE_NETWORK,
                "The paper's Last of DLT (Slide Window) at asym 0.3 is unreadable in the text at hand: empty.",
            ),
        ),
        Table(
            "table3",
            "test accuracy (%) on Clothing1M",
            TABLE3_ROWS,
            {"clothing1m": TABLE3_CELLS},
            ensemble=True,
            notes=(
                "Results of other methods are copied from the original papers, the paper's caption says: only those "
                "of DLT are its own. Meta-Learning (MLNT) runs on small data only, in `beyond`: here it is quoted.",
                "The paper gives one accuracy a method and does not say of which epoch; DivideMix's is of the networks "
                "that were best on the clean validation set. Neither our Last, which uses no clean labels, nor our "
                "Best, chosen on the test set, is the same measure: the paper's number stands beside both.",
                "DivideMix: ensemble of its two networks; all others: one network.",
            ),
        ),
        Table(
            "table4",
            "test accuracy (%) of DivideMix with its own detection and with DLT's (DLT*)",
            {"dividemix": "DivideMix", "dividemix-dlt": "DLT*"},
            paper.TABLE4,
            "dividemix",
            ensemble=True,
            notes=("All accuracies are of the ensemble of two networks.",),
        ),
        Table(
            "beyond",
            "test accuracy (%) of methods and with label noise that the paper does not have",
            ROWS | ROWS_BEYOND,
            BEYOND,
            brief=True,
            notes=(
                ONE_NETWORK,
                "Human: the labels of CIFAR-10N and CIFAR-100N (Wei et al. 2022), for which nothing stands in on other "
                "data. Instance: wrong where an image looks like another class (Xia et al. 2020).",
            ),
        ),
    )
}
