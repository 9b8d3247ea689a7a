"""What a method works with: data, networks, keyed randomness, and a place to note what an epoch found."""

import copy
import functools
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dlt.hard_samples import adversarial, incomplete
from dlt.harness.config import NUM_CLASSES, REAL_NOISE, RunConfig, ce_config, clean_ce_config
from dlt.harness.datasets import data_folder, load
from dlt.harness.devices import has_bf16
from dlt.harness.distributed import Parallel
from dlt.harness.errors import InputError
from dlt.harness.images import Dataset
from dlt.harness.label_noise import HUMAN_NOISES, NoisyLabels, corrupt, human, instance_dependent, noise_generator
from dlt.harness.method import Batch, Method, load_method
from dlt.harness.networks import build_network, evaluating, load_weights
from dlt.harness.own_code import is_own
from dlt.harness.own_noise import own_noise
from dlt.harness.records import early_losses, folder_of, read_record
from dlt.noise_rate import estimate_from_margins

EVALUATION_BATCH = 256


@dataclass(eq=False)
class Observations:
    """What an epoch notes of every row: losses (N,), NaN where none was seen; decisions and pseudo-labels (N,)."""

    losses: Tensor
    kept: Tensor  # all, until a method decides
    pseudo_labels: Tensor  # -1: none predicted
    decided: bool = False

    @classmethod
    def none_yet(cls, labels: Tensor) -> "Observations":
        losses = torch.full(labels.shape, torch.nan, device=labels.device)
        return cls(losses, torch.ones_like(losses, dtype=torch.bool), torch.full_like(labels, -1))


