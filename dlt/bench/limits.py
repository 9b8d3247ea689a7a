"""Where DLT that needs no rate ends: no noise, hardly any, far too much, two classes, few images.

    python -m dlt.bench.limits FOLDER [--seeds 3]

On digits: labels as they are, 1% and 80% of them replaced; and 40% replaced of the digits 3 and 8 alone, and of 100
images. Beside it plain cross-entropy, and DLT as in the paper, told the rate. Writes limits.csv; the same command goes
on where it was stopped.
"""

import argparse
from pathlib import Path

import numpy as np

from dlt.harness.config import RunConfig, make_config
from dlt.harness.datasets import load
from dlt.harness.devices import device_name, resolve_device
from dlt.harness.errors import InputError
from dlt.harness.measures import code_version
from dlt.harness.records import folder_of, npz_bytes, read_record, write_atomic
from dlt.harness.sweep import Job, default_workers, sweep

METHODS = ("ce", "dlt-window", "dlt-auto")
CASES = {  # data and the rate of symmetric noise
    "no noise": ("digits", 0.0),
    "1% replaced": ("digits", 0.01),
    "80% replaced": ("digits", 0.8),
    "two classes, 40% replaced": ("two.npz", 0.4),
    "100 images, 40% replaced": ("few.npz", 0.4),
}


def write_parts(folder: Path) -> None:
    """two.npz, the digits 3 and 8, and few.npz, 100 training images, with all test images of these classes."""
    digits = load("digits", "digits", None)
    train, test = digits.train, digits.test
    for name, classes, most in (("two.npz", (3, 8), None), ("few.npz", range(10), 100)):
        rows, test_rows = (np.flatnonzero(np.isin(part.labels, classes)) for part in (train, test))
        renamed = np.searchsorted(classes, np.arange(10))
        arrays = {
            "images": train.images[rows[:most]],
            "labels": renamed[train.labels[rows[:most]]],
            "test_images": test.images[test_rows],
            "test_labels": renamed[test.labels[test_rows]],
        }
        write_atomic(folder / name, npz_bytes(arrays))


def configs(folder: Path, seeds: int) -> dict[tuple[str, str, int], RunConfig]:
    """{(case, method, seed): run}."""
    found = {}
    for case, (data, rate) in CASES.items():
        dataset = str(folder / data) if data.endswith(".npz") else data
        for method in METHODS:
            for seed in range(1, seeds + 1):
                noise = ("symmetric", rate) if rate else ("none", 0.0)
                found[case, method, seed] = make_config("digits", dataset, method, *noise, seed=seed)
    return found


def main() -> None:
    import pandas

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for data, runs and limits.csv")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    try:
        write_parts(options.folder)
        runs = configs(options.folder, options.seeds)
        store = options.folder / "runs"
        failed = sweep([*runs.values()], Job(store, "cpu", default_workers("cpu", [*runs.values()])))
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}; the same command tries again")
    about = {"device": device_name(resolve_device("cpu")), "code": code_version()["commit"]}
    rows = []
    for (case, method, seed), config in runs.items():
        record = read_record(folder_of(store, config))
        epochs, result = record.epochs(), record.result["test_accuracy"]
        found = {"case": case, "method": method, "seed": seed, "last": result["last"], "best": result["best"]}
        found["wrong"] = record.run["label_noise"]["realised_rate"]
        found["w"] = epochs["w"].iloc[-1] if "w" in epochs else np.nan
        rows.append(found | about)
    frame = pandas.DataFrame(rows)
    write_atomic(options.folder / "limits.csv", frame.to_csv(index=False, float_format="%.6g"))
    print(frame.groupby(["case", "method"], sort=False)[["last", "best", "wrong", "w"]].mean().round(3).to_string())


if __name__ == "__main__":
    main()
