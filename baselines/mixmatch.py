"""MixMatch on the rows that a method calls labelled, and the others: Berthelot, Carlini, Goodfellow, Papernot, Oliver,
Raffel, NeurIPS 2019, as PES's authors changed it.

Two views of each image. Half a batch is unlabelled, or less where fewer samples are, and its labels are guessed; labels
of labelled rows are not refined; the mixup's alpha falls after half of the epochs:

    loss = sum_k w_k of the cross-entropy's part of class k + lambda_u ramp(t) MSE,   w_k = min(mean n / n_k, 3)
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from baselines.dividemix import CoDivideBatch
from dlt.harness.method import Batch, Method
from dlt.semisupervised import mixup, mixup_weight, ramp, sharpen


def class_weights(counts: Tensor) -> Tensor:
    """(C,) mean of the counts that are not 0, over the count of each class; at most 3, and 0 for a class of none."""
    present = counts > 0
    mean = counts.sum() / present.sum().clamp(min=1)
    return (mean / counts.clamp(min=1)).clamp(max=3) * present


class MixMatch(Method):
    """After warm-up; `divide` settles before every epoch which of its rows are labelled."""

    @dataclass(frozen=True)
    class Config:
        warmup_epochs: int = 20
        ramp_epochs: int = 16
        """lambda_u grows linearly over these epochs after warm-up."""
        unlabelled_weight: float = 5.0
        """lambda_u; 75 above 50 classes."""
        temperature: float = 0.5
        mixup_alpha: float = 4.0
        late_mixup_alpha: float = 0.75
        """After half of all epochs."""

    @classmethod
    def setting_defaults(cls, run_config) -> dict:
        return {
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

    def divide(self, labelled: Tensor) -> None:
        """The mask (rows,) of this epoch's rows that are labelled, and with it the classes' weights."""
        labels = self.run.labels[self.run.rows]
        self.labelled = labelled
        self.weights = class_weights((F.one_hot(labels, self.run.num_classes) * labelled[:, None]).sum(0).float())

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

    def mixmatch_loss(self, batch: CoDivideBatch) -> Tensor:
        run, config, count = self.run, self.config, 2 * len(batch.index)
        views = torch.cat([run.augmented(rows) for rows in [batch.index] * 2 + [batch.unlabelled] * 2 if len(rows)])
        targets = F.one_hot(run.labels[batch.index], run.num_classes).to(views.dtype).repeat(2, 1)
        if len(batch.unlabelled):
            targets = torch.cat([targets, self._guesses(views[count:])])
        alpha = config.late_mixup_alpha if run.epoch > run.setting.epochs / 2 else config.mixup_alpha
        weight = mixup_weight(alpha, run.numpy_generator("mixup weight"))
        partners = torch.randperm(len(views), generator=run.generator("mixup partners"), device=run.device)
        logits = run.forward(mixup(views, partners, weight))
        targets = mixup(targets, partners, weight)
        loss = -(self.weights * targets[:count] * logits[:count].log_softmax(1)).sum() / max(count, 1)
        if len(batch.unlabelled):
            ramped = ramp(run.epoch - 1 - config.warmup_epochs + batch.progress, config.ramp_epochs)
            lambda_t = config.unlabelled_weight * ramped
            loss = loss + lambda_t * (logits[count:].softmax(1) - targets[count:]).square().mean()
        return loss

    @torch.no_grad()
    def _guesses(self, views: Tensor) -> Tensor:
        """(R, C) the sharpened mean prediction over both views of each image, twice."""
        mean = self.run.forward(views).softmax(1).unflatten(0, (2, -1)).mean(0)
        return sharpen(mean, self.config.temperature).repeat(2, 1)
