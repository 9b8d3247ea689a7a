"""Runs on a Ray cluster, one task a run. Ray places the tasks, and repeats those whose process or node has died.

Where a node shares the store, a run trains in it and a repeated one resumes. Elsewhere it trains in a temporary
folder, a repeated one from its start, and its files travel back to the driver, which writes them to the store.
"""

import contextlib
import logging
import math
import os
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from dlt.harness.config import RunConfig
from dlt.harness.errors import InputError
from dlt.harness.progress import Bar, End
from dlt.harness.records import ROOT, folder_of, is_locked, locked, write_atomic
from dlt.harness.sweep import Job, attempt

RETRIES = 3  # of a run whose process or node dies
RELEASE_SECONDS = 60  # a lost node's process may hold its run longer than Ray takes to start it elsewhere


class Cluster:
    """A connection to a running Ray cluster; it lasts as long as the process.

    Raises InputError where Ray is not installed or no cluster answers at `address` ("auto": the one that this
    machine belongs to). `runs_per_gpu` runs share a GPU, and its memory.
    """

    def __init__(self, address: str, runs_per_gpu: int = 1):
        try:
            import ray
        except ImportError:
            raise InputError("launcher: ray is not installed; pip install '.[cluster]'") from None
        self._ray, self._runs_per_gpu = ray, runs_per_gpu
        try:
            _check_answers(address)
            environment = {"env_vars": _environment()}
            ray.init(address, runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"address: no Ray cluster at {address!r}: {reason}") from None

    def places(self, configs: list[RunConfig], device: str) -> int:
        """How many of these runs the nodes hold at a time; InputError where no node can hold one."""
        if not configs:
            return 0
        needs = [_needs(config, device, self._runs_per_gpu) for config in configs]
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        names = {"num_cpus": "CPU", "num_gpus": "GPU"}
        need = {key: max(each[key] for each in needs) for key in names}
        held = sum(
            min(int(node.get(names[key], 0) / amount) for key, amount in need.items() if amount) for node in nodes
        )
        if not held:
            raise InputError(f"device: {device}; a run needs {need}, and no node of the Ray cluster has that")
        return held

    def train(self, configs: list[RunConfig], job: Job, bar: Bar) -> dict[str, str]:
        """Train them all, as `sweep` does: the names of the failed runs with the reason."""
        ray, store, device, failures = self._ray, Path(job.store).resolve(), job.device, {}
        data_dir = job.data_dir and str(Path(job.data_dir).expanduser().resolve())
        runs = {run.name: run for config in configs for run in [*config.required, config]}
        files = {name: ray.put(_read(folder_of(store, run))) for name, run in runs.items()}
        train_on_node = ray.remote(max_retries=RETRIES)(_train_on_node)
        with _token(store) as token:
            pending = {}
            for config in configs:
                task = train_on_node.options(**_needs(config, device, self._runs_per_gpu))
                given = {run.name: files[run.name] for run in [*config.required, config]}
                pending[task.remote(config, store, token, device, data_dir, job.deadline, given)] = config
            try:
                while pending:
                    (ready,), _ = ray.wait([*pending])
                    config = pending.pop(ready)
                    how = self._receive(ready, folder_of(store, config))
                    if isinstance(how, str):
                        failures[config.name] = how
                    bar.ended(config, store, how)
            finally:
                for task in pending:
                    ray.cancel(task)
                if pending:  # let go of their runs, so that the next call can take them
                    ray.wait([*pending], num_returns=len(pending), timeout=10)
        return failures

    def _receive(self, task, folder: Path) -> End | str:
        try:
            how, files = self._ray.get(task)
            if files:
                _write(folder, files)
        except (self._ray.exceptions.RayError, InputError) as error:
            return str(error)
        if how is End.FINISHED:
            (folder / "checkpoint.pt").unlink(missing_ok=True)
        return how


def _needs(config: RunConfig, device: str, runs_per_gpu: int) -> dict[str, float]:
    if device == "cpu":
        return {"num_cpus": config.setting.threads or 1, "num_gpus": 0}
    return {"num_cpus": 1, "num_gpus": math.floor(1e4 / runs_per_gpu) / 1e4}  # Ray counts in 1/10,000


def _check_answers(address: str) -> None:
    """OSError at once for a HOST:PORT where nobody listens: Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.rpartition("/")[2], int(port)), timeout=10).close()


def _environment() -> dict[str, str]:
    """What makes a node run the code and find the data that this process does, where they share folders."""
    path = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    data = {"DLT_DATA": os.path.abspath(os.environ["DLT_DATA"])} if "DLT_DATA" in os.environ else {}
    return {"PYTHONPATH": os.pathsep.join(path)} | data


@contextlib.contextmanager
def _token(store: Path) -> Iterator[Path]:
    """A file that only a node sees which shares the store."""
    path = store / f".{uuid.uuid4().hex}"
    write_atomic(path, "")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _train_on_node(config, store, token, device, data_dir, deadline, given) -> tuple[End | str, dict[str, bytes]]:
    """A task: how the run ended, and the files that the driver is to write.

    `given` refers to the files, as the driver has them, of the run and of those that it requires.
    """
    if token.exists():
        folder, patience = folder_of(store, config), time.monotonic() + RELEASE_SECONDS
        while is_locked(folder) and time.monotonic() < patience:
            time.sleep(1)
        how = attempt(config, store, device, data_dir, deadline)
        # A network file system may show the driver the old run.json for a while: it writes this one itself.
        return how, {"run.json": (folder / "run.json").read_bytes()} if how is End.FINISHED else {}
    import ray

    with tempfile.TemporaryDirectory() as temporary:
        for run in [*config.required, config]:
            _write(folder_of(temporary, run), ray.get(given[run.name]))
        how = attempt(config, Path(temporary), device, data_dir, deadline)
        return how, _read(folder_of(temporary, config)) if isinstance(how, End) else {}


def _read(folder: Path) -> dict[str, bytes]:
    """A run's files, {} where it has none yet."""
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*") if path.is_file()}


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """run.json comes last: with it the record counts as finished, and is whole."""
    last = [name for name in files if name == "run.json"]
    with locked(folder):
        for name in [*(files.keys() - last), *last]:
            write_atomic(folder / name, files[name])
