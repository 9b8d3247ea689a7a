"""From trained networks to suspicious labels."""

from pathlib import Path

import numpy as np
import torch

from dlt.harness.config import RunConfig
from dlt.harness.networks import evaluating, load_weights
from dlt.harness.records import folder_of
from dlt.harness.run import EVALUATION_BATCH, Run


@torch.no_grad()
def probabilities(config: RunConfig, store: Path, device: torch.device, part: str = "train") -> np.ndarray:
    """(N, C) float64: what the finished run `config` predicts for the images of its "train" or "test" part."""
    run = Run(config, device, store=store)
    load_weights(folder_of(store, config) / "weights.safetensors", run.networks)
    images = run.train_images if part == "train" else run.test_images
    rows = torch.arange(len(images), device=device).split(EVALUATION_BATCH)
    with evaluating(run.networks[0]):
        logits = torch.cat([run.forward(images.plain(index)) for index in rows])
    return logits.double().softmax(1).cpu().numpy()


def out_of_sample(configs: list[RunConfig], parts: list[tuple], store: Path, device: torch.device) -> np.ndarray:
    """(N, C) float64: of each row what the run predicts whose test part it was; `parts` are those of `fold_parts`."""
    predicted = [probabilities(config, store, device, "test") for config in configs]
    order = np.argsort(np.concatenate([held_out for _, held_out in parts]))
    return np.concatenate(predicted)[order]


def judge(labels: np.ndarray, predicted: np.ndarray):
    """A pandas DataFrame, a row an image, in their order: what DLT's network thinks of each given label.

    given, suggested   classes (0..C-1); suggested is the likeliest one, a label that differs from it is suspect
    clean_probability  of the given label, by the network that DLT trained
    """
    import pandas

    suggested = predicted.argmax(1)
    return pandas.DataFrame(
        {
            "given": labels,
            "suggested": suggested,
            "suspect": suggested != labels,
            "clean_probability": predicted[np.arange(len(labels)), labels],
        }
    )


def fold_parts(labels: np.ndarray, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Stratified (training rows, held-out rows), each ascending; the held-out ones of all folds are all rows."""
    from sklearn.model_selection import StratifiedKFold

    return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(labels, labels))
