"""The one training loop: every method is trained, tested, recorded and resumed here."""

import dataclasses
import io
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dlt.harness import records
from dlt.harness.config import RunConfig, config_from_dict
from dlt.harness.datasets import DeviceImages, load
from dlt.harness.errors import InputError
from dlt.harness.label_noise import corrupt
from dlt.harness.measures import epoch_measures, run_json, summary
from dlt.harness.method import Batch, Method, load_method
from dlt.harness.networks import build_network, evaluating

EVALUATION_BATCH = 256
CHECKPOINT_SECONDS = 10  # at most this much work is lost; resuming is bit-exact from any epoch


def resolve_device(name: str) -> torch.device:
    """The device for "auto", "cpu" or "cuda"; InputError when the one asked for is not there."""
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"device: {name!r} is not auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device: cuda was asked for, and torch sees no CUDA device here; use cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


class Run:
    """What a method works with: data on the device, networks, keyed randomness, and a place to record.

    `labels` (N,) are the noisy labels; `assumed_rate` is the w of Eq. 7. Every random draw comes from
    a generator keyed by (seed, epoch, purpose), so that resuming needs no generator state.
    """

    def __init__(self, config: RunConfig, device: torch.device, data_dir: str | None = None):
        self.config, self.setting, self.device = config, config.setting, device
        dataset = load(config.dataset, config.profile, data_dir)
        self.noisy_labels = corrupt(
            dataset.train.labels, config.noise, config.noise_rate, dataset.num_classes, config.seed,
            config.dataset,
        )  # fmt: skip
        self.train_images = DeviceImages(dataset.train.images, dataset, device)
        self.test_images = DeviceImages(dataset.test.images, dataset, device)
        self.labels = torch.as_tensor(self.noisy_labels.labels, device=device)
        self.test_labels = torch.as_tensor(dataset.test.labels, device=device)
        self.num_classes = dataset.num_classes
        rates = {"nominal": config.noise_rate, "realised": self.noisy_labels.realised}
        self.assumed_rate = float(rates.get(config.assumed_rate, config.assumed_rate))

        method_class, _ = load_method(config.method)
        self.networks = [
            build_network(self.setting.network, dataset.train.images.shape[-1], self.num_classes,
                          self._key(0, f"weights {i}")).to(device)
            for i in range(method_class.networks)
        ]  # fmt: skip
        self.optimizers = [
            torch.optim.SGD(network.parameters(), lr=self.setting.learning_rate, fused=True,
                            momentum=self.setting.momentum, weight_decay=self.setting.weight_decay)
            for network in self.networks
        ]  # fmt: skip
        self.epoch = 0
        self.method: Method = method_class(method_class.Config(**config.method_config), self)

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
        """m = ceil(N / b): the short last batch takes part."""
        return -(-len(self.labels) // self.setting.batch_size)

    def shuffled_batches(self) -> Iterator[Batch]:
        """One shuffled pass over the training set."""
        order = torch.randperm(len(self.labels), generator=self.generator("batches"), device=self.device)
        for index in order.split(self.setting.batch_size):
            yield Batch(index)

    def augmented(self, index: Tensor) -> Tensor:
        """One freshly augmented view of the rows `index`."""
        return self.train_images.augmented(index, self.generator("augmentation"))

    def plain(self, index: Tensor) -> Tensor:
        """The rows `index` as they are, normalised."""
        return self.train_images.plain(index)

    def forward(self, images: Tensor, network: int = 0) -> Tensor:
        """(B, C) logits in float32, in the network's present mode and the run's precision."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.setting.precision == "bf16"):
            logits = self.networks[network](images)
        return logits.float()

    @torch.no_grad()
    def evaluation_losses(self, network: int = 0) -> Tensor:
        """(N,) cross-entropy of the un-augmented training images on their noisy labels, evaluation mode."""
        with evaluating(self.networks[network]):
            logits = [
                self.forward(self.plain(index), network)
                for index in torch.arange(len(self.labels), device=self.device).split(EVALUATION_BATCH)
            ]
        return torch.nn.functional.cross_entropy(torch.cat(logits), self.labels, reduction="none")

    def record(
        self, index: Tensor, losses: Tensor, kept: Tensor | None = None, pseudo_labels: Tensor | None = None
    ) -> None:
        """Note this epoch's per-sample losses and, if given, decisions and pseudo-labels of rows `index`."""
        self.losses[index] = losses.detach()
        if kept is not None:
            self.kept[index] = kept
            self.decided = True
        if pseudo_labels is not None:
            self.pseudo_labels[index] = pseudo_labels

    # ------------------------------------------------------------------ one epoch
    def train_epoch(self, epoch: int) -> dict[str, float]:
        """Train one epoch and return its measures. Raises FloatingPointError at a NaN or infinite loss."""
        setting, method = self.setting, self.method
        self.epoch, self.decided = epoch, False
        self._generators, self._numpy_generators = {}, {}
        self.losses = torch.full((len(self.labels),), torch.nan, device=self.device)
        self.kept = torch.ones_like(self.losses, dtype=torch.bool)
        self.pseudo_labels = self.labels.clone()
        rate = setting.learning_rate * (1.0 if epoch <= setting.drop_after else 0.1)
        for network, optimizer in zip(self.networks, self.optimizers, strict=True):
            network.train()
            optimizer.param_groups[0]["lr"] = rate
        method.start_epoch(epoch)
        step_losses = []
        for batch in method.batches(epoch):
            loss = method.loss(batch)
            optimizer = self.optimizers[batch.network]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step_losses.append(loss.detach())
        step_losses = torch.stack(step_losses).cpu()  # the epoch's one wait for the device
        if not step_losses.isfinite().all():
            step = int((~step_losses.isfinite()).nonzero()[0]) + 1
            raise FloatingPointError(
                f"{self.config.name}: the loss is {step_losses[step - 1]} at epoch {epoch}, step {step}"
            )
        return {"learning_rate": rate, "train_loss": float(step_losses.mean()), **{
            name: float(value) for name, value in method.metrics().items()}}

    def measures(self) -> dict[str, float]:
        """What this epoch's recorded losses and decisions amount to."""
        kept = self.kept if self.decided else None
        return epoch_measures(self.losses, self.noisy_labels, kept, self.pseudo_labels)

    @torch.no_grad()
    def test_accuracies(self) -> dict[str, float]:
        """Percent right on the test set: the method's prediction, and each network's and the ensemble's."""
        for network in self.networks:
            network.eval()
        predictors = {"test_accuracy": self.method.predict}
        if len(self.networks) > 1:
            for i in range(len(self.networks)):
                predictors[f"test_accuracy_network{i + 1}"] = lambda images, i=i: self.forward(images, i)
            predictors["test_accuracy_ensemble"] = lambda images: sum(
                self.forward(images, i) for i in range(len(self.networks))
            )
        rows = torch.arange(len(self.test_labels), device=self.device).split(EVALUATION_BATCH)
        right = {name: 0 for name in predictors}
        for index in rows:
            images = self.test_images.plain(index)
            for name, predict in predictors.items():
                right[name] = right[name] + (predict(images).argmax(1) == self.test_labels[index]).sum()
        return {name: 100.0 * int(count) / len(self.test_labels) for name, count in right.items()}


def train(
    config: RunConfig, store: Path, device: str = "auto", data_dir: str | None = None
) -> Iterator[dict[str, float]]:
    """Train `config` to its end, yielding each epoch's row; a run that was stopped goes on where it was.

    A finished run yields nothing. Raises InputError for bad input before anything is written.
    """
    target = resolve_device(device)
    folder = records.folder_of(store, config)
    if records.read_record(folder) is not None:
        return
    if config.setting.threads:
        torch.set_num_threads(config.setting.threads)
    torch.backends.cudnn.deterministic = True
    run = Run(config, target, data_dir)
    with records.locked(folder):
        yield from _train_locked(run, folder)


def _train_locked(run: Run, folder: Path) -> Iterator[dict[str, float]]:
    config = run.config
    progress = _Progress.resumed(run, folder)
    records.write_atomic(folder / "run.json", run_json(run, None))
    saved = time.monotonic()
    for epoch in range(progress.epoch + 1, config.setting.epochs + 1):
        started = time.perf_counter()
        row = run.train_epoch(epoch)
        trained = time.perf_counter()
        row = {"epoch": epoch} | row | run.test_accuracies()
        tested = time.perf_counter()
        row |= run.measures()
        if epoch in config.loss_epochs:
            progress.keep_losses(run, epoch)
        progress.add(row, trained - started, tested - trained, time.perf_counter() - tested)
        if time.monotonic() - saved > CHECKPOINT_SECONDS and epoch < config.setting.epochs:
            progress.save(run, folder)
            saved = time.monotonic()
        yield row
    progress.finish(run, folder)
    records.write_atomic(folder / "run.json", run_json(run, summary(progress.rows)))
    (folder / "checkpoint.pt").unlink(missing_ok=True)


@dataclasses.dataclass
class _Progress:
    """What has been measured so far; all of it is in the checkpoint, so that files never disagree."""

    epoch: int = 0
    rows: list = dataclasses.field(default_factory=list)
    timing: list = dataclasses.field(default_factory=list)
    arrays: dict = dataclasses.field(default_factory=dict)

    @classmethod
    def resumed(cls, run: Run, folder: Path) -> "_Progress":
        path = folder / "checkpoint.pt"
        if not path.exists():
            return cls()
        try:
            state = torch.load(path, map_location=run.device, weights_only=True)
        except Exception as error:
            raise InputError(f"record: {path} is corrupt ({error}); remove it to start this run again") from error
        for network, weights in zip(run.networks, state["networks"], strict=True):
            network.load_state_dict(weights)
        for optimizer, momentum in zip(run.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(momentum)
        run.method.load_state(state["method"])
        arrays = {name: array.cpu() for name, array in state["arrays"].items()}
        return cls(state["epoch"], state["rows"], state["timing"], arrays)

    def save(self, run: Run, folder: Path) -> None:
        state = {
            "epoch": self.epoch,
            "networks": [network.state_dict() for network in run.networks],
            "optimizers": [optimizer.state_dict() for optimizer in run.optimizers],
            "method": run.method.state(),
            "rows": self.rows,
            "timing": self.timing,
            "arrays": self.arrays,
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        records.write_atomic(folder / "checkpoint.pt", buffer.getvalue())

    def keep_losses(self, run: Run, epoch: int) -> None:
        """Un-augmented losses, decisions and pseudo-labels of all training samples at this epoch."""
        self.arrays[f"loss_{epoch}"] = run.evaluation_losses().half().cpu()
        if run.decided:
            self.arrays[f"kept_{epoch}"] = run.kept.cpu()
            self.arrays[f"pseudo_label_{epoch}"] = run.pseudo_labels.to(torch.int16).cpu()

    def add(self, row: dict, training: float, testing: float, measuring: float) -> None:
        self.epoch = row["epoch"]
        self.rows.append(row)
        self.timing.append(
            {"epoch": self.epoch, "train_s": training, "test_s": testing, "measure_s": measuring}
        )

    def finish(self, run: Run, folder: Path) -> None:
        from safetensors.torch import save

        records.write_atomic(folder / "epochs.csv", records.csv_text(self.rows))
        records.write_atomic(folder / "timing.csv", records.csv_text(self.timing))
        arrays = {name: array.numpy() for name, array in self.arrays.items()}
        records.write_atomic(folder / "losses.npz", records.npz_bytes(arrays))
        weights = {
            f"network{i}.{name}": value.contiguous()
            for i, network in enumerate(run.networks, 1)
            for name, value in network.state_dict().items()
        }
        records.write_atomic(folder / "weights.safetensors", save(weights))


def evaluate(
    folder: Path, device: str = "auto", data_dir: str | None = None, dataset: str | None = None
) -> dict[str, float]:
    """Test accuracies, in percent, of the weights that a finished run left in `folder`."""
    from safetensors.torch import load_file

    record = records.read_record(folder)
    path = Path(folder) / "weights.safetensors"
    if record is None or not path.is_file():
        raise InputError(f"folder: {folder} holds no finished run with weights.safetensors")
    config = config_from_dict(record.config | ({"dataset": dataset} if dataset else {}))
    run = Run(config, resolve_device(device), data_dir)
    weights = load_file(path)
    for i, network in enumerate(run.networks, 1):
        prefix = f"network{i}."
        network.load_state_dict(
            {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        )
    return run.test_accuracies()
