"""Which labels are wrong, while a network trains; ours. No rate is told.

A mixture of losses, as noise_rate.py has it, tells wrong labels from right ones where the network disbelieves them;
where it half believes them, as those of a look-alike class, it tells hard samples from easy ones. Here are two ways
without this fault:

1. Anchors are the samples that surely are of a class, as the network and the votes of neighbours, which leave out a
   sample's own label, say together. What labels they bear is the transition matrix T, however weak the network is
   elsewhere: `transition_matrix`, `wrong_share`.
2. A network that learns noisy labels predicts noisy labels. T taken out of its prediction leaves the class that it
   sees, and this and the given label judge together: `judged_classes`. A weak network, which is unsure, cannot outvote
   a label; a strong one can.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 1024  # rows whose similarities to all others are held at once


def nearest_neighbours(features: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """(N, k) cosines between each row of (N, D) and its nearest others, and (N, k) which these are."""
    features, found = F.normalize(features), []
    for rows in torch.arange(len(features), device=features.device).split(CHUNK):
        cosines = (features[rows] @ features.T).scatter(1, rows[:, None], -torch.inf)
        found.append(cosines.topk(neighbours, dim=1))
    return torch.cat([nearest.values for nearest in found]), torch.cat([nearest.indices for nearest in found])


def neighbour_votes(features: Tensor, labels: Tensor, classes: int, neighbours: int) -> Tensor:
    """(N, C) sums of the cosines, where positive, between each row of (N, D) and its nearest others, by their label."""
    cosines, nearest = nearest_neighbours(features, neighbours)
    return features.new_zeros(len(features), classes).scatter_add(1, labels[nearest], cosines.clamp(min=0))


def transition_matrix(probabilities: Tensor, labels: Tensor, share: float) -> Tensor:
    """T (C, C): how often the anchors of a class, by row, bear each of the labels (N,).

    Anchors of a class are its surest samples by `probabilities` (N, C), `share` of as many as have its label, rounded
    up; one more counts as bearing all labels alike. The idea is that of Liu and Tao, "Classification with Noisy Labels
    by Importance Reweighting", TPAMI 2016, and Patrini et al., "Making Deep Neural Networks Robust to Label Noise",
    CVPR 2017, who read T off the probabilities of anchors, which must be calibrated, where labels are counted here.
    """
    classes = probabilities.shape[1]
    most = (share * torch.bincount(labels, minlength=classes)).ceil()
    surest = probabilities.argsort(dim=0, descending=True, stable=True)
    anchors = torch.arange(len(labels), device=labels.device)[:, None] < most
    pairs = torch.arange(classes, device=labels.device) * classes + labels[surest]
    counts = torch.bincount(pairs[anchors], minlength=classes**2).view(classes, classes).to(probabilities) + 1 / classes
    return counts / counts.sum(1, keepdim=True)


def wrong_share(transition: Tensor, labels: Tensor) -> float:
    """The share of wrong labels by T, whose classes are as frequent as the labels (N,) are."""
    frequencies = torch.bincount(labels, minlength=len(transition)) / len(labels)
    return float(1 - frequencies @ transition.diagonal().to(frequencies))


def without_noise(probabilities: Tensor, transition: Tensor, steps: int = 10) -> Tensor:
    """(N, C) probabilities c of the true class, of which T makes about the `probabilities` (N, C) of labels, c T.

    By steps of expectation maximisation from equal c on (Richardson, 1972; Lucy, 1974): never below 0, as an inverse of
    T would be, and few steps leave noise in `probabilities` as it is.
    """
    clean = torch.full_like(probabilities, 1 / probabilities.shape[1])
    tiny = torch.finfo(clean.dtype).tiny
    for _ in range(steps):
        clean = clean * ((probabilities / (clean @ transition).clamp(min=tiny)) @ transition.T)
    return clean


def judged_classes(probabilities: Tensor, transition: Tensor, labels: Tensor) -> Tensor:
    """(N,) the likeliest class, given a network's `probabilities` (N, C), which learnt noisy labels, and the label."""
    return (without_noise(probabilities, transition) * transition[:, labels].T).argmax(1)
