"""The one training loop: every method is trained, tested, recorded and resumed here."""

import contextlib
import dataclasses
import io
import json
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from dlt.harness import distributed, records
from dlt.harness.arrays import sha256_of
from dlt.harness.config import RunConfig
from dlt.harness.devices import resolve_device
from dlt.harness.errors import InputError
from dlt.harness.measures import epoch_measures, run_json, summary
from dlt.harness.method import Method, load_method
from dlt.harness.networks import load_weights
from dlt.harness.own_code import is_own, line_of, sha256_of_file
from dlt.harness.own_noise import load_noise
from dlt.harness.run import EVALUATION_BATCH, Run
from dlt.harness.user_errors import TRACEBACK, in_one_line


def train(
    config: RunConfig,
    store: Path,
    device: str = "auto",
    data_dir: str | None = None,
    checkpoint_seconds: float = 10,
) -> Iterator[dict[str, float]]:
    """Train `config` to its end, yielding each epoch's row; a run that was stopped goes on where it was.

    The runs that it requires must be finished in `store`. A finished run yields nothing. At most
    `checkpoint_seconds` and an epoch of work are lost by a kill, none by closing this generator; when the
    checkpoints were written changes no number. Raises InputError for bad input before anything is written,
    FloatingPointError at a NaN or infinite loss. Of several processes all yield the rows, and the first one
    writes.
    """
    folder = records.folder_of(store, config)
    with distributed.together():
        run = _prepared(config, store, device, data_dir)
    if run is None:
        return
    if distributed.size() > 1:
        run.parallel = distributed.Parallel(run.networks, torch.zeros(1, *run.train_images.shape, device=run.device))
    with contextlib.ExitStack() as stack:
        with distributed.together():
            if distributed.rank() == 0:
                stack.enter_context(records.locked(folder))
                _check_disk(run, folder)
            if records.read_record(folder) is not None:  # by another process, since we last looked
                return
        yield from _train_locked(run, folder, checkpoint_seconds)


def _prepared(config: RunConfig, store: Path, device: str, data_dir: str | None) -> Run | None:
    """The run before its first epoch; None if it is finished."""
    target = resolve_device(device)
    _check_processes(config)
    _check_unedited(config)
    folder = records.folder_of(store, config)
    if records.read_record(folder) is not None:
        return None
    _check_required(config, store)
    if config.setting.threads:
        torch.set_num_threads(config.setting.threads)
    torch.backends.cudnn.deterministic = True
    for part in (torch.backends.cuda.matmul, torch.backends.cudnn.conv):  # fp32 is fp32: cuDNN's own choice is TF32
        part.fp32_precision = "ieee"
    with in_one_line(config, folder):
        return Run(config, target, data_dir, store)


def _check_processes(config: RunConfig) -> None:
    if config.setting.compile and distributed.size() > 1:
        raise InputError("setting: compile: a run over several processes is not compiled; leave it out")
    if (expected := config.setting.processes) != distributed.size():
        raise InputError(
            f"setting: processes: {expected}, but {distributed.size()} share this run; "
            f"start it with torchrun --standalone --nproc-per-node {expected} -m dlt train"
        )


def _check_unedited(config: RunConfig) -> None:
    """InputError where code of the user's own is no more what the run was named after."""
    own = ((config.method, config.method_sha256, load_method), (config.noise, config.noise_sha256, load_noise))
    for name, sha256, loaded in own:
        if sha256 and sha256_of_file(loaded(name)) != sha256:
            raise InputError(f"run: the file of {name} was edited since {config.name} got its name")


def _check_required(config: RunConfig, store: Path) -> None:
    for required in config.required:
        folder = records.folder_of(store, required)
        if records.read_record(folder) is None:
            raise InputError(f"run: {config.method} requires {required.name}, which is not finished in {store}")
        if not (folder / "weights.safetensors").is_file():
            raise InputError(
                f"run: {config.method} requires {required.name}, whose weights.safetensors is not in {folder}; "
                "remove this folder to train it again"
            )


