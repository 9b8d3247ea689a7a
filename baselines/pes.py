"""PES (semi): Bai, Yang, Han, Yang, Li, Mao, Niu, Liu, "Understanding and Improving Early Stopping for Learning with
Noisy Labels", NeurIPS 2021.

The last layers of a network fit wrong labels first. Training stops early, after a fifteenth of the epochs; the head is
drawn anew and trained by Adam on frozen layers (progressive early stopping). From then on, every epoch, a sample whose
label is the class predicted over two views is labelled, and MixMatch trains on both kinds.

As in the authors' code the frozen layers' batch norms go on moving. Different: the head remains in the optimiser, with
its momentum (theirs leaves it out); settings are shared. lambda_u is 5, and 75 above 50 classes, as theirs on labels
that people gave (on others they take up to 150). Assumed: the warm-up, that of CIFAR-10, holds for all data; the ramp
has DLT's length; Adam's rate rises where the head has fewer steps than on CIFAR, or it would stay where it was drawn.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from baselines.mixmatch import MixMatch
from dlt.harness.method import Batch
from dlt.harness.networks import evaluating, without_head
from dlt.harness.run import EVALUATION_BATCH

CIFAR_STEPS = 5 * 391  # in which the authors train the new head


class PES(MixMatch):
    """Progressive early stopping, then MixMatch."""

    @dataclass(frozen=True)
    class Config(MixMatch.Config):
        refine_epochs: int = 5
        """Of the new head."""
        refine_learning_rate: float = 1e-4
        """Of Adam in the authors' five epochs of 50,000 images, CIFAR_STEPS steps; in fewer steps as much more."""

    @classmethod
    def setting_defaults(cls, run_config) -> dict:
        return super().setting_defaults(run_config) | {"warmup_epochs": max(1, round(run_config.setting.epochs / 15))}

    @classmethod
    def epoch_cost(cls, epoch: int, run_config) -> float:
        """The split 2/3, guesses 1/3 at half a batch of two views, training 2; the new head's forwards once."""
        config = cls.Config(**run_config.method_config)
        if epoch <= config.warmup_epochs:
            return 1.0
        return 3.0 + (config.refine_epochs / 3 if epoch == config.warmup_epochs + 1 else 0.0)

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
        self.divide(predicted == labels)
        self.kept_share = self.labelled.float().mean()
        losses = F.nll_loss(predictions.clamp(min=1e-8).log(), labels, reduction="none")
        run.record(run.rows, losses, self.labelled, predicted)

    def loss(self, batch: Batch) -> Tensor:
        run = self.run
        if run.epoch > self.config.warmup_epochs:
            return self.mixmatch_loss(batch)
        logits = run.forward(run.augmented(batch.index))
        losses = F.cross_entropy(logits, run.labels[batch.index], reduction="none")
        run.record(batch.index, losses)
        return losses.mean()

    def metrics(self) -> dict:
        return {"kept_share": self.kept_share}
