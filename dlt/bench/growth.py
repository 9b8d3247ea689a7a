"""How seconds and memory grow with images and window, on random images: training takes no other time on real ones."""

import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from dlt.harness.config import make_config
from dlt.harness.measures import peak_mib
from dlt.harness.run import Run
from dlt.harness.training import train_epoch

BATCH = 128
COUNTS = (5_000, 10_000, 20_000)
WINDOWS = (20, 200, 2000)  # in batches


def random_images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def growth(repeats: int) -> list[dict]:
    """Seconds of an epoch of DLT on the mini network, and peak memory of its process, by images and by window.

    The last row has four steps of profile `paper`, whose 50,000 images all lie in memory.
    """
    rows = [_apart("mini", count, WINDOWS[0], 0, repeats) for count in COUNTS]
    rows += [_apart("mini", COUNTS[0], window, 0, repeats) for window in WINDOWS[1:]]
    return [*rows, _apart("paper", 50_000, 200, 4 * BATCH, repeats)]


def _apart(*arguments) -> dict:
    """`_epochs` in a process of its own, whose peak memory is then its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_epochs, arguments)


def _epochs(profile: str, count: int, window: int, epoch_samples: int, repeats: int) -> dict:
    import sklearn.metrics  # noqa: F401  # before memory is looked at: every run loads it

    before = peak_mib()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.npz"
        test = {"test_images": random_images(10), "test_labels": np.arange(10)}
        np.savez(path, images=random_images(count), labels=np.arange(count) % 10, **test)
        config = make_config(
            profile,
            str(path),
            "dlt-window",
            "symmetric",
            0.4,
            options={"warmup_epochs": 1, "window": window},
            epoch_samples=epoch_samples,
        )
        torch.set_num_threads(config.setting.threads or torch.get_num_threads())
        run = Run(config, torch.device("cpu"))
    train_epoch(run, 1)
    for _ in range(window):  # a full window
        run.method.threshold.record(torch.rand(BATCH))
    seconds = []
    for epoch in range(2, 2 + repeats):
        started = time.perf_counter()
        train_epoch(run, epoch)
        seconds.append(time.perf_counter() - started)
    return {
        "profile": profile,
        "images": count,
        "window": window,
        "steps": run.steps_per_epoch,
        "seconds": statistics.median(seconds),
        "least": min(seconds),
        "most": max(seconds),
        "ms_per_step": 1000 * statistics.median(seconds) / run.steps_per_epoch,
        "peak_mib": peak_mib(),
        "mib_over_libraries": peak_mib() - before,
    }
