"""Training with a robust loss and nothing else: functions (logits (B, C), labels (B,)) -> losses (B,).

CE   Eq. 1 of the DLT paper.
SCE  Wang et al., "Symmetric Cross Entropy for Robust Learning with Noisy Labels", ICCV 2019:
     alpha CE + beta RCE, where the reverse cross-entropy swaps prediction and label, and log 0 is A.
APL  Ma et al., "Normalized Loss Functions for Deep Learning with Noisy Labels", ICML 2020: an active
     loss (normalised CE) plus a passive one (RCE or MAE).
MAE  Ghosh et al., AAAI 2017.   GCE  Zhang and Sabuncu, NeurIPS 2018.
Epsilon-softmax  Wang, Zhou, Zhai, Jiang, Liu, NeurIPS 2024: q is p with a weight m added to its largest class, nearly
     one-hot; alpha CE of q + beta MAE, where their MAE is the whole L1 distance, twice the one here.

Different from the authors' code: their optimisers, networks, gradient clipping and (APL) rotations give
way to the setting that the DLT paper imposes on all methods. The SCE paper discusses A = -4; the code of
its authors clamps the one-hot label at 1e-4, so that A = ln 1e-4 = -9.21, as here.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dlt.harness.method import Batch, Method

LOG_ZERO = math.log(1e-4)  # A
# (alpha, beta) of the authors' configurations: up to 50 classes (CIFAR-10), above (CIFAR-100).
SCE_WEIGHTS = ((0.1, 1.0), (6.0, 0.1))
# (alpha, beta, m); on 100 classes alpha is tuned for every noise rate: that of 0.4.
EPSILON_SOFTMAX = {
    "symmetric": ((0.01, 5.0, 1e5), (0.03, 1.0, 1e4)),
    "asymmetric": ((0.02, 5.0, 1e3), (0.004, 1.0, 1e2)),
    "instance": ((0.045, 10.0, 1e5), (0.03, 1.0, 1e4)),  # on 100 classes: that of symmetric noise
}
APL_WEIGHTS = {"rce": ((1.0, 1.0), (10.0, 0.1)), "mae": ((1.0, 1.0), (10.0, 1.0))}


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Eq. 1."""
    return F.cross_entropy(logits, labels, reduction="none")


def reverse_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-sum_k p_k log q_k with p clamped at 1e-7 and the one-hot q at 1e-4: 9.21 (1 - p_y) up to the clamp."""
    probabilities = logits.softmax(1).clamp(min=1e-7)
    return -LOG_ZERO * (probabilities.sum(1) - _of_label(probabilities, labels))


def normalized_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log p_y over its sum for all labels y: between 0 and 1."""
    losses = -logits.log_softmax(1)
    return _of_label(losses, labels) / losses.sum(1)


