"""SOP: Liu, Zhu, Qu, You, "Robust Training under Label Noise by Over-parameterization", ICML 2022.

Label noise is sparse, so it is given variables of its own: u_i, a number, and v_i, one for each class, of every
sample. With U = clip(u^2 y, 0, 1) and V = clip(v^2 (1 - y), 0, 1), y one-hot, the label is fitted by
q = normalise(max(p + U - V, 1e-4)), and the noise by || onehot(argmax p) + U - V - y ||^2:

    loss = -log q_y + || onehot(argmax p) + U - V - y ||^2        V is held fixed in q, U in the second term

u and v begin near 0 and have an SGD of their own, without momentum and decay; squaring makes them grow first where
the network contradicts a label again and again. SOP+ adds 0.9 KL(p(x1) || p(x2)) over two views, the first held
fixed, and 0.1 KL(uniform || mean q), which is the authors' cross-entropy less a constant.

So u learns from the first term and v from the second, as in the paper's Algorithm 1, whose rates (Table A.1) these are.
A later state of the authors' code lets u learn from both, and then takes a tenth of its rate under asymmetric noise.
Assumed: the rates stay as they are while the network's falls. Different from the authors' code: setting and schedule
are shared by all methods; both views are the harness's, where their second one is augmented more strongly.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlt.harness.method import Batch, Method
from dlt.semisupervised import prior_regularizer

INITIAL_DEVIATION = 1e-8  # of u and v
# (learning rate of u, of v): up to 50 classes, above.
SYMMETRIC_RATES = ((10.0, 10.0), (1.0, 10.0))
ASYMMETRIC_RATES = ((10.0, 100.0), (1.0, 100.0))


def noise_parts(u: Tensor, v: Tensor, one_hot: Tensor) -> tuple[Tensor, Tensor]:
    """U and V (B, C): what noise adds to the label's class and takes from the others, from u (B, 1) and v (B, C)."""
    return (u.square() * one_hot).clamp(0, 1), (v.square() * (1 - one_hot)).clamp(0, 1)


def noisy_prediction(probabilities: Tensor, added: Tensor, taken: Tensor) -> Tensor:
    """q (B, C): the prediction of the noisy label."""
    q = (probabilities + added - taken.detach()).clamp(min=1e-4)
    return q / q.sum(1, keepdim=True)


def sop_losses(logits: Tensor, one_hot: Tensor, added: Tensor, taken: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) losses and q (B, C)."""
    q = noisy_prediction(logits.softmax(1), added, taken)
    predicted = F.one_hot(logits.argmax(1), logits.shape[1])
    error = (predicted + added.detach() - taken - one_hot).square().sum(1)
    return error - (one_hot * q.log()).sum(1), q


def consistency(fixed: Tensor, logits: Tensor) -> Tensor:
    """Mean KL(p(x1) || p(x2)) from the logits of both views; the first ones get no gradient."""
    target = fixed.detach().log_softmax(1)
    return F.kl_div(logits.log_softmax(1), target, reduction="batchmean", log_target=True)


class SOP(Method):
    """Sparse over-parameterisation on one view."""

    @dataclass(frozen=True)
    class Config:
        u_learning_rate: float = 10.0
        """Per number of classes and noise, see SYMMETRIC_RATES and ASYMMETRIC_RATES."""
        v_learning_rate: float = 10.0
        """Likewise."""

    @classmethod
    def setting_defaults(cls, run_config) -> dict:
        rates = ASYMMETRIC_RATES if run_config.noise.startswith("asymmetric") else SYMMETRIC_RATES
        u, v = rates[run_config.num_classes > 50]
        return {"u_learning_rate": u, "v_learning_rate": v}

    def __init__(self, config, run):
        super().__init__(config, run)
        self.u, self.v = (
            nn.Parameter(
                INITIAL_DEVIATION
                * torch.randn((len(run.labels), width), generator=run.generator("noise variables"), device=run.device)
            )
            for width in (1, run.num_classes)
        )
        for variable, rate in ((self.u, config.u_learning_rate), (self.v, config.v_learning_rate)):
            group = {"params": [variable], "lr": rate, "momentum": 0, "weight_decay": 0}
            run.optimizers[0].add_param_group(group)  # of the groups the harness lowers the first one's rate alone

    def loss(self, batch: Batch) -> Tensor:
        losses, _ = self._losses(batch.index, self.run.forward(self.run.augmented(batch.index)))
        return losses.mean()

    def _losses(self, index: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """`sop_losses` of the rows `index`; what is recorded is Eq. 1."""
        labels = self.run.labels[index]
        self.run.record(index, F.cross_entropy(logits, labels, reduction="none"))
        one_hot = F.one_hot(labels, self.run.num_classes)
        return sop_losses(logits, one_hot, *noise_parts(self.u[index], self.v[index], one_hot))

    def state(self) -> dict:
        return {"u": self.u.detach(), "v": self.v.detach()}

    @torch.no_grad()
    def load_state(self, state: dict) -> None:
        self.u.copy_(state["u"])
        self.v.copy_(state["v"])


class SOPPlus(SOP):
    """SOP with consistency between two views and a balanced mean prediction."""

    @dataclass(frozen=True)
    class Config(SOP.Config):
        consistency_weight: float = 0.9
        balance_weight: float = 0.1

    @classmethod
    def epoch_cost(cls, epoch: int, run_config) -> float:
        """Two views."""
        return 2.0

    def loss(self, batch: Batch) -> Tensor:
        config, index = self.config, batch.index
        views = torch.cat([self.run.augmented(index), self.run.augmented(index)])
        first, second = self.run.forward(views).chunk(2)
        losses, q = self._losses(index, first)
        loss = losses.mean() + config.consistency_weight * consistency(first, second)
        return loss + config.balance_weight * prior_regularizer(q)
