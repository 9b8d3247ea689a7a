"""What several exhibits share: runs on what stands for CIFAR-10, their records, and words about them."""

import functools
import json
from pathlib import Path

from dlt.artifact.experiments import dataset_in, profile_in_words
from dlt.artifact.printing import seeds_in_words
from dlt.harness.config import RunConfig, config_from_dict, make_config
from dlt.harness.datasets import load
from dlt.harness.label_noise import NoisyLabels
from dlt.harness.records import Record, find_record
from dlt.harness.run import noisy_labels

HALF = ("symmetric", 0.5)  # "under 50% symmetric label noise": Figures 1 and 3; ours for the others
KINDS = {"incomplete": "incomplete information", "adversarial": "adversarial, epsilon 8/255"}


def cifar10(profile: str, method: str, noise: tuple[str, float], seed: int, **more) -> RunConfig:
    """A run on what stands for CIFAR-10 in a profile."""
    return make_config(profile, dataset_in(profile, "cifar10"), method, *noise, seed=seed, **more)


def hard_runs(profile: str, seed: int) -> dict[str, RunConfig]:
    """Figures 6 and 7: training with hard copies of the clean samples."""
    return {
        f"{method} {kind}": cifar10(profile, method, HALF, seed, hard=kind)
        for kind in KINDS
        for method in ("ce", "dlt-window")
    }


def found(configs: dict[int, RunConfig], stores: list[Path]) -> dict[int, Record]:
    """The finished records among {seed: configuration}."""
    records = {seed: find_record(config, stores) for seed, config in configs.items()}
    return {seed: record for seed, record in records.items() if record is not None}


@functools.cache
def _labels(config_json: str) -> NoisyLabels:
    config = config_from_dict(json.loads(config_json))
    return noisy_labels(load(config.dataset, config.profile, download=False), config)


def labels_of(record: Record) -> NoisyLabels:
    """The labels that a run was trained on, with the true ones; InputError where its data set is not to be had."""
    return _labels(json.dumps(record.run["config"], sort_keys=True))


def plain_losses(record: Record, epoch: int) -> tuple[float, float]:
    """Mean losses of clean and of noisy samples, of the images as they are, at an epoch where these were kept."""
    labels, losses = labels_of(record), record.losses_at(epoch)
    noisy = labels.labels != labels.true_labels
    return float(losses[~noisy].mean()), float(losses[noisy].mean())


def setting_line(profile: str, seeds: int, datasets=("cifar10",)) -> str:
    """Profile, what stands for the paper's `datasets`, network and number of seeds, for a caption."""
    return f"{profile_in_words(profile, datasets)}, {seeds_in_words(seeds)}."
