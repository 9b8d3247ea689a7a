"""PES (semi): Bai, Yang, Han, Yang, Li, Mao, Niu, Liu, "Understanding and Improving Early Stopping for Learning with
Noisy Labels", NeurIPS 2021.

The last layers of a network fit wrong labels first. Training stops early, after a fifteenth of the epochs; the head is
drawn anew and trained by Adam on frozen layers (progressive early stopping). From then on, every epoch, a sample whose
label is the class predicted over two views is labelled, and MixMatch trains on both kinds, two views each:

    loss = sum_k w_k of the cross-entropy's part of class k + lambda_u ramp(t) MSE,   w_k = min(mean n / n_k, 3)

As in the authors' code: half a batch is unlabelled, or less where fewer samples are; labels of labelled rows are not
refined; the mixup's alpha falls to 0.75 after half of the epochs; the frozen layers' batch norms go on moving.
Different: the head remains in the optimiser, with its momentum (theirs leaves it out); settings are shared. Assumed:
lambda_u is 75 above 50 classes; the ramp has DLT's length; Adam's rate rises where the head has fewer steps than on
CIFAR, or it would stay where it was drawn.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from baselines.dividemix import CoDivideBatch
from dlt.harness.method import Batch, Method
from dlt.harness.networks import evaluating, without_head
from dlt.harness.run import EVALUATION_BATCH
from dlt.semisupervised import mixup, sharpen

CIFAR_STEPS = 5 * 391  # in which the authors train the new head


def class_weights(counts: Tensor) -> Tensor:
    """(C,) mean of the counts that are not 0, over the count of each class; at most 3, and 0 for a class of none."""
    present = counts > 0
    mean = counts.sum() / present.sum().clamp(min=1)
    return (mean / counts.clamp(min=1)).clamp(max=3) * present


class PES(Method):
    """Progressive early stopping, then MixMatch."""

    @dataclass(frozen=True)
    class Config:
        warmup_epochs: int = 20
        """A fifteenth of all."""
        ramp_epochs: int = 16
        """lambda_u grows linearly over these epochs after warm-up."""
        refine_epochs: int = 5
        """Of the new head."""
        refine_learning_rate: float = 1e-4
        """Of Adam in the authors' five epochs of 50,000 images, CIFAR_STEPS steps; in fewer steps as much more."""
        unlabelled_weight: float = 5.0
        """lambda_u; 75 above 50 classes."""
        temperature: float = 0.5
        mixup_alpha: float = 4.0
        late_mixup_alpha: float = 0.75
        """After half of all epochs."""

    @classmethod
    def setting_defaults(cls, run_config) -> dict:
        return {
            "warmup_epochs": max(1, round(run_config.setting.epochs / 15)),
            "ramp_epochs": run_config.schedule.ramp_epochs,
            "unlabelled_weight": 75.0 if run_config.num_classes > 50 else 5.0,
        }

    @classmethod
    def check(cls, run_config, config) -> None:
        for name in ("temperature", "mixup_alpha", "late_mixup_alpha"):
            if getattr(config, name) <= 0:
                raise ValueError(f"{name}: {getattr(config, name)} is not above 0")
        if config.warmup_epochs < 1:
            raise ValueError(f"warmup_epochs: {config.warmup_epochs} is not at least 1")

    @classmethod
    def epoch_cost(cls, epoch: int, run_config) -> float:
        """The split 2/3, guesses 1/3 at half a batch of two views, training 2; the new head's forwards once."""
        config = cls.Config(**run_config.method_config)
        if epoch <= config.warmup_epochs:
            return 1.0
        return 3.0 + (config.refine_epochs / 3 if epoch == config.warmup_epochs + 1 else 0.0)

    # ------------------------------------------------------------------ early stopping and the split
    def start_epoch(self, epoch: int) -> None:
        self.kept_share = float("nan")
        if epoch == self.config.warmup_epochs + 1:
            self._renew_head()
        if epoch > self.config.warmup_epochs:
            self._split()

    def _renew_head(self) -> None:
        """A new head, trained on the features of augmented images."""
        run, network = self.run, self.run.networks[0]
        with without_head(network) as head:
            fresh = copy.deepcopy(head)
            bound = head.in_features**-0.5
            for weights in fresh.parameters():
                torch.nn.init.uniform_(weights, -bound, bound, generator=run.generator("new head"))
            steps = self.config.refine_epochs * run.steps_per_epoch
            rate = self.config.refine_learning_rate * CIFAR_STEPS / max(steps, 1)
            optimizer = torch.optim.Adam(fresh.parameters(), lr=rate)
            for _ in range(self.config.refine_epochs):
                for batch in run.shuffled_batches():
                    with torch.no_grad():
                        features = run.forward(run.augmented(batch.index), network)
                    optimizer.zero_grad()
                    F.cross_entropy(fresh(features), run.labels[batch.index]).backward()
                    optimizer.step()
            head.load_state_dict(fresh.state_dict())

    @torch.no_grad()
    def _split(self) -> None:
        """Labelled are the rows whose label is the class predicted over two views."""
        run, predictions = self.run, []
        with evaluating(run.networks[0]):
            for index in run.train_images.ahead(run.rows.split(EVALUATION_BATCH)):
                predictions.append(sum(run.forward(run.augmented(index)).softmax(1) for _ in range(2)) / 2)
        predictions, labels = torch.cat(predictions), run.labels[run.rows]
        predicted = predictions.argmax(1)
        self.labelled = predicted == labels
        self.kept_share = self.labelled.float().mean()
        self.weights = class_weights((F.one_hot(labels, run.num_classes) * self.labelled[:, None]).sum(0).float())
        losses = F.nll_loss(predictions.clamp(min=1e-8).log(), labels, reduction="none")
        run.record(run.rows, losses, self.labelled, predicted)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Of both sets in turn, each as often as needed."""
        if epoch <= self.config.warmup_epochs:
            yield from self.run.shuffled_batches()
            return
        rows, size, steps = self.run.rows, self.run.setting.batch_size, self.run.steps_per_epoch
        labelled, others = rows[self.labelled], rows[~self.labelled]
        unlabelled_size = min(size // 2, size * len(others) // len(rows)) if len(labelled) else size
        first = self._cycled(labelled, size - unlabelled_size, steps)
        for step, (index, other) in enumerate(zip(first, self._cycled(others, unlabelled_size, steps), strict=True)):
            yield CoDivideBatch(index, 0, other, step / steps)

    def _cycled(self, rows: Tensor, size: int, steps: int) -> Iterator[Tensor]:
        """`steps` batches of the shuffled rows, which come round in another order each time."""
        generator = self.run.generator("batches")
        passes = math.ceil(size * steps / max(len(rows), 1))
        order = [rows[torch.randperm(len(rows), generator=generator, device=rows.device)] for _ in range(passes)]
        batches = torch.cat(order)[: size * steps].view(steps, size) if order else rows.new_empty((steps, 0))
        return self.run.train_images.ahead(batches.unbind())

    # ------------------------------------------------------------------ loss
    def loss(self, batch: Batch) -> Tensor:
        run = self.run
        if run.epoch > self.config.warmup_epochs:
            return self._mixmatch_loss(batch)
        logits = run.forward(run.augmented(batch.index))
        losses = F.cross_entropy(logits, run.labels[batch.index], reduction="none")
        run.record(batch.index, losses)
        return losses.mean()

    def _mixmatch_loss(self, batch: CoDivideBatch) -> Tensor:
        run, config, count = self.run, self.config, 2 * len(batch.index)
        views = torch.cat([run.augmented(rows) for rows in [batch.index] * 2 + [batch.unlabelled] * 2 if len(rows)])
        targets = F.one_hot(run.labels[batch.index], run.num_classes).to(views.dtype).repeat(2, 1)
        if len(batch.unlabelled):
            targets = torch.cat([targets, self._guesses(views[count:])])
        alpha = config.late_mixup_alpha if run.epoch > run.setting.epochs / 2 else config.mixup_alpha
        weight = run.numpy_generator("mixup weight").beta(alpha, alpha)
        weight = max(weight, 1 - weight)
        partners = torch.randperm(len(views), generator=run.generator("mixup partners"), device=run.device)
        logits = run.forward(mixup(views, partners, weight))
        targets = mixup(targets, partners, weight)
        loss = -(self.weights * targets[:count] * logits[:count].log_softmax(1)).sum() / max(count, 1)
        if len(batch.unlabelled):
            epochs = run.epoch - 1 - config.warmup_epochs + batch.progress
            ramp = min(epochs / config.ramp_epochs, 1.0) if config.ramp_epochs else 1.0
            lambda_t = config.unlabelled_weight * ramp
            loss = loss + lambda_t * (logits[count:].softmax(1) - targets[count:]).square().mean()
        return loss

    @torch.no_grad()
    def _guesses(self, views: Tensor) -> Tensor:
        """(R, C) the sharpened mean prediction over both views of each image, twice."""
        mean = self.run.forward(views).softmax(1).unflatten(0, (2, -1)).mean(0)
        return sharpen(mean, self.config.temperature).repeat(2, 1)

    def metrics(self) -> dict:
        return {"kept_share": self.kept_share}
