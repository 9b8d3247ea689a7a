"""Training with a loss function and nothing else: (logits (B, C), labels (B,)) -> losses (B,)."""

from torch import Tensor
from torch.nn import functional as F

from dlt.harness.method import Batch, Method


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Eq. 1."""
    return F.cross_entropy(logits, labels, reduction="none")


class CE(Method):
    """Standard cross-entropy training on the noisy labels, on one augmented view."""

    def loss(self, batch: Batch) -> Tensor:
        logits = self.run.forward(self.run.augmented(batch.index))
        losses = cross_entropy(logits, self.run.labels[batch.index])
        self.run.record(batch.index, losses)
        return losses.mean()
