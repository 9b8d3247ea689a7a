"""MLNT: Li, Wong, Zhao, Kankanhalli, "Learning to Learn from Noisy Labeled Data", CVPR 2019; "Meta-Learning" in
Table 3, where it is quoted: it costs 18 times what cross-entropy costs.

Before a network takes a step, M steps are tried from where it stands, each with labels of the batch made noisier: half
of the rows get the label of one of their 10 nearest rows of the batch, in the features of a network trained by
cross-entropy before. Whatever it would be taught, it should stay where a teacher, the average of its weights, is:

    loss = CE(y) + alpha(t) / M sum_m KL(teacher || network - eta grad CE(y_m)),   alpha(t) rising to 1

As in the authors' code, which is for Clothing1M: KL is averaged over rows and classes; the teacher has the batch's own
statistics. On CIFAR-10 it begins as a copy after a 60th of the training and keeps 0.99 of itself a step, 0.999 once
alpha has risen, after a 15th; here to the power that makes its memory the same share of the training. eta is the
learning rate of the start, as on CIFAR-10 (0.2). Different: the tried steps are constants for the gradient (first
order); the network trained by cross-entropy is its last state; the teacher predicts; one pass, where the paper
iterates; settings are shared. Assumed: training on CIFAR-10 is 300 epochs, of which these shares are 5 and 20.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from dlt.harness.config import ce_config
from dlt.harness.method import Batch, Method
from dlt.harness.networks import batch_statistics, evaluating, without_head

CIFAR_STEPS = 300 * 391  # for which 0.99 and 0.999 are meant


def perturbed(labels: Tensor, features: Tensor, share: float, neighbours: int, generator: torch.Generator) -> Tensor:
    """(B,) labels of which a random share is that of one of the row's nearest other rows of (B, D) features."""
    distances = torch.cdist(features, features).fill_diagonal_(torch.inf)
    count = min(neighbours, len(labels) - 1)
    if count == 0:
        return labels
    nearest = distances.topk(count, dim=1, largest=False).indices
    keys = torch.rand((2, len(labels)), generator=generator, device=labels.device)
    chosen = nearest.gather(1, (keys[0] * count).long()[:, None]).squeeze(1)
    return torch.where(keys[1].argsort() < int(share * len(labels)), labels[chosen], labels)


class MLNT(Method):
    """Network 0 is the teacher, network 1 learns."""

    networks = 2

    @dataclass(frozen=True)
    class Config:
        perturbations: int = 10
        """M."""
        perturbed_share: float = 0.5
        neighbours: int = 10
        start: float = 1 / 60
        """The share of all steps before consistency counts."""
        rise: float = 1 / 15
        """The share of all steps after which it counts in full."""

    @classmethod
    def check(cls, run_config, config) -> None:
        for name in ("perturbations", "neighbours"):
            if getattr(config, name) < 1:
                raise ValueError(f"{name}: {getattr(config, name)} is not at least 1")
        if not 0 <= config.start < config.rise <= 1:
            raise ValueError(f"rise: {config.rise} is not above start, {config.start}, and at most 1")

    @classmethod
    def requires(cls, run_config):
        return ce_config(run_config)

    @classmethod
    def epoch_cost(cls, epoch: int, run_config) -> float:
        """A step, 1; teacher and features 1/3 each; of every perturbation a gradient, 2/3, and a step."""
        config = cls.Config(**run_config.method_config)
        if epoch <= config.start * run_config.setting.epochs:
            return 1.0
        return (5 + 5 * config.perturbations) / 3

    def __init__(self, config, run):
        super().__init__(config, run)
        teacher, network = run.networks
        teacher.load_state_dict(network.state_dict())
        teacher.requires_grad_(False)
        self.pretrained: nn.Module | None = None

    def start_epoch(self, epoch: int) -> None:
        if self.pretrained is None:
            self.pretrained = self.run.required_network(self.requires(self.run.config)).requires_grad_(False)
        self.steps = (epoch - 1) * self.run.steps_per_epoch

    def batches(self, epoch: int) -> Iterator[Batch]:
        for batch in self.run.shuffled_batches():
            yield Batch(batch.index, 1)

    def loss(self, batch: Batch) -> Tensor:
        run, config = self.run, self.config
        share = self.steps / (run.setting.epochs * run.steps_per_epoch)
        images, labels = run.augmented(batch.index), run.labels[batch.index]
        self._follow(share)
        self.steps += 1
        logits = run.forward(images, 1)
        losses = F.cross_entropy(logits, labels, reduction="none")
        run.record(batch.index, losses)
        if share < config.start:
            return losses.mean()
        alpha = math.exp(-5 * (1 - min((share - config.start) / (config.rise - config.start), 1)) ** 2)
        return losses.mean() + alpha * self._inconsistency(images, labels, logits)

    @torch.no_grad()
    def _follow(self, share: float) -> None:
        """The teacher is the network itself until consistency counts, then an average of its weights."""
        teacher, network = self.run.networks
        if share < self.config.start:
            teacher.load_state_dict(network.state_dict())
            return
        steps = self.run.setting.epochs * self.run.steps_per_epoch
        keep = (0.99 if share < self.config.rise else 0.999) ** (CIFAR_STEPS / steps)
        for kept, new in zip(teacher.parameters(), network.parameters(), strict=True):
            kept.lerp_(new, 1 - keep)

    def _inconsistency(self, images: Tensor, labels: Tensor, logits: Tensor) -> Tensor:
        """The mean divergence from the teacher of the networks that the perturbed labels would give."""
        run, config, network = self.run, self.config, self.run.networks[1]
        with torch.no_grad():
            taught = run.forward(images, 0).softmax(1)
            with evaluating(self.pretrained), without_head(self.pretrained):
                features = run.forward(images, self.pretrained)
        weights, total = dict(network.named_parameters()), 0.0
        for _ in range(config.perturbations):
            draws = run.generator("perturbed labels")
            wrong = perturbed(labels, features, config.perturbed_share, config.neighbours, draws)
            slopes = torch.autograd.grad(F.cross_entropy(logits, wrong), [*weights.values()], retain_graph=True)
            tried = {
                name: value - run.setting.learning_rate * slope
                for (name, value), slope in zip(weights.items(), slopes, strict=True)
            }
            with batch_statistics(network):
                stepped = run.forward(images, partial(functional_call, network, tried))
            total = total + F.kl_div(stepped.log_softmax(1), taught, reduction="none").mean()
        return total / config.perturbations
