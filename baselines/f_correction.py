"""F-correction: Patrini, Rozza, Menon, Nock, Qu, "Making Deep Neural Networks Robust to Label Noise: A Loss
Correction Approach", CVPR 2017.

T_ij is the probability that an image of class i is labelled j. If p are the network's probabilities of the
true classes, those of the labels are T^t p, and they are what is fitted: loss = -log (T^t p)_y. T is read off
a network trained with plain cross-entropy on the same noisy labels, the required run: T_ij is its p_j at an
image that is surely of class i, the one whose p_i is highest, or, against outliers, at the 97th percentile.

Different from the authors' code: optimiser and schedule are those that the DLT paper imposes on all methods,
and the network behind T is the one of the last epoch, not of the lowest validation loss. As there, the highest
p_i is taken on 100 classes, where the 97th percentile lies outside of a class. On Clothing1M T is read off the
rows of the first epoch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.robust_losses import RobustLoss
from dlt.harness.config import ce_config


def estimate_transition(probabilities: Tensor, percentile: float) -> Tensor:
    """T (C, C), rows summing to 1, from the (N, C) probabilities of a network fitted to the noisy labels."""
    place = int(percentile / 100 * (len(probabilities) - 1))
    sure = probabilities.argsort(dim=0, stable=True)[place]  # (C,) one image for each class
    return probabilities[sure]


def forward_correction(logits: Tensor, labels: Tensor, transition: Tensor) -> Tensor:
    """(B,) losses -log (T^t p)_y of (B, C) logits; `transition[i, j]` is P(label j | class i)."""
    log_transition = transition.clamp(min=torch.finfo(transition.dtype).tiny).log()
    return -(logits.log_softmax(1) + log_transition.T[labels]).logsumexp(1)


class FCorrection(RobustLoss):
    """Cross-entropy of the labels under the forward-corrected prediction."""

    @dataclass(frozen=True)
    class Config:
        percentile: float = 97.0
        """Of p_i, for the image that T_i is read off; 100: the highest."""

    @classmethod
    def setting_defaults(cls, run_config):
        return {"percentile": 97.0 if run_config.num_classes <= 50 else 100.0}

    @classmethod
    def check(cls, run_config, config):
        if not 0 <= config.percentile <= 100:
            raise ValueError(f"percentile: {config.percentile} is outside [0, 100]")

    @classmethod
    def requires(cls, run_config):
        return ce_config(run_config)

    @classmethod
    def epoch_cost(cls, epoch, run_config):
        """1, and 1/3 for the predictions that T is read off."""
        return 1.0 if epoch > 1 else 4 / 3

    def __init__(self, config, run):
        super().__init__(config, run)
        self.transition: Tensor | None = None

    def start_epoch(self, epoch):
        if self.transition is None:
            network = self.run.required_network(self.requires(self.run.config))
            probabilities = self.run.evaluation_logits(network).softmax(1)
            self.transition = estimate_transition(probabilities, self.config.percentile)

    def losses(self, logits, labels):
        return forward_correction(logits, labels, self.transition)

    def state(self):
        return {"transition": self.transition}

    def load_state(self, state):
        self.transition = state["transition"]
