"""Why a label is suspicious, and how many are wrong where."""

import numpy as np

from dlt.cleaning.neighbours import Neighbours

SURE = 0.75  # the least probability of the suggested class of a label that is called wrong
FAR = 0.99  # quantile of the mean distance to the neighbours above which a sample is an outlier
NEAR = 0.01  # Euclidean distance of directions below which two samples are the same


def kinds(judged: np.ndarray, labels: np.ndarray, neighbours: Neighbours) -> np.ndarray:
    """(N,) texts, for suspects: "duplicate" of a sample with another label, "outlier", "ambiguous" or "wrong".

    `judged` (N, C) are probabilities of the true class. The first that fits is said.
    """
    distances = neighbours.distances.mean(1)
    twin = (neighbours.distances < NEAR) & (labels[neighbours.rows] != labels[:, None])
    names = np.where(judged.max(1) < SURE, "ambiguous", "wrong")
    names = np.where(distances > np.quantile(distances, FAR), "outlier", names)
    return np.where(twin.any(1), "duplicate", names)


def by_class(judged: np.ndarray, labels: np.ndarray, class_names) -> dict[str, dict]:
    """{class: samples, suspects, expected wrong labels, and an interval of 95% of their share}.

    The interval is Wilson's for the expected number: it knows of the number of samples, not of a wrong judgement.
    """
    from scipy.stats import binomtest

    found = {}
    suspect = judged.argmax(1) != labels
    wrong = 1 - judged[np.arange(len(labels)), labels]
    for label, name in enumerate(class_names):
        own = labels == label
        expected = float(wrong[own].sum())
        low, high = binomtest(round(expected), int(own.sum())).proportion_ci(0.95, "wilson")
        found[name] = {
            "samples": int(own.sum()),
            "suspects": int(suspect[own].sum()),
            "expected": round(expected, 1),
            "rate": round(expected / own.sum(), 4),
            "low": round(low, 4),
            "high": round(high, 4),
        }
    return found


def expected_among_first(judged: np.ndarray, labels: np.ndarray, counts=(10, 25, 50, 100, 250, 500, 1000)) -> dict:
    """{n: how many of the n most suspicious labels are wrong, by the judgement itself}, for n up to the suspects."""
    right = np.sort(judged[np.arange(len(labels)), labels])
    suspects = int((judged.argmax(1) != labels).sum())
    steps = [n for n in counts if n < suspects] + ([suspects] if suspects else [])
    return {n: round(float((1 - right[:n]).sum()), 1) for n in steps}
