"""ELR+: early-learning regularisation (see `early_learning`) with two networks, weight averages and mixup.

t of one network comes from the weight average of the *other* one, on unmixed images, and is mixed as images and labels
are; above 50 classes the mixed labels are weighed by it. The numbers are those of the authors' configurations, gamma by
the step, as theirs, however many an epoch has.

Assumed: a weight average follows its network with the share 1 - gamma r(t) at every step, where
r(t) = exp(-5 (1 - t)^2) rises over the first half of training (40,000 steps in the authors' configurations), and lambda
above 50 classes over 0.4 of it; batch norms of the averages use the batch's own statistics; a network's pass is
finished before the other one's begins. What is predicted is the sum of both networks, not of their averages.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from baselines.early_learning import ELR, clamped, early_learning
from dlt.harness.method import Batch
from dlt.harness.networks import batch_statistics
from dlt.semisupervised import mixup, mixup_weight

MANY_CLASSES = 50  # above, numbers are those of CIFAR-100


def ramp(share: float) -> float:
    """From exp(-5) at 0 to 1 at `share` 1 and beyond."""
    return math.exp(-5 * (1 - min(share, 1.0)) ** 2)


class ELRPlus(ELR):
    """ELR with two networks, weight averages and mixup."""

    networks = 2

    @dataclass(frozen=True)
    class Config(ELR.Config):
        mixup_alpha: float = 1.0
        decay: float = 0.997
        """gamma of the weight averages, once it has risen."""
        decay_ramp: float = 0.5
        """The share of all epochs over which gamma rises."""
        regularizer_ramp: float = 0.0
        """The share of all epochs over which lambda rises: 0.4 above 50 classes."""

    @classmethod
    def setting_defaults(cls, run_config) -> dict:
        rise = 0.4 if run_config.num_classes > MANY_CLASSES else 0.0
        return super().setting_defaults(run_config) | {"regularizer_ramp": rise}

    @classmethod
    def check(cls, run_config, config) -> None:
        if config.mixup_alpha <= 0:
            raise ValueError(f"mixup_alpha: {config.mixup_alpha} is not above 0")

    @classmethod
    def epoch_cost(cls, epoch: int, run_config) -> float:
        """For each network a step, 1, and the other one's average, 1/3."""
        return 8 / 3

    def __init__(self, config, run):
        super().__init__(config, run)
        self.averages = [copy.deepcopy(network).requires_grad_(False) for network in run.networks]
        for network, optimizer in enumerate(run.optimizers):
            optimizer.register_step_post_hook(lambda *_, network=network: self._follow(network))

    def start_epoch(self, epoch: int) -> None:
        self.steps = 0

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Network 1's steps, then network 2's."""
        for network in range(2):
            for batch in self.run.shuffled_batches():
                yield Batch(batch.index, network)

    def loss(self, batch: Batch) -> Tensor:
        """Recorded are the losses of the second average, which teaches the first network."""
        run, config = self.run, self.config
        images, labels = run.augmented(batch.index), run.labels[batch.index]
        teacher = self.averages[1 - batch.network]
        with torch.no_grad(), batch_statistics(teacher):
            taught = run.forward(images, teacher)
        if batch.network == 0:
            run.record(batch.index, F.cross_entropy(taught, labels, reduction="none"))
        targets = self._averaged(batch, clamped(taught))

        weight = mixup_weight(config.mixup_alpha, run.numpy_generator("mixup weight"))
        partners = torch.randperm(len(images), generator=run.generator("mixup partners"), device=run.device)
        logits = run.forward(mixup(images, partners, weight), batch.network)
        one_hot, targets = F.one_hot(labels, run.num_classes).to(logits.dtype), mixup(targets, partners, weight)
        mixed = mixup(one_hot, partners, weight)
        if run.num_classes > MANY_CLASSES:
            mixed = F.normalize(mixed * targets, p=1)
        lambda_t = config.regularizer_weight * self._ramped(config.regularizer_ramp)
        return F.cross_entropy(logits, mixed) + lambda_t * early_learning(targets, clamped(logits)).mean()

    def _ramped(self, share: float) -> float:
        """Where the ramp over this share of all epochs stands; 1 where it is 0."""
        epochs = self.run.epoch - 1 + self.steps / (2 * self.run.steps_per_epoch)
        return ramp(epochs / (share * self.run.setting.epochs)) if share else 1.0

    @torch.no_grad()
    def _follow(self, network: int) -> None:
        """The weight average of a network that has just been stepped."""
        self.steps += 1
        decay = self.config.decay * self._ramped(self.config.decay_ramp)
        averages, weights = (list(one.parameters()) for one in (self.averages[network], self.run.networks[network]))
        torch._foreach_lerp_(averages, weights, 1 - decay)

    def predict(self, images: Tensor) -> Tensor:
        return self.run.forward(images, 0) + self.run.forward(images, 1)

    def state(self) -> dict:
        return super().state() | {"averages": [average.state_dict() for average in self.averages]}

    def load_state(self, state: dict) -> None:
        super().load_state(state)
        for average, weights in zip(self.averages, state["averages"], strict=True):
            average.load_state_dict(weights)