class Run:
    """What a method works with: data on the device, networks, keyed randomness, and a place to record.

    `labels` (N,) are the noisy labels, `rows` those of the N that this epoch trains on, all of them unless the
    setting has `epoch_samples`; `assumed_rate` is the w of Eq. 7. Every random draw comes from a generator keyed
    by (seed, epoch, purpose), so that resuming needs no generator state. `store` holds the required run, if any.
    """

    def __init__(self, config: RunConfig, device: torch.device, data_dir: str | None = None, store: Path | None = None):
        self.config, self.setting, self.device, self.store = config, config.setting, device, store
        self.precision = self.setting.precision if has_bf16(device) else "fp32"
        self.examples: dict[str, np.ndarray] = {}  # images for the record
        dataset = load(config.dataset, config.profile, data_dir)
        self.noisy_labels = noisy_labels(dataset, config, data_dir)
        if config.hard != "none":
            dataset = self._with_hard_copies(dataset)
        self.train_images = dataset.source(dataset.train, device)
        self.test_images = dataset.source(dataset.test, device)
        self.labels = torch.as_tensor(self.noisy_labels.labels, device=device)
        self.rows = torch.arange(len(self.labels), device=device)
        self.test_labels = torch.as_tensor(dataset.test.labels, device=device)
        self.num_classes = dataset.num_classes
        self.assumed_rate = self._assumed_rate()

        method_class = load_method(config.method)
        self.networks = [
            build_network(
                self.setting.network, self.train_images.shape[0], self.num_classes, self._key(0, f"weights {i}")
            ).to(device)
            for i in range(method_class.networks)
        ]
        for network in self.networks:
            dataset.begin(network)
        self.optimizers = [
            torch.optim.SGD(
                network.parameters(),
                lr=self.setting.learning_rate,
                fused=True,
                momentum=self.setting.momentum,
                weight_decay=self.setting.weight_decay,
            )
            for network in self.networks
        ]
        self.parallel: Parallel | None = None  # set where several processes share the work
        self.begin_epoch(0)
        self.method: Method = method_class(method_class.Config(**config.method_config), self)

    def _assumed_rate(self) -> float:
        """w of Eq. 7. With hard copies the nominal rate is that of all rows, as the realised one is."""
        config = self.config
        if config.assumed_rate == "estimated":
            folder = folder_of(self.store, ce_config(config))
            if (record := read_record(folder)) is None:
                raise InputError(f"assumed-rate: 'estimated' needs the finished run {folder}")
            try:
                return estimate_from_margins(early_losses(record)).rate
            except ValueError as error:
                raise InputError(f"assumed-rate: 'estimated' from {record.folder}: {error}") from error
        realised = self.noisy_labels.realised
        nominal = config.noise_rate if config.hard == "none" else realised
        return float({"nominal": nominal, "realised": realised}.get(config.assumed_rate, config.assumed_rate))

    def _with_hard_copies(self, dataset: Dataset) -> Dataset:
        """The training set with one hard copy of every clean row behind it, and its labels in `noisy_labels`."""
        config, noisy, train = self.config, self.noisy_labels, dataset.train
        clean = noisy.labels == noisy.true_labels
        images, labels = train.images[clean], noisy.true_labels[clean]
        if config.hard == "adversarial":
            from torchvision.transforms import Normalize  # here, because it takes a second

            network = build_network(config.setting.network, images.shape[3], dataset.num_classes, 0)
            load_weights(folder_of(self.store, clean_ce_config(config)) / "weights.safetensors", [network])
            pixels_in = nn.Sequential(Normalize(dataset.mean, dataset.std), network.to(self.device)).eval()
            images = adversarial(pixels_in, images, labels, config.epsilon)
        else:
            images = incomplete(images, torch.Generator().manual_seed(self._key(0, "hard samples")))
        _, first = np.unique(labels, return_index=True)
        self.examples = {"hard_originals": train.images[clean][first], "hard_copies": images[first]}
        hard = np.repeat([False, True], [len(clean), len(images)])
        both = (np.concatenate((values, labels)) for values in (noisy.labels, noisy.true_labels))
        self.noisy_labels = NoisyLabels(*both, noisy.num_classes, noisy.nominal, noisy.known, hard)
        train = replace(train, images=np.concatenate((train.images, images)), labels=self.noisy_labels.true_labels)
        return replace(dataset, train=train)

    def begin_epoch(self, epoch: int) -> None:
        """From here on draws are those of `epoch`, on its rows, and nothing is noted yet."""
        self.epoch = epoch
        self._generators: dict[str, torch.Generator] = {}
        self._numpy_generators: dict[str, np.random.Generator] = {}
        self.observed = Observations.none_yet(self.labels)
        if epoch and (count := self.setting.epoch_samples):
            rows = balanced_rows(self.noisy_labels.labels, count, self.numpy_generator("rows"))
            self.rows = torch.as_tensor(rows, device=self.device)

    # ------------------------------------------------------------------ randomness
    def _key(self, epoch: int, purpose: str) -> int:
        sequence = np.random.SeedSequence([self.config.seed, epoch, zlib.crc32(purpose.encode())])
        return int(sequence.generate_state(1, np.uint64)[0] >> 1)

    def generator(self, purpose: str) -> torch.Generator:
        """This epoch's torch generator for `purpose`, on the device."""
        if purpose not in self._generators:
            generator = torch.Generator(self.device).manual_seed(self._key(self.epoch, purpose))
            self._generators[purpose] = generator
        return self._generators[purpose]

    def numpy_generator(self, purpose: str) -> np.random.Generator:
        """This epoch's NumPy generator for `purpose`: for draws torch has no generator for."""
        if purpose not in self._numpy_generators:
            self._numpy_generators[purpose] = np.random.default_rng(self._key(self.epoch, purpose))
        return self._numpy_generators[purpose]

    # ------------------------------------------------------------------ data and networks
    @property
    def steps_per_epoch(self) -> int:
        """m = ceil(N / b) for the epoch's N rows: the short last batch takes part."""
        return math.ceil(len(self.rows) / self.setting.batch_size)

    def shuffled_batches(self) -> Iterator[Batch]:
        """One shuffled pass over the epoch's rows."""
        order = torch.randperm(len(self.rows), generator=self.generator("batches"), device=self.device)
        for index in self.train_images.ahead(self.rows[order].split(self.setting.batch_size)):
            yield Batch(index)

    def augmented(self, index: Tensor) -> Tensor:
        """One freshly augmented view of the rows `index`."""
        return self.train_images.augmented(index, self.generator("augmentation"))

    def plain(self, index: Tensor) -> Tensor:
        """The rows `index` as they are, normalised."""
        return self.train_images.plain(index)

    def forward(self, images: Tensor, network: int | nn.Module = 0) -> Tensor:
        """(B, C) logits in float32, in the network's present mode and the run's precision."""
        module = self.networks[network] if isinstance(network, int) else network
        if self.parallel:
            return self.parallel.forward(self._forward, module, images)
        return self._forward(module, images)

    def _forward(self, module: nn.Module, images: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits = module(images)
        return logits.float()

    def compiled(self, step: Callable) -> Callable:
        """`step` as one graph for each shape of its inputs, where the setting asks for it."""
        return torch.compile(step, fullgraph=True, dynamic=False) if self.setting.compile else step

    def scalars(self, *values: float) -> Tensor:
        """Numbers that change from step to step, as tensors: a compiled step takes other numbers for constants.

        In float64, as Python's numbers: times a tensor with dimensions they do not widen it.
        """
        return torch.tensor(values, dtype=torch.float64).to(self.device, non_blocking=True)  # no wait for the device

    @torch.no_grad()
    def evaluation_logits(self, network: nn.Module) -> Tensor:
        """(len(rows), C) of the epoch's rows, un-augmented, in evaluation mode."""
        batches = self.train_images.ahead(self.rows.split(EVALUATION_BATCH))
        with evaluating(network):
            return torch.cat([self.forward(self.plain(index), network) for index in batches])

    def evaluation_losses(self, network: int = 0) -> Tensor:
        """(len(rows),) cross-entropy of `evaluation_logits` on the noisy labels."""
        logits = self.evaluation_logits(self.networks[network])
        return nn.functional.cross_entropy(logits, self.labels[self.rows], reduction="none")

    def required_network(self, config: RunConfig) -> nn.Module:
        """The first network of a run that this one requires, as that run left it."""
        network = copy.deepcopy(self.networks[0])
        load_weights(folder_of(self.store, config) / "weights.safetensors", [network])
        return network

    def record(
        self, index: Tensor, losses: Tensor, kept: Tensor | None = None, pseudo_labels: Tensor | None = None
    ) -> None:
        """Note this epoch's per-sample losses and, if given, decisions and pseudo-labels of rows `index`."""
        observed = self.observed
        observed.losses[index] = losses.detach()
        if kept is not None:
            observed.kept[index] = kept
            observed.decided = True
        if pseudo_labels is not None:
            observed.pseudo_labels[index] = pseudo_labels


def noisy_labels(dataset: Dataset, config: RunConfig, data_dir: str | None = None) -> NoisyLabels:
    """The labels that a run trains on, before any hard copies are added."""
    train, count = dataset.train, dataset.num_classes
    true = train.labels if train.clean_labels is None else train.clean_labels
    if config.noise in HUMAN_NOISES:
        labels = human(train.labels, config.noise, data_folder(data_dir), train.rows)
    elif config.noise == "instance":
        pixels = (dataset.mean, dataset.std)
        labels = instance_dependent(train.images, train.labels, config.noise_rate, count, config.seed, *pixels)
    elif is_own(config.noise):
        generate = functools.partial(noise_generator, config.seed)
        labels = own_noise(config.noise, train.labels, config.noise_rate, count, generate, train.images)
    else:
        labels = corrupt(train.labels, config.noise, config.noise_rate, count, config.seed, config.dataset).labels
    known = config.noise != "none" or true is not train.labels or config.dataset in NUM_CLASSES.keys() - REAL_NOISE
    return NoisyLabels(labels, true, count, config.noise_rate, known)


def balanced_rows(labels: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """`count` random rows of `labels` (N,), ascending, of every class as many: all that a rarer class has."""
    order = generator.permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    sizes = np.bincount(labels)
    place_in_class = np.arange(len(labels)) - np.repeat(sizes.cumsum() - sizes, sizes)
    return np.sort(by_class[np.argsort(place_in_class, kind="stable")[:count]])
