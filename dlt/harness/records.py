"""Where runs live on disk: one folder a run, every file replaced in one step, never half written.

run.json            configuration, versions, device, label noise, result (null until it is finished)
epochs.csv          the numbers of every epoch
timing.csv          seconds: the only file that may differ between equal runs
losses.npz          per-sample losses, decisions and pseudo-labels at the listed epochs; a hard copy of each class
weights.safetensors the trained networks
checkpoint.pt       what resuming needs; gone when the run is finished
"""

import contextlib
import csv
import dataclasses
import errno
import functools
import io
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from dlt.harness.config import RunConfig, config_from_dict
from dlt.harness.errors import InputError, RunTaken
from dlt.harness.places import ROOT

LOOK_SECONDS = 0.2  # longer than another process takes to see whether a run is locked
RUNS = ROOT / "runs"
CHECKPOINTS = ROOT / "checkpoints"


def folder_of(store: Path, config: RunConfig) -> Path:
    return Path(store) / config.profile / config.name


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write to a temporary name beside `path`, fsync, rename: a reader sees the old file or the new.

    Text as UTF-8; names of files that are not keep their bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data.encode(errors="surrogateescape") if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise InputError(
                f"disk: no space left to write {path.name} ({len(data)} bytes) in {path.parent}; what was "
                "saved before is kept: free some space and give the same command again"
            ) from error
        raise


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run. The kernel frees the lock when the process dies, however it dies."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"output: {folder} cannot be made ({error.strerror})") from error
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=LOOK_SECONDS, poll_interval=LOOK_SECONDS / 10)
    except Timeout:
        raise RunTaken(f"run: {folder.name} is being trained by another process") from None
    with lock:
        yield


def is_locked(folder: Path) -> bool:
    """Whether some process is training this run now."""
    if not (folder / ".lock").exists():
        return False
    try:
        with FileLock(folder / ".lock", blocking=False):
            return False
    except Timeout:
        return True


def csv_text(rows: list[dict]) -> str:
    """Rows with the same keys as CSV; floats with six significant digits, NaN as an empty field."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow([_field(value) for value in row.values()])
    return out.getvalue()


def _field(value) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.6g}"
    return str(value)


def npz_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def npy_bytes(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


@dataclasses.dataclass(frozen=True)
class Record:
    """A finished run as its files tell it."""

    folder: Path
    run: dict  # run.json

    @functools.cached_property
    def config(self) -> RunConfig:
        return config_from_dict(self.run["config"])

    @property
    def result(self) -> dict:
        return self.run["result"]

    def epochs(self):
        """epochs.csv as a pandas DataFrame indexed by epoch."""
        return self._csv("epochs.csv")

    def timing(self):
        """timing.csv as a pandas DataFrame indexed by epoch."""
        return self._csv("timing.csv")

    @property
    def hours(self) -> float:
        """What the run took: hours of a GPU, or of CPU cores, as many as threads."""
        timing = self.timing()
        with _reading(self.folder):
            units = self.run["threads"] if self.run["device"].startswith("cpu") else 1
            return timing.to_numpy(float).sum() * units / 3600

    def losses(self) -> dict[str, np.ndarray]:
        """The arrays of losses.npz."""
        with _reading(self.folder / "losses.npz"), np.load(self.folder / "losses.npz") as file:
            return dict(file)

    def losses_at(self, epoch: int) -> np.ndarray:
        """(N,) un-augmented losses of an epoch where they were kept; InputError elsewhere."""
        losses = self.losses()
        if f"loss_{epoch}" not in losses:
            raise InputError(f"record: {self.folder} kept no losses at epoch {epoch}")
        return losses[f"loss_{epoch}"].astype(float)

    @property
    def early_and_late_losses(self) -> tuple[np.ndarray, np.ndarray]:
        """What Section 3.2 compares: of the early and of the last epoch."""
        return self.losses_at(self.config.setting.early_epoch), self.losses_at(self.config.setting.epochs)

    def _csv(self, name: str):
        import pandas  # not needed where only training happens

        with _reading(self.folder / name):
            return pandas.read_csv(self.folder / name, index_col="epoch")


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"record: {path} is missing") from None
    except (ValueError, KeyError, OSError) as error:
        raise InputError(f"record: {path} is corrupt ({error}); remove its folder to run it again") from error


def early_losses(record: Record) -> dict[int, np.ndarray]:
    """{epoch: losses (N,)} that a run kept before its learning rate fell, when noisy labels are not yet learnt."""
    last = min(record.config.setting.drop_after, record.config.setting.epochs - 1)
    kept = {int(name.removeprefix("loss_")): v for name, v in record.losses().items() if name.startswith("loss_")}
    return {epoch: kept[epoch] for epoch in sorted(kept) if epoch <= last}


def read_record(folder: Path) -> Record | None:
    """The finished record in `folder`, None if there is none; InputError if it is corrupt."""
    path = Path(folder) / "run.json"
    if not path.exists():
        return None
    with _reading(path):
        run = json.loads(path.read_text())
        if not {"config", "result"} <= run.keys():
            raise ValueError("config or result is missing")
    return Record(Path(folder), run) if run["result"] is not None else None


def find_record(config: RunConfig, stores: list[Path]) -> Record | None:
    """The finished record of `config` in the first store that has it."""
    for store in stores:
        if (record := read_record(folder_of(store, config))) is not None:
            return record
    return None
