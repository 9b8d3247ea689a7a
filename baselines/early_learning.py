"""ELR: Liu, Niles-Weed, Razavian, Fernandez-Granda, "Early-Learning Regularization Prevents Memorization of Noisy
Labels", NeurIPS 2020.

A network learns the true labels before it memorises wrong ones. ELR keeps, for every sample, a running average of the
network's predictions, t_i <- beta t_i + (1 - beta) p_i, and adds lambda log(1 - <t_i, p_i>) to the cross-entropy: its
gradient holds the prediction where it was early on. p is clamped to [1e-4, 1 - 1e-4] and normalised again, in the
average and in the product alike.

Weights are those of the authors' configurations. Their optimisers and schedules give way to the setting's.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dlt.harness.method import Batch, Method

# (beta, lambda): up to 50 classes (CIFAR-10), above (CIFAR-100).
ELR_WEIGHTS = ((0.7, 3.0), (0.9, 7.0))
ASYMMETRIC_WEIGHTS = ((0.9, 1.0), (0.9, 7.0))


def clamped(logits: Tensor) -> Tensor:
    """(B, C) probabilities, none of them 0 or 1."""
    probabilities = logits.softmax(1).clamp(1e-4, 1 - 1e-4)
    return probabilities / probabilities.sum(1, keepdim=True)


def early_learning(targets: Tensor, probabilities: Tensor) -> Tensor:
    """(B,) log(1 - <t, p>): the lower, the nearer the prediction is to the average of earlier ones."""
    return (-(targets * probabilities).sum(1)).log1p()


class ELR(Method):
    """Cross-entropy with early-learning regularisation."""

    @dataclass(frozen=True)
    class Config:
        beta: float = 0.7
        """Of t's former value; per number of classes and noise, see ELR_WEIGHTS and ASYMMETRIC_WEIGHTS."""
        regularizer_weight: float = 3.0
        """lambda; likewise."""

    @classmethod
    def setting_defaults(cls, run_config) -> dict:
        weights = ASYMMETRIC_WEIGHTS if run_config.noise.startswith("asymmetric") else ELR_WEIGHTS
        beta, weight = weights[run_config.num_classes > 50]
        return {"beta": beta, "regularizer_weight": weight}

    def __init__(self, config, run):
        super().__init__(config, run)
        rows = (self.networks, len(run.labels), run.num_classes)
        self.targets = torch.zeros(rows, device=run.device)  # t of each network's regulariser

    def loss(self, batch: Batch) -> Tensor:
        labels = self.run.labels[batch.index]
        logits = self.run.forward(self.run.augmented(batch.index))
        losses = F.cross_entropy(logits, labels, reduction="none")
        self.run.record(batch.index, losses)
        probabilities = clamped(logits)
        targets = self._averaged(batch, probabilities.detach())
        return (losses + self.config.regularizer_weight * early_learning(targets, probabilities)).mean()

    def _averaged(self, batch: Batch, probabilities: Tensor) -> Tensor:
        """t of the rows of `batch`, with these predictions taken in."""
        targets = probabilities.lerp(self.targets[batch.network, batch.index], self.config.beta)
        self.targets[batch.network, batch.index] = targets
        return targets

    def state(self) -> dict:
        return {"targets": self.targets}

    def load_state(self, state: dict) -> None:
        self.targets = state["targets"]
