"""Planted label errors: `python -m dlt clean` beside cleanlab, with the same network and budget.

    python -m dlt.cleaning.comparison FOLDER [--seeds 3] [--planted symmetric0.2,human-worse --profile mini]

cleanlab (`pip install .[compare]`) gets probabilities out of sample from plain cross-entropy training in 5 folds, of
as many epochs as make the same work as ours. Both rank all labels. Compared are the average precision of the rankings,
precision, recall and F1 of what each flags by itself, and precision and recall of the first n labels of both rankings,
n being what cleanlab flags. Writes comparison.csv and comparison.md.
"""

import argparse
import itertools
import re
from pathlib import Path

import numpy as np

from dlt.cleaning.clean import Request, clean
from dlt.cleaning.from_scratch import METHOD
from dlt.cleaning.suspects import fold_parts, out_of_sample
from dlt.harness.config import make_config
from dlt.harness.datasets import load
from dlt.harness.devices import device_name, resolve_device
from dlt.harness.errors import InputError, RunFailed
from dlt.harness.images import Dataset
from dlt.harness.label_noise import HUMAN_NOISES
from dlt.harness.measures import code_version
from dlt.harness.records import npz_bytes, write_atomic
from dlt.harness.run import noisy_labels
from dlt.harness.settings import SETTINGS
from dlt.harness.sweep import Job, default_workers, sweep

PLANTED = "symmetric0.2,symmetric0.4,asymmetric0.3"
FOLDS = 5
MEASURES = {
    "average_precision": "average precision",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "precision_at_n": "precision at n",
    "recall_at_n": "recall at n",
}


def compare(profile: str, planted: str, seed: int, folder: Path) -> list[dict]:
    """Both tools on the profile's training images with planted errors: a row a tool."""
    import pandas

    noise, rate = (planted, 0) if planted in HUMAN_NOISES else re.fullmatch(r"([a-z-]*)(.*)", planted).groups()
    name = next((name for of, name in SETTINGS if of == profile), profile)
    like = make_config(profile, name, "ce", noise, float(rate or 0), seed=seed)
    dataset = load(like.dataset, profile)
    noisy = noisy_labels(dataset, like)
    wrong = noisy.labels != noisy.true_labels
    folder = Path(folder) / f"{profile}-{planted}-s{seed}"
    path = folder / "planted.npz"
    write_atomic(path, npz_bytes({"images": dataset.train.images, "labels": noisy.labels}))

    clean(Request(path, folder / "ours", profile, seed=seed))
    judged = pandas.read_csv(folder / "ours" / "labels.csv")
    archive = folder / "ours" / "data" / profile / "planted.npz"
    dlt = make_config(profile, str(archive), METHOD, "none", seed=seed)
    epochs = round(dlt.cost / (FOLDS - 1))  # an epoch of all folds is FOLDS - 1 epochs of all images
    probability = _out_of_sample(profile, dataset, noisy.labels, seed, folder, epochs)
    theirs, issues = cleanlab_issues(noisy.labels, probability)

    n = int(issues.sum())
    ours = -judged["clean_probability"].to_numpy(), judged["suspect"].to_numpy()
    tools = {"DLT": ours, "cleanlab": (theirs, issues)}
    about = {
        "profile": profile,
        "planted": planted,
        "seed": seed,
        "wrong": int(wrong.sum()),
        "n": n,
        "ce_epochs": dlt.cost,
        "fold_epochs": epochs,
    }
    return [about | {"tool": tool} | measures(wrong, *found, n) for tool, found in tools.items()]


def _out_of_sample(profile, dataset: Dataset, labels, seed, folder, epochs: int) -> np.ndarray:
    """(N, C) probabilities of plain cross-entropy networks, each for the fifth that it was not trained on."""
    parts, configs = fold_parts(labels, FOLDS, seed), []
    budget = {"epochs": epochs, "drop_after": epochs // 2}
    images = dataset.train.images
    for i, (rows, held_out) in enumerate(parts, 1):
        path = folder / "folds" / f"fold{i}.npz"
        arrays = {"images": images[rows], "labels": labels[rows]}
        arrays |= {"test_images": images[held_out], "test_labels": labels[held_out]}
        write_atomic(path, npz_bytes(arrays))
        configs.append(make_config(profile, str(path), "ce", "none", seed=seed, loss_epochs=(), **budget))
    device = resolve_device("auto")
    store = folder / "folds" / "runs"
    if failures := sweep(configs, Job(store, device.type, default_workers(device.type, configs))):
        raise InputError(str(failures))
    return out_of_sample(configs, parts, store, device)


def cleanlab_issues(labels: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """cleanlab's score of every label, higher is worse, and what it flags, by its defaults."""
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        raise InputError("cleanlab: it is not installed; pip install '.[compare]'") from None
    return -get_label_quality_scores(labels, probability), find_label_issues(labels, probability, n_jobs=1)


def measures(wrong: np.ndarray, score: np.ndarray, flagged: np.ndarray, n: int) -> dict:
    """How well the labels that are `wrong` (N,) are found: by rank of `score`, as `flagged`, and among the first n."""
    from sklearn.metrics import average_precision_score

    first = np.argsort(-score, kind="stable")[:n]
    hits = int((flagged & wrong).sum())
    return {
        "flagged": int(flagged.sum()),
        "average_precision": float(average_precision_score(wrong, score)) if wrong.any() else float("nan"),
        "precision": hits / max(flagged.sum(), 1),
        "recall": hits / max(wrong.sum(), 1),
        "f1": 2 * hits / max(flagged.sum() + wrong.sum(), 1),
        "precision_at_n": float(wrong[first].mean()) if n else 0.0,
        "recall_at_n": float(wrong[first].sum() / max(wrong.sum(), 1)),
    }


def to_markdown(frame) -> str:
    """Means over seeds, a row a tool and setting."""
    head = ["planted", "tool", "seeds", "wrong", "flagged", *MEASURES.values()]
    lines = [head, ["---", "---", *["---:"] * (len(head) - 2)]]
    for (planted, tool), part in frame.groupby(["planted", "tool"], sort=False):
        mean = part.mean(numeric_only=True)
        lines.append(
            [
                planted,
                tool,
                str(len(part)),
                f"{mean['wrong']:.0f}",
                f"{mean['flagged']:.0f}",
                *(f"{100 * mean[name]:.1f}" for name in MEASURES),
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main() -> None:
    import pandas

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for runs and results; the same command goes on")
    parser.add_argument("--profile", default="digits")
    parser.add_argument("--planted", default=PLANTED)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error(f"seeds: {options.seeds} is not at least 1")
    about = {"device": device_name(resolve_device("auto")), "code": code_version()["commit"]}
    cases = itertools.product(options.planted.split(","), range(1, options.seeds + 1))
    try:
        rows = [row | about for case in cases for row in compare(options.profile, *case, options.folder)]
    except (InputError, RunFailed) as error:
        raise SystemExit(f"error: {error}") from None
    frame = pandas.DataFrame(rows)
    write_atomic(options.folder / "comparison.csv", frame.to_csv(index=False, float_format="%.6g"))
    write_atomic(options.folder / "comparison.md", to_markdown(frame))
    print(to_markdown(frame))


if __name__ == "__main__":
    main()
