"""Methods that train on the samples of small loss, batch by batch.

CORES2       Cheng, Zhu, Li, Gong, Sun, Liu, "Learning with Instance-Dependent Label Noise: A Sample Sieve Approach",
             ICLR 2021. With CE_k the loss if the label were k, and pi the shares of the labels that are kept,
             loss = CE_y - beta sum_k pi_k CE_k, which rewards confidence; kept are the samples with
             CE_y <= mean_k CE_k. It knows no noise rate. As beta scales the loss, the learning rate is divided by
             1 + beta.
Co-teaching  Han et al., "Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels", NeurIPS
             2018. Two networks; each learns from the samples of a batch whose losses are smallest under the *other*
             one. Their share falls from 1 to 1 - w over the first epochs (T_k of the paper).

Assumed of CORES2: every CE_k is -log(p_k + 1e-8), so that the reward is bounded; beta is 0 for the first tenth of
training and rises linearly to 2 until four tenths; the sieve works after three tenths; pi is counted over the epoch
before. Of Co-teaching: the networks take turns batch by batch, each with a view of its own, and the second one's
teacher has made its step already. The authors' optimisers and schedules give way to the setting's.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dlt.harness.method import Batch, Method
from dlt.harness.networks import batch_statistics
from dlt.threshold import selection_proportion


def losses_of_all_labels(logits: Tensor) -> Tensor:
    """(B, C) CE_k = -log(p_k + 1e-8)."""
    return -(logits.softmax(1) + 1e-8).log()


class CORES2(Method):
    """Cross-entropy with confidence regularisation, and a sieve."""

    @dataclass(frozen=True)
    class Config:
        regularizer_weight: float = 2.0
        """beta at its highest."""
        ramp_start: float = 0.1
        """The share of all epochs after which beta rises."""
        ramp_end: float = 0.4
        """The share of all epochs after which beta is at its highest."""
        sieve_start: float = 0.3
        """The share of all epochs after which samples are sieved out."""

    @classmethod
    def check(cls, run_config, config) -> None:
        if config.ramp_start >= config.ramp_end:
            raise ValueError(f"ramp_start: {config.ramp_start} is not below ramp_end, {config.ramp_end}")

    def __init__(self, config, run):
        super().__init__(config, run)
        self.counts = torch.bincount(run.labels, minlength=run.num_classes).float()  # of kept labels

    def start_epoch(self, epoch: int) -> None:
        config = self.config
        self.prior = self.counts / self.counts.sum().clamp(min=1)
        self.counts = torch.zeros_like(self.counts)
        share = epoch / self.run.setting.epochs
        risen = (share - config.ramp_start) / (config.ramp_end - config.ramp_start)
        self.beta = config.regularizer_weight * min(max(risen, 0.0), 1.0)
        self.sieving = share > config.sieve_start
        self.run.optimizers[0].param_groups[0]["lr"] /= 1 + self.beta  # the harness sets it at the start of every epoch

    def loss(self, batch: Batch) -> Tensor:
        labels = self.run.labels[batch.index]
        all_losses = losses_of_all_labels(self.run.forward(self.run.augmented(batch.index)))
        losses = all_losses.gather(1, labels[:, None]).squeeze(1)
        kept = losses <= all_losses.mean(1) if self.sieving else torch.ones_like(labels, dtype=torch.bool)
        self.run.record(batch.index, losses, kept if self.sieving else None)
        self.counts += (F.one_hot(labels, self.run.num_classes) * kept[:, None]).sum(0)
        losses = losses - self.beta * all_losses @ self.prior
        return (losses * kept).sum() / kept.sum().clamp(min=1)

    def metrics(self) -> dict:
        return {"beta": self.beta}

    def state(self) -> dict:
        return {"counts": self.counts}

    def load_state(self, state: dict) -> None:
        self.counts = state["counts"]


class CoTeaching(Method):
    """Each of two networks learns what the other one finds easy."""

    networks = 2

    @dataclass(frozen=True)
    class Config:
        decay_epochs: int = 10
        """T_k, over which the share falls; per profile, that of DLT."""

    @classmethod
    def setting_defaults(cls, run_config) -> dict:
        return {"decay_epochs": run_config.schedule.decay_epochs}

    @classmethod
    def epoch_cost(cls, epoch: int, run_config) -> float:
        """For each network a step, 1, and the other one's losses, 1/3."""
        return 8 / 3

    def start_epoch(self, epoch: int) -> None:
        self.q = selection_proportion(epoch, self.run.assumed_rate, 0, self.config.decay_epochs)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Every batch once for each network."""
        for batch in self.run.shuffled_batches():
            yield from (Batch(batch.index, network) for network in range(2))

    def loss(self, batch: Batch) -> Tensor:
        """Recorded is what the second network finds for the first one."""
        run, other = self.run, 1 - batch.network
        images, labels = run.augmented(batch.index), run.labels[batch.index]
        with torch.no_grad(), batch_statistics(run.networks[other]):
            judged = F.cross_entropy(run.forward(images, other), labels, reduction="none")
        easy = judged.argsort()[: max(1, int(self.q * len(labels)))]
        if batch.network == 0:
            run.record(batch.index, judged, torch.zeros_like(labels, dtype=torch.bool).index_fill(0, easy, True))
        return F.cross_entropy(run.forward(images, batch.network)[easy], labels[easy])

    def metrics(self) -> dict:
        return {"q": self.q}
