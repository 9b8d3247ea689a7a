"""More for the stopwatch: augmentation beside torchvision's pipeline, and how seconds and memory grow.

Everything is measured on random images: neither cutting nor training takes other time on real ones.
"""

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from dlt.harness.config import make_config
from dlt.harness.datasets import CIFAR_STATISTICS
from dlt.harness.images import Dataset, DeviceImages, Images
from dlt.harness.measures import peak_mib
from dlt.harness.run import Run
from dlt.harness.training import train_epoch

BATCH = 128
COUNTS = (5_000, 10_000, 20_000)
WINDOWS = (20, 200, 2000)  # in batches


def random_images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


# ---------------------------------------------------------------------- augmentation
def augmentation(repeats: int, workers: int = 2, count: int = 10_000) -> list[dict]:
    """Images per second through random crop with padding 4, flip and normalisation in batches of 128: rows of a table.

    Ours on `workers` threads; torchvision's transforms, image by image, on as many DataLoader workers.
    """
    images = random_images(count)
    torch.set_num_threads(workers)
    passes = {"batched gather (ours)": _ours(images), "torchvision, PIL, DataLoader": _torchvision(images, workers)}
    seconds = {name: [] for name in passes}
    for _ in range(repeats + 1):
        for name, one_pass in passes.items():
            started = time.perf_counter()
            one_pass()
            seconds[name].append(time.perf_counter() - started)
    return [
        {
            "what": name,
            "images_per_s": count / statistics.median(values[1:]),
            "least": count / max(values[1:]),
            "most": count / min(values[1:]),
            "cores": workers,
        }
        for name, values in seconds.items()
    ]


def _ours(images: np.ndarray) -> Callable[[], None]:
    part = Images(images, np.zeros(len(images), dtype=np.int64), ("any",))
    dataset = Dataset("random", part, part, *CIFAR_STATISTICS["cifar10"], padding=4, flip=True)
    source, generator = DeviceImages(images, dataset, "cpu"), torch.Generator().manual_seed(0)

    def one_pass() -> None:
        for index in torch.randperm(len(images), generator=generator).split(BATCH):
            source.augmented(index, generator)

    return one_pass


def _torchvision(images: np.ndarray, workers: int) -> Callable[[], None]:
    from torch.utils.data import DataLoader

    loader = DataLoader(_Pictures(images), BATCH, shuffle=True, num_workers=workers, persistent_workers=True)

    def one_pass() -> None:
        for _ in loader:
            pass

    return one_pass


class _Pictures(torch.utils.data.Dataset):
    """What torchvision.datasets.CIFAR10 does with an image, and the transforms that are usual on it."""

    def __init__(self, images: np.ndarray):
        from torchvision import transforms

        self.images = images
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(*CIFAR_STATISTICS["cifar10"]),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int):
        from PIL import Image

        return self.transform(Image.fromarray(self.images[row])), 0


# ---------------------------------------------------------------------- growth
def growth(repeats: int) -> list[dict]:
    """Seconds of an epoch of DLT on the mini network, and peak memory of its process, by images and by window.

    The last row has four steps of profile `paper`, whose 50,000 images all lie in memory.
    """
    rows = [_apart("mini", count, WINDOWS[0], 0, repeats) for count in COUNTS]
    rows += [_apart("mini", COUNTS[0], window, 0, repeats) for window in WINDOWS[1:]]
    return [*rows, _apart("paper", 50_000, 200, 4 * BATCH, repeats)]


def _apart(*arguments) -> dict:
    """`_epochs` in a process of its own, whose peak memory is then its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_epochs, arguments)


def _epochs(profile: str, count: int, window: int, epoch_samples: int, repeats: int) -> dict:
    import sklearn.metrics  # noqa: F401  # before memory is looked at: every run loads it

    before = peak_mib()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.npz"
        test = {"test_images": random_images(10), "test_labels": np.arange(10)}
        np.savez(path, images=random_images(count), labels=np.arange(count) % 10, **test)
        config = make_config(
            profile,
            str(path),
            "dlt-window",
            "symmetric",
            0.4,
            options={"warmup_epochs": 1, "window": window},
            epoch_samples=epoch_samples,
        )
        torch.set_num_threads(config.setting.threads or torch.get_num_threads())
        run = Run(config, torch.device("cpu"))
    train_epoch(run, 1)
    for _ in range(window):  # a full window
        run.method.threshold.record(torch.rand(BATCH))
    seconds = []
    for epoch in range(2, 2 + repeats):
        started = time.perf_counter()
        train_epoch(run, epoch)
        seconds.append(time.perf_counter() - started)
    return {
        "profile": profile,
        "images": count,
        "window": window,
        "steps": run.steps_per_epoch,
        "seconds": statistics.median(seconds),
        "least": min(seconds),
        "most": max(seconds),
        "ms_per_step": 1000 * statistics.median(seconds) / run.steps_per_epoch,
        "peak_mib": peak_mib(),
        "mib_over_libraries": peak_mib() - before,
    }
