"""Clothing1M (Xiao et al., CVPR 2015): a million shop photographs, labelled by the words around them.

Its images fit no device. They are read from their files by a pool of threads that keeps what it decoded: one
decode serves all views of a step, which torch's DataLoader, giving a row once, cannot.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import resize

from dlt.harness import distributed
from dlt.harness.errors import InputError
from dlt.harness.images import Dataset, Images, normalisation

CLASSES = (
    "T-Shirt",
    "Shirt",
    "Knitwear",
    "Chiffon",
    "Sweater",
    "Hoodie",
    "Windbreaker",
    "Jacket",
    "Downcoat",
    "Suit",
    "Shawl",
    "Dress",
    "Vest",
    "Underwear",
)
# As in DivideMix, whose recipe is taken over: channel statistics, pixels of the shorter side, of a crop.
MEAN, STD = (0.6959, 0.6537, 0.6371), (0.3113, 0.3192, 0.3214)
SHORTER_SIDE, CROP = 256, 224
KEPT = 1024  # decoded images at hand, some 0.3 GB: more than two batches of an evaluation
HOW_TO_GET = (
    "Clothing1M cannot be downloaded: its authors give it on request (https://github.com/Cysu/noisy_label); "
    "unpack it so that the data folder has clothing1m/ with the lists *.txt and images/"
)


class Clothing1M(Dataset):
    """Images in files; the noisy labels are the only ones that most training images have."""

    def source(self, part: Images, device: torch.device) -> "ImageFiles":
        return ImageFiles(part.images, self, device)


def load_clothing1m(folder: Path) -> Clothing1M:
    """The noisy training set and the clean test set in `folder`, in the layout in which they are published.

    Every listed file must be there, but none is opened. Raises InputError for what is missing or malformed.
    """
    if not folder.is_dir():
        raise InputError(f"data folder: {folder} is not a folder; {HOW_TO_GET}")
    train = _part(folder, "noisy_train_key_list.txt", "noisy_label_kv.txt")
    test = _part(folder, "clean_test_key_list.txt", "clean_label_kv.txt")
    return Clothing1M("clothing1m", train, test, MEAN, STD, padding=0, flip=True)


def _part(folder: Path, keys_name: str, labels_name: str) -> Images:
    """The images that one list names ("images/0/00/x.jpg"), with their labels of the other ("... 13")."""
    keys = _lines(folder / keys_name)
    pairs = (line.rpartition(" ") for line in _lines(folder / labels_name))
    texts = {key: text for key, _, text in pairs}
    classes = {str(label): label for label in range(len(CLASSES))}
    labels = np.empty(len(keys), np.int64)
    for i, key in enumerate(keys):
        if key not in texts:
            raise InputError(f"data folder: {folder / labels_name} has no label for {key} of {keys_name}")
        if texts[key] not in classes:
            raise InputError(
                f"data folder: {folder / labels_name}: the label of {key} is {texts[key]!r}; "
                f"must be in 0..{len(CLASSES) - 1}"
            )
        if not os.path.isfile(folder / key):
            raise InputError(f"data folder: {folder / key} of {keys_name} is missing; {HOW_TO_GET}")
        labels[i] = classes[texts[key]]
    return Images([os.path.join(folder, key) for key in keys], labels, CLASSES)


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text().split("\n")
    except FileNotFoundError:
        raise InputError(f"data folder: {path} is missing; {HOW_TO_GET}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"data folder: {path} cannot be read ({error})") from error
    lines = [line.strip() for line in lines if line.strip()]
    if not lines:
        raise InputError(f"data folder: {path} is empty")
    return lines


def _opened(path: str) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


class ImageFiles:
    """`DeviceImages` for images in files: shorter side to 256 pixels, then a crop of 224, normalised.

    Another `crop` keeps this proportion. Rows are decoded when asked for, or before, when `ahead` announced them; of
    several processes each decodes its share. `index` is (B,) int64 on the device; batches are float32 (B, 3, 224, 224)
    there. `opened` makes a path Pillow's RGB image; a file that is none raises InputError.
    """

    def __init__(
        self,
        paths: list[str],
        dataset: Dataset,
        device: torch.device | str,
        crop: int = CROP,
        opened: Callable[[str], Image.Image] = _opened,
    ):
        self.paths, self.device, self.opened = paths, torch.device(device), opened
        self.shape, self.side = (3, crop, crop), round(crop * SHORTER_SIDE / CROP)
        self.scale, self.shift = normalisation(dataset, (crop, crop, 3), device)
        self._pool = ThreadPoolExecutor(os.cpu_count())  # Pillow decodes and resizes outside of Python's lock
        self._kept = {}  # row -> its image, now or soon (a Future); the last asked for comes last

    def __len__(self) -> int:
        return len(self.paths)

    def ahead(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """The batches of rows one by one; while one is in use, the next is being decoded."""
        rows = [distributed.share(index).tolist() for index in batches]
        for index, following in zip(batches, [*rows[1:], []], strict=True):
            self._decode(following)
            yield index

    def plain(self, index: Tensor) -> Tensor:
        """The centres of the images `index`."""
        return self._batch([_centre(image, self.shape[1]) for image in self._images(index)], len(index))

    def augmented(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """A random crop of each of the images `index`, mirrored at even odds."""
        draws = torch.rand((len(index), 3), generator=generator, device=self.device)
        pairs = zip(self._images(index), distributed.share(draws).tolist(), strict=True)
        return self._batch([_augmented(image, self.shape[1], three) for image, three in pairs], len(index))

    def _images(self, index: Tensor) -> list[np.ndarray]:
        return [image.result() for image in self._decode(distributed.share(index).tolist())]

    def _decode(self, rows: list[int]) -> list[Future]:
        """Start what is not there yet, and drop what was asked for longest ago."""
        for row in rows:
            self._kept[row] = self._kept.pop(row, None) or self._pool.submit(
                _decoded, self.paths[row], self.side, self.opened
            )
        images = [self._kept[row] for row in rows]
        while len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]
        return images

    def _batch(self, crops: list[np.ndarray], count: int) -> Tensor:
        """The whole batch of `count` images; `crops` are those that this process decoded."""
        batch = np.stack(crops) if crops else np.empty((0, *self.shape[1:], 3), np.uint8)
        batch = distributed.gathered(torch.from_numpy(batch).to(self.device), count).float()
        return batch.mul_(self.scale).add_(self.shift).permute(0, 3, 1, 2)


def _centre(image: np.ndarray, crop: int) -> np.ndarray:
    height, width, _ = image.shape
    return _cut(image, crop, round((height - crop) / 2), round((width - crop) / 2))


def _augmented(image: np.ndarray, crop: int, draws: list[float]) -> np.ndarray:
    """Cut and mirrored as three uniform draws tell."""
    height, width, _ = image.shape
    down, right, coin = draws
    part = _cut(image, crop, int(down * (height - crop + 1)), int(right * (width - crop + 1)))
    return part[:, ::-1] if coin < 0.5 else part


def _cut(image: np.ndarray, crop: int, top: int, left: int) -> np.ndarray:
    return image[top : top + crop, left : left + crop]


def _decoded(path: str, side: int, opened: Callable[[str], Image.Image]) -> np.ndarray:
    """uint8 (H, W, 3), the shorter side as told."""
    try:
        return np.asarray(resize(opened(path), side))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"data folder: {path} is not a whole image ({error}); replace it") from error
