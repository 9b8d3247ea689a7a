"""SSR: Feng, Tzimiropoulos, Patras, "SSR: An Efficient and Robust Framework for Learning with Unknown Label Noise",
BMVC 2022; here without the feature consistency of SSR+.

At the start of every epoch, from the first on, un-augmented images give features and predictions p:

    relabelling  y' = argmax p where max p > theta_r, else the label
    selection    q_c = how many of the k nearest neighbours by cosine have y' = c, over the share of all that have;
                 kept where no class beats y' in q

Training is cross-entropy on kept samples and y', every class drawn as often, with mixup over two views.

Different from the authors' code: a sample is not its own neighbour; views are the harness's, where theirs are augmented
more strongly; features are of plain images; settings are shared. Assumed: k is at most 0.4 of the mean size of a
class, as on CIFAR-100; theta_r is 0.8 from a believed noise rate of 0.6 on (theirs on CIFAR-100 from 0.5); rows are
drawn with replacement, as many an epoch as there are.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dlt.anchors import nearest_neighbours
from dlt.harness.method import Batch, Method
from dlt.harness.networks import without_head
from dlt.semisupervised import mixup, mixup_weight


def balanced_votes(nearest: Tensor, labels: Tensor, classes: int) -> Tensor:
    """(N, C) how many of the `nearest` (N, k) rows have each label, over how many of all do."""
    ones = torch.ones(nearest.shape, device=labels.device)
    counts = torch.zeros(len(nearest), classes, device=labels.device).scatter_add(1, labels[nearest], ones)
    return counts / torch.bincount(labels, minlength=classes).clamp(min=1)


def selected(votes: Tensor, labels: Tensor) -> Tensor:
    """(N,) whether no class has more of the votes (N, C) than the row's label."""
    return votes.gather(1, labels[:, None]).squeeze(1) >= votes.max(1).values


class SSR(Method):
    """Sample selection by neighbours, relabelling by confidence."""

    @dataclass(frozen=True)
    class Config:
        relabel_threshold: float = 0.9
        """theta_r; 0.8 at high noise."""
        neighbours: int = 200
        """k."""
        mixup_alpha: float = 4.0

    @classmethod
    def setting_defaults(cls, run_config) -> dict:
        return {"relabel_threshold": 0.8 if run_config.believed_rate >= 0.6 else 0.9}

    @classmethod
    def check(cls, run_config, config) -> None:
        if config.neighbours < 1:
            raise ValueError(f"neighbours: {config.neighbours} is not at least 1")
        if config.mixup_alpha <= 0:
            raise ValueError(f"mixup_alpha: {config.mixup_alpha} is not above 0")

    @classmethod
    def epoch_cost(cls, epoch: int, run_config) -> float:
        """Two views, and 1/3 for features and predictions."""
        return 7 / 3

    def start_epoch(self, epoch: int) -> None:
        run, config = self.run, self.config
        with without_head(run.networks[0]) as head, torch.no_grad():
            features = run.evaluation_logits(run.networks[0])
            logits = head(features)
        given = run.labels[run.rows]
        confidence, predicted = logits.softmax(1).max(1)
        labels = torch.where(confidence > config.relabel_threshold, predicted, given)
        neighbours = max(1, min(config.neighbours, int(0.4 * len(labels) / run.num_classes)))
        _, nearest = nearest_neighbours(features, neighbours)
        kept = selected(balanced_votes(nearest, labels, run.num_classes), labels)
        self.labels = run.labels.index_copy(0, run.rows, labels)
        self.kept, self.relabelled_share = kept, (labels != given).float().mean()
        run.record(run.rows, F.cross_entropy(logits, given, reduction="none"), kept, labels)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """As many rows as an epoch has, drawn from the kept ones with the classes in balance."""
        run, kept = self.run, self.kept if self.kept.any() else torch.ones_like(self.kept)
        labels = self.labels[run.rows]
        counts = torch.bincount(labels[kept], minlength=run.num_classes)
        chances = kept / counts[labels].clamp(min=1)
        drawn = chances.multinomial(len(labels), replacement=True, generator=run.generator("batches"))
        for index in run.train_images.ahead(run.rows[drawn].split(run.setting.batch_size)):
            yield Batch(index)

    def loss(self, batch: Batch) -> Tensor:
        run = self.run
        views = torch.cat([run.augmented(batch.index), run.augmented(batch.index)])
        targets = F.one_hot(self.labels[batch.index], run.num_classes).to(views.dtype).repeat(2, 1)
        weight = mixup_weight(self.config.mixup_alpha, run.numpy_generator("mixup weight"))
        partners = torch.randperm(len(views), generator=run.generator("mixup partners"), device=run.device)
        return F.cross_entropy(run.forward(mixup(views, partners, weight)), mixup(targets, partners, weight))

    def metrics(self) -> dict:
        return {"kept_share": self.kept.float().mean(), "relabelled_share": self.relabelled_share}
