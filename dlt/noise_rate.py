"""Section 3.2: how many labels are wrong, estimated from the losses of plain cross-entropy training. Eq. 8.

Two estimates, neither of which sees a true label:

estimate_noise_rate    the paper's: a Gaussian mixture of the differences of an early and the late losses
estimate_from_margins  ours: a Gaussian mixture of the mean log-odds of the given label over early epochs

The paper's needs a network that ends up fitting all labels, so that the late losses are alike, and its
result hangs on the one early epoch. The log-odds log(p_y / (1 - p_y)) of a label are nearly normal for
clean and for noisy samples, where the loss -log p_y piles up at 0 for clean ones, and their mean over
epochs loses most of the noise of one epoch.
"""

import warnings
from dataclasses import dataclass

import numpy as np

LEAST_SAMPLES = 10
# Of float16: the smallest loss that a record can tell from 0.
LEAST_LOSS = 2.0**-24
# Mean log-odds of a component of noisy labels: on digits, tuning seeds, -2.3 and below under symmetric noise of 0.1 to
# 0.8, above 0 under asymmetric noise and without noise.
DISBELIEVED = -1.0


@dataclass(frozen=True, eq=False)
class NoiseRate:
    """What an estimate says, and what it was read off.

    `rate` in [0, 1]; `clean_probability` (N,) is phi of each sample; `values` (N,) are what the `mixture`, one of
    scikit-learn's, was fitted to; `epochs` those that `estimate_from_margins` used.
    """

    rate: float
    clean_probability: np.ndarray
    values: np.ndarray
    mixture: object
    epochs: tuple[int, ...] = ()


def estimate_noise_rate(early_losses, late_losses, theta: float = 0.5) -> NoiseRate:
    """Eq. 8: the share of samples whose clean probability phi is below `theta`.

    `early_losses` and `late_losses` (N,) are those of the same samples at an early and at the last epoch
    of plain cross-entropy training (30 and 300 in the paper), un-augmented. phi is the posterior of the
    component with the smaller mean in a mixture of two Gaussians of early - late. Eq. 8 as printed calls
    {phi < theta} the clean set and its share the noise rate; phi being the probability to be clean, that
    set is the noisy one, and its share the noise rate.

    Warns (UserWarning) where a single Gaussian fits no worse by the Bayesian information criterion: a
    mixture of two splits everything, noise or none. Raises ValueError for losses that are negative, not
    finite, not of one length, or fewer than 10, and for theta outside (0, 1).
    """
    if not 0 < theta < 1:
        raise ValueError(f"theta: {theta} is outside (0, 1)")
    early, late = _checked("early_losses", early_losses), _checked("late_losses", late_losses)
    if len(early) != len(late):
        raise ValueError(f"late_losses: {len(late)} losses, and {len(early)} early ones")
    difference = _scaled(early - late)
    one, two = _mixture(difference, 1), _mixture(difference, 2)
    if one.bic(difference) <= two.bic(difference):
        warnings.warn("one Gaussian fits the loss differences as well as two: perhaps no label is wrong", stacklevel=2)
    clean_probability = two.predict_proba(difference)[:, two.means_.argmin()]
    return NoiseRate(float((clean_probability < theta).mean()), clean_probability, difference[:, 0], two)


def _scaled(values: np.ndarray) -> np.ndarray:
    """(N, 1) in [0, 1], as DivideMix scales losses for its mixture."""
    span = np.ptp(values)
    return ((values - values.min()) / (span or 1.0))[:, None]


