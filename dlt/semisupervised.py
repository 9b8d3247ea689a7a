"""Section 3.1.2: learning from kept labels and from the images whose labels were discarded. Eqs. 4-6.

The split is a mask, never an index: every batch has the same shapes whatever its split, losses are
masked means, and a batch with no clean or no noisy row stays finite.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

# lambda_n of Eq. 6 (DLT) and lambda_u of DivideMix: (below, from) an assumed noise rate of 0.3.
# The paper gives only the set {0, 25, 150} "under different noise rate". These are the values of
# DivideMix's appendix; asymmetric noise on 100 classes is our choice. Data with other numbers of
# classes take the row of 10 up to 50 classes and of 100 above; Clothing1M is trained by a recipe of its own.
NOISY_WEIGHTS = {
    ("clothing1m", "none"): (0.0, 0.0),
    (10, "symmetric"): (0.0, 25.0),
    (10, "asymmetric"): (0.0, 0.0),
    (100, "symmetric"): (25.0, 150.0),
    (100, "asymmetric"): (25.0, 150.0),
}
MIXUP_ALPHAS = {"clothing1m": 0.5}  # of DivideMix and DLT, on data sets where it is not the default


def noisy_weight_for(num_classes: int, noise: str, noise_rate: float, dataset: str = "") -> float:
    """The row of NOISY_WEIGHTS for this setting: the data set's own, else that of the number of classes.

    There any noise that is not asymmetric reads the symmetric row.
    """
    kind = "asymmetric" if noise.startswith("asymmetric") else "symmetric"
    shared = NOISY_WEIGHTS[10 if num_classes <= 50 else 100, kind]
    low, high = NOISY_WEIGHTS.get((dataset, noise), shared)
    return low if noise_rate < 0.3 else high


def ramp(epochs: float, ramp_epochs: int) -> float:
    """What share of lambda_n, or lambda_u, holds `epochs` after warm-up: it grows linearly over `ramp_epochs`; 0: 1."""
    return min(epochs / ramp_epochs, 1.0) if ramp_epochs else 1.0


def sharpen(probabilities, temperature: float):
    """Eq. 4: (..., C) probabilities raised to 1/T and normalised again; NumPy or torch."""
    powers = probabilities ** (1 / temperature)
    return powers / powers.sum(-1, keepdims=True)


def mixup_partners(clean: Tensor, order_keys: Tensor, choice_keys: Tensor) -> Tensor:
    """For each row (R,) the clean row it is mixed with, from two sets of uniform [0, 1) keys (R,).

    Clean rows are mixed with a random permutation of the clean rows; noisy rows each with a clean row
    drawn with replacement. Sorting keys, with 1 added for noisy rows, lists the clean rows first in
    random order, so no index depends on how many there are. Without any clean row, noisy rows are
    mixed with one noisy row.
    """
    order = (order_keys + ~clean).argsort()
    count = clean.sum().clamp(min=1)
    rank = clean.cumsum(0) - 1
    choice = (choice_keys * count).long().clamp(max=count - 1)
    return order[torch.where(clean, rank, choice)]


def mixup_weight(alpha: float, generator) -> float:
    """The share of a row itself in `mixup`, at least 1/2, drawn from Beta(alpha, alpha) by a NumPy generator."""
    weight = generator.beta(alpha, alpha)
    return max(weight, 1 - weight)


def mixup(values: Tensor, partners: Tensor, weight: Tensor | float) -> Tensor:
    """Rows (R, ...) mixed with their partners; `weight` is lambda, the share of the row itself."""
    return values[partners].lerp(values, weight)


def clean_loss(logits: Tensor, targets: Tensor, clean: Tensor) -> Tensor:
    """L_clean: mean soft cross-entropy of (R, C) logits to targets over the clean rows; 0 without any."""
    losses = F.cross_entropy(logits, targets, reduction="none")
    return (losses * clean).sum() / clean.sum().clamp(min=1)


def noisy_loss(logits: Tensor, targets: Tensor, noisy: Tensor) -> Tensor:
    """L_noisy: mean squared error of the softmax to targets (R, C) over noisy rows and classes; 0 without any."""
    losses = (logits.softmax(1) - targets).square().mean(1)
    return (losses * noisy).sum() / noisy.sum().clamp(min=1)


def prior_regularizer(probabilities) -> Tensor:
    """Eq. 5: KL(pi || mean prediction) of (R, C) probabilities for the uniform prior pi; 0 at uniform.

    The paper sums to N and divides by |X|; "in the minibatch" makes it the mean over the rows given.
    """
    mean = torch.as_tensor(probabilities).mean(0)
    prior = 1 / len(mean)
    return (prior * (prior / mean.clamp(min=torch.finfo(mean.dtype).tiny)).log()).sum()
