"""Wrong labels of vectors: `python -m dlt clean` beside what else ranks labels, on the same features.

    python -m dlt.cleaning.comparison_vectors FOLDER [--seeds 1,2,3,4,5] [--embeddings FOLDER]

Data: scikit-learn's digits, wine and breast cancer with planted errors; and, where --embeddings names a folder with
cifar10_<network>_1000.npz (features and the rows of CIFAR-10's training set) and $DLT_DATA has cifar10n.npz, the labels
that people gave these images. Nobody is told a rate. Beside ours (`clean`) stand the rankings and the estimates of the
rate of comparison_tools.py. Writes vectors.csv, a row a tool, and rates.csv, a row a data set. Seconds are those that
the process and its children kept a core busy, so that other work on the machine does not count. Finished cases are kept
in FOLDER.
"""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dlt.cleaning.clean_vectors import clean_vectors
from dlt.cleaning.comparison import measures, to_markdown
from dlt.cleaning.comparison_tools import RANKINGS, rates
from dlt.cleaning.vectors import Vectors
from dlt.harness.datasets import data_folder
from dlt.harness.devices import device_name, resolve_device
from dlt.harness.errors import InputError, RunFailed
from dlt.harness.features import scale
from dlt.harness.label_noise import asymmetric, symmetric
from dlt.harness.measures import code_version
from dlt.harness.records import write_atomic

TABLES = ("digits", "wine", "breast_cancer")
PLANTED = (("symmetric", 0.2), ("symmetric", 0.4), ("asymmetric", 0.3), ("symmetric", 0.01), ("none", 0.0))
HUMAN = {"worse": "worse_label", "aggre": "aggre_label", "random1": "random_label1"}


def planted(seed: int) -> Iterator[tuple[str, Vectors, np.ndarray]]:
    """(name, vectors, true labels) of scikit-learn's tables; asymmetric noise turns a class into the next one."""
    from sklearn import datasets

    for name in TABLES:
        features, true = getattr(datasets, f"load_{name}")(return_X_y=True)
        classes = int(true.max()) + 1
        scaling = "unit" if name == "digits" else "standard"
        for noise, rate in PLANTED:
            labels = true.astype(np.int64)
            if noise == "symmetric":  # so that the share that ends up wrong is the rate
                labels = symmetric(true, rate * classes / (classes - 1), classes, seed)
            elif noise == "asymmetric":
                labels = asymmetric(true, rate, {label: (label + 1) % classes for label in range(classes)}, seed)
            yield f"{name} {noise}{rate:g}", _vectors(name, features, labels, scaling), true


def human(folder: Path) -> Iterator[tuple[str, Vectors, np.ndarray]]:
    """(name, vectors, true labels) of each file of embeddings in `folder`, with CIFAR-10N's labels."""
    given = np.load(data_folder(None) / "cifar10n.npz")
    for path in sorted(folder.glob("cifar10_*_1000.npz")):
        archive, network = np.load(path), path.stem.split("_")[1]
        true = given["clean_label"][archive["rows"]].astype(np.int64)
        for name, key in HUMAN.items():
            labels = given[key][archive["rows"]].astype(np.int64)
            yield f"{network} {name}", _vectors(network, archive["features"], labels, "unit"), true


def _vectors(name: str, features: np.ndarray, labels: np.ndarray, scaling: str) -> Vectors:
    names, ids = tuple(str(label) for label in np.unique(labels)), [str(row) for row in range(len(labels))]
    return Vectors(name, features.astype(np.float32), labels, names, ids, scaling, data_sha256="")


def compare(name: str, vectors: Vectors, true: np.ndarray, seed: int, output: Path) -> dict:
    """How well each tool finds the labels that are not the true ones, and its seconds; and estimates of the rate.

    {"tools": a row a tool, "rates": one row}.
    """
    import pandas

    wrong = vectors.labels != true
    folder = output / f"{name} s{seed}".replace(" ", "-")
    started = _busy()
    summary = clean_vectors(vectors, folder, "cpu", seed, {}, lambda line: None)
    seconds, estimated = {"DLT": _busy() - started}, {"DLT": summary["estimated_noise_rate"]}
    judged = pandas.read_csv(folder / "labels.csv")
    found = {"DLT": (-judged["clean_probability"].to_numpy(), judged["suspect"].to_numpy())}

    features = scale(vectors.features, vectors.features, vectors.scaling)
    for tool, rank in RANKINGS.items():
        started = _busy()
        found[tool] = rank(features, vectors.labels, seed)
        seconds[tool], estimated[tool] = _busy() - started, float(found[tool][1].mean())
    n = int(found["cleanlab"][1].sum())
    about = {"planted": name, "seed": seed, "samples": len(true), "wrong": int(wrong.sum())}
    tools = [
        about | {"n": n, "tool": tool, "rate": estimated[tool], "seconds": seconds[tool]} | measures(wrong, *ranked, n)
        for tool, ranked in found.items()
    ]
    others = rates(features, vectors.labels, seed, folder / "data" / "features" / f"{vectors.name}.npz")
    return {"tools": tools, "rates": about | others | {"judgement": estimated["DLT"]}}


def _busy() -> float:
    """Seconds of a core that this process and its children that have ended have used."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> None:
    import pandas

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for runs and results; the same command goes on")
    parser.add_argument("--seeds", default="1,2,3,4,5")
    parser.add_argument("--embeddings", type=Path)
    options = parser.parse_args()
    about = {"device": device_name(resolve_device("cpu")), "code": code_version()["commit"]}
    tools, estimates = [], []
    try:
        for seed in map(int, options.seeds.split(",")):
            for name, vectors, true in [*planted(seed), *(human(options.embeddings) if options.embeddings else [])]:
                path = options.folder / f"{name} s{seed}.json".replace(" ", "-")
                if not path.exists():
                    write_atomic(path, json.dumps(compare(name, vectors, true, seed, options.folder)))
                kept = json.loads(path.read_text())
                tools += [row | about for row in kept["tools"]]
                estimates.append(kept["rates"] | about)
                print(f"{name}, seed {seed}", flush=True)
    except (InputError, RunFailed) as error:
        raise SystemExit(f"error: {error}") from None
    for name, rows in {"vectors": tools, "rates": estimates}.items():
        text = pandas.DataFrame(rows).to_csv(index=False, float_format="%.6g")
        write_atomic(options.folder / f"{name}.csv", text)
    print(to_markdown(pandas.DataFrame(tools)))


if __name__ == "__main__":
    main()
