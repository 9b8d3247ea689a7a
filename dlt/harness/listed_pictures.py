"""The user's own pictures in files, of any size, and the weights with which a network begins on them.

The list is a JSON object beside the file of weights:

paths, files         N paths, and what tells the files as they are now
labels, class_names  N integers in 0..C-1, C texts
tested               the rows that are also the test set
mean, std, crop      of each channel of pixels in [0, 1]; pixels of a square cut from a picture
weights, sha256      of all layers but the last: the name of a safetensors file, and its hash
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dlt.harness.clothing1m import ImageFiles
from dlt.harness.errors import InputError
from dlt.harness.images import Dataset, Images, open_picture
from dlt.harness.networks import without_head


@dataclass(frozen=True, eq=False)
class ListedPictures(Dataset):
    """Images are paths; `weights` is the file with which networks begin, `sha256` its hash."""

    crop: int = 0
    weights: Path = Path()
    sha256: str = ""

    def source(self, part: Images, device: torch.device) -> ImageFiles:
        return ImageFiles(part.images, self, device, self.crop, lambda path: open_picture(path)[0])

    def begin(self, network: nn.Module) -> None:
        """Fill all layers but the last."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            data = self.weights.read_bytes()
            if hashlib.sha256(data).hexdigest() != self.sha256:
                raise ValueError("it is not the file that was listed")
            with without_head(network):
                network.load_state_dict(load(data))
        except (OSError, ValueError, SafetensorError, RuntimeError) as error:  # RuntimeError: of another network
            raise InputError(
                f"dataset: the network cannot begin with {self.weights} ({str(error).splitlines()[0]})"
            ) from None


def load_listed(path: str | Path) -> ListedPictures:
    """The pictures that the list at `path` names; no file of them is opened. Raises InputError."""
    path = Path(path)
    try:
        listed = json.loads(path.read_text())
        labels, paths, names = np.array(listed["labels"]), listed["paths"], tuple(listed["class_names"])
        train = Images(paths, labels, names)
        test = Images([paths[row] for row in listed["tested"]], labels[listed["tested"]], names)
        how = {key: listed[key] for key in ("mean", "std", "crop", "sha256")}
        return ListedPictures(
            path.stem, train, test, padding=0, flip=True, weights=path.parent / listed["weights"], **how
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"dataset: {path} is not a list of pictures ({type(error).__name__}: {error})") from error
