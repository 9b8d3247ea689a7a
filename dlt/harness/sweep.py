"""Many runs: those that are missing, on this machine's worker processes or on a cluster, and one progress bar."""

import contextlib
import itertools
import math
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from dlt.harness.config import RunConfig
from dlt.harness.errors import InputError, RunTaken
from dlt.harness.method import METHODS, load_method
from dlt.harness.progress import Bar, DeviceLost, End, Taken
from dlt.harness.records import find_record, folder_of, is_locked

if TYPE_CHECKING:
    from dlt.harness.cluster import Cluster

LOOK_AGAIN_SECONDS = 2  # at runs that other processes train
MEMORY_PER_WORKER = 1.5e9  # bytes, torch's libraries and a small run's data


def core_count() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def default_workers(device: str, configs: list[RunConfig]) -> int:
    """One worker for every core (or a run's share of threads) that has the memory for it; one for every GPU."""
    if device != "cpu":
        return gpu_count(device)
    threads = max((config.setting.threads or core_count() for config in configs), default=1)
    return max(1, min(len(configs), core_count() // threads, int(memory() / MEMORY_PER_WORKER)))


def gpu_count(device: str) -> int:
    """How many GPUs "cuda" is here; one where a GPU is named, "cuda:1"."""
    return 1 if ":" in device else max(1, torch.cuda.device_count())


def memory() -> float:
    """Bytes of this machine; without limit where the system does not say."""
    if not hasattr(os, "sysconf"):
        return math.inf
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@dataclass(frozen=True)
class Job:
    """Where and how runs are trained.

    `device` is "cpu" or "cuda", whose GPUs the `workers` take in turn. No epoch is begun after the `deadline` (of
    `time.time`), and until then runs go first whose `seconds`, an estimate, fit. A `cluster`
    (`dlt.harness.cluster.Cluster`) trains in place of worker processes, and places the longest runs first.
    """

    store: Path
    device: str
    workers: int
    data_dir: str | None = None
    deadline: float = math.inf
    say: Callable[[str], None] = print
    seconds: Callable[[RunConfig], float] = lambda config: 0.0
    cluster: "Cluster | None" = None


def sweep(configs: list[RunConfig], job: Job) -> dict[str, str]:
    """Train every configuration that has no finished record in the store, after the runs that they require.

    A run that fails, or a worker that dies, does not stop the others: returned are the names of the
    failed runs with the reason. Ctrl-C stops all workers; what they had saved is resumed by the next call.
    A run that was stopped by the deadline is saved, and is no failure. A run that another process trains, maybe
    on another machine that shares the store, is waited for, and taken over should that process die.
    """
    required = {run.name: run for config in _missing(configs, job) for run in config.required}
    failures = sweep([*required.values()], job) if required else {}
    lacking = {run.name for run in _missing(required.values(), job)} - failures.keys()
    rest = [c for c in configs if c.name not in failures and not lacking & {run.name for run in c.required}]
    return failures | _sweep(rest, job)


def _missing(configs: Iterable[RunConfig], job: Job) -> list[RunConfig]:
    return [config for config in configs if find_record(config, [job.store]) is None]


def _sweep(configs: list[RunConfig], job: Job) -> dict[str, str]:
    """Those of `configs` that are missing, whose required runs are there."""
    todo = _missing(configs, job)
    if not todo or time.time() >= job.deadline:
        return {}
    todo.sort(key=lambda config: (config.seed, -config.cost))  # the longest first: no worker idles for long at the end
    at_a_time = min(job.workers, len(todo))
    job.say(f"{len(todo)} of {len(configs)} runs to train, {at_a_time} at a time on {job.device}")
    bar = Bar(todo, job.say)
    try:
        return job.cluster.train(todo, job, bar) if job.cluster else _train_here(todo, job, bar)
    finally:
        bar.close()


def _train_here(todo: list[RunConfig], job: Job, bar: Bar) -> dict[str, str]:
    context = multiprocessing.get_context("spawn")
    devices = itertools.cycle(_devices(job.device))
    count = min(job.workers, len(todo))
    pool = [_Worker(context, job.store, next(devices), job.data_dir, job.deadline) for _ in range(count)]
    failures: dict[str, str] = {}
    queue = _Queue(todo, job, bar)
    try:
        while True:
            for worker in (worker for worker in pool if worker.config is None):
                if config := queue.next():
                    worker.start(config)
            busy = [worker for worker in pool if worker.config is not None]
            if not busy and queue.is_over():
                break
            idle = len(busy) < len(pool) and not queue.is_over()
            for ready in wait([worker.connection for worker in busy], LOOK_AGAIN_SECONDS if idle else None):
                worker = next(w for w in busy if w.connection is ready)
                config = worker.config
                message = worker.receive()
                if isinstance(message, dict):
                    bar.epoch(config, message)
                elif isinstance(message, Taken):
                    queue.put_back(config)
                else:
                    if isinstance(message, str):
                        failures[config.name] = message
                    bar.ended(config, job.store, message)
    finally:
        for worker in pool:
            worker.stop()
    return failures


class _Queue:
    """The runs that no worker of ours has begun; some of them may be in the hands of other processes."""

    def __init__(self, todo: list[RunConfig], job: Job, bar: Bar):
        self._todo, self._job, self._bar = todo, job, bar
        self._has_waited = False

    def is_over(self) -> bool:
        return not self._todo or time.time() >= self._job.deadline

    def next(self) -> RunConfig | None:
        """The next run that fits, else the next one: part of it is done, and the next call goes on.

        Those that others have finished leave the queue; those that they train now stay in it.
        """
        if self.is_over():
            return None
        for config in [config for config in self._todo if find_record(config, [self._job.store])]:
            self._todo.remove(config)
            self._bar.ended(config, self._job.store, End.FINISHED)
        free = [config for config in self._todo if not is_locked(folder_of(self._job.store, config))]
        if self._todo and not free and not self._has_waited:
            self._has_waited = True
            self._bar.line(f"waiting for runs that other processes train: {', '.join(c.name for c in self._todo)}")
        left = self._job.deadline - time.time()
        config = next((c for c in free if self._job.seconds(c) <= left), free[0] if free else None)
        if config:
            self._todo.remove(config)
        return config

    def put_back(self, config: RunConfig) -> None:
        """A run that another process was faster to take."""
        self._todo.append(config)


def _devices(device: str) -> list[str]:
    """What the workers take in turn: every GPU that "cuda" stands for."""
    count = gpu_count(device) if device == "cuda" else 1
    return [f"cuda:{i}" for i in range(count)] if count > 1 else [device]


class _Worker:
    """A process that trains one configuration after another; a new one takes the place of a dead one."""

    def __init__(self, context, *arguments):
        self._context, self._arguments = context, arguments
        self.config: RunConfig | None = None
        self._spawn()

    def _spawn(self) -> None:
        self.connection, remote = self._context.Pipe()
        self._process = self._context.Process(target=_work, args=(remote, *self._arguments), daemon=True)
        self._process.start()
        remote.close()

    def start(self, config: RunConfig) -> None:
        self.config = config
        with contextlib.suppress(BrokenPipeError):  # a dead process: `receive` says so
            self.connection.send(config)

    def receive(self) -> dict | End | str:
        """A row of an epoch; how the run ended; or a line saying why it failed."""
        try:
            message = self.connection.recv()
        except EOFError:
            self._process.join()
            message = DeviceLost(f"its process died (exit code {self._process.exitcode})")
        if isinstance(message, DeviceLost):
            self._process.join()
            self.connection.close()
            self._spawn()
        if not isinstance(message, dict):
            self.config = None
        return message

    def stop(self) -> None:
        self._process.terminate()
        self._process.join()
        self.connection.close()


def _work(connection: Connection, store: Path, device: str, data_dir: str | None, deadline: float) -> None:
    def report(row: dict) -> None:
        connection.send({"epoch": row["epoch"], "test_accuracy": row["test_accuracy"]})

    try:
        while True:
            how = attempt(connection.recv(), store, device, data_dir, deadline, report)
            connection.send(how)
            if isinstance(how, DeviceLost):  # the next run would fail too: another process takes it
                return
    except (EOFError, KeyboardInterrupt, BrokenPipeError):
        return


def attempt(
    config: RunConfig,
    store: Path,
    device: str,
    data_dir: str | None,
    deadline: float,
    report: Callable[[dict], None] = lambda row: None,
) -> End | str:
    """Train one run in this process until its end or the `deadline`: how it ended, or a line saying why it failed.

    `report` is given the row of every epoch.
    """
    from dlt.harness.training import train
    from dlt.harness.user_errors import is_of_device

    for method in METHODS:  # at once: a file edited during a sweep must not change its later runs
        load_method(method)
    if time.time() >= deadline:  # it took a while until here
        return End.NOT_BEGUN
    try:
        rows = train(config, store, device, data_dir)
        for row in rows:
            report(row)
            if time.time() >= deadline and row["epoch"] < config.setting.epochs:
                rows.close()  # saves
                return End.OUT_OF_TIME
        return End.FINISHED
    except RunTaken as error:
        return Taken(error)
    except (InputError, FloatingPointError) as error:
        return str(error)
    except Exception as error:
        reason = traceback.format_exc().strip()
        return DeviceLost(reason) if is_of_device(error) else reason
