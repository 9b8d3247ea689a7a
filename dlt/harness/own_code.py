"""Code of the user's own, named `module:name`: a method's class or a noise's function, and where it failed."""

import inspect
import pkgutil
import traceback
from collections.abc import Callable
from pathlib import Path

from dlt.harness.arrays import sha256_of
from dlt.harness.errors import InputError


def is_own(name: str) -> bool:
    """Whether a method or noise is the user's: ours go by an id without a colon."""
    return ":" in name


def resolve(field: str, name: str):
    """What `module:name` is; InputError where it cannot be imported."""
    try:
        return pkgutil.resolve_name(name)
    except Exception as error:  # the user's file may fail in any way
        module = name.partition(":")[0].rpartition(".")[2]
        line = _innermost(error, lambda path: Path(path).stem == module)
        place = f"{line}: " if line else ""
        raise InputError(f"{field}: cannot import {name!r} ({place}{type(error).__name__}: {error})") from error


def sha256_of_file(own: Callable | type) -> str:
    """Of the file that a class or function is written in: an edited one is another."""
    return sha256_of(inspect.getfile(own))


def line_of(function: Callable) -> str:
    """my_method.py:12, where a function or method begins."""
    code = inspect.unwrap(function).__code__
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}"


def failed_line(error: BaseException, own: Callable | type) -> str | None:
    """my_method.py:12, the innermost line of the file of `own` on the way to an error; None if it was not there."""
    return _innermost(error, inspect.getfile(own).__eq__)


def _innermost(error: BaseException, is_theirs: Callable[[str], bool]) -> str | None:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_theirs(frame.filename)]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else None


def in_words(error: BaseException) -> str:
    """KeyError: 'x', on one line."""
    reason = str(error).strip().splitlines()
    return f"{type(error).__name__}: {reason[0]}" if reason else type(error).__name__
