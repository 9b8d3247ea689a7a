"""What stands beside ours in `python -m dlt.cleaning.comparison_vectors`: rankings of labels, estimates of the rate.

A ranking takes scaled features (N, D), labels (N,) and a seed, and gives a score of every label, higher is worse, and
which labels it flags by itself. cleanlab and Datalab are the package's (`pip install .[compare]`), by their defaults.
"""

from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from dlt.cleaning import hoc
from dlt.cleaning.comparison import FOLDS, cleanlab_issues
from dlt.cleaning.neighbours import nearest
from dlt.harness.config import make_config
from dlt.harness.run import Run
from dlt.harness.training import train_epoch
from dlt.noise_rate import estimate_from_margins


def out_of_fold(features: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """(N, C) probabilities of logistic regression, of each sample by a model that was not fitted to it."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    model = LogisticRegression(C=0.01, max_iter=2000)  # in cleanlab's favour: of 1, 0.1, 0.01, 0.001 the best here
    return cross_val_predict(model, features, labels, cv=folds, method="predict_proba")


def cleanlab(features: np.ndarray, labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`find_label_issues` on probabilities of `out_of_fold`."""
    return cleanlab_issues(labels, out_of_fold(features, labels, seed))


def datalab(features: np.ndarray, labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Datalab's label issues, given the features and the same probabilities."""
    return _datalab(labels, features=features, pred_probs=out_of_fold(features, labels, seed))


def datalab_features(features: np.ndarray, labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Datalab's label issues of features alone: its nearest neighbours take the place of a model."""
    return _datalab(labels, features=features)


def _datalab(labels: np.ndarray, **given) -> tuple[np.ndarray, np.ndarray]:
    from cleanlab import Datalab

    lab = Datalab({"label": labels}, label_name="label", verbosity=0)
    lab.find_issues(**given, issue_types={"label": {}})
    found = lab.get_issues("label")
    return -found["label_score"].to_numpy(), found["is_label_issue"].to_numpy()


def neighbours(features: np.ndarray, labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The share of the 15 nearest neighbours with another label; flagged where most have another one."""
    votes = nearest(features).votes(labels, int(labels.max()) + 1)
    return -votes[np.arange(len(labels)), labels], votes.argmax(1) != labels


def hoc_posterior(features: np.ndarray, labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How likely another true class is by HOC's p and T, after Zhu et al. (ICML 2022), who call it SimiFeat.

    A sample and its 15 nearest neighbours are taken to have one true class m, and their labels to be drawn from T by
    themselves: p(m | labels) is proportional to p_m times T_m,label of each of the 16. Flagged are the worst of each
    given class, as many as p and T expect to be wrong in it: 1 - p_m T_mm / sum_k p_k T_km of those labelled m.
    """
    found, classes = nearest(features), int(labels.max()) + 1
    p, transition = hoc.estimate(labels, labels[found.rows[:, 0]], labels[found.rows[:, 1]], classes)
    with np.errstate(divide="ignore"):
        logs = np.log(transition + 1e-6)
        posterior = np.log(p) + logs[:, labels].T + sum(logs[:, labels[column]].T for column in found.rows.T)
    posterior = np.exp(posterior - posterior.max(1, keepdims=True))
    posterior /= posterior.sum(1, keepdims=True)
    score = 1 - posterior[np.arange(len(labels)), labels]
    flagged = np.zeros(len(labels), dtype=bool)
    wrong = 1 - p * transition.diagonal() / (p @ transition)
    for label in range(classes):
        own = np.flatnonzero(labels == label)
        worst = np.argsort(-score[own], kind="stable")
        flagged[own[worst[: round(wrong[label] * len(own))]]] = True
    return score, flagged


RANKINGS = {
    "cleanlab": cleanlab,
    "Datalab": datalab,
    "Datalab, features": datalab_features,
    "neighbours": neighbours,
    "HOC": hoc_posterior,
}


def rates(features: np.ndarray, labels: np.ndarray, seed: int, archive: Path) -> dict[str, float]:
    """{estimator: share of wrong labels}; `archive` is what `clean` made of the vectors for its training."""
    found, classes = nearest(features), int(labels.max()) + 1
    p, transition = hoc.estimate(labels, labels[found.rows[:, 0]], labels[found.rows[:, 1]], classes)
    return {
        "HOC": float(1 - (p * transition.diagonal()).sum()),
        "votes": found.disagreement(labels, classes),
        "the lesser": found.rate(labels, classes),
        "logistic regression": float((out_of_fold(features, labels, seed).argmax(1) != labels).mean()),
        "margins": estimate_from_margins(_early_losses(archive, seed)).rate,
    }


def _early_losses(archive: Path, seed: int) -> dict[int, np.ndarray]:
    """{epoch: losses (N,)} of a network of the profile `features` that plain cross-entropy trains."""
    config = make_config("features", str(archive), "ce", "none", seed=seed)
    kept = {}
    with threadpool_limits(1):
        run = Run(config, torch.device("cpu"))
        for epoch in range(1, max(config.setting.estimation_epochs) + 1):
            train_epoch(run, epoch)
            if epoch in config.setting.estimation_epochs:
                kept[epoch] = run.evaluation_losses().numpy()
    return kept
