"""An error in a method of the user's own, told in one line; the whole traceback lies in the run's folder."""

import contextlib
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from dlt.harness.config import RunConfig
from dlt.harness.errors import InputError
from dlt.harness.method import load_method
from dlt.harness.own_code import failed_line, in_words, is_own, line_of
from dlt.harness.places import shown
from dlt.harness.records import write_atomic

TRACEBACK = "error.txt"


@contextlib.contextmanager
def in_one_line(config: RunConfig, folder: Path, blamed: Callable | None = None) -> Iterator[None]:
    """Within, an error of the user's own method becomes an InputError with file and line; of ours it passes.

    `blamed` is the method's function that counts as its place where no line of the user's file took part: the
    gradient of what it gave could not be had.
    """
    try:
        yield
    except (InputError, FloatingPointError):
        raise
    except Exception as error:
        if not is_own(config.method) or is_of_device(error):
            raise
        line = failed_line(error, load_method(config.method)) or (blamed and line_of(blamed))
        if line is None:
            raise
        path = folder / TRACEBACK
        write_atomic(path, traceback.format_exc())
        raise InputError(f"method: {line}: {in_words(error)}; the whole traceback: {shown(path)}") from error


def is_of_device(error: Exception) -> bool:
    """Whether CUDA itself failed, after which its context answers every call of the process with an error."""
    return isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error)
