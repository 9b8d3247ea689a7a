"""What the notebooks call: tables, figures and the numbers behind them, from the records of one store.

Two environment variables serve cached and fresh runs with the same notebook: DLT_RECORDS, `checkpoints`
(shipped, the default) or `runs`, and DLT_PROFILE, the only profile to show (default: all that have records).
"""

import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path

from IPython.display import Image, Markdown

from dlt.artifact.compare import compare, options
from dlt.artifact.drawing import small_png
from dlt.artifact.experiments import PICTURE_PROFILES, reported_seeds
from dlt.artifact.finding import find_runs
from dlt.artifact.targets import TARGETS
from dlt.harness.errors import InputError
from dlt.harness.records import CHECKPOINTS, RUNS, find_record, read_record

STORES = {"checkpoints": CHECKPOINTS, "runs": RUNS}


def store() -> Path:
    """The folder of records that DLT_RECORDS names."""
    name = os.environ.get("DLT_RECORDS", "checkpoints")
    if name not in STORES:
        raise InputError(f"DLT_RECORDS: {name!r} is not {' or '.join(STORES)}")
    return STORES[name]


def profiles(name: str) -> list[str]:
    """The profiles in which something of a target was run; DLT_PROFILE alone where it is set."""
    if only := os.environ.get("DLT_PROFILE"):
        return [only]
    there = [p for p in PICTURE_PROFILES if any(find_record(c, [store()]) for c in TARGETS[name].runs(p, _seeds(p)))]
    return there or [PICTURE_PROFILES[0]]


def _seeds(profile: str) -> list[int]:
    """Those that the store has."""
    return reported_seeds(profile, [store()]) or [1]


@functools.cache
def _written(name: str, profile: str) -> tuple[str, Path]:
    """The text of a target, and a folder with its files; written once a notebook."""
    folder = Path(tempfile.mkdtemp(prefix="dlt-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    text, _ = TARGETS[name].write(profile, _seeds(profile), [store()], folder)
    return text, folder / profile


def table(name: str, profile: str) -> Markdown:
    """A table of the paper, ours beside it."""
    return Markdown(_written(name, profile)[0])


def figure(name: str, profile: str, picture: str | None = None) -> Image | Markdown:
    """A figure of the paper; `picture` names another of a target's pictures, such as table1_curves.

    Wide ones are made smaller, so that a notebook stays small. Of a table without any run there are no curves.
    """
    import PIL.Image

    path = _written(name, profile)[1] / f"{picture or name}.png"
    if not path.exists():
        return Markdown("Not run yet.")
    image = PIL.Image.open(path).convert("RGB")
    image.thumbnail((800, 10_000), PIL.Image.Resampling.LANCZOS)
    return Image(small_png(image, colours=64), width=800)


def runs():
    """Every finished run of the store, of whatever profile, data, noise, method, options and seed: a DataFrame."""
    import pandas

    found = [read_record(path.parent) for path in sorted(store().glob("*/*/run.json"))]
    rows = [
        {"profile": c.profile, "data": c.dataset_name, "noise": c.noise_name, "method": c.method, "options": options(c)}
        | {"seed": c.seed}
        | {name: record.result["test_accuracy"][name] for name in ("last", "best")}
        for record in found
        if record and (c := record.config)
    ]
    return pandas.DataFrame(rows)


def comparison(*names: str) -> Markdown:
    """What `compare` says of these runs of the store: methods, folders or globs, the first against each other."""
    folder = Path(tempfile.mkdtemp(prefix="dlt-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    text, _ = compare(find_runs([*names], [store()]), folder)
    return Markdown(text)


def numbers(name: str, profile: str):
    """The numbers behind a figure or table: the CSV that is written beside it, as a pandas DataFrame."""
    import pandas

    return pandas.read_csv(_written(name, profile)[1] / f"{name}.csv")
