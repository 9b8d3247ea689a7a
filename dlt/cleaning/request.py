"""What `clean` is asked for, and the folder that it writes into."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dlt.artifact.printing import counted
from dlt.harness.errors import InputError
from dlt.harness.records import write_atomic

MARK = ".dlt-clean"  # a file by which an output folder is known as one


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    path: Path
    output: Path
    profile: str = "auto"
    device: str = "auto"
    seed: int = 1
    folds: int = 0  # 0: no probabilities out of sample
    workers: int | None = None
    settings: dict | None = None  # fields of Setting that replace the profile's
    label: str | None = None  # of a list the column of the labels, of a .npy file that of the labels
    clean_label: str | None = None  # the true labels, where they are known: as `label`
    id_column: str | None = None  # of a list: by which its rows are known
    picture_column: str | None = None  # of a list: that of the paths of pictures
    backbone: str = "auto"  # that makes features of pictures: a timm model, a folder, or "none": from scratch
    weights: Path | None = None  # of a timm model
    views: int = 0  # augmented, of each picture
    finetune: bool = False  # train the backbone itself


@contextmanager
def output_of(request: Request) -> Iterator[None]:
    """The output folder, there while the data are read; one made for data that are then refused is gone again.

    InputError for a folder that is not this command's, or lies among the pictures.
    """
    path, output = request.path.resolve(), request.output.resolve()
    if path.is_dir() and output.is_relative_to(path):
        raise InputError(f"output: {output} lies among the pictures; give another --output")
    is_new = not output.exists()
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"output: {output} cannot be made ({error.strerror})") from None
    if any(output.iterdir()) and not (output / MARK).exists():
        raise InputError(f"output: {output} is not empty, and not of this command; nothing in it was touched")
    try:
        yield
    except InputError:
        if is_new:
            output.rmdir()
        raise


def mark_output(request: Request) -> None:
    """From now on the output folder is this command's; what only some of its runs write is gone."""
    write_atomic(request.output / MARK, "")
    for stale in ("skipped.csv", "labels.npy", "pred_probs.npy"):
        (request.output / stale).unlink(missing_ok=True)


def left_out(skipped: dict[str, str]) -> str:
    first = ": ".join(next(iter(skipped.items())))
    return f"{counted(len(skipped), 'file')} left out (skipped.csv); the first: {first}"
