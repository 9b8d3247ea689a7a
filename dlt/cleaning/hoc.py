"""The transition matrix of label noise from what the nearest neighbours are labelled: HOC (Zhu et al., ICML 2021).

Where a sample and its two nearest neighbours have one true class, the triples of their labels say how labels arise:
with p the shares of the true classes and T the transition matrix, their frequencies of one, two and three labels are

    c1_a = sum_m p_m T_ma,  c2_ab = sum_m p_m T_ma T_mb,  c3_abc = sum_m p_m T_ma T_mb T_mc,

and p and T are those that come nearest to what is counted.
"""

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

STEPS, LEARNING_RATE = 1500, 0.1
MOST_CLASSES = 50  # beyond, the fourth power of their number takes too long


def counted(labels: np.ndarray, first: np.ndarray, second: np.ndarray, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """c1 (C,), c2 (C, C) and c3 (C, C, C) of labels (N,) and of those of the two nearest neighbours (N,) each."""
    triples = np.zeros((classes,) * 3)
    np.add.at(triples, (labels, first, second), 1 / len(labels))
    c3 = torch.from_numpy(triples)
    return c3.sum((1, 2)), c3.sum(2), c3


def expected(p: Tensor, transition: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """c1, c2 and c3 of shares p (C,) and a transition matrix (C, C)."""
    weighted = p[:, None] * transition
    pairs = torch.einsum("ma,mb->mab", weighted, transition)
    return weighted.sum(0), pairs.sum(0), torch.einsum("mab,mc->abc", pairs, transition)


def estimate(labels: np.ndarray, first: np.ndarray, second: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """p (C,) and T (C, C), float64, as `counted` is given them; the same at every call."""
    found = counted(labels, first, second, classes)
    rows = (5 * torch.eye(classes, dtype=torch.float64) - 1).requires_grad_()  # most labels are right
    shares = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([rows, shares], lr=LEARNING_RATE)
    least, best = np.inf, None
    with threadpool_limits(1):  # on so little, more threads only wait for each other
        for _ in range(STEPS):
            p, transition = shares.softmax(0), rows.softmax(1)
            distance = sum((a - b).norm() for a, b in zip(expected(p, transition), found, strict=True))
            if distance.item() < least:
                least, best = distance.item(), (p.detach().numpy().copy(), transition.detach().numpy().copy())
            optimizer.zero_grad()
            distance.backward()
            optimizer.step()
    return best
