"""The paper's figures, Table 5 and our ablations, each as a list of runs."""

import math
from dataclasses import dataclass

from dlt.artifact import paper
from dlt.artifact.experiments import dataset_in
from dlt.harness.config import RunConfig, make_config
from dlt.harness.datasets import MINI_TRAIN, data_folder
from dlt.harness.label_noise import HUMAN_FILES, HUMAN_NOISES
from dlt.harness.settings import schedule_for, setting_for

HALF = ("symmetric", 0.5)  # "under 50% symmetric label noise": Figures 1 and 3; ours for the others
EPSILONS = (2, 4, 8, 16, 32)  # of 255
DECAYS = (0, 1, 10, 30)  # T_grad of the ablations in the paper's 300 epochs with T_grad 10: scaled to a profile's
HUMAN = ("human-aggre", "human-worse")


@dataclass(frozen=True)
class Variant:
    """A choice that the paper leaves open, and one answer: `more` are arguments of make_config."""

    choice: str
    answer: str
    more: dict


def options(**values) -> dict:
    """Of the method, as an argument of make_config."""
    return {"options": values}


def cifar10(profile: str, method: str, noise: tuple[str, float], seed: int, **more) -> RunConfig:
    """A run on what stands for CIFAR-10 in a profile."""
    return make_config(profile, dataset_in(profile, "cifar10"), method, *noise, seed=seed, **more)


# ---------------------------------------------------------------------- figures
def loss_runs(profile: str, seed: int) -> dict[str, RunConfig]:
    """Figure 1: losses under cross-entropy and under DLT."""
    return {method: cifar10(profile, method, HALF, seed) for method in ("ce", "dlt-window")}


def ratio_runs(profile: str, seed: int) -> dict[str, RunConfig]:
    """Figure 3: what DLT keeps."""
    return {"dlt-window": cifar10(profile, "dlt-window", HALF, seed)}


def decay_runs(profile: str, seed: int) -> dict[str, RunConfig]:
    """Figure 4: with and without the decreasing threshold of Eq. 7."""
    return {
        "decreasing": cifar10(profile, "dlt-window", HALF, seed),
        "at once": cifar10(profile, "dlt-window", HALF, seed, options={"decay_epochs": 0}),
    }


def difference_runs(profile: str, seed: int) -> dict[str, RunConfig]:
    """Figure 5: the run whose early and late losses Section 3.2 compares."""
    return {"ce": cifar10(profile, "ce", HALF, seed)}


def hard_runs(profile: str, seed: int) -> dict[str, RunConfig]:
    """Figures 6 and 7: training with hard copies of the clean samples."""
    return {
        f"{method} {kind}": cifar10(profile, method, HALF, seed, hard=kind)
        for kind in ("incomplete", "adversarial")
        for method in ("ce", "dlt-window")
    }


def hard_table_runs(profile: str, seed: int) -> dict[tuple[str, int], RunConfig]:
    """The numbers beside Figure 7: DLT without hard samples, with each kind, and for several epsilons (of 255)."""
    runs = {("none", 0): cifar10(profile, "dlt-window", HALF, seed)}
    runs["incomplete", 0] = cifar10(profile, "dlt-window", HALF, seed, hard="incomplete")
    for levels in EPSILONS:
        more = {"hard": "adversarial", "epsilon": levels / 255}
        runs["adversarial", levels] = cifar10(profile, "dlt-window", HALF, seed, **more)
    return runs


# ---------------------------------------------------------------------- Table 5
def rate_runs(profile: str, seed: int) -> dict[tuple[str, str, float], RunConfig]:
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


def lacks_human_file(config: RunConfig, data_dir: str | None = None) -> bool:
    """Whether a run needs the labels that people gave, and their file is not in the data folder."""
    if config.noise not in HUMAN_NOISES:
        return False
    return not any((data_folder(data_dir) / name).is_file() for name in HUMAN_FILES[config.dataset])


# ---------------------------------------------------------------------- ablations
def variants(profile: str) -> list[Variant]:
    """The paper's gaps as experiments. The first stands for every default."""
    dataset = dataset_in(profile, "cifar10")
    schedule = schedule_for(profile, dataset)
    steps = math.ceil(_rows(profile) / setting_for(profile, dataset).batch_size)
    decays = dict.fromkeys(round(decay * schedule.decay_epochs / 10) for decay in DECAYS)
    windows = {"one batch": 1, "a quarter of an epoch": max(1, steps // 4), "an epoch": steps}
    return [
        Variant("our defaults", "", {}),
        *(
            Variant("T_grad", f"{decay} epochs", options(decay_epochs=decay))
            for decay in decays
            if decay != schedule.decay_epochs
        ),
        *(
            Variant("T_warm", f"{warm} epochs", options(warmup_epochs=warm))
            for warm in (schedule.warmup_epochs // 2, 2 * schedule.warmup_epochs)
        ),
        *(Variant("w of Eq. 7", rate, {"assumed_rate": rate}) for rate in ("realised", "estimated")),
        Variant("detection on", "an augmented view", options(detection="augmented")),
        Variant("mixup partners", "any row (MixMatch's union)", options(partners="union")),
        *(Variant("window s", f"{words} ({s})", options(window=s)) for words, s in windows.items()),
        Variant("threshold from", "the last epoch", options(strategy="last-epoch")),
        *(
            Variant("running statistics of", f"{which} images", options(running_statistics=which))
            for which in ("mixed", "all")
        ),
        Variant("ramp of lambda_n", "none", options(ramp_epochs=0)),
        Variant("discarded images", "not used (lambda_n = 0)", options(noisy_weight=0.0)),
    ]


def ablation_run(profile: str, variant: Variant, noise: tuple[str, float], seed: int) -> RunConfig:
    """The run of a variant. Where its answer is the default, the defaults' own run."""
    return cifar10(profile, "dlt-window", noise, seed, **variant.more)


def ablation_runs(profile: str, seed: int) -> list[RunConfig]:
    runs = [ablation_run(profile, variant, noise, seed) for noise in ABLATION_COLUMNS for variant in variants(profile)]
    return list({run.name: run for run in runs}.values())


ABLATION_COLUMNS = (("symmetric", 0.6), ("asymmetric", 0.4))


def _rows(profile: str) -> int:
    return {"digits": 1297, "mini": 10 * MINI_TRAIN}.get(profile, 50000)
