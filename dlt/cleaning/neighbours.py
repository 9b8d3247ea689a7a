"""What the samples that look alike are labelled: a judgement that leaves a sample's own label out.

A network's own losses believe themselves, and a rate estimated from them drifts low; the votes of nearest neighbours in
a space of good features do not. Noise that nearly all neighbours share cannot be seen so, and where classes overlap,
the votes are wrong by themselves: the estimate is then too high, by 1 to 3 points on scikit-learn's tables without any
wrong label.
"""

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from dlt.cleaning import hoc

VOTERS = 15
MOST_EXACT = 20_000  # samples; below, the exact search takes seconds
PROBES, BLOCK = 8, 10_000
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


def nearest(features: np.ndarray, voters: int = VOTERS, say=print) -> Neighbours:
    """The `voters` nearest others of each of the features (N, D) by angle; fewer, where there are no more.

    Of more than MOST_EXACT samples an index of faiss finds nearly all of them; without faiss the search stays exact.
    """
    length = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.where(length > 0, length, 1)
    voters = min(voters, len(unit) - 1)
    if len(unit) > MOST_EXACT:
        if find_spec("faiss"):
            return approximate(unit, voters)
        say(f"an exact search among {len(unit)} samples, which pip install faiss-cpu would make faster")
    return exact(unit, voters)


def exact(unit: np.ndarray, voters: int) -> Neighbours:
    """The nearest of features (N, D) of length 1."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=voters, algorithm="brute").fit(unit)
    distances, rows = search.kneighbors()  # of the samples themselves: none is its own neighbour
    return Neighbours(rows, distances)


def approximate(unit: np.ndarray, voters: int) -> Neighbours:
    """The nearest of features (N, D) of length 1 in the PROBES cells nearest to each, of 2 sqrt(N) cells by k-means."""
    import faiss
    from tqdm import tqdm

    unit = np.ascontiguousarray(unit, dtype=np.float32)
    cells = int(2 * len(unit) ** 0.5)
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(unit.shape[1]), unit.shape[1], cells)
    index.cp.niter = 10  # of k-means: the cells need not be its best
    index.train(unit[np.random.default_rng(0).choice(len(unit), min(len(unit), 40 * cells), replace=False)])
    index.add(unit)
    rows, distances = np.empty((len(unit), voters), dtype=np.int64), np.empty((len(unit), voters), dtype=np.float32)
    for start in tqdm(range(0, len(unit), BLOCK), "nearest neighbours", unit="block"):
        block = slice(start, start + BLOCK)
        index.nprobe = PROBES
        squares, found = index.search(unit[block], voters + 1)
        if (found < 0).any():  # the cells held too few
            index.nprobe = cells
            squares, found = index.search(unit[block], voters + 1)
        others = found != np.arange(start, start + len(found))[:, None]
        others[others.all(1), -1] = False  # a sample whose equals took its place
        rows[block] = found[others].reshape(-1, voters)
        distances[block] = np.sqrt(squares[others]).reshape(-1, voters)
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
