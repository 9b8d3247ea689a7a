"""What runs cost here, in seconds."""

import functools
from pathlib import Path

from dlt.harness import records
from dlt.harness.config import RunConfig

# Seconds of an epoch of CE training and its test: measured on one core of a Xeon with AVX-512 (digits, mini), on two of
# an EPYC with AVX-512 BF16 (ResNet-18, from 20 steps). Guesses: ResNet-50, and both on an H200 until one is timed.
CE_EPOCH_SECONDS = {"preact-digits": 0.15, "preact-mini": 3.7, "preact-resnet18": 485.0, "resnet50": 2400.0}
ON_A_GPU = {"preact-resnet18": 2.0, "resnet50": 60.0}


def training_seconds(configs: list[RunConfig], device: str) -> float:
    """What training takes on `device` ("cpu" or "cuda"), one run after the other."""
    return sum(config.cost * _ce_epoch_seconds(config, device) for config in configs)


def in_words(seconds: float) -> str:
    """89 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _ce_epoch_seconds(config: RunConfig, device: str) -> float:
    """An epoch of CE training as runs finished here took it; a value of ours where there are none."""
    network = config.setting.network
    measured = _measured_ce_epochs(records.RUNS / config.profile, config.dataset_name, network, device)
    if measured:
        return measured[len(measured) // 2]
    on_a_cpu = CE_EPOCH_SECONDS.get(network, 1.0)
    return on_a_cpu if device == "cpu" else ON_A_GPU.get(network, on_a_cpu)


@functools.cache
def _measured_ce_epochs(folder: Path, dataset: str, network: str, device: str) -> list[float]:
    """Median seconds of an epoch of each finished CE run of this network on this device, ascending."""
    found = map(records.read_record, sorted(folder.glob(f"{dataset}-*-ce-s*")))
    alike = [
        record
        for record in found
        if record
        and record.run["device"].startswith("cpu") == (device == "cpu")  # a GPU bears its own name
        and (record.config.setting.network, record.config.hard) == (network, "none")
    ]
    return sorted(record.timing().sum(axis=1).median() for record in alike)
