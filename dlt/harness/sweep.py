"""Many runs on one machine: worker processes, each training one run at a time, and one progress bar."""

import multiprocessing
import os
import sys
import traceback
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path

from dlt.harness.config import RunConfig
from dlt.harness.errors import InputError
from dlt.harness.method import METHODS, load_method
from dlt.harness.records import find_record

MEMORY_PER_WORKER = 1.5e9  # bytes, torch's libraries and a small run's data


def default_workers(device: str, configs: list[RunConfig]) -> int:
    """One worker for every core (or a run's share of threads) that has the memory for it; one on a GPU."""
    if device != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = max((config.setting.threads or cores for config in configs), default=1)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(len(configs), cores // threads, int(memory / MEMORY_PER_WORKER)))


def sweep(
    configs: list[RunConfig], store: Path, device: str, workers: int, data_dir: str | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, str]:  # fmt: skip
    """Train every configuration that has no finished record in `store`, after the runs that they require.

    A run that fails, or a worker that dies, does not stop the others: returned are the names of the
    failed runs with the reason. Ctrl-C stops all workers; what they had saved is resumed by the next call.
    """
    todo = [config for config in configs if find_record(config, [store]) is None]
    required = {run.name: run for config in todo for run in config.required}
    failures = sweep([*required.values()], store, device, workers, data_dir, say) if required else {}
    rest = [config for config in configs if config.name not in failures]
    return failures | _sweep(rest, store, device, workers, data_dir, say)


def _sweep(configs, store, device, workers, data_dir, say) -> dict[str, str]:
    todo = deque(config for config in configs if find_record(config, [store]) is None)
    if not todo:
        return {}
    say(f"{len(todo)} of {len(configs)} runs to train, {min(workers, len(todo))} at a time on {device}")
    context = multiprocessing.get_context("spawn")
    pool = [_Worker(context, store, device, data_dir) for _ in range(min(workers, len(todo)))]
    failures: dict[str, str] = {}
    bar = _Bar(todo, say)
    try:
        for worker in pool:
            worker.start(todo.popleft())
        while busy := [worker for worker in pool if worker.config is not None]:
            for ready in wait([worker.connection for worker in busy]):
                worker = next(w for w in busy if w.connection is ready)
                config = worker.config
                message = worker.receive()
                if isinstance(message, dict):
                    bar.epoch(config, message)
                    continue
                if message is not None:
                    failures[config.name] = message
                bar.finished(config, store, message)
                if todo:
                    worker.start(todo.popleft())
    finally:
        bar.close()
        for worker in pool:
            worker.stop()
    return failures


class _Worker:
    """A process that trains one configuration after another; a new one takes the place of a dead one."""

    def __init__(self, context, store: Path, device: str, data_dir: str | None):
        self._context, self._arguments = context, (store, device, data_dir)
        self.config: RunConfig | None = None
        self._spawn()

    def _spawn(self) -> None:
        self.connection, remote = self._context.Pipe()
        self._process = self._context.Process(target=_work, args=(remote, *self._arguments), daemon=True)
        self._process.start()
        remote.close()

    def start(self, config: RunConfig) -> None:
        self.config = config
        self.connection.send(config)

    def receive(self) -> dict | str | None:
        """A row of an epoch; None when the run is finished; a line saying why it failed."""
        try:
            message = self.connection.recv()
        except EOFError:
            self._process.join()
            message = f"its process died (exit code {self._process.exitcode})"
            self._spawn()
        if not isinstance(message, dict):
            self.config = None
        return message

    def stop(self) -> None:
        self._process.terminate()
        self._process.join()
        self.connection.close()


def _work(connection: Connection, store: Path, device: str, data_dir: str | None) -> None:
    from dlt.harness.training import train

    for method in METHODS:  # at once: a file edited during a sweep must not change its later runs
        load_method(method)
    try:
        while True:
            config = connection.recv()
            try:
                for row in train(config, store, device, data_dir):
                    connection.send({"epoch": row["epoch"], "test_accuracy": row["test_accuracy"]})
                connection.send(None)
            except (InputError, FloatingPointError) as error:
                connection.send(str(error))
            except Exception:
                connection.send(traceback.format_exc().strip())
    except (EOFError, KeyboardInterrupt, BrokenPipeError):
        return


class _Bar:
    """One bar for the whole sweep, in CE-epochs of work, and a line for every finished run."""

    def __init__(self, configs, say):
        from tqdm import tqdm

        self._say = say
        total = sum(config.cost for config in configs)
        self._bar = tqdm(total=total, unit="CE-epoch", file=sys.stderr, smoothing=0.05, dynamic_ncols=True,
                         bar_format="{percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} CE-epochs "
                                    "[{elapsed}, {remaining} left]{postfix}")  # fmt: skip
        self._done = {config.name: 0.0 for config in configs}

    def epoch(self, config: RunConfig, row: dict) -> None:
        method, _ = load_method(config.method)
        done = sum(method.epoch_cost(epoch, config) for epoch in range(1, row["epoch"] + 1))
        self._bar.set_postfix_str(f"{config.method} {row['epoch']}/{config.setting.epochs}", refresh=False)
        self._advance(config, done)

    def finished(self, config: RunConfig, store: Path, failure: str | None) -> None:
        self._advance(config, config.cost)
        if failure is not None:
            self._line(f"FAILED {config.name}: {failure}")
            return
        accuracy = find_record(config, [store]).result["test_accuracy"]
        self._line(f"{config.name}: Last {accuracy['last']:.1f}, Best {accuracy['best']:.1f}")

    def _advance(self, config: RunConfig, done: float) -> None:
        self._bar.update(done - self._done[config.name])
        self._done[config.name] = done

    def _line(self, text: str) -> None:
        self._bar.clear()
        self._say(text)
        self._bar.refresh()

    def close(self) -> None:
        self._bar.close()
