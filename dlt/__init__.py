"""Learning from Noisy Labels via Dynamic Loss Thresholding: an unofficial reproduction.

The method is three files: threshold.py, semisupervised.py, algorithm.py.
"""

from dlt.harness import label_noise
from dlt.harness.errors import InputError
from dlt.harness.method import Batch, Method
from dlt.semisupervised import prior_regularizer, sharpen
from dlt.threshold import LastEpoch, SlideWindow, selection_proportion

__all__ = [
    "Batch",
    "InputError",
    "LastEpoch",
    "Method",
    "SlideWindow",
    "label_noise",
    "prior_regularizer",
    "selection_proportion",
    "sharpen",
]
