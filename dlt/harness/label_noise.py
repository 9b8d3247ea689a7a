"""Put label noise into a labelled training set (paper, section 4.1).

Labels go in and come out as numpy arrays or torch tensors, (N,), int64. Every function draws from its own
generator, made from the seed: the global random state is neither read nor changed.
"""

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dlt.harness.errors import InputError

# Labels that people gave (Wei et al., "Learning with Noisy Labels Revisited", ICLR 2022): the data set, the name
# in its file, and the published share that differs from the clean labels.
HUMAN_NOISES = {
    "human-aggre": ("cifar10", "aggre_label", 0.0901),
    "human-random1": ("cifar10", "random_label1", 0.1723),
    "human-random2": ("cifar10", "random_label2", 0.1812),
    "human-random3": ("cifar10", "random_label3", 0.1764),
    "human-worse": ("cifar10", "worse_label", 0.4021),
    "human-noisy": ("cifar100", "noisy_label", 0.4020),
}
NOISES = ("none", "symmetric", "asymmetric", "asymmetric-block5", "instance", *HUMAN_NOISES)
HUMAN_FILES = {"cifar10": ("CIFAR-10_human.pt", "cifar10n.npz"), "cifar100": ("CIFAR-100_human.pt", "cifar100n.npz")}

DIGITS_MAP = {7: 1, 2: 7, 5: 6, 6: 5, 3: 8}
CIFAR10_MAP = {9: 1, 2: 0, 3: 5, 5: 3, 4: 7}  # truck->automobile, bird->airplane, cat<->dog, deer->horse

# Superclass of each of CIFAR-100's fine classes, as `coarse_labels` in its files pairs them.
CIFAR100_SUPERCLASS = np.array([
    4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11,
    6, 11, 5, 10, 7, 6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5,
    5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4, 18, 17,
    10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13,
    16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13,
])  # fmt: skip


def symmetric(labels, rate: float, num_classes: int, seed: int):
    """Give int(rate * N) randomly chosen images a label drawn uniformly from all classes.

    The true label may be drawn again, so the expected share of wrong labels is rate * (1 - 1/num_classes)
    (paper, section 4.1; DivideMix does the same). Raises InputError for a rate outside [0, 1) or a label
    outside 0..num_classes-1.
    """
    clean = _checked(labels, rate, num_classes)
    rng = noise_generator(seed)
    chosen = rng.permutation(clean.size)[: int(rate * clean.size)]
    noisy = clean.copy()
    noisy[chosen] = rng.integers(num_classes, size=chosen.size)
    return _as_given(noisy, labels)


def asymmetric(labels, rate: float, mapping, seed: int):
    """Give exactly round(rate * n) of the n images of each source class that class's look-alike label.

    `mapping` is a dictionary {source class: target class} or an array whose entry c is the target of class
    c (c itself: no source). Images are chosen by their clean label, so none is flipped twice, not even
    where two classes map to each other. Raises InputError for a rate outside [0, 1).
    """
    clean = _checked(labels, rate)
    pairs = mapping.items() if isinstance(mapping, Mapping) else enumerate(np.asarray(mapping).tolist())
    rng = noise_generator(seed)
    noisy = clean.copy()
    for source, target in sorted(pairs):
        members = np.flatnonzero(clean == source)
        noisy[rng.permutation(members)[: round(rate * members.size)]] = target
    return _as_given(noisy, labels)


def instance_dependent(images: np.ndarray, labels, rate: float, num_classes: int, seed: int, mean=0.0, std=1.0):
    """Labels that are wrong where an image looks like another class (Xia et al. 2020).

    Each of the `images` (N, ...), bytes, has its own probability to be mislabelled, drawn from a normal distribution
    around `rate` with standard deviation 0.1, cut to [0, 1]; as what is drawn by the softmax of its pixels, normalised
    by `mean` and `std`, through a random projection of its class, where its own class is left out. The realised rate
    is near `rate`, but for rates near 0 and 1, where the cut moves the mean: 0.129 at 0.1. At 0 nothing changes.
    Raises InputError for a rate outside [0, 1) or a label outside 0..num_classes-1.
    """
    from scipy.special import softmax
    from scipy.stats import truncnorm

    clean = _checked(labels, rate, num_classes)
    if rate == 0:
        return _as_given(clean.copy(), labels)
    rng = noise_generator(seed)
    flips = truncnorm.rvs(-rate / 0.1, (1 - rate) / 0.1, loc=rate, scale=0.1, size=clean.size, random_state=rng)
    noisy, size = clean.copy(), int(np.prod(images.shape[1:]))
    for own in range(num_classes):
        members = np.flatnonzero(clean == own)
        pixels = ((images[members] / 255 - mean) / std).reshape(len(members), size)
        projection = rng.standard_normal((size, num_classes))
        likeness = pixels @ projection
        likeness[:, own] = -np.inf
        probabilities = flips[members, None] * softmax(likeness, axis=1)
        probabilities[:, own] = 1 - flips[members]
        # The first class whose cumulated probability exceeds a uniform draw.
        noisy[members] = (probabilities.cumsum(1) > rng.random((len(members), 1))).argmax(1)
    return _as_given(noisy, labels)


def cifar100_map(variant: str = "superclass") -> dict[int, int]:
    """CIFAR-100's asymmetric map: every class turns into the next one of its group, the last into the first.

    The groups are the true superclasses, or (`block5`) the contiguous blocks of five label ids that many
    published code bases take for superclasses: only 6 of its 100 pairs share a true superclass.
    """
    groups = CIFAR100_SUPERCLASS if variant == "superclass" else np.arange(100) // 5
    mapping = {}
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        mapping.update(zip(members.tolist(), np.roll(members, -1).tolist(), strict=True))
    return mapping


