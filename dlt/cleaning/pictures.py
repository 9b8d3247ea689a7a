"""Read a user's labelled images: a folder with one folder a class, or an .npz archive."""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dlt.harness.arrays import read_arrays
from dlt.harness.errors import InputError

LEAST_IMAGES = 100  # a network that sees fewer learns too little to doubt a label


@dataclass(frozen=True, eq=False)
class Pictures:
    """uint8 images (N, H, W, C), int64 labels (N,) in 0..len(class_names)-1, and where each image came from.

    `sources` are the N paths below `root`, or the N row numbers of an archive (`root` is None); `skipped` is
    {file: why it was left out}; `test` holds the test images and labels that an archive may bring.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    sources: list[str]
    root: Path | None = None
    skipped: dict[str, str] | None = None
    squeezed: int = 0  # pictures that were not square
    test: tuple[np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.labels)


def read_pictures(path: Path, size: int) -> Pictures:
    """What lies at `path`, at `size` by `size` pixels; smaller images of an archive stay as they are. InputError."""
    path = Path(path)
    if path.is_dir():
        pictures = _read_folder(path.resolve(), size)
    elif path.suffix == ".npz" and path.is_file():
        pictures = _read_archive(path, size)
    else:
        raise InputError(f"path: {path} is neither a folder of class folders nor an .npz file")
    counts = np.bincount(pictures.labels, minlength=len(pictures.class_names))
    if len(counts) < 2:
        raise InputError(f"path: {path} has one class, {pictures.class_names[0]!r}; a wrong label needs another class")
    if len(pictures) < LEAST_IMAGES:
        raise InputError(f"path: {path} has {len(pictures)} readable images; at least {LEAST_IMAGES} are needed")
    return pictures


def side_of(path: Path) -> int | None:
    """The longer side of an archive's images; None for anything else."""
    return max(read_arrays(path)["images"].shape[1:3]) if Path(path).suffix == ".npz" else None


def open_picture(path: Path):
    """A picture of any size and mode as Pillow's RGB image, turned as its camera says; and whether it is grey."""
    from PIL import Image, ImageOps

    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)
        if image.mode.startswith("I;16"):  # of 16 bits the upper ones: Pillow would cut off at 255
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        return image.convert("RGB"), image.mode in ("1", "L", "LA")


def _read_folder(root: Path, size: int) -> Pictures:
    from PIL import Image
    from tqdm import tqdm

    files, skipped = _files(root)
    if not files:
        raise InputError(f"path: {root} has no pictures in folders; expected {root.name}/<class>/<picture>")
    with ThreadPoolExecutor(os.cpu_count()) as pool, warnings.catch_warnings():
        # A picture above Pillow's limit is read, with a warning that would cut into the bar; one twice as large is not.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        read = list(tqdm(pool.map(lambda file: _pixels(file, size), files), "reading", len(files), unit="picture"))
    good = {}
    for file, found in zip(files, read, strict=True):
        name = file.relative_to(root)
        if isinstance(found, str):
            skipped[_text(name)] = found
        else:
            good[name] = found
    if not good:
        first = ": ".join(next(iter(skipped.items())))
        raise InputError(f"path: none of the {len(files)} pictures in {root} can be read; the first: {first}")
    folders = sorted({name.parts[0] for name in good})
    labels = np.array([folders.index(name.parts[0]) for name in good], dtype=np.int64)
    images = np.stack([found.pixels for found in good.values()])
    if all(found.grey for found in good.values()):
        images = images[..., :1]
    squeezed = sum(not found.square for found in good.values())
    names = tuple(map(_text, folders))
    return Pictures(root.name, images, labels, names, [*map(str, good)], root, skipped, squeezed=squeezed)


def _files(root: Path) -> tuple[list[Path], dict[str, str]]:
    """What to read in the folders of `root`; and {file: why} for what is none: hidden, or a link that leads nowhere."""
    files, skipped = [], {}
    for folder in sorted(root.iterdir()):
        if not folder.is_dir():
            continue
        for file in sorted(folder.rglob("*")):
            name = file.relative_to(root)
            if file.is_symlink() and not file.exists():
                skipped[_text(name)] = "a link that leads nowhere"
            elif file.is_file() and any(part.startswith(".") for part in name.parts):
                skipped[_text(name)] = "hidden"
            elif file.is_file():
                files.append(file)
    return files, skipped


def _text(name) -> str:
    """A name of the file system with the bytes that are no UTF-8 replaced, so that it can be shown."""
    return str(name).encode(errors="replace").decode()


@dataclass(frozen=True, eq=False)
class _Read:
    """A picture as it was read: (size, size, 3) bytes."""

    pixels: np.ndarray
    grey: bool
    square: bool


def _pixels(file: Path, size: int) -> _Read | str:
    """The picture; or why the file cannot be read."""
    try:
        image, grey = open_picture(file)
        return _Read(_resized(image, size), grey, image.width == image.height)
    except Exception as error:  # whatever a broken file may do to Pillow
        return _text(error).splitlines()[0] if str(error) else type(error).__name__


def _resized(image, size: int) -> np.ndarray:
    from PIL import Image

    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))


def _read_archive(path: Path, size: int) -> Pictures:
    arrays = read_arrays(path)
    images = _shrunk(arrays["images"], size)
    test = (_shrunk(arrays["test_images"], size), arrays["test_labels"]) if "test_images" in arrays else None
    names = tuple(map(str, arrays["class_names"]))
    return Pictures(path.stem, images, arrays["labels"], names, [str(row) for row in range(len(images))], test=test)


def _shrunk(images: np.ndarray, size: int) -> np.ndarray:
    """Images (N, H, W, C) whose longer side is above `size`, at `size` by `size`."""
    from PIL import Image

    if max(images.shape[1:3]) <= size:
        return images
    grey = images.shape[-1] == 1
    small = [_resized(Image.fromarray(image[..., 0] if grey else image), size) for image in images]
    return np.stack(small).reshape(len(images), size, size, images.shape[-1])