def _check_disk(run: Run, folder: Path) -> None:
    """Weights, momentum and one temporary copy of both must fit, and a little for the tables."""
    weights = sum(value.nbytes for network in run.networks for value in network.state_dict().values())
    needed, free = 4 * weights + 10 * 2**20, shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(f"disk: {folder} has {free >> 20} MiB free, and this run needs {needed >> 20} MiB")


def _train_locked(run: Run, folder: Path, checkpoint_seconds: float) -> Iterator[dict[str, float]]:
    config = run.config
    with distributed.together():
        progress = _Progress.resumed(run, folder)
        if distributed.rank() == 0:
            records.write_atomic(folder / "run.json", run_json(run, None))
    saved = time.monotonic()
    for epoch in range(progress.epoch + 1, config.setting.epochs + 1):
        started = time.perf_counter()
        with in_one_line(config, folder, run.method.loss):
            row = train_epoch(run, epoch)
            trained = time.perf_counter()
            row = {"epoch": epoch} | row | test_accuracies(run)
        tested = time.perf_counter()
        row |= epoch_measures(run.observed, run.noisy_labels)
        if epoch in config.loss_epochs and not config.setting.epoch_samples:
            progress.keep_losses(run, epoch)
        progress.add(row, trained - started, tested - trained, time.perf_counter() - tested)
        if time.monotonic() - saved >= checkpoint_seconds and epoch < config.setting.epochs:
            progress.save(run, folder)
            saved = time.monotonic()
        try:
            yield row
        except GeneratorExit:  # whoever reads the rows stops here
            progress.save(run, folder)
            raise
    with distributed.together():
        if distributed.rank() == 0:
            progress.finish(run, folder)
            records.write_atomic(folder / "run.json", run_json(run, summary(progress.rows)))
            for name in ("checkpoint.pt", TRACEBACK):
                (folder / name).unlink(missing_ok=True)


def train_epoch(run: Run, epoch: int) -> dict[str, float]:
    """Train one epoch and return its measures. Raises FloatingPointError at a NaN or infinite loss."""
    setting, method = run.setting, run.method
    run.begin_epoch(epoch)
    rate = setting.learning_rate * (1.0 if epoch <= setting.drop_after else 0.1)
    for network, optimizer in zip(run.networks, run.optimizers, strict=True):
        network.train()
        optimizer.param_groups[0]["lr"] = rate
    method.start_epoch(epoch)
    step_losses = []
    for batch in method.batches(epoch):
        loss = method.loss(batch)
        _check_scalar(loss, run)
        optimizer = run.optimizers[batch.network]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step_losses.append(loss.detach())
    if run.parallel:
        run.parallel.merge_statistics()
    step_losses = torch.stack(step_losses).cpu()  # the epoch's one wait for the device
    if not step_losses.isfinite().all():
        step = int((~step_losses.isfinite()).nonzero()[0]) + 1
        raise FloatingPointError(
            f"{run.config.name}: the loss is {step_losses[step - 1]} at epoch {epoch}, step {step}{_place(run)}"
        )
    return {
        "learning_rate": rate,
        "train_loss": float(step_losses.mean()),
        **{name: float(value) for name, value in method.metrics().items()},
    }


def _place(run: Run) -> str:
    """ " (my_method.py:8)", where the loss of the user's own method is written; nothing for ours."""
    return f" ({line_of(run.method.loss)})" if is_own(run.config.method) else ""


def _check_scalar(loss, run: Run) -> None:
    """InputError for what cannot be minimised: it comes from a method of the user's own."""
    if isinstance(loss, Tensor) and loss.ndim == 0 and loss.requires_grad:
        return
    found = type(loss).__name__
    if isinstance(loss, Tensor):
        found = f"a tensor of shape {tuple(loss.shape)}" + ("" if loss.requires_grad else " without gradient")
    given = f"{type(run.method).__name__}.loss{_place(run)} gave {found}"
    raise InputError(f"method: {given}; it must give a scalar tensor with gradient")


