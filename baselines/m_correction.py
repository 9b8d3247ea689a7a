"""M-correction: Arazo, Ortego, Albert, O'Connor, McGuinness, "Unsupervised Label Noise Modeling and Loss
Correction", ICML 2019.

The cross-entropy losses of all training samples, scaled to [0, 1], follow a mixture of two beta
distributions; the one of high losses holds the noisy samples, and B, its posterior at a sample's loss, is
the probability that this sample's label is wrong. B corrects the loss: of the target of a sample the share
B is not its label y but the network's own prediction z (bootstrapping). Two of its variants:

M-DYR-H    Mixup of weight lambda ~ Beta(32, 32), images and targets alike; z is hard: the predicted class.
MD-DYR-SH  Images are mixed in proportion to their probabilities of being clean, targets half and half; z is
           soft, at a temperature that falls from 1 to 0.001, where it is hard. Before it, `guided_epochs`
           mix images in the same way and weight the labels by lambda, without bootstrapping.

Bootstrapping adds the KL divergence of the batch's mean prediction from the uniform prior. Until it starts,
6 epochs after the first drop of the learning rate, training is plain mixup. These are the authors' epochs
(6, 5 of guided mixup, 89 of cooling, out of 300), shrunk with the number of epochs in the short profiles.

As in the authors' code: losses are tracked on augmented views; B is that of the batch's present losses, in
evaluation mode, under the mixture fitted at the start of the epoch; predictions are made in training mode,
so that batch norm's running statistics also see the unmixed images.

Different from the authors' code: optimiser and schedule are those that the DLT paper imposes on all
methods, so that bootstrapping starts at epoch 156, the sixth of the lower rate; their scheduler steps at the
beginning of an epoch, so that their epoch 106 is the seventh. They track losses and fit the mixture after
every epoch; before bootstrapping nothing reads it, so it is not done. B is computed before the batch's
training forwards, not after. The regulariser counts all classes. A component's variance is kept above 1e-8,
below which only losses fall that are all but equal: such samples count as clean.

DLT does not name the variant it reports. Its CIFAR-10 numbers are nearest to M-DYR-H in the authors' README,
its CIFAR-100 numbers to MD-DYR-SH: hence the default by the number of classes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dlt.harness.method import Batch, Method
from dlt.harness.networks import evaluating
from dlt.semisupervised import mixup, prior_regularizer

EM_STEPS = 10
BINS = 100  # of the table of posteriors
PERCENTILES = (0.05, 0.95)  # losses outside are outliers: they take no part in the fit


class BetaMixture:
    """w_0 Beta(alpha_0, beta_0) + w_1 Beta(alpha_1, beta_1) on scaled losses; component 1 holds the noisy samples.

    `alpha`, `beta` and `weight` are (2, 1) float64 tensors on the device of the losses.
    """

    def fit(self, losses: Tensor) -> "BetaMixture":
        """Expectation maximisation, by the method of moments, on (N,) losses; FloatingPointError at a NaN."""
        losses = torch.as_tensor(losses).double()
        if not losses.isfinite().all():
            raise FloatingPointError(
                f"M-correction: {(~losses.isfinite()).sum()} of {len(losses)} losses are not finite"
            )
        low, high = (losses.quantile(share) for share in PERCENTILES)
        self.low, self.scale = low + 1e-5, (high - low - 1e-5).clamp(min=0) + 1e-6
        x = self._scaled(losses[(losses >= low) & (losses <= high)]).clamp(1e-4, 1 - 1e-4)
        self.alpha, self.beta, self.weight = losses.new_tensor([[[1], [2]], [[2], [1]], [[0.5], [0.5]]])
        for _ in range(EM_STEPS):
            responsibility = self._joint(x).clamp(min=1e-12)
            responsibility = responsibility / responsibility.sum(0)
            total = responsibility.sum(1, keepdim=True)
            mean = (responsibility * x).sum(1, keepdim=True) / total
            variance = (responsibility * (x - mean).square()).sum(1, keepdim=True) / total
            self.alpha = mean * (mean * (1 - mean) / variance.clamp(min=1e-8) - 1)
            self.beta = self.alpha * (1 - mean) / mean
            self.weight = total / len(x)
        self._tabulate()
        return self

    def noisy_probability(self, losses: Tensor) -> Tensor:
        """(B,) posterior of the noisy component at (B,) losses, read from the table: nothing waits for the device."""
        index = (BINS * self._scaled(losses)).long()
        return self.table[index.clamp(0, BINS - 1)]  # a NaN has no index, and must not stop the device

    def _scaled(self, losses: Tensor) -> Tensor:
        x = (losses - self.low) / self.scale
        return torch.where(x <= 0, 0.001, torch.where(x >= 1, 0.999, x))

    def _joint(self, x: Tensor) -> Tensor:
        """(2, N) weighted densities of both components at (N,) scaled losses."""
        log_beta = self.alpha.lgamma() + self.beta.lgamma() - (self.alpha + self.beta).lgamma()
        return self.weight * ((self.alpha - 1) * x.log() + (self.beta - 1) * (-x).log1p() - log_beta).exp()

    def _tabulate(self) -> None:
        """The posterior of the noisy component over `BINS` points; it cannot fall again above its highest value."""
        points = torch.linspace(1e-12, 1 - 1e-12, BINS, dtype=self.alpha.dtype, device=self.alpha.device)
        joint = self._joint(points)
        posterior = joint[1] / (joint.sum(0) + 1e-12)
        beyond = torch.arange(BINS, device=points.device) >= posterior.argmax()
        self.table = torch.where(beyond, posterior.max(), posterior).float()


def corrected_targets(labels: Tensor, predictions: Tensor, noisy: Tensor) -> Tensor:
    """(B, C) targets (1 - B) y + B z from one-hot labels y, predictions z and noisy probabilities B (B,)."""
    return labels.lerp(predictions, noisy[:, None])


def clean_shares(noisy: Tensor, partners: Tensor) -> Tensor:
    """(B,) weight of each row against its partner: its clean probability over the sum of both."""
    clean = 1 - noisy
    return clean / (clean + clean[partners])


class MCorrection(Method):
    """Mixup, then mixup of targets corrected by a beta mixture.

    A resumed run needs no state: the mixture is fitted anew at the start of every epoch that uses it.
    """

    @dataclass(frozen=True)
    class Config:
        variant: str = "M-DYR-H"
        """Up to 50 classes; "MD-DYR-SH" above."""
        mixup_alpha: float = 32.0
        regularizer_weight: float = 1.0
        bootstrap_epoch: int = 156
        """The first epoch that uses the mixture."""
        guided_epochs: int = 5
        """Of MD-DYR-SH: epochs of guided mixup before bootstrapping."""
        cooling_epochs: int = 89
        """Of MD-DYR-SH: epochs over which the temperature falls to 0.001."""

        def stage(self, epoch: int) -> str:
            if epoch < self.bootstrap_epoch:
                return "mixup"
            guided = self.variant == "MD-DYR-SH" and epoch < self.bootstrap_epoch + self.guided_epochs
            return "guided" if guided else "bootstrapping"

        def temperature(self, epoch: int) -> float:
            """Of MD-DYR-SH's soft predictions: one step down an epoch."""
            step = epoch - self.bootstrap_epoch - self.guided_epochs
            return float(np.linspace(1, 0.001, self.cooling_epochs)[min(step, self.cooling_epochs - 1)])

    @classmethod
    def setting_defaults(cls, run_config) -> dict:
        setting = run_config.setting
        bootstrap, guided, cooling = (max(1, round(epochs * setting.epochs / 300)) for epochs in (6, 5, 89))
        return {
            "variant": "MD-DYR-SH" if run_config.num_classes > 50 else "M-DYR-H",
            "bootstrap_epoch": setting.drop_after + bootstrap,
            "guided_epochs": guided,
            "cooling_epochs": cooling,
        }

    @classmethod
    def check(cls, run_config, config) -> None:
        if run_config.noise.startswith("asymmetric"):
            raise ValueError(
                f"noise: {run_config.noise!r}; M-correction is designed for symmetric noise, "
                "and the paper reports it only there"
            )
        if config.variant not in ("M-DYR-H", "MD-DYR-SH"):
            raise ValueError(f"variant: {config.variant!r} is not one of M-DYR-H, MD-DYR-SH")
        if config.mixup_alpha <= 0:
            raise ValueError(f"mixup_alpha: {config.mixup_alpha} is not above 0")
        least = {"regularizer_weight": 0, "bootstrap_epoch": 1, "guided_epochs": 0, "cooling_epochs": 1}
        for name, value in least.items():
            if getattr(config, name) < value:
                raise ValueError(f"{name}: {getattr(config, name)} is not at least {value}")

    @classmethod
    def epoch_cost(cls, epoch: int, run_config) -> float:
        """The step 1; the mixture 1/3 to track all losses and 1/3 for the batches'; predictions 1/3."""
        stage = cls.Config(**run_config.method_config).stage(epoch)
        return {"mixup": 1.0, "guided": 5 / 3, "bootstrapping": 2.0}[stage]

    def start_epoch(self, epoch: int) -> None:
        self.stage = self.config.stage(epoch)
        self.noisy_share = float("nan")
        if self.stage != "mixup":
            batches = self.run.train_images.ahead(self.run.rows.split(self.run.setting.batch_size))
            losses = torch.cat([self._evaluation_losses(self.run.augmented(index), index) for index in batches])
            self.mixture = BetaMixture().fit(losses)
            self.noisy_share = (self.mixture.noisy_probability(losses) > 0.5).float().mean()

    @torch.no_grad()
    def _evaluation_losses(self, images: Tensor, index: Tensor) -> Tensor:
        """(B,) cross-entropy of `images`, views of the rows `index`, in evaluation mode."""
        with evaluating(self.run.networks[0]):
            return F.cross_entropy(self.run.forward(images), self.run.labels[index], reduction="none")

    def loss(self, batch: Batch) -> Tensor:
        """Recorded are the losses of the predictions, else those behind B, else (plain mixup) of the mixed images."""
        run, config, index = self.run, self.config, batch.index
        images, labels = run.augmented(index), run.labels[index]
        targets = F.one_hot(labels, run.num_classes).float()
        partners = torch.randperm(len(index), generator=run.generator("mixup partners"), device=run.device)
        image_weight = target_weight = run.numpy_generator("mixup weight").beta(config.mixup_alpha, config.mixup_alpha)

        if self.stage != "mixup":
            losses = self._evaluation_losses(images, index)
            noisy = self.mixture.noisy_probability(losses).clamp(1e-4, 1 - 1e-4)
            run.record(index, losses, kept=noisy <= 0.5)
            if config.variant == "MD-DYR-SH":
                image_weight = clean_shares(noisy, partners)[:, None, None, None]
        if self.stage == "bootstrapping":
            with torch.no_grad():
                logits = run.forward(images)
            classes = logits.argmax(1)
            run.record(index, F.cross_entropy(logits, labels, reduction="none"), pseudo_labels=classes)
            if config.variant == "MD-DYR-SH":
                predictions, target_weight = (logits / config.temperature(run.epoch)).softmax(1), 0.5
            else:
                predictions = F.one_hot(classes, run.num_classes).float()
            targets = corrected_targets(targets, predictions, noisy)

        logits = run.forward(mixup(images, partners, image_weight))
        loss = F.cross_entropy(logits, mixup(targets, partners, target_weight))
        if self.stage == "mixup":
            run.record(index, F.cross_entropy(logits.detach(), labels, reduction="none"))
        if self.stage == "bootstrapping":
            loss = loss + config.regularizer_weight * prior_regularizer(logits.softmax(1))
        return loss

    def metrics(self) -> dict:
        """`noisy_share`: of the training samples, by the mixture; NaN before there is one."""
        return {"noisy_share": self.noisy_share}
