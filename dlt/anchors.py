"""How many labels are wrong, while a network trains; ours. Needs neither losses nor a network that has learnt much.

The mixtures of noise_rate.py read the losses of the given labels: a network that begins to learn wrong labels believes
them, and one that is weak takes what is hard for wrong. Anchors avoid both: where the true class is certain, labels show
the noise alone, however weak the network is elsewhere; and neighbours, whose votes leave out a sample's own label, say
together with the network where that is.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 1024  # rows whose similarities to all others are held at once


def neighbour_votes(features: Tensor, labels: Tensor, classes: int, neighbours: int) -> Tensor:
    """(N, C) sums of the cosines, where positive, between each row of (N, D) and its nearest others, by their label."""
    features, votes = F.normalize(features), []
    for rows in torch.arange(len(features), device=features.device).split(CHUNK):
        cosines = (features[rows] @ features.T).scatter(1, rows[:, None], -torch.inf)
        nearest = cosines.topk(neighbours, dim=1)
        none = features.new_zeros(len(rows), classes)
        votes.append(none.scatter_add(1, labels[nearest.indices], nearest.values.clamp(min=0)))
    return torch.cat(votes)


def estimate_from_anchors(probabilities: Tensor, labels: Tensor, share: float) -> float:
    """The share of labels (N,) that are not their class's among the anchors, the samples that surely are of a class.

    Anchors of a class are its surest by `probabilities` (N, C), `share` of as many as have its label, at least one.
    The idea is that of Liu and Tao, "Classification with Noisy Labels by Importance Reweighting", TPAMI 2016; they read
    the noise off the probabilities there, which must be calibrated, where labels are counted here.
    """
    counts = torch.bincount(labels, minlength=probabilities.shape[1])
    most = (share * counts).ceil()
    surest = probabilities.argsort(dim=0, descending=True, stable=True)
    anchors = torch.arange(len(labels), device=labels.device)[:, None] < most
    wrong = labels[surest] != torch.arange(len(counts), device=labels.device)
    return float((wrong & anchors).sum() / anchors.sum())