@torch.no_grad()
def test_accuracies(run: Run) -> dict[str, float]:
    """Percent right on the test set: the method's prediction, and each network's and the ensemble's."""
    for network in run.networks:
        network.eval()
    rows = torch.arange(len(run.test_labels), device=run.device).split(EVALUATION_BATCH)
    right = defaultdict(int)
    for index in run.test_images.ahead(rows):
        for name, logits in _predictions(run, run.test_images.plain(index)).items():
            right[name] = right[name] + (logits.argmax(1) == run.test_labels[index]).sum()
    return {name: 100.0 * int(count) / len(run.test_labels) for name, count in right.items()}


def _predictions(run: Run, images: Tensor) -> dict[str, Tensor]:
    """(B, C) logits by whose they are; no network sees the images twice unless the method predicts otherwise."""
    logits = [run.forward(images, i) for i in range(len(run.networks))]
    own = type(run.method).predict is not Method.predict
    found = {"test_accuracy": run.method.predict(images) if own else logits[0]}
    if len(logits) > 1:
        found |= {f"test_accuracy_network{i}": values for i, values in enumerate(logits, 1)}
        found["test_accuracy_ensemble"] = sum(logits)
    return found


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
        _check_same_kind(run.device, folder)
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
        if distributed.rank() > 0:  # whose state is that of rank 0
            return
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
        if run.observed.decided:
            self.arrays[f"kept_{epoch}"] = run.observed.kept.cpu()
            self.arrays[f"pseudo_label_{epoch}"] = run.observed.pseudo_labels.to(torch.int16).cpu()

    def add(self, row: dict, training: float, testing: float, measuring: float) -> None:
        self.epoch = row["epoch"]
        self.rows.append(row)
        self.timing.append({"epoch": self.epoch, "train_s": training, "test_s": testing, "measure_s": measuring})

    def finish(self, run: Run, folder: Path) -> None:
        from safetensors.torch import save

        records.write_atomic(folder / "epochs.csv", records.csv_text(self.rows))
        records.write_atomic(folder / "timing.csv", records.csv_text(self.timing))
        arrays = {name: array.numpy() for name, array in self.arrays.items()} | run.examples
        records.write_atomic(folder / "losses.npz", records.npz_bytes(arrays))
        weights = {
            f"network{i}.{name}": value.contiguous()
            for i, network in enumerate(run.networks, 1)
            for name, value in network.state_dict().items()
        }
        records.write_atomic(folder / "weights.safetensors", save(weights))


def _check_same_kind(device: torch.device, folder: Path) -> None:
    """InputError where a run was begun on the other kind of device: its second half would not be that of either."""
    begun = folder / "run.json"
    begun_on = json.loads(begun.read_text())["device"] if begun.exists() else device.type
    if begun_on.startswith("cpu") != (device.type == "cpu"):
        raise InputError(
            f"device: {folder.name} was begun on {begun_on}, not on {device.type}; go on there, or remove its folder "
            "to begin again"
        )


def evaluate(
    folder: Path, device: str = "auto", data_dir: str | None = None, dataset: str | None = None
) -> dict[str, float]:
    """Test accuracies, in percent, of the weights that a finished run left in `folder`."""
    record = records.read_record(folder)
    path = Path(folder) / "weights.safetensors"
    if record is None or not path.is_file():
        raise InputError(f"folder: {folder} holds no finished run with weights.safetensors")
    if record.config.data_sha256 and not dataset:
        raise InputError(
            "dataset: give --dataset, the .npz file that the run was trained on (those of `clean` lie in "
            "data/ beside runs/)"
        )
    if dataset and (not Path(dataset).is_file() or sha256_of(dataset) != record.config.data_sha256):
        raise InputError(f"dataset: {dataset} is not the .npz file that the run in {folder} was trained on")
    config = dataclasses.replace(record.config, dataset=dataset or record.config.dataset)
    run = Run(config, resolve_device(device), data_dir, Path(folder).resolve().parent.parent)
    load_weights(path, run.networks)
    return test_accuracies(run)
