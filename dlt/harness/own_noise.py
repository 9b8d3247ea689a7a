"""Label noise of the user's own: a function named `module:function` on the command line.

def function(labels, rate, num_classes, generator[, images]) -> labels

labels        int64 (N,), the true ones; what is returned has as many integers in 0..num_classes-1
rate          what was asked for, in [0, 1)
generator     a numpy.random.Generator keyed by the seed, from which everything random must be drawn
images        only where a parameter is called so: uint8 (N, H, W, C), float32 (N, D) of profile features
"""

import inspect
from collections.abc import Callable

import numpy as np

from dlt.harness.errors import InputError
from dlt.harness.own_code import failed_line, in_words, resolve

WANTED = ("labels", "rate", "num_classes", "generator")


def load_noise(name: str) -> Callable:
    """The function `module:function`; InputError where it is none, or does not take what it is given."""
    function = resolve("noise", name)
    if not inspect.isfunction(function):
        raise InputError(f"noise: {name!r} is not a function")
    try:
        inspect.signature(function).bind(*WANTED, **_images(function, None))
    except TypeError as error:
        wanted = f"({', '.join(WANTED)}[, images])"
        raise InputError(f"noise: {name}{inspect.signature(function)} does not take {wanted}: {error}") from error
    return function


def own_noise(
    name: str, labels: np.ndarray, rate: float, num_classes: int, generate: Callable, images: np.ndarray
) -> np.ndarray:
    """What the user's function makes of the true `labels` (N,), int64.

    `generate()` gives a new generator, always the same. The function is called twice, so that one that draws from
    elsewhere is found: a resumed run would go on with other labels. Raises InputError for what are no such labels.
    """
    function, images = load_noise(name), images.view()
    images.flags.writeable = False  # they are what is trained on

    def call() -> np.ndarray:
        made = _called(name, function, labels.copy(), rate, num_classes, generate(), images)
        return _checked(name, made, num_classes, labels)

    given = call()
    if not np.array_equal(given, call()):
        raise InputError(f"noise: {name} gave other labels when called again; draw from `generator` alone")
    return given


def _images(function: Callable, images) -> dict:
    return {"images": images} if "images" in inspect.signature(function).parameters else {}


def _called(name: str, function: Callable, labels, rate: float, num_classes: int, generator, images):
    try:
        return function(labels, rate, num_classes, generator, **_images(function, images))
    except Exception as error:  # the user's function may fail in any way
        line = failed_line(error, function) or name
        raise InputError(f"noise: {line}: {in_words(error)}") from error


def _checked(name: str, given, num_classes: int, labels: np.ndarray) -> np.ndarray:
    array = np.asarray(given)
    if array.shape != labels.shape or not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"noise: {name} gave {array.dtype} {array.shape}; it must give integers {labels.shape}")
    if array.min() < 0 or array.max() >= num_classes:
        raise InputError(f"noise: {name} gave labels {array.min()}..{array.max()}; must be in 0..{num_classes - 1}")
    return array.astype(np.int64)
