"""Ours, on top of Algorithm 1: DLT that needs no rate.

What the paper leaves to the user is the w of Eq. 7, and what it lets judge is the network as the last step left it,
whose accuracy swings from epoch to epoch while the learning rate is high. Here

a teacher, the average of the network's weights over the steps, judges [4], pseudo-labels [19, 20] and predicts. It
pseudo-labels in training mode, so that its running statistics are its own, of unmixed views;

an epoch is two passes of one view (K = 1) in place of one pass of two: as much work, twice as many steps. The first
judges, the second takes its losses;

w is estimated anew before every epoch from the teacher's detection losses of the last epochs, by the rule of
`estimate_from_margins`. Where w is known better, as from nearest neighbours in a space of good features,
`rate = "assumed"` leaves it at that;

q of Eq. 7 falls to 1 - w in a third of T_grad: labels that the estimate calls wrong need not be learnt in between.

All else is Algorithm 1. Never mixed with the paper's rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dlt.algorithm import DLT
from dlt.harness.method import Batch
from dlt.noise_rate import estimate_from_mean_margins, log_odds
from dlt.semisupervised import clean_loss, noisy_loss, noisy_weight_for
from dlt.threshold import selection_proportion

NOISY_LOSSES = {"squared": noisy_loss, "cross-entropy": clean_loss}


class CalibratedDLT(DLT):
    """DLT (Slide Window) with a teacher and a w of its own; network 0 is the teacher, network 1 learns."""

    networks = 2
    trained = 1

    @dataclass(frozen=True)
    class Config(DLT.Config):
        views: int = 1
        passes: int = 2
        """Over the rows, in an epoch after warm-up."""
        average: float = 0.99
        """The share that the teacher keeps of its weights at a step; 0: it is the network itself."""
        average_warmup: int = 10
        """At most (1 + t) / (average_warmup + t) is kept at step t, so that a short training does not end with much
        of the weights that it began with; 1: no bound."""
        rate: str = "epochs"
        """w of Eq. 7: from the losses of the last "epochs", or the "assumed" one, as in the paper."""
        rate_epochs: int = 5
        """Over so many epochs losses are averaged for the estimate."""
        noisy_loss: str = "squared"
        """L_noisy: the "squared" error of Eq. 6, or the "cross-entropy" to the pseudo-labels, for a linear network."""

    @classmethod
    def setting_defaults(cls, run_config) -> dict:
        defaults = super().setting_defaults(run_config)
        if run_config.profile == "features":
            own = {"noisy_loss": "cross-entropy", "noisy_weight": 0.1, "mixup_alpha": 1.0, "partners": "union"}
            own |= {"rate": "assumed", "views": 2, "passes": 1}
            own |= {"average": 0.95, "average_warmup": 1}  # few steps an epoch
            return defaults | own
        # lambda_n: that of the estimate, epoch by epoch.
        return defaults | {"decay_epochs": max(1, run_config.schedule.decay_epochs // 3), "noisy_weight": None}

    @classmethod
    def check(cls, run_config, config) -> None:
        super().check(run_config, config)
        for name, values in {"rate": ("epochs", "assumed"), "noisy_loss": tuple(NOISY_LOSSES)}.items():
            if getattr(config, name) not in values:
                raise ValueError(f"{name}: {getattr(config, name)!r} is not one of {', '.join(values)}")
        if not 0 <= config.average < 1:
            raise ValueError(f"average: {config.average} is outside [0, 1)")
        for name in ("average_warmup", "rate_epochs", "passes"):
            if getattr(config, name) < 1:
                raise ValueError(f"{name}: {getattr(config, name)} is not at least 1")

    @classmethod
    def epoch_cost(cls, epoch: int, run_config) -> float:
        """Detection 1/3, K pseudo-label forwards of 1/3 and K training views of 1 a pass: 3.0 for two passes, K = 1."""
        config = cls.Config(**run_config.method_config)
        if epoch <= config.warmup_epochs:
            return super().epoch_cost(epoch, run_config)
        return (1 + 4 * config.views * config.passes) / 3

    def __init__(self, config, run):
        super().__init__(config, run)
        self.passes = config.passes
        self.noisy_loss = NOISY_LOSSES[config.noisy_loss]
        teacher, network = run.networks
        teacher.load_state_dict(network.state_dict())
        teacher.requires_grad_(False)
        self.t = 0  # steps so far
        self.w = run.assumed_rate if config.rate == "assumed" else 0.0  # until warm-up is over
        # Detection losses (epochs, N) of the last epochs, in turn; NaN where there is none yet.
        self.recent = torch.full((config.rate_epochs, len(run.labels)), torch.nan, device=run.device)

    def start_epoch(self, epoch: int) -> None:
        super().start_epoch(epoch)
        if epoch > self.config.warmup_epochs and self.config.rate == "epochs":
            self.w = self._estimated_rate()
            if self.config.noisy_weight is None:
                self.lambda_n = noisy_weight_for(self.run.num_classes, "unknown", self.w)
        self.q = selection_proportion(epoch, self.w, self.config.warmup_epochs, self.config.decay_epochs)
        self.recent[epoch % len(self.recent)] = torch.nan

    def _estimated_rate(self) -> float:
        """w: one wait for the device an epoch."""
        losses = self.recent.cpu().numpy()
        seen = ~np.isnan(losses).all(0)
        return estimate_from_mean_margins(np.nanmean(log_odds(losses[:, seen]), axis=0)).rate

    def batches(self, epoch: int) -> Iterator[Batch]:
        for done in range(self.passes if epoch > self.config.warmup_epochs else 1):
            self.judged = done > 0
            for batch in super().batches(epoch):
                yield Batch(batch.index, self.trained)

    def _judging_losses(self, index: Tensor) -> Tensor:
        """Those of the first pass, in every pass."""
        if self.judged:
            return self.recent[self.run.epoch % len(self.recent), index]
        return super()._judging_losses(index)

    def loss(self, batch: Batch) -> Tensor:
        self._average()
        loss = super().loss(batch)
        losses = self.run.observed.losses[batch.index]
        self.recent[self.run.epoch % len(self.recent), batch.index] = losses.float()
        return loss

    @torch.no_grad()
    def _average(self) -> None:
        """The teacher moves towards the network that the last step left; its running statistics are its own."""
        teacher, network = self.run.networks
        share = min(self.config.average, (1 + self.t) / (self.config.average_warmup + self.t))
        self.t += 1
        for kept, new in zip(teacher.parameters(), network.parameters(), strict=True):
            kept.lerp_(new, 1 - share)
        if self.run.epoch <= self.config.warmup_epochs:  # whose views are unmixed
            for kept, new in zip(teacher.buffers(), network.buffers(), strict=True):
                kept.copy_(new)

    def metrics(self) -> dict:
        return super().metrics() | {"w": self.w}

    def state(self) -> dict:
        return super().state() | {"recent": self.recent, "w": self.w, "t": self.t}

    def load_state(self, state: dict) -> None:
        super().load_state(state)
        self.recent, self.w, self.t = state["recent"], state["w"], state["t"]