def _mixture(values: np.ndarray, components: int):
    """A seeded Gaussian mixture of (N, 1) values: DivideMix's floor of the variance, five starts, more iterations."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    mixture = GaussianMixture(components, max_iter=100, tol=1e-3, reg_covar=5e-4, n_init=5, random_state=0)
    with threadpool_limits(1), warnings.catch_warnings():  # more threads wait for each other on busy cores
        warnings.simplefilter("ignore", ConvergenceWarning)  # equal values have but one cluster
        return mixture.fit(values)


def log_odds(losses) -> np.ndarray:
    """log(p_y / (1 - p_y)) of cross-entropy losses -log p_y: above 0 where the label is the likelier half."""
    losses = np.maximum(np.asarray(losses, dtype=np.float64), LEAST_LOSS)
    return -losses - np.log(-np.expm1(-losses))


def estimate_from_margins(losses: dict[int, np.ndarray], theta: float = 0.5) -> NoiseRate:
    """The noise rate from the losses (N,) of several early epochs, {epoch: losses}, before the network memorises.

    Each sample's log-odds are averaged over the epochs from some epoch on, and a mixture of two Gaussians is
    fitted; of all first epochs that one is taken whose components overlap least, by the mean of min(phi, 1 - phi),
    the share of samples that the mixture itself expects to have put on the wrong side.

    Noise that strikes all classes alike leaves a lower component that the network clearly disbelieves. Where there
    is none (mean log-odds above DISBELIEVED: no noise, or wrong labels of a few look-alike classes, which the network
    half believes), the mixture only tells easy samples from others; then every label stands for itself, with phi the
    network's own odds over the later half of the epochs, and those below `theta` are noisy.

    Raises ValueError for losses that are negative, not finite, not of one length, or fewer than 10, and for theta
    outside (0, 1).
    """
    if not 0 < theta < 1:
        raise ValueError(f"theta: {theta} is outside (0, 1)")
    if not losses:
        raise ValueError("losses: none given")
    epochs = sorted(losses)
    checked = [_checked(f"losses of epoch {epoch}", losses[epoch]) for epoch in epochs]
    if len({len(values) for values in checked}) > 1:
        raise ValueError(f"losses: {', '.join(str(len(values)) for values in checked)} of them; not of one length")
    margins = np.stack([log_odds(values) for values in checked])
    fits = []
    for first in range(len(epochs)):
        mean = margins[first:].mean(0)
        mixture, clean_probability = _split(mean)
        overlap = np.minimum(clean_probability, 1 - clean_probability).mean()
        fits.append((overlap, first, mean, mixture, clean_probability))
    _, first, mean, mixture, clean_probability = min(fits, key=lambda fit: fit[:2])
    if mixture.means_.min() > DISBELIEVED:
        first = len(epochs) - max(1, len(epochs) // 2)
        _, _, mean, mixture, _ = fits[first]
        clean_probability = 1 / (1 + np.exp(-mean))
    rate = float((clean_probability < theta).mean())
    return NoiseRate(rate, clean_probability, mean, mixture, tuple(epochs[first:]))


def share_of_the_lower(margins: np.ndarray) -> float:
    """The share of log-odds (N,) that more likely belong to the lower of two Gaussians than to the upper."""
    return float((_split(margins)[1] < 0.5).mean())


def _split(mean: np.ndarray) -> tuple:
    """A mixture of two Gaussians of the log-odds (N,), and the posterior (N,) of the one with the larger mean."""
    mixture = _mixture(mean[:, None], 2)
    return mixture, 1 - mixture.predict_proba(mean[:, None])[:, mixture.means_.argmin()]


def _checked(name: str, losses) -> np.ndarray:
    """Losses as float64 (N,), or ValueError."""
    losses = np.asarray(losses.cpu() if hasattr(losses, "cpu") else losses, dtype=np.float64)
    if losses.ndim != 1 or len(losses) < LEAST_SAMPLES:
        raise ValueError(f"{name}: shape {losses.shape}; a mixture needs at least {LEAST_SAMPLES} losses (N,)")
    if not np.isfinite(losses).all():
        raise ValueError(f"{name}: {int((~np.isfinite(losses)).sum())} of {len(losses)} are not finite")
    if (losses < 0).any():
        raise ValueError(f"{name}: {int((losses < 0).sum())} of {len(losses)} are negative")
    return losses
