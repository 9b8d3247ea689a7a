"""The exported noisy labels joined to the images, in plain PyTorch: this file needs nothing of dlt.

`clean` is the published training set as any torch Dataset of (image, label), in its published order, for example
`torchvision.datasets.CIFAR10(root, train=True, transform=...)`; `folder` is the one that this file lies in.
"""

from pathlib import Path

import numpy as np
from torch.utils.data import Dataset


class NoisyLabels(Dataset):
    def __init__(self, clean, folder=Path(__file__).parent):
        self.clean, self.rows, self.labels = clean, *(np.load(Path(folder) / f"{n}.npy") for n in ("rows", "labels"))

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.clean[int(self.rows[i])][0], int(self.labels[i])