def mapping_for(dataset: str, variant: str = "superclass") -> dict[int, int]:
    """The asymmetric map {source: target} of "digits", "cifar10" or "cifar100".

    `variant` "block5" exists for CIFAR-100 only. Raises InputError where there is no such map.
    """
    if dataset == "cifar100" and variant in ("superclass", "block5"):
        return cifar100_map(variant)
    if variant == "superclass" and dataset in ("digits", "cifar10"):
        return DIGITS_MAP if dataset == "digits" else CIFAR10_MAP
    raise InputError(
        f"noise: asymmetric has no class map for dataset {dataset!r}, variant {variant!r}; allowed: digits, "
        "cifar10, cifar100 (superclass), cifar100 (block5)"
    )


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """The labels training sees beside the true ones; numpy int64, both (N,)."""

    labels: np.ndarray
    true_labels: np.ndarray
    num_classes: int
    nominal: float  # the rate asked for, in [0, 1)
    known: bool = True  # False: `true_labels` are but the labels as they came
    hard: np.ndarray | None = None  # (N,) bool: which are hard copies of clean rows (Section 3.3); None: none

    @property
    def realised(self) -> float:
        """Share of labels that differ from the true ones, in [0, 1]."""
        return float((self.labels != self.true_labels).mean())

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the labels as little-endian int64."""
        return hashlib.sha256(self.labels.astype("<i8").tobytes()).hexdigest()

    def transition_matrix(self) -> np.ndarray:
        """(C, C) float64: entry (i, j) is the share of images of true class i that are labelled j.

        The row of a class without images is zero.
        """
        counts = np.zeros((self.num_classes, self.num_classes))
        np.add.at(counts, (self.true_labels, self.labels), 1)
        return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def human(clean_labels, noise: str, folder: str | Path, rows: np.ndarray | None = None) -> np.ndarray:
    """The labels that people gave to a CIFAR training set: `noise` is one of HUMAN_NOISES.

    `folder` holds CIFAR-10_human.pt or CIFAR-100_human.pt, as published, or cifar10n.npz or cifar100n.npz with the
    same arrays. `rows` (N,) are those of the whole training set that are trained on. Raises InputError where no file
    is there, or its clean labels are not `clean_labels`.
    """
    dataset, name, _ = HUMAN_NOISES[noise]
    path = next((Path(folder) / file for file in HUMAN_FILES[dataset] if (Path(folder) / file).is_file()), None)
    if path is None:
        raise InputError(f"noise: {noise!r} needs {' or '.join(HUMAN_FILES[dataset])} in {folder}")
    try:
        arrays = _published(path) if path.suffix == ".pt" else np.load(path)
        labels, clean = (np.asarray(arrays[key], dtype=np.int64) for key in (name, "clean_label"))
        labels, clean = (values if rows is None else values[rows] for values in (labels, clean))
    except Exception as error:  # torch, zip and NumPy have each their own
        raise InputError(f"noise: {path} cannot be read ({error})") from error
    if not np.array_equal(clean, clean_labels):
        raise InputError(f"noise: the clean labels in {path} are not those of {dataset}")
    return labels


def _published(path: Path) -> dict[str, np.ndarray]:
    """The dictionary of arrays in a .pt file, without running code from it."""
    import torch  # here: the rest of this module needs none

    arrays = [np.ndarray, np.dtype, np._core.multiarray._reconstruct, *(type(np.dtype(c)) for c in "bBhHiIlLqQ")]
    with torch.serialization.safe_globals(arrays):
        return torch.load(path, weights_only=True)


def corrupt(clean_labels, noise: str, rate: float, num_classes: int, seed: int, dataset: str) -> NoisyLabels:
    """Noisy labels of a training set: `noise` is one of NOISES, `rate` is nominal, in [0, 1).

    Raises InputError for an unknown noise, a rate outside [0, 1), noise "none" with a rate, and asymmetric
    noise on a data set that has no class map.
    """
    clean = _checked(clean_labels, rate)
    if noise == "none" and rate != 0:
        raise InputError(f"noise-rate: {rate} with noise none; give a noise, or 0")
    if noise == "none":
        noisy = clean.copy()
    elif noise == "symmetric":
        noisy = symmetric(clean, rate, num_classes, seed)
    elif noise == "asymmetric":
        noisy = asymmetric(clean, rate, mapping_for(dataset), seed)
    elif noise == "asymmetric-block5":
        noisy = asymmetric(clean, rate, mapping_for(dataset, "block5"), seed)
    else:
        raise InputError(f"noise: {noise!r} is not one of {', '.join(NOISES)}")
    return NoisyLabels(noisy, clean, num_classes, rate)


def noise_generator(seed: int) -> np.random.Generator:
    """What every noise draws from."""
    # The purpose is part of the seed: other users of the same seed must not draw the same numbers.
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(b"label noise")]))


def _checked(labels, rate: float, num_classes: int | None = None) -> np.ndarray:
    """The labels as an int64 numpy array, or InputError; also where they are no classes of `num_classes`."""
    if not 0 <= rate < 1:
        raise InputError(f"noise-rate: {rate} is outside [0, 1)")
    array = np.asarray(labels.cpu() if _is_tensor(labels) else labels)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"labels: {array.dtype} {array.shape} are not integers (N,)")
    if num_classes and array.size and not 0 <= array.min() <= array.max() < num_classes:
        raise InputError(f"labels: {array.min()}..{array.max()} are not all in 0..{num_classes - 1}")
    return array.astype(np.int64)


def _as_given(noisy: np.ndarray, labels):
    return labels.long().new_tensor(noisy) if _is_tensor(labels) else noisy


def _is_tensor(labels) -> bool:
    # Asked this way, the module needs no torch.
    return hasattr(labels, "new_tensor")
