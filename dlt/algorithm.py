"""Algorithm 1: learning from noisy labels via dynamic loss thresholding.

Numbers in brackets are the lines of Algorithm 1. Where the paper is silent the choice is a field of
`DLT.Config`, or is said here: the window never holds the current batch; targets of kept samples are
their labels, unrefined; one mixup weight a batch; pseudo-labels are the mean prediction over the K
views, sharpened, the same for all views of an image.
"""

import contextlib
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dlt.harness.method import Batch, Method
from dlt.harness.networks import batch_statistics, evaluating
from dlt.semisupervised import (
    MIXUP_ALPHAS,
    clean_loss,
    mixup,
    mixup_partners,
    mixup_weight,
    noisy_loss,
    noisy_weight_for,
    prior_regularizer,
    ramp,
    sharpen,
)
from dlt.threshold import LastEpoch, SlideWindow, selection_proportion


class DLT(Method):
    """Dynamic loss thresholding with the last epoch (Eq. 2) or the slide window strategy (Eq. 3)."""

    noisy_loss = staticmethod(noisy_loss)  # L_noisy of Eq. 6
    trained = 0
    """The network that learns; network 0 judges [4], pseudo-labels [19, 20] and predicts: here the same one."""
    passes = 1
    """Over the rows, in an epoch after warm-up."""

    @dataclass(frozen=True)
    class Config:
        strategy: str = "window"
        """M of Algorithm 1: "window" (Eq. 3) or "last-epoch" (Eq. 2)."""
        window: int = 200
        """s, in batches."""
        warmup_epochs: int = 10
        """T_warm."""
        decay_epochs: int = 10
        """T_grad of Eq. 7, never given in the paper; Co-teaching's default."""
        views: int = 2
        """K."""
        temperature: float = 0.5
        """T of Eq. 4."""
        noisy_weight: float | None = 25.0
        """lambda_n of Eq. 6, which Algorithm 1 calls lambda_u; per setting, see NOISY_WEIGHTS. None: that of the
        estimated noise rate, which is known when the run starts."""
        regularizer_weight: float = 1.0
        """lambda_r of Eq. 6."""
        ramp_epochs: int = 16
        """lambda_n grows linearly over these epochs after warm-up, as DivideMix's; 0: the paper to the letter."""
        mixup_alpha: float = 4.0
        """Of the Beta distribution of the mixup weight; not given, DivideMix's."""
        detection: str = "plain"
        """Which loss judges [4]: that of the "plain" image or of an "augmented" view, both in evaluation mode, or the
        "training" loss of an augmented view, with the batch's own statistics: lines 4 and 6 taken as one l."""
        partners: str = "clean"
        """Rows are mixed with "clean" ones (the text of 3.1.2) or with any of the batch ("union": MixMatch)."""
        running_statistics: str = "unmixed"
        """The forwards whose images move batch norm's running statistics, by which detection and test see: the
        "unmixed" views of [19], the "mixed" ones of [21], or "all". Mixed images vary less than real ones."""

    @classmethod
    def setting_defaults(cls, run_config) -> dict:
        schedule = run_config.schedule
        return {
            "window": schedule.window,
            "warmup_epochs": schedule.warmup_epochs,
            "decay_epochs": schedule.decay_epochs,
            "ramp_epochs": schedule.ramp_epochs,
            "noisy_weight": None
            if run_config.assumed_rate == "estimated"
            else noisy_weight_for(
                run_config.num_classes, run_config.noise, run_config.believed_rate, run_config.dataset
            ),
            "mixup_alpha": MIXUP_ALPHAS.get(run_config.dataset, cls.Config.mixup_alpha),
        }

    @classmethod
    def check(cls, run_config, config) -> None:
        allowed = {
            "strategy": ("window", "last-epoch"),
            "detection": ("plain", "augmented", "training"),
            "partners": ("clean", "union"),
            "running_statistics": ("unmixed", "mixed", "all"),
        }
        for name, values in allowed.items():
            if getattr(config, name) not in values:
                raise ValueError(f"{name}: {getattr(config, name)!r} is not one of {', '.join(values)}")
        for name in ("window", "warmup_epochs", "views"):  # the last warm-up epoch fills the first window
            if getattr(config, name) < 1:
                raise ValueError(f"{name}: {getattr(config, name)} is not at least 1")
        if config.warmup_epochs >= run_config.setting.epochs:
            raise ValueError(f"warmup_epochs: {config.warmup_epochs} leave none of {run_config.setting.epochs} epochs")
        if config.warmup_epochs + config.decay_epochs > run_config.setting.epochs:
            raise ValueError(
                f"decay_epochs: {config.decay_epochs} after {config.warmup_epochs} of warm-up are more than all of "
                f"{run_config.setting.epochs} epochs"
            )
        for name in ("temperature", "mixup_alpha"):
            if getattr(config, name) <= 0:
                raise ValueError(f"{name}: {getattr(config, name)} is not above 0")

    @classmethod
    def epoch_cost(cls, epoch: int, run_config) -> float:
        """Detection 1/3, K pseudo-label forwards of 1/3 each, K training views of 1: 3.0 for K = 2."""
        config = cls.Config(**run_config.method_config)
        if epoch > config.warmup_epochs:
            return (1 + 4 * config.views) / 3
        fills_window = epoch == config.warmup_epochs and config.detection != "training"
        return 4 / 3 if fills_window else 1.0

    def __init__(self, config, run):
        super().__init__(config, run)
        self.threshold = SlideWindow(config.window) if config.strategy == "window" else LastEpoch()
        self.judge, self.step = run.compiled(self._detection_losses), run.compiled(self._step)
        self.lambda_n = config.noisy_weight
        if self.lambda_n is None:
            self.lambda_n = noisy_weight_for(run.num_classes, run.config.noise, run.assumed_rate, run.config.dataset)

    def start_epoch(self, epoch: int) -> None:
        config = self.config
        self.threshold.end_epoch()
        self.q = selection_proportion(epoch, self.run.assumed_rate, config.warmup_epochs, config.decay_epochs)
        self.steps = 0
        self.taus = []

    def loss(self, batch: Batch) -> Tensor:
        if self.run.epoch <= self.config.warmup_epochs:
            return self._warmup_loss(batch.index)
        return self._dlt_loss(batch.index)

    def _warmup_loss(self, index: Tensor) -> Tensor:
        """[5-7] Cross-entropy on one view; the last warm-up epoch fills the window for the first thresholds."""
        labels = self.run.labels[index]
        losses = F.cross_entropy(self.run.forward(self.run.augmented(index), self.trained), labels, reduction="none")
        if self.run.epoch == self.config.warmup_epochs:
            same = self.config.detection == "training"
            self.threshold.record(losses if same else self._detection_losses(self._detection_images(index), labels))
        self.run.record(index, losses)
        return losses.mean()

    def _detection_images(self, index: Tensor) -> Tensor:
        return self.run.plain(index) if self.config.detection == "plain" else self.run.augmented(index)

    @torch.no_grad()
    def _detection_losses(self, images: Tensor, labels: Tensor) -> Tensor:
        """[4] (B,) cross-entropy losses of Eq. 1 by which samples are judged."""
        training = self.config.detection == "training"
        with self._moving_statistics("unmixed") if training else evaluating(self.run.networks[0]):
            return F.cross_entropy(self.run.forward(images), labels, reduction="none")

    def _dlt_loss(self, index: Tensor) -> Tensor:
        """[4, 9-22] One step of DLT after warm-up: what it needs is drawn, what it found is noted."""
        run, config = self.run, self.config
        tau = self.threshold.threshold(self.q)
        losses = self._judging_losses(index)
        views = torch.cat([run.augmented(index) for _ in range(config.views)])
        keys = torch.rand((2, len(views)), generator=run.generator("mixup partners"), device=views.device)
        weight = mixup_weight(config.mixup_alpha, run.numpy_generator("mixup weight"))
        weights = run.scalars(weight, self._ramped_lambda_n())
        loss, clean, pseudo_labels = self.step(losses, views, run.labels[index], tau, keys, *weights)
        self.threshold.record(losses)
        self.taus.append(tau)
        run.record(index, losses, clean, pseudo_labels.argmax(1))
        self.steps += 1
        return loss

    def _judging_losses(self, index: Tensor) -> Tensor:
        """[4] The losses (B,) that tau is compared with."""
        return self.judge(self._detection_images(index), self.run.labels[index])

    def _step(self, losses, views, labels, tau, keys, weight, lambda_n) -> tuple[Tensor, ...]:
        """The loss L of Eq. 6; which `losses` are <= tau, and the pseudo-labels (B, C).

        No draw, no index that depends on the split, no wait for the device: one graph serves every batch.
        """
        run, config = self.run, self.config
        kept = losses <= tau
        pseudo_labels = self._pseudo_labels(views)
        one_hot = F.one_hot(labels, run.num_classes).to(views.dtype)
        targets = torch.where(kept[:, None], one_hot, pseudo_labels).repeat(config.views, 1)
        clean = kept.repeat(config.views)
        partners = keys[0].argsort() if config.partners == "union" else mixup_partners(clean, keys[0], keys[1])
        with self._moving_statistics("mixed"):
            logits = run.forward(mixup(views, partners, weight), self.trained)
        targets = mixup(targets, partners, weight)
        noisy = self.noisy_loss(logits, targets, ~clean)
        loss = clean_loss(logits, targets, clean) + lambda_n.float() * noisy
        return loss + config.regularizer_weight * prior_regularizer(logits.softmax(1)), kept, pseudo_labels

    @torch.no_grad()
    def _pseudo_labels(self, views: Tensor) -> Tensor:
        """[19, 20] (B, C) sharpened mean prediction over the K views (K B, ...) of each image, Eq. 4.

        All rows are predicted, with the batch's own statistics, so that shapes are fixed.
        """
        with self._moving_statistics("unmixed"):
            probabilities = self.run.forward(views).softmax(1)
        mean = probabilities.unflatten(0, (self.config.views, -1)).mean(0)
        return sharpen(mean, self.config.temperature)

    def _moving_statistics(self, images: str):
        """A context for a forward of "mixed" or "unmixed" images, in training mode."""
        moving = self.config.running_statistics in (images, "all")
        return contextlib.nullcontext() if moving else batch_statistics(self.run.networks[0])

    def _ramped_lambda_n(self) -> float:
        """lambda_n at this step."""
        done = self.steps / (self.passes * self.run.steps_per_epoch)
        return self.lambda_n * ramp(self.run.epoch - 1 - self.config.warmup_epochs + done, self.config.ramp_epochs)

    def metrics(self) -> dict:
        threshold = torch.stack(self.taus).mean() if self.taus else float("nan")
        return {"q": self.q, "threshold": threshold}

    def state(self) -> dict:
        return self.threshold.state()

    def load_state(self, state: dict) -> None:
        self.threshold.load_state(state)