def mae(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - p_y, half of the L1 distance to the one-hot label."""
    return 1 - _of_label(logits.softmax(1), labels)


def gce(logits: Tensor, labels: Tensor, q: float = 0.7) -> Tensor:
    """(1 - p_y^q) / q: CE for q -> 0, MAE at q = 1."""
    # The clamp keeps the gradient of p^q finite where p_y underflows.
    return (1 - _of_label(logits.softmax(1), labels).clamp(min=1e-7) ** q) / q


def sce(logits: Tensor, labels: Tensor, alpha: float, beta: float) -> Tensor:
    """alpha CE + beta RCE."""
    return alpha * cross_entropy(logits, labels) + beta * reverse_cross_entropy(logits, labels)


def apl(logits: Tensor, labels: Tensor, alpha: float, beta: float, passive: str = "rce") -> Tensor:
    """alpha NCE + beta RCE, or MAE for `passive` "mae"."""
    passive_loss = {"rce": reverse_cross_entropy, "mae": mae}[passive]
    return alpha * normalized_cross_entropy(logits, labels) + beta * passive_loss(logits, labels)


def epsilon_softmax_loss(logits: Tensor, labels: Tensor, alpha: float, beta: float, m: float) -> Tensor:
    """-alpha log q_y + 2 beta (1 - p_y) with q = (p + m onehot(argmax p)) / (m + 1), kept above 1e-8 for the log."""
    probabilities = logits.softmax(1)
    largest = F.one_hot(logits.argmax(1), logits.shape[1])
    q = _of_label((probabilities + m * largest) / (m + 1), labels)
    return -alpha * q.clamp(min=1e-8).log() + 2 * beta * mae(logits, labels)


def _of_label(values: Tensor, labels: Tensor) -> Tensor:
    return values.gather(1, labels[:, None]).squeeze(1)


class RobustLoss(Method):
    """Minimise the mean of `losses` on one augmented view; what is recorded is always Eq. 1."""

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        raise NotImplementedError

    def loss(self, batch: Batch) -> Tensor:
        logits = self.run.forward(self.run.augmented(batch.index))
        labels = self.run.labels[batch.index]
        with torch.no_grad():
            self.run.record(batch.index, cross_entropy(logits, labels))
        return self.losses(logits, labels).mean()


class CE(RobustLoss):
    """Standard cross-entropy."""

    keeps_losses = True
    losses = staticmethod(cross_entropy)


class MAE(RobustLoss):
    """Mean absolute error."""

    losses = staticmethod(mae)


class GCE(RobustLoss):
    """Generalised cross-entropy."""

    @dataclass(frozen=True)
    class Config:
        q: float = 0.7

    def losses(self, logits, labels):
        return gce(logits, labels, self.config.q)


class SCE(RobustLoss):
    """Symmetric cross-entropy."""

    @dataclass(frozen=True)
    class Config:
        alpha: float = 0.1
        beta: float = 1.0

    @classmethod
    def setting_defaults(cls, run_config):
        alpha, beta = SCE_WEIGHTS[run_config.num_classes > 50]
        return {"alpha": alpha, "beta": beta}

    def losses(self, logits, labels):
        return sce(logits, labels, self.config.alpha, self.config.beta)


class APL(RobustLoss):
    """Active passive loss. The DLT paper does not say which pair; NCE + RCE is the example of its authors' code."""

    @dataclass(frozen=True)
    class Config:
        passive: str = "rce"
        alpha: float | None = None
        """Of NCE; None: APL_WEIGHTS for this number of classes and passive loss."""
        beta: float | None = None
        """Of the passive loss; None: likewise."""

    @classmethod
    def check(cls, run_config, config):
        if config.passive not in APL_WEIGHTS:
            raise ValueError(f"passive: {config.passive!r} is not one of {', '.join(APL_WEIGHTS)}")

    def losses(self, logits, labels):
        weights = APL_WEIGHTS[self.config.passive][self.run.num_classes > 50]
        alpha, beta = (
            ours if ours is not None else theirs
            for ours, theirs in zip((self.config.alpha, self.config.beta), weights, strict=True)
        )
        return apl(logits, labels, alpha, beta, self.config.passive)


class EpsilonSoftmax(RobustLoss):
    """Cross-entropy of the epsilon-softmax, and MAE."""

    @dataclass(frozen=True)
    class Config:
        alpha: float = 0.01
        beta: float = 5.0
        m: float = 1e5
        """Per noise and number of classes, as the other two: see EPSILON_SOFTMAX."""

    @classmethod
    def setting_defaults(cls, run_config):
        kind = "asymmetric" if run_config.noise.startswith("asymmetric") else run_config.noise
        alpha, beta, m = EPSILON_SOFTMAX.get(kind, EPSILON_SOFTMAX["symmetric"])[run_config.num_classes > 50]
        return {"alpha": alpha, "beta": beta, "m": m}

    def losses(self, logits, labels):
        return epsilon_softmax_loss(logits, labels, self.config.alpha, self.config.beta, self.config.m)
