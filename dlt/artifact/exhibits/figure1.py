"""Figure 1: under 50% symmetric noise cross-entropy learns clean samples first, then the noisy ones; DLT does not."""

from pathlib import Path

import numpy as np

from dlt.artifact.exhibits.common import HALF, cifar10, found, plain_losses
from dlt.artifact.exhibits.loss_panels import METHODS, write_loss_panels
from dlt.artifact.verdicts import FAILS, HOLDS, PART, Claim
from dlt.harness.config import RunConfig

TITLE = "loss of clean and noisy samples under CE and DLT"


def runs(profile: str, seed: int) -> dict[str, RunConfig]:
    """Losses under cross-entropy and under DLT."""
    return {method: cifar10(profile, method, HALF, seed) for method in METHODS}


def write(profile: str, seeds: list[int], stores: list[Path], folder: Path) -> tuple[str, list[Path]]:
    """Cross-entropy loss under 50% symmetric noise, trained with cross-entropy and with DLT."""
    words = "Loss of clean and noisy samples, symmetric noise 0.5: mean (bold), 90% of the samples, all (shaded)"
    return "", write_loss_panels("figure1", profile, seeds, stores, folder, runs, METHODS, words)


# ---------------------------------------------------------------------- claims
# Of cross-entropy by both losses that there are: those that Section 3.2 looks at, of the images as they are, in
# evaluation mode; and those of the curves, of training on augmented views, which fall less. What only one of them says
# holds in part.
def _ce_losses(profile, seeds, stores, which: str) -> np.ndarray | None:
    """(2, 2) mean loss of clean and of noisy samples at the early or last epoch, plain and as drawn; None: not run."""
    records = found({seed: runs(profile, seed)["ce"] for seed in seeds}, stores).values()
    means = []
    for record in records:
        epoch = getattr(record.config.setting, which)
        drawn = record.epochs().loc[epoch, ["loss_clean_mean", "loss_noisy_mean"]].to_numpy(float)
        means.append([plain_losses(record, epoch), drawn])
    return np.mean(means, axis=0) if means else None


def _of_both(verdicts: list[str]) -> str:
    return verdicts[0] if len(set(verdicts)) == 1 else PART


def _clean_first(profile, seeds, stores):
    if (early := _ce_losses(profile, seeds, stores, "early_epoch")) is None:
        return None
    words = [f"clean {clean:.2f}, noisy {noisy:.2f}, {noisy / clean:.2f} times" for clean, noisy in early]
    verdicts = [HOLDS if noisy > 1.5 * clean else FAILS for clean, noisy in early]
    return _of_both(verdicts), "early epoch: {}; as drawn, of augmented views, {}".format(*words)


def _fits_noisy_labels(profile, seeds, stores):
    early, late = (_ce_losses(profile, seeds, stores, which) for which in ("early_epoch", "epochs"))
    if early is None:
        return None
    shares = late[:, 1] / early[:, 1]
    words = [f"early epoch {first[1]:.2f}, last {last[1]:.2f}" for first, last in zip(early, late, strict=True)]
    verdicts = [HOLDS if share < 0.5 else PART if share < 0.9 else FAILS for share in shares]
    return _of_both(verdicts), "noisy samples' mean loss: {}; as drawn {}".format(*words)


def _alike_in_the_end(profile, seeds, stores):
    if (late := _ce_losses(profile, seeds, stores, "epochs")) is None:
        return None
    words = [f"clean {clean:.2f}, noisy {noisy:.2f}" for clean, noisy in late]
    verdicts = [HOLDS if noisy < 1.5 * clean else FAILS for clean, noisy in late]
    return _of_both(verdicts), "last epoch: {}; as drawn {}".format(*words)


def _dlt_avoids_fitting(profile, seeds, stores):
    """By the detection losses, which are recorded after warm-up."""
    records = found({seed: runs(profile, seed)["dlt-window"] for seed in seeds}, stores).values()
    if not records:
        return None
    first, last = [], []
    for record in records:
        losses = record.epochs()["loss_noisy_mean"]
        first.append(losses.loc[record.config.method_config["warmup_epochs"] + 1])
        last.append(losses.iloc[-1])
    words = f"noisy samples' mean loss: first epoch after warm-up {np.mean(first):.2f}, last {np.mean(last):.2f}"
    return HOLDS if np.mean(last) >= np.mean(first) else FAILS, words


CLAIMS = (
    Claim(
        "1, Figure 1a",
        "clean samples are fitted first: noisy ones have notably larger (1.5 times) losses early",
        "figure1",
        _clean_first,
    ),
    Claim(
        "1, Figure 1a",
        "cross-entropy ends up fitting the noisy labels (their loss falls to half of the early one)",
        "figure1",
        _fits_noisy_labels,
    ),
    Claim(
        "1, Figure 1a",
        "in the end clean and noisy samples' losses are alike (less than 1.5 times)",
        "figure1",
        _alike_in_the_end,
    ),
    Claim(
        "1, Figure 1b",
        "DLT avoids fitting label noise (the noisy samples' loss does not fall after warm-up)",
        "figure1",
        _dlt_avoids_fitting,
    ),
)
