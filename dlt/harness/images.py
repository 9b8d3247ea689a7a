"""Labelled images, and how they lie on a device and are cut into batches: what every data set builds on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images: uint8 (N, H, W, C), or the paths of N files, and int64 (N,) in 0..len(class_names)-1."""

    images: np.ndarray | list[str]
    labels: np.ndarray
    class_names: tuple[str, ...]
    rows: np.ndarray | None = None  # of the whole published set or archive, where these are a part of it
    clean_labels: np.ndarray | None = None  # (N,) the true ones, where `labels` came with errors and these are known

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training and a test set, and how their images are normalised and augmented."""

    name: str
    train: Images
    test: Images
    mean: tuple[float, ...]  # per channel, of pixels in [0, 1]
    std: tuple[float, ...]
    padding: int  # black pixels on each side of an image before a random crop
    flip: bool  # whether a mirrored image still shows its class

    @property
    def num_classes(self) -> int:
        return len(self.train.class_names)

    def source(self, part: Images, device: torch.device) -> "DeviceImages":
        """What gives batches of the images of `part`, one of `train` and `test`."""
        return DeviceImages(part.images, self, device)

    def begin(self, network: nn.Module) -> None:
        """Fill a new network with weights that come with the data, if any do."""


def hold_out(images, labels, test_size, class_names, clean_labels=None) -> tuple[Images, Images]:
    """A stratified split, the same at every call, each part in the original order; tested is on clean labels."""
    from sklearn.model_selection import train_test_split

    parts = train_test_split(np.arange(len(labels)), test_size=test_size, stratify=labels, random_state=0)
    train, test = (Images(images[part], labels[part], class_names, part) for part in map(np.sort, parts))
    if clean_labels is None:
        return train, test
    return replace(train, clean_labels=clean_labels[train.rows]), replace(test, labels=clean_labels[test.rows])


def open_picture(path: str | Path):
    """A picture of any size and mode as Pillow's RGB image, turned as its camera says; and whether it is grey."""
    from PIL import Image, ImageOps

    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)
        if image.mode.startswith("I;16"):  # of 16 bits the upper ones: Pillow would cut off at 255
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        return image.convert("RGB"), image.mode in ("1", "L", "LA")


def normalisation(dataset: Dataset, size: tuple[int, int, int], device) -> tuple[Tensor, Tensor]:
    """(scale, shift), float32 of `size` (H, W, C): (x / 255 - mean) / std = scale * x + shift for bytes x.

    Of a whole image's size, because broadcasting over three channels is slow.
    """
    mean, std = torch.tensor([dataset.mean, dataset.std], dtype=torch.float64)
    return tuple(values.float().expand(size).contiguous().to(device) for values in (1 / (255 * std), -mean / std))


class DeviceImages:
    """Images on a device as bytes, cut into normalised batches without a loop or a wait for the device.

    `images` is a uint8 array (N, H, W, C) of `dataset`; `shape` is (C, H, W), that of an image in a batch.
    Batches are float32 (B, C, H, W), channels last in memory. `index` is (B,) int64 on the device.
    """

    def __init__(self, images: np.ndarray, dataset: Dataset, device: torch.device | str):
        self.count, height, width, channels = images.shape
        self.shape = (channels, height, width)
        self.padding, self.flip, self.device = dataset.padding, dataset.flip, torch.device(device)
        border = (self.padding, self.padding)
        padded = torch.from_numpy(np.pad(images, ((0, 0), border, border, (0, 0)))).to(device)
        self.padded_height, self.padded_width = padded.shape[1:3]
        # Overlapping rows, a view: rows[p] is the `width` pixels from pixel p on. A crop is `height` of
        # them, each copied in one piece, which on a CPU is many times faster than indexing pixels.
        self.rows = padded.reshape(-1).unfold(0, width * channels, channels)
        self.row_offsets = torch.arange(height, device=device) * self.padded_width
        self.scale, self.shift = normalisation(dataset, (height, width, channels), device)

    def __len__(self) -> int:
        return self.count

    def ahead(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """The batches of rows one by one, announced, so that a source of files can read the next meanwhile."""
        return iter(batches)

    def plain(self, index: Tensor) -> Tensor:
        """The images `index` as they are."""
        return self._normalised(self._cropped(index, self.padding, self.padding))

    def augmented(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Each of the images `index` shifted by at most `padding` pixels and, at even odds, mirrored."""
        size = len(index)
        shifts = 2 * self.padding + 1
        top, left = torch.randint(shifts, (2, size), generator=generator, device=self.device)
        images = self._cropped(index, top, left)
        if self.flip:
            mirrored = torch.randint(2, (size,), generator=generator, device=self.device)
            # Picking whole images from both versions: `torch.where` would decide byte by byte.
            both = torch.cat((images, images.flip(2)))
            images = both.index_select(0, torch.arange(size, device=self.device) + size * mirrored)
        return self._normalised(images)

    def _cropped(self, index: Tensor, top: Tensor | int, left: Tensor | int) -> Tensor:
        """uint8 (B, H, W, C) from row `top` and column `left` of the padded images."""
        channels, height, width = self.shape
        start = (index * self.padded_height + top) * self.padded_width + left
        rows = start[:, None] + self.row_offsets
        return self.rows.index_select(0, rows.view(-1)).view(len(index), height, width, channels)

    def _normalised(self, images: Tensor) -> Tensor:
        return images.float().mul_(self.scale).add_(self.shift).permute(0, 3, 1, 2)
