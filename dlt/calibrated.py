"""Ours, on top of Algorithm 1: DLT that needs no rate.

What the paper leaves to the user is the w of Eq. 7, and what it lets judge is the network as the last step left it,
whose accuracy swings from epoch to epoch while the learning rate is high. All is Algorithm 1 but for five things:

1. A teacher, the average of the network's weights over the steps, judges [4], pseudo-labels [19, 20] and predicts. It
   pseudo-labels in training mode, so that its running statistics are its own, of unmixed views.
2. An epoch begins with a look: the teacher sees all plain images. Their losses judge the labels until the next look,
   and from what it says of them w is estimated, averaged over the last epochs: the median of three estimates, each of
   which fails elsewhere. A mixture of losses (noise_rate.py) finds far too much noise where it is half believed;
   anchors (anchors.py) find too much where the network is weak; labels that the teacher calls wrong (anchors.py) are
   too few where it is unsure. Where w is known better, as from nearest neighbours in a space of good features,
   `rate = "assumed"` leaves it at that, and the teacher judges at every step.
3. An epoch is two passes of one view (K = 1) in place of one pass of two: as much work, twice as many steps.
4. q of Eq. 7 falls to 1 - w in a third of T_grad: labels that the estimate calls wrong need not be learnt in between.
5. lambda_n is that of w, epoch by epoch: up to 50 classes 0 below 0.3, where discarded images teach nothing, and 25
   from there on.

Never mixed with the paper's rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional as F

from dlt.algorithm import DLT
from dlt.anchors import judged_classes, neighbour_votes, transition_matrix, wrong_share
from dlt.harness.config import REAL_NOISE
from dlt.harness.method import Batch
from dlt.harness.networks import without_head
from dlt.noise_rate import log_odds, share_of_the_lower
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
        rate: str = "estimated"
        """w of Eq. 7: "estimated" before every epoch, or the "assumed" one, as in the paper."""
        anchors: float = 0.2
        """The share of a class that are its anchors."""
        neighbours: int = 30
        """k, of the votes that choose the anchors."""
        rate_epochs: int = 5
        """Over so many epochs the estimate is averaged."""
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
        for name, values in {"rate": ("estimated", "assumed"), "noisy_loss": tuple(NOISY_LOSSES)}.items():
            if getattr(config, name) not in values:
                raise ValueError(f"{name}: {getattr(config, name)!r} is not one of {', '.join(values)}")
        if not 0 <= config.average < 1:
            raise ValueError(f"average: {config.average} is outside [0, 1)")
        if not 0 < config.anchors <= 1:
            raise ValueError(f"anchors: {config.anchors} is outside (0, 1]")
        told = run_config.assumed_rate not in ("nominal", REAL_NOISE.get(run_config.dataset))
        if told and config.rate == "estimated":
            raise ValueError(f"rate: {run_config.assumed_rate!r} is told by --assumed-rate, which only 'assumed' heeds")
        if config.running_statistics == "mixed":
            raise ValueError("running_statistics: 'mixed' are of images that the teacher never sees")
        for name in ("average_warmup", "neighbours", "rate_epochs", "passes"):
            if getattr(config, name) < 1:
                raise ValueError(f"{name}: {getattr(config, name)} is not at least 1")

    @classmethod
    def epoch_cost(cls, epoch: int, run_config) -> float:
        """A look of 1/3, and K pseudo-label forwards of 1/3 and K training views of 1 a pass: 3.0 for two, K = 1."""
        config = cls.Config(**run_config.method_config)
        if epoch <= config.warmup_epochs:
            return super().epoch_cost(epoch, run_config)
        looks = 1 if config.rate == "estimated" else config.passes
        return (looks + 4 * config.views * config.passes) / 3

    def __init__(self, config, run):
        super().__init__(config, run)
        self.passes = config.passes
        self.noisy_loss = NOISY_LOSSES[config.noisy_loss]
        teacher, network = run.networks
        teacher.load_state_dict(network.state_dict())
        teacher.requires_grad_(False)
        self.t = 0  # steps so far
        self.w = run.assumed_rate if config.rate == "assumed" else 0.0  # until warm-up is over
        self.rates: list[float] = []  # the estimates of the last epochs
        self.seen = torch.full(run.labels.shape, torch.nan, device=run.device)  # (N,) losses of the last look

    def start_epoch(self, epoch: int) -> None:
        super().start_epoch(epoch)
        if epoch > self.config.warmup_epochs and self.config.rate == "estimated":
            self.rates = [*self.rates, self._look()][-self.config.rate_epochs :]
            self.w = sum(self.rates) / len(self.rates)
            if self.config.noisy_weight is None:
                self.lambda_n = noisy_weight_for(self.run.num_classes, "unknown", self.w)
        self.q = selection_proportion(epoch, self.w, self.config.warmup_epochs, self.config.decay_epochs)

    @torch.no_grad()
    def _look(self) -> float:
        """The teacher sees all plain images: their losses are noted; the share of wrong labels, by this epoch."""
        run, config, labels = self.run, self.config, self.run.labels[self.run.rows]
        with without_head(run.networks[0]) as head:
            features = run.evaluation_logits(run.networks[0])
            logits = head(features)
        self.seen[run.rows] = losses = F.cross_entropy(logits, labels, reduction="none")
        probabilities = logits.softmax(1)
        votes = neighbour_votes(features, labels, run.num_classes, min(config.neighbours, len(labels) - 1))
        transition = transition_matrix(F.normalize(probabilities * votes, p=1), labels, config.anchors)
        called_wrong = judged_classes(probabilities, transition, labels) != labels
        lower = share_of_the_lower(log_odds(losses.cpu()))
        return median((lower, wrong_share(transition, labels), float(called_wrong.float().mean())))

    def batches(self, epoch: int) -> Iterator[Batch]:
        for _ in range(self.passes if epoch > self.config.warmup_epochs else 1):
            for batch in super().batches(epoch):
                yield Batch(batch.index, self.trained)

    def _judging_losses(self, index: Tensor) -> Tensor:
        """[4] Those of the look with which the epoch began."""
        return self.seen[index] if self.config.rate == "estimated" else super()._judging_losses(index)

    def loss(self, batch: Batch) -> Tensor:
        self._average()
        return super().loss(batch)

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
        return super().state() | {"rates": self.rates, "t": self.t}

    def load_state(self, state: dict) -> None:
        super().load_state(state)
        self.rates, self.t = state["rates"], state["t"]
