"""DivideMix: Li, Socher, Hoi, "DivideMix: Learning with Noisy Labels as Semi-supervised Learning", ICLR 2020.

Two networks. After warm-up, once per epoch, a two-component Gaussian mixture on the losses of each
network gives w_i, the probability that label i is clean; w_i > tau makes the labelled set X, the rest
the unlabelled set U, *for the other network* (co-divide). For each batch of X and of U, two views each:

    co-refinement  y_i <- sharpen(w_i y_i + (1 - w_i) p_i),   p_i: the own network, mean of 2 views
    co-guessing    u_i <- sharpen(mean over 2 views and both networks)
    MixMatch       all rows mixed with one permutation of all rows, lambda <- max(lambda, 1 - lambda)
    loss           CE on the rows of X + lambda_u ramp(t) MSE on the rows of U + KL(uniform || mean prediction)

Different from the authors' code: NumPy and the mixture draw from the run's keyed generators (theirs are
unseeded); 300 epochs, not 301; lambda_u is that of their appendix for the setting, not one default for
all (the most frequent complaint about their code); one network is reported where the DLT paper does so;
on Clothing1M both networks see the same images in an epoch, warm-up takes half as many, and the rows of U,
whose loss has no weight there, are in the mixed forward and count in the mean prediction. The forwards that
guess go X, X, U, U, theirs U, U, X, X, which weights batch norm's running statistics otherwise; where a pass
over U ends, the next one goes on in the same batch, theirs begins a new one.

`DivideMixDLT` is DLT* of the DLT paper's Table 4: the same, with a dynamic loss threshold instead of the
mixture and w fixed at w_b = 0.5.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dlt.harness.method import Batch, Method
from dlt.harness.networks import evaluating
from dlt.semisupervised import MIXUP_ALPHAS, mixup, mixup_weight, noisy_weight_for, prior_regularizer, ramp, sharpen
from dlt.threshold import LastEpoch, selection_proportion

HISTORY = 5  # epochs whose losses are averaged at a noise rate of 0.9, where every epoch has all rows


@dataclass
class CoDivideBatch(Batch):
    """`index` are the labelled rows; with them the unlabelled ones and how far the epoch has come, in [0, 1)."""

    unlabelled: Tensor | None = None
    progress: float = 0.0


class DivideMix(Method):
    """Co-divide, co-refine, co-guess and MixMatch with two networks."""

    networks = 2

    @dataclass(frozen=True)
    class Config:
        warmup_epochs: int = 10
        ramp_epochs: int = 16
        """lambda_u grows linearly over these epochs after warm-up."""
        unlabelled_weight: float = 25.0
        """lambda_u; per setting, see dlt.semisupervised.NOISY_WEIGHTS."""
        mixup_alpha: float = 4.0
        temperature: float = 0.5
        p_threshold: float = 0.5
        """tau, above which a sample is labelled."""
        confidence_penalty: bool = False
        """Whether sum p log p is added in warm-up: with asymmetric noise and on Clothing1M."""

    @classmethod
    def setting_defaults(cls, run_config) -> dict:
        schedule, dataset, noise = run_config.schedule, run_config.dataset, run_config.noise
        return {
            "warmup_epochs": schedule.warmup_epochs,
            "ramp_epochs": schedule.ramp_epochs,
            "unlabelled_weight": noisy_weight_for(run_config.num_classes, noise, run_config.believed_rate, dataset),
            "mixup_alpha": MIXUP_ALPHAS.get(dataset, cls.Config.mixup_alpha),
            "confidence_penalty": noise.startswith("asymmetric") or dataset == "clothing1m",
        }

    @classmethod
    def check(cls, run_config, config) -> None:
        if run_config.assumed_rate == "estimated":
            raise ValueError("assumed-rate: 'estimated', but lambda_u here is chosen by the nominal rate")
        if config.warmup_epochs < 1:
            raise ValueError("warmup_epochs: 0 is not at least 1")
        if config.warmup_epochs >= run_config.setting.epochs:
            raise ValueError(f"warmup_epochs: {config.warmup_epochs} leave none of {run_config.setting.epochs} epochs")
        for name in ("temperature", "mixup_alpha"):
            if getattr(config, name) <= 0:
                raise ValueError(f"{name}: {getattr(config, name)} is not above 0")

    @classmethod
    def epoch_cost(cls, epoch: int, run_config) -> float:
        """Warm-up 2; then for a labelled share p 12 p, and 2/3 for the losses: the share assumed is 1 - w."""
        if epoch <= run_config.method_config["warmup_epochs"]:
            return 2.0
        return 12 * (1 - run_config.believed_rate) + 2 / 3

    def __init__(self, config, run):
        super().__init__(config, run)
        self.step = run.compiled(self._step)
        self.history: list[list[Tensor]] = [[], []]  # normalised losses of each network, newest last

    # ------------------------------------------------------------------ co-divide
    def start_epoch(self, epoch: int) -> None:
        self.labelled_share = float("nan")
        if epoch <= self.config.warmup_epochs:
            return
        losses = [self.run.evaluation_losses(network) for network in range(2)]
        splits = [self.split(losses[network], network) for network in range(2)]
        clean, _ = splits[1]
        self.labelled_share = clean.float().mean()
        self.run.record(self.run.rows, losses[1], clean)
        # Each network is taught by the other one's split.
        self.splits = [tuple(map(self._of_all_rows, split)) for split in reversed(splits)]

    def _of_all_rows(self, values: Tensor) -> Tensor:
        """(N,) from those of the epoch's rows; 0 elsewhere."""
        return values.new_zeros(len(self.run.labels)).index_copy(0, self.run.rows, values)

    def split(self, losses: Tensor, network: int) -> tuple[Tensor, Tensor]:
        """Of the epoch's rows (R,): labelled or not, and w (R,), by the mixture on the losses of `network`."""
        losses = (losses - losses.min()) / (losses.max() - losses.min()).clamp(min=1e-12)
        self.history[network] = [*self.history[network], losses][-HISTORY:]
        if self.run.assumed_rate == 0.9 and not self.run.setting.epoch_samples:
            losses = torch.stack(self.history[network]).mean(0)
        seed = int(self.run.numpy_generator(f"mixture {network}").integers(2**31))
        probability = torch.as_tensor(clean_probability(losses.cpu().numpy(), seed), device=losses.device)
        probability = probability.float()
        clean = probability > self.config.p_threshold
        return (clean, probability) if clean.any() else (~clean, probability)

    # ------------------------------------------------------------------ batches
    def batches(self, epoch: int) -> Iterator[Batch]:
        """Network 1's steps, then network 2's."""
        for network in range(2):
            if epoch <= self.config.warmup_epochs:
                for batch in self.run.shuffled_batches():
                    yield Batch(batch.index, network)
            else:
                yield from self._divided_batches(network)

    def _divided_batches(self, network: int) -> Iterator[CoDivideBatch]:
        """One pass over the labelled rows, in halves of a batch; unlabelled rows come round as often as needed."""
        rows, ahead = self.run.rows, self.run.train_images.ahead
        clean = self.splits[network][0][rows]
        size = max(self.run.setting.batch_size // 2, 1)
        labelled, unlabelled = rows[clean], rows[~clean]
        batches = self._shuffled(labelled).split(size)
        passes = math.ceil(size * len(batches) / max(len(unlabelled), 1))
        others = torch.cat([self._shuffled(unlabelled) for _ in range(passes)]).split(size)
        if not len(unlabelled):
            others = [unlabelled] * len(batches)
        for step, (index, other) in enumerate(zip(ahead(batches), ahead(others[: len(batches)]), strict=True)):
            yield CoDivideBatch(index, network, other, step / len(batches))

    def _shuffled(self, rows: Tensor) -> Tensor:
        order = torch.randperm(len(rows), generator=self.run.generator("batches"), device=rows.device)
        return rows[order]

    # ------------------------------------------------------------------ loss
    def loss(self, batch: Batch) -> Tensor:
        if self.run.epoch <= self.config.warmup_epochs:
            return self._warmup_loss(batch)
        return self._mixmatch_loss(batch)

    def _warmup_loss(self, batch: Batch) -> Tensor:
        """Cross-entropy, and the penalty on confidence where there is one."""
        logits = self.run.forward(self.run.augmented(batch.index), batch.network)
        losses = F.cross_entropy(logits, self.run.labels[batch.index], reduction="none")
        if batch.network == 0:
            self.run.record(batch.index, losses)
        if self.config.confidence_penalty:
            losses = losses + (logits.softmax(1) * logits.log_softmax(1)).sum(1)
        return losses.mean()

    def _mixmatch_loss(self, batch: CoDivideBatch) -> Tensor:
        run, config = self.run, self.config
        sets = (batch.index, batch.index, batch.unlabelled, batch.unlabelled)
        views = [run.augmented(rows) for rows in sets if len(rows)]
        weight = mixup_weight(config.mixup_alpha, run.numpy_generator("mixup weight"))
        weights = run.scalars(weight, self.unlabelled_weight(batch.progress))
        rows = sum(map(len, views))
        partners = torch.randperm(rows, generator=run.generator("mixup partners"), device=batch.index.device)
        w = self.splits[batch.network][1][batch.index, None]
        # The last batches of an epoch have other sizes in every epoch: each would be compiled anew.
        full = max(run.setting.batch_size // 2, 1)
        step = self.step if all(len(rows) == full for rows in sets) else self._step
        return step(batch.network, views, run.labels[batch.index], w, partners, *weights)

    def _step(self, network: int, views: list[Tensor], labels, w, partners, weight, unlabelled_weight) -> Tensor:
        """The loss of a batch, without a draw or a wait for the device: one graph for each network."""
        targets = self._targets(network, views, labels, w)
        count = 2 * len(labels)
        views = torch.cat(views)
        logits = self.run.forward(mixup(views, partners, weight), network)
        targets = mixup(targets, partners, weight)
        loss = F.cross_entropy(logits[:count], targets[:count]) + prior_regularizer(logits.softmax(1))
        if len(views) > count:
            error = (logits[count:].softmax(1) - targets[count:]).square().mean()
            loss = loss + unlabelled_weight.float() * error
        return loss

    @torch.no_grad()
    def _targets(self, network: int, views: list[Tensor], labels: Tensor, w: Tensor) -> Tensor:
        """(rows of views, C): refined labels of X, guessed ones of U, each twice.

        As in the authors' code each view is a forward of its own, and the network that learns stays in
        training mode, so that these forwards move its running statistics too.
        """
        run, temperature = self.run, self.config.temperature
        own = [run.forward(view, network).softmax(1) for view in views]
        labels = F.one_hot(labels, run.num_classes)
        refined = sharpen(w * labels + (1 - w) * (own[0] + own[1]) / 2, temperature)
        if len(views) == 2:  # nothing is unlabelled
            return torch.cat([refined, refined])
        other = 1 - network
        with evaluating(run.networks[other]):
            others = [run.forward(view, other).softmax(1) for view in views[2:]]
        guessed = sharpen((own[2] + own[3] + others[0] + others[1]) / 4, temperature)
        return torch.cat([refined, refined, guessed, guessed])

    def unlabelled_weight(self, progress: float) -> float:
        """lambda_u at this step of the epoch."""
        config = self.config
        return config.unlabelled_weight * ramp(self.run.epoch - 1 - config.warmup_epochs + progress, config.ramp_epochs)

    # ------------------------------------------------------------------ records
    def metrics(self) -> dict:
        return {"labelled_share": self.labelled_share}

    def state(self) -> dict:
        return {"history": self.history}

    def load_state(self, state: dict) -> None:
        self.history = [list(losses) for losses in state["history"]]


def clean_probability(losses: np.ndarray, seed: int) -> np.ndarray:
    """(N,) posterior of the component with the smaller mean, of a mixture fitted as the authors do."""
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=seed)
    column = losses.reshape(-1, 1)
    with threadpool_limits(1):  # more of them wait for each other where other runs keep the cores busy
        return mixture.fit(column).predict_proba(column)[:, mixture.means_.argmin()]


class DivideMixDLT(DivideMix):
    """DLT* of Table 4: labelled are the samples below the loss quantile of Eq. 7; w_b is fixed."""

    @dataclass(frozen=True)
    class Config(DivideMix.Config):
        decay_epochs: int = 10
        """T_grad of Eq. 7."""
        label_weight: float = 0.5
        """w_b, the share of the given label in co-refinement."""

    @classmethod
    def setting_defaults(cls, run_config) -> dict:
        return super().setting_defaults(run_config) | {"decay_epochs": run_config.schedule.decay_epochs}

    def split(self, losses: Tensor, network: int) -> tuple[Tensor, Tensor]:
        """By the quantile of this epoch's losses of `network`: the last epoch strategy, Eq. 2."""
        config, run = self.config, self.run
        q = selection_proportion(run.epoch, run.assumed_rate, config.warmup_epochs, config.decay_epochs)
        threshold = LastEpoch()
        threshold.record(losses)
        threshold.end_epoch()
        return losses <= threshold.threshold(q), torch.full_like(losses, config.label_weight)
