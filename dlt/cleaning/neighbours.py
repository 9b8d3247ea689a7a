"""What the samples that look alike are labelled: a judgement that leaves a sample's own label out.

A network's own losses believe themselves, and a rate estimated from them drifts low; the votes of nearest neighbours in
a space of good features do not. Noise that nearly all neighbours share cannot be seen so, and where classes overlap,
the votes are wrong by themselves: the estimate is then too high, by 1 to 3 points on scikit-learn's tables without any
wrong label.
"""

from dataclasses import dataclass

import numpy as np

from dlt.cleaning import hoc

VOTERS = 15
SHARE = 0.3  # of the votes in a judgement, in log-probabilities, beside the network's; chosen on tuning seeds 11-13


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest other samples of each one: rows (N, k), the nearest first, and Euclidean distances (N, k)."""

    rows: np.ndarray
    distances: np.ndarray

    def votes(self, labels: np.ndarray, classes: int) -> np.ndarray:
        """(N, C) shares of the neighbours that have each label."""
        given = labels[self.rows]
        return np.stack([(given == label).mean(1) for label in range(classes)], axis=1)

    def disagreement(self, labels: np.ndarray, classes: int) -> float:
        """The share of labels that differ from what most neighbours have."""
        return float((self.votes(labels, classes).argmax(1) != labels).mean())

    def rate(self, labels: np.ndarray, classes: int) -> float:
        """The estimated share of wrong labels: that of HOC or the disagreement with most neighbours, whichever is less.

        The votes err where classes overlap, which HOC takes for noise less often; HOC errs where there are few samples.
        """
        disagreement = self.disagreement(labels, classes)
        if not 2 <= self.rows.shape[1] or classes > hoc.MOST_CLASSES:
            return disagreement
        p, transition = hoc.estimate(labels, labels[self.rows[:, 0]], labels[self.rows[:, 1]], classes)
        return min(disagreement, float(1 - (p * transition.diagonal()).sum()))


def nearest(features: np.ndarray, voters: int = VOTERS) -> Neighbours:
    """The `voters` nearest others of each of the features (N, D) by angle; fewer, where there are no more."""
    from sklearn.neighbors import NearestNeighbors

    length = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.where(length > 0, length, 1)
    search = NearestNeighbors(n_neighbors=min(voters, len(unit) - 1), algorithm="brute").fit(unit)
    distances, rows = search.kneighbors()  # of the samples themselves: none is its own neighbour
    return Neighbours(rows, distances)


def judgement(probabilities: np.ndarray, votes: np.ndarray, voters: int, labels: np.ndarray, rate: float) -> np.ndarray:
    """(N, C) probabilities of the true class, from the network's (N, C), the neighbours' votes (N, C) and the labels.

    A label is evidence too: where a share `rate` of them is wrong, the odds of the given class count (1 - rate) / rate
    times. Where nearly all are right, only a network that is sure overrules one; from a half on they say nothing.
    """
    smoothed = (votes * voters + 0.5) / (voters + 0.5 * votes.shape[1])  # no class is impossible for want of a vote
    logs = np.log(probabilities + 1e-6) + SHARE * np.log(smoothed)
    rate = np.clip(rate, 1 / len(labels), 0.5)
    logs[np.arange(len(labels)), labels] += np.log((1 - rate) / rate)
    weights = np.exp(logs - logs.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)
