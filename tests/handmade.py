"""What several tests share: small settings, images, a small table for records that are written by hand."""

import numpy as np

from dlt.artifact import paper
from dlt.artifact.experiments import Column, Table

SYM, ASYM = Column("cifar10", "symmetric", 0.4), Column("cifar10", "asymmetric", 0.2)
SMALL = Table(
    "table9",
    "test accuracy (%) of two_methods",
    {"ce": "CE", "dlt-window": "DLT"},
    {"cifar10": {(c.noise, c.rate): paper.TABLE1[c.noise, c.rate] for c in (SYM, ASYM)}},
)
CLOTHING = Column("clothing1m", "none", 0.0)

# Three epochs; the phases of the methods that have some follow, so that one is warm-up.
SHORT = {"epochs": 3, "drop_after": 2}


def words(settings):
    """Settings as they are given on the command line."""
    return [word for pair in settings.items() for word in ("--setting", "{}={}".format(*pair))]


def quadrants(count, rng):
    """Grey 8x8 images (count, 8, 8) of 4 classes, a bright quadrant in noise, and their labels."""
    labels = np.arange(count) % 4
    images = rng.integers(0, 120, (count, 8, 8))
    for image, label in zip(images, labels, strict=True):
        image[4 * (label // 2) :][:4, 4 * (label % 2) :][:, :4] += 100
    return images.astype(np.uint8), labels
