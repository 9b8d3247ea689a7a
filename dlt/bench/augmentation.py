"""Augmentation beside torchvision's pipeline, on random images: cutting takes no other time on real ones."""

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from dlt.bench.growth import BATCH, random_images
from dlt.harness.datasets import CIFAR_STATISTICS
from dlt.harness.images import Dataset, DeviceImages, Images


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
