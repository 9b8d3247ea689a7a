"""The one training loop: every method is trained, tested, recorded and resumed here."""

import contextlib
import dataclasses
import io
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from dlt.harness import distributed, records
from dlt.harness.config import RunConfig, config_from_dict
from dlt.harness.errors import InputError
from dlt.harness.measures import run_json, summary
from dlt.harness.networks import load_weights
from dlt.harness.run import Run


def resolve_device(name: str) -> torch.device:
    """The device for "auto", "cpu" or "cuda"; InputError when the one asked for is not there."""
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"device: {name!r} is not auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device: cuda was asked for, and torch sees no CUDA device here; use cpu or auto")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return distributed.own_gpu() if distributed.size() > 1 else torch.device("cuda")


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
        yield from _train_locked(run, folder, checkpoint_seconds)


def _prepared(config: RunConfig, store: Path, device: str, data_dir: str | None) -> Run | None:
    """The run before its first epoch; None if it is finished."""
    target = resolve_device(device)
    _check_processes(config)
    if records.read_record(records.folder_of(store, config)) is not None:
        return None
    _check_required(config, store)
    if config.setting.threads:
        torch.set_num_threads(config.setting.threads)
    torch.backends.cudnn.deterministic = True
    return Run(config, target, data_dir, store)


def _check_processes(config: RunConfig) -> None:
    if config.setting.compile and distributed.size() > 1:
        raise InputError("setting: compile: a run over several processes is not compiled; leave it out")
    if (expected := config.setting.processes) != distributed.size():
        raise InputError(
            f"setting: processes: {expected}, but {distributed.size()} share this run; "
            f"start it with torchrun --standalone --nproc-per-node {expected} -m dlt train"
        )


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
        row = run.train_epoch(epoch)
        trained = time.perf_counter()
        row = {"epoch": epoch} | row | run.test_accuracies()
        tested = time.perf_counter()
        row |= run.measures()
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
        if run.decided:
            self.arrays[f"kept_{epoch}"] = run.kept.cpu()
            self.arrays[f"pseudo_label_{epoch}"] = run.pseudo_labels.to(torch.int16).cpu()

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


def evaluate(
    folder: Path, device: str = "auto", data_dir: str | None = None, dataset: str | None = None
) -> dict[str, float]:
    """Test accuracies, in percent, of the weights that a finished run left in `folder`."""
    record = records.read_record(folder)
    path = Path(folder) / "weights.safetensors"
    if record is None or not path.is_file():
        raise InputError(f"folder: {folder} holds no finished run with weights.safetensors")
    if record.config.get("data_sha256") and not dataset:
        raise InputError(
            "dataset: give --dataset, the .npz file that the run was trained on (those of `clean` lie in "
            "data/ beside runs/)"
        )
    config = config_from_dict(record.config | ({"dataset": dataset} if dataset else {}))
    run = Run(config, resolve_device(device), data_dir, Path(folder).resolve().parent.parent)
    load_weights(path, run.networks)
    return run.test_accuracies()
