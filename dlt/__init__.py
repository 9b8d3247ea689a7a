"""Learning from Noisy Labels via Dynamic Loss Thresholding: an unofficial reproduction.

The paper is five files: threshold.py, semisupervised.py, algorithm.py, noise_rate.py, hard_samples.py.
"""

from dlt import hard_samples
from dlt.harness import label_noise
from dlt.harness.errors import InputError
from dlt.harness.method import Batch, Method
from dlt.noise_rate import NoiseRate, estimate_from_margins, estimate_noise_rate
from dlt.semisupervised import prior_regularizer, sharpen
from dlt.threshold import LastEpoch, SlideWindow, selection_proportion

__all__ = [
    "Batch",
    "InputError",
    "LastEpoch",
    "Method",
    "NoiseRate",
    "SlideWindow",
    "estimate_from_margins",
    "estimate_noise_rate",
    "hard_samples",
    "label_noise",
    "prior_regularizer",
    "selection_proportion",
    "sharpen",
]
