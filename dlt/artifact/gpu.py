"""What the GPU profiles need by computation, for docs/gpu.md: hours, memory, disk. Nothing here was measured on a GPU.

`python -m dlt.artifact.gpu` prints the tables of that page.
"""

import functools
from typing import TYPE_CHECKING

from dlt.artifact.costs import ON_A_GPU
from dlt.artifact.targets import TARGETS
from dlt.harness.config import NUM_CLASSES, RunConfig, make_config
from dlt.harness.method import load_method
from dlt.harness.networks import build_network
from dlt.harness.settings import SETTINGS

if TYPE_CHECKING:
    from torch import nn

# Memory bandwidth in TB/s by the makers' data sheets: what training on small images waits for. costs.py guesses the
# seconds of an epoch of CE on the first; on another card they are taken to be as many more as its memory is slower.
CARDS = {"H200": 4.8, "H100": 3.35, "A100 80 GB": 2.04, "RTX 4090": 1.01, "L40S": 0.86}
PIXELS = {"cifar10": 32, "cifar100": 32, "clothing1m": 224}
SHOWN = ("table1", "table2", "table3", "table4", "beyond")
VIEWS = {"ce": 1, "dlt-window": 2, "dividemix": 2}  # rows of the largest forward with gradient, of a batch
LIBRARIES = 0.6  # GB that CUDA, cuDNN and cuBLAS take of a GPU before anything is on it


def hours_table(profile: str) -> str:
    """Of one seed of each table of a profile, one run after the other, by card."""
    lines = [["one seed of", "runs", "CE-epochs", *CARDS]]
    for name in SHOWN:
        if configs := TARGETS[name].runs(profile, [1]):
            work = [config.cost for config in configs]
            seconds = sum(w * ON_A_GPU[c.setting.network] for w, c in zip(work, configs, strict=True))
            hours = [_in_hours(seconds * CARDS["H200"] / bandwidth) for bandwidth in CARDS.values()]
            lines.append([f"`{name}`", str(len(configs)), f"{sum(work):,.0f}", *hours])
    return _markdown(lines)


def _in_hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:.0f} h" if hours >= 9.95 else f"{hours:.1f} h"


def needs_table() -> str:
    """Memory of a GPU and disk that one run takes, by network and method."""
    lines = [["a run of", "network", "GPU memory", "weights on disk", "checkpoint while it runs"]]
    for dataset in ("cifar10", "clothing1m"):
        for method in VIEWS:
            config = make_config("paper", dataset, method, "none" if dataset == "clothing1m" else "symmetric")
            weights = load_method(method).networks * _bytes_of(config.setting.network, dataset, 1)[0]
            sizes = [f"{memory(config):.1f} GB", f"{weights / 1e6:.0f} MB", f"{2 * weights / 1e6:.0f} MB"]
            lines.append([f"`{method}` on {dataset}", config.setting.network, *sizes])
    return _markdown(lines)


def memory(config: RunConfig) -> float:
    """GB of a GPU: weights, gradients, momentum; what backward needs of the largest forward; the images as bytes."""
    networks, rows = load_method(config.method).networks, VIEWS[config.method] * config.setting.batch_size
    weights, one = _bytes_of(config.setting.network, config.dataset, 1)
    a_row = _bytes_of(config.setting.network, config.dataset, 2)[1] - one
    pixels = 60_000 * (32 + 2 * 4) ** 2 * 3 if PIXELS[config.dataset] == 32 else 0  # padded; Clothing1M is streamed
    return LIBRARIES + (3 * weights * networks + a_row * rows + pixels) / 1e9


@functools.cache
def _bytes_of(name: str, dataset: str, rows: int) -> tuple[int, int]:
    """Of the weights, and of what a forward over so many rows in bf16 keeps for backward, weights left out."""
    import torch

    network = _network(name, NUM_CLASSES[dataset])
    own = {tensor.untyped_storage().data_ptr() for tensor in network.state_dict().values()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    size = PIXELS[dataset]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(torch.zeros(rows, 3, size, size).to(memory_format=torch.channels_last))
    weights = sum(tensor.nbytes for tensor in network.state_dict().values())
    return weights, sum(kept.values()) + logits.nbytes


def _network(name: str, classes: int) -> "nn.Module":
    if name != "resnet50":
        return build_network(name, 3, classes, seed=0)
    from torchvision.models import resnet50  # ours is fetched with ImageNet's weights, which are as many

    return resnet50(num_classes=classes)


def _markdown(lines: list[list[str]]) -> str:
    head, *rest = [f"| {' | '.join(line)} |" for line in lines]
    numbers = len(lines[0]) - 1
    return "\n".join([head, "| --- |" + " ---: |" * numbers, *rest])


def page_tables() -> list[str]:
    """The tables of docs/gpu.md, in their order."""
    profiles = dict.fromkeys(profile for profile, dataset in SETTINGS if PIXELS.get(dataset) and profile != "mini")
    return [*(hours_table(profile) for profile in profiles), needs_table()]


if __name__ == "__main__":
    print("\n\n".join(page_tables()))
