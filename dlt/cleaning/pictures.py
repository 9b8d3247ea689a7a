"""Read a user's labelled pictures at the size at which a network is trained on them from scratch."""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dlt.cleaning.listing import Listed, check_enough, in_a_line, list_pictures, readable
from dlt.harness.arrays import read_arrays


@dataclass(frozen=True, eq=False)
class Pictures:
    """uint8 images (N, H, W, C), int64 labels (N,) in 0..len(class_names)-1, and where each image came from.

    `sources` are the N paths below `root`, or the N row numbers of an archive (`root` is None), `ids` the names by
    which decisions know them; `skipped` is {file: why it was left out}; `test` holds the test images and labels that
    an archive may bring.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    sources: list[str]
    ids: list[str]
    root: Path | None = None
    skipped: dict[str, str] | None = None
    squeezed: int = 0  # pictures that were not square
    test: tuple[np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.labels)


def read_pictures(path: Path, size: int, *columns: str | None) -> Pictures:
    """What lies at `path`, at `size` by `size` pixels; smaller images of an archive stay as they are. InputError.

    `columns` are those of `list_pictures`.
    """
    path = Path(path)
    pictures = _read_archive(path, size) if path.suffix == ".npz" else _read(list_pictures(path, *columns), size)
    check_enough(path, pictures.labels, pictures.class_names)
    return pictures


def side_of(path: Path) -> int | None:
    """The longer side of an archive's images; None for anything else."""
    return max(read_arrays(path)["images"].shape[1:3]) if Path(path).suffix == ".npz" else None


def _read(listed: Listed, size: int) -> Pictures:
    from PIL import Image
    from tqdm import tqdm

    rows = range(len(listed))
    with ThreadPoolExecutor(os.cpu_count()) as pool, warnings.catch_warnings():
        # A picture above Pillow's limit is read, with a warning that would cut into the bar; one twice as large is not.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        read = list(tqdm(pool.map(lambda row: _pixels(listed, row, size), rows), "reading", len(rows), unit="picture"))
    good = readable(listed, read)
    labels, names = listed.numbered(good)
    images = np.stack([read[row].pixels for row in good])
    if all(read[row].grey for row in good):
        images = images[..., :1]
    sources, ids = ([values[row] for row in good] for values in (listed.sources, listed.ids))
    squeezed = sum(not read[row].square for row in good)
    return Pictures(listed.name, images, labels, names, sources, ids, listed.root, listed.skipped, squeezed=squeezed)


@dataclass(frozen=True, eq=False)
class _Read:
    """A picture as it was read: (size, size, 3) bytes."""

    pixels: np.ndarray
    grey: bool
    square: bool


def _pixels(listed: Listed, row: int, size: int) -> _Read | str:
    """The picture; or why the file cannot be read."""
    try:
        image, grey = listed.open(row)
        return _Read(_resized(image, size), grey, image.width == image.height)
    except Exception as error:  # whatever a broken file may do to Pillow
        return in_a_line(error)


def _resized(image, size: int) -> np.ndarray:
    from PIL import Image

    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))


def _read_archive(path: Path, size: int) -> Pictures:
    arrays = read_arrays(path)
    images = _shrunk(arrays["images"], size)
    test = (_shrunk(arrays["test_images"], size), arrays["test_labels"]) if "test_images" in arrays else None
    names = tuple(map(str, arrays["class_names"]))
    rows = [str(row) for row in range(len(images))]
    return Pictures(path.stem, images, arrays["labels"], names, rows, rows, test=test)


def _shrunk(images: np.ndarray, size: int) -> np.ndarray:
    """Images (N, H, W, C) whose longer side is above `size`, at `size` by `size`."""
    from PIL import Image

    if max(images.shape[1:3]) <= size:
        return images
    grey = images.shape[-1] == 1
    small = [_resized(Image.fromarray(image[..., 0] if grey else image), size) for image in images]
    return np.stack(small).reshape(len(images), size, size, images.shape[-1])
