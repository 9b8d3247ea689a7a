"""Wrong labels of vectors: `python -m dlt clean` beside what else ranks labels, on the same features.

    python -m dlt.cleaning.comparison_vectors FOLDER [--seeds 5] [--embeddings FOLDER]

Data: scikit-learn's digits, wine and breast cancer with planted errors; and, where --embeddings names a folder with
cifar10_<network>_1000.npz (features and the rows of CIFAR-10's training set) and $DLT_DATA has cifar10n.npz, the labels
that people gave these images. Nobody is told a rate. Beside ours (`clean`): cleanlab on out-of-fold probabilities of
logistic regression, and the votes of the 15 nearest neighbours. Writes vectors.csv and vectors.md.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dlt.cleaning.clean_vectors import clean_vectors
from dlt.cleaning.comparison import FOLDS, cleanlab_issues, measures, to_markdown
from dlt.cleaning.neighbours import nearest
from dlt.cleaning.vectors import Vectors
from dlt.harness.datasets import data_folder
from dlt.harness.errors import InputError, RunFailed
from dlt.harness.features import scale
from dlt.harness.label_noise import asymmetric, symmetric
from dlt.harness.measures import code_version, device_name
from dlt.harness.records import write_atomic
from dlt.harness.training import resolve_device

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


def compare(name: str, vectors: Vectors, true: np.ndarray, seed: int, output: Path, device: str) -> list[dict]:
    """A row a tool: how well it finds the labels that are not the true ones, and its seconds."""
    import pandas

    wrong = vectors.labels != true
    started = time.perf_counter()
    summary = clean_vectors(vectors, output / f"{name} s{seed}".replace(" ", "-"), device, seed, {}, lambda line: None)
    judged = pandas.read_csv(output / f"{name} s{seed}".replace(" ", "-") / "labels.csv")
    tools = {"DLT": (-judged["clean_probability"].to_numpy(), judged["suspect"].to_numpy())}
    seconds = {"DLT": time.perf_counter() - started}
    rates = {"DLT": summary["estimated_noise_rate"]}

    features = scale(vectors.features, vectors.features, vectors.scaling)
    for tool, rank in {"cleanlab": logistic_regression, "neighbours": neighbours}.items():
        started = time.perf_counter()
        tools[tool] = rank(features, vectors.labels, seed)
        seconds[tool], rates[tool] = time.perf_counter() - started, float(tools[tool][1].mean())
    n = int(tools["cleanlab"][1].sum())
    about = {"planted": name, "seed": seed, "samples": len(true), "wrong": int(wrong.sum()), "n": n}
    return [
        about | {"tool": tool, "rate": rates[tool], "seconds": seconds[tool]} | measures(wrong, *found, n)
        for tool, found in tools.items()
    ]


def logistic_regression(features: np.ndarray, labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    model = LogisticRegression(C=0.01, max_iter=2000)  # in cleanlab's favour: of 1, 0.1, 0.01, 0.001 the best here
    return cleanlab_issues(labels, cross_val_predict(model, features, labels, cv=folds, method="predict_proba"))


def neighbours(features: np.ndarray, labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    votes = nearest(features).votes(labels, int(labels.max()) + 1)
    return -votes[np.arange(len(labels)), labels], votes.argmax(1) != labels


def main() -> None:
    import pandas

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for runs and results; the same command goes on")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--embeddings", type=Path)
    options = parser.parse_args()
    device = resolve_device("cpu")
    about = {"device": device_name(device), "code": code_version()["commit"]}
    rows = []
    try:
        for seed in range(1, options.seeds + 1):
            for case in [*planted(seed), *(human(options.embeddings) if options.embeddings else [])]:
                rows += [row | about for row in compare(*case, seed, options.folder, "cpu")]
                print(f"{case[0]}, seed {seed}", flush=True)
    except (InputError, RunFailed) as error:
        raise SystemExit(f"error: {error}") from None
    frame = pandas.DataFrame(rows)
    write_atomic(options.folder / "vectors.csv", frame.to_csv(index=False, float_format="%.6g"))
    write_atomic(options.folder / "vectors.md", to_markdown(frame))
    print(to_markdown(frame))


if __name__ == "__main__":
    main()
