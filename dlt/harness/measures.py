"""What is written down of a run: the measures of an epoch, the result, and where it came from."""

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import platform
import re
import resource
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from dlt.harness.devices import device_name
from dlt.harness.label_noise import NoisyLabels
from dlt.harness.own_code import is_own
from dlt.harness.places import IS_CHECKOUT, SOURCE

if TYPE_CHECKING:
    from dlt.harness.run import Observations

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
LAST_EPOCHS = 10  # Section 4.2: "the averaged test accuracy over the last 10 epochs"
PACKAGES = ("torchvision", "numpy", "scipy", "scikit-learn")


def epoch_measures(observed: "Observations", noisy_labels: NoisyLabels) -> dict[str, float]:
    """Loss statistics of clean and noisy samples, and how well the split found the noisy ones.

    A discarded noisy sample is a true positive. Without a split (nothing decided) what depends on it is NaN; the
    AUC needs only losses. Where the true labels are not known, all is NaN. Rows without a loss (not drawn this
    epoch) are left out. Hard copies, where there are any, are a third population in the statistics and
    counts, and right labels in precision, recall and AUC.
    """
    loss = observed.losses.float().cpu().numpy()
    seen = ~np.isnan(loss)
    loss, labels, true_labels = loss[seen], noisy_labels.labels[seen], noisy_labels.true_labels[seen]
    noisy = labels != true_labels
    hard = np.zeros_like(noisy) if noisy_labels.hard is None else noisy_labels.hard[seen]
    clean = ~noisy & ~hard
    if not noisy_labels.known:  # neither is known of any row
        clean = noisy = np.zeros_like(noisy)
    row = _loss_statistics("clean", loss[clean]) | _loss_statistics("noisy", loss[noisy])
    if hard.any():
        row |= _loss_statistics("hard", loss[hard])
    row["auc"] = _auc(noisy, loss)
    if not observed.decided or not noisy_labels.known:
        names = ["clean_kept", "noisy_kept", "hard_kept", "precision", "recall", "pseudo_label_accuracy"]
        return row | {name: np.nan for name in names if name != "hard_kept" or hard.any()}
    kept, pseudo_labels = (values.cpu().numpy()[seen] for values in (observed.kept, observed.pseudo_labels))
    found, discarded = (~kept & noisy).sum(), (~kept).sum()
    guessed = ~kept & (pseudo_labels >= 0)
    counts = {"clean_kept": int((kept & clean).sum()), "noisy_kept": int((kept & noisy).sum())}
    if hard.any():
        counts["hard_kept"] = int((kept & hard).sum())
    return (
        row
        | counts
        | {
            "precision": _ratio(found, discarded),
            "recall": _ratio(found, noisy.sum()),
            "pseudo_label_accuracy": _ratio((guessed & (pseudo_labels == true_labels)).sum(), guessed.sum()),
        }
    )


def _ratio(part, whole) -> float:
    return float(part / whole) if whole else float("nan")


def _loss_statistics(name: str, loss: np.ndarray) -> dict[str, float]:
    names = ["mean", "min", *(f"q{100 * q:02.0f}" for q in QUANTILES), "max"]
    if not len(loss):
        values = [np.nan] * len(names)
    else:
        values = [loss.mean(), loss.min(), *np.quantile(loss, QUANTILES), loss.max()]
    return {f"loss_{name}_{key}": float(value) for key, value in zip(names, values, strict=True)}


def _auc(positive: np.ndarray, score: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    if not 0 < positive.sum() < len(positive):
        return float("nan")
    return float(roc_auc_score(positive, score))


def summary(rows: list[dict]) -> dict:
    """Last (mean of the last 10 epochs) and Best (the oracle's choice) of every test accuracy, in percent."""
    result = {}
    for name in (key for key in rows[0] if key.startswith("test_accuracy")):
        values = np.array([row[name] for row in rows])
        result[name] = {
            "last": round(float(values[-LAST_EPOCHS:].mean()), 4),
            "best": round(float(values.max()), 4),
            "best_epoch": int(values.argmax()) + 1,
        }
    return result


def run_json(run, result: dict | None) -> str:
    """The text of run.json: everything needed to judge or repeat the run."""
    noisy, config = run.noisy_labels, run.config
    return json.dumps(
        {
            "name": config.name,
            "config": dataclasses.asdict(config) | {"dataset": config.dataset_name},
            "label_noise": {
                "nominal_rate": config.noise_rate,
                "realised_rate": None if config.noise == "none" and not noisy.realised else noisy.realised,
                "assumed_rate": run.assumed_rate,
                "samples": len(noisy.labels),
                **({} if noisy.hard is None else {"hard_samples": int(noisy.hard.sum())}),
                "sha256": noisy.sha256,
                **({"transition_matrix": noisy.transition_matrix().round(6).tolist()} if is_own(config.noise) else {}),
            },
            "device": device_name(run.device),
            "threads": torch.get_num_threads(),
            "precision": run.precision,
            "code": code_version(),
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,  # with its build, +cu132, which the metadata leave out
                **{name: importlib.metadata.version(name) for name in PACKAGES},
            },
            "result": result,
        },
        indent=2,
    )


@functools.cache
def code_version() -> dict[str, str]:
    """The commit, where git tells it, and a sha256 of the package's source, which it always has."""
    digest = hashlib.sha256()
    for path in sorted([*SOURCE.glob("dlt/**/*.py"), *SOURCE.glob("baselines/**/*.py")]):
        digest.update(path.relative_to(SOURCE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return {"commit": _commit(), "source_sha256": digest.hexdigest()[:16]}


def _commit() -> str:
    """ "unknown" without git, and of an installed package: a repository around it is another's."""
    if not IS_CHECKOUT:
        return "unknown"
    try:
        answer = subprocess.run(
            ["git", "-C", SOURCE, "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer.stdout.strip()


def peak_mib() -> float:
    """The most memory that this process has held.

    Linux hands its parent's ru_maxrss on to a new process, but not VmHWM; macOS has ru_maxrss alone, in bytes.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
