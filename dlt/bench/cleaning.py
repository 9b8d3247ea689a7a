"""How seconds and memory of `clean` grow with the number of vectors, on synthetic clusters."""

import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from dlt.cleaning.clean_vectors import clean_vectors
from dlt.cleaning.neighbours import VOTERS, approximate, exact
from dlt.cleaning.vectors import read_vectors
from dlt.harness.measures import peak_mib

COUNTS = {  # how many vectors
    "clean": (5_000, 20_000, 50_000),
    "exact": (5_000, 20_000, 50_000),
    "index": (5_000, 20_000, 50_000, 100_000, 300_000),
}
DIMENSIONS, LATENT, CLASSES, GROUPS = 768, 32, 10, 20  # groups: of each class
WRONG = 0.3


def clusters(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """float32 features (N, D), labels of which WRONG are another one, and the true labels.

    Groups of samples around centres in LATENT dimensions, as embeddings have few that matter, projected to DIMENSIONS,
    and noise.
    """
    draws = np.random.default_rng(0)
    group = draws.integers(0, CLASSES * GROUPS, count)
    latent = 2 * draws.standard_normal((CLASSES * GROUPS, LATENT), dtype=np.float32)[group]
    latent += draws.standard_normal((count, LATENT), dtype=np.float32)
    features = 0.5 * draws.standard_normal((count, DIMENSIONS), dtype=np.float32)
    features += latent @ draws.standard_normal((LATENT, DIMENSIONS), dtype=np.float32)
    true = group % CLASSES
    wrong = draws.random(count) < WRONG
    return features, np.where(wrong, (true + draws.integers(1, CLASSES, count)) % CLASSES, true), true


def cleaning(repeats: int) -> list[dict]:
    """Seconds and peak memory, each in a process of its own: neighbours by both searches, and the whole of `clean`.

    `right` is the share of samples whose true class has most of the neighbours' votes, or is what `clean` suggests;
    `found` that of the exact search's neighbours which the index finds too.
    """
    rows, exactly = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for what, counts in COUNTS.items():
            for count in counts:
                path = Path(folder) / f"{count}.npz"
                if not path.exists():
                    _apart(_write, path, count)
                measured = [_apart(_measure, what, path) for _ in range(repeats)]
                seconds = [row["seconds"] for row in measured]
                row = measured[0] | {"seconds": statistics.median(seconds), "least": min(seconds), "most": max(seconds)}
                found = row.pop("neighbours", None)
                if what == "exact":
                    exactly[count] = found
                if what == "index" and count in exactly:
                    row["found"] = _shared(exactly[count], found)
                rows.append({"what": what, "rows": count} | row)
                print(rows[-1], flush=True)
    return rows


def _apart(function, *arguments):
    """What the function gives in a process of its own, whose peak memory is then its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _write(path: Path, count: int) -> None:
    features, labels, true = clusters(count)
    np.savez(path, features=features, labels=labels)
    np.save(path.with_suffix(".npy"), true)


def _measure(what: str, path: Path) -> dict:
    import sklearn.neighbors  # noqa: F401  # before the clock starts: it takes longer than a small search

    true = np.load(path.with_suffix(".npy"))
    started, busy = time.perf_counter(), time.process_time()
    if what == "clean":
        output = path.with_suffix("")
        clean_vectors(read_vectors(path), output, "cpu", 1, {})
        right, row = np.load(output / "judgement.npy").argmax(1) == true, {}
    else:
        arrays = np.load(path)
        unit = arrays["features"]
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        started, busy = time.perf_counter(), time.process_time()
        found = (exact if what == "exact" else approximate)(unit, VOTERS)
        right, row = found.votes(arrays["labels"], CLASSES).argmax(1) == true, {"neighbours": found.rows}
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    return row | {"seconds": seconds, "core_seconds": busy, "peak_mib": peak_mib(), "right": float(right.mean())}


def _shared(some: np.ndarray, others: np.ndarray) -> float:
    """The share of row numbers (N, k) that are in the same row of `others` (N, k) too."""
    return float((some[:, :, None] == others[:, None]).any(2).mean())
