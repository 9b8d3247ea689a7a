"""The records that the repository ships: how they get into checkpoints/, and how they are checked."""

import hashlib
import json
import shutil
from pathlib import Path

from dlt.artifact.exhibits import EXHIBITS, table5
from dlt.artifact.experiments import TUNING_SEEDS
from dlt.harness.config import RunConfig, make_config
from dlt.harness.errors import InputError
from dlt.harness.records import read_record, write_atomic
from dlt.harness.settings import first_dataset

SHIPPED_FILES = ("run.json", "epochs.csv", "timing.csv")
LOSSES = "losses.npz"  # of runs that a figure draws or a rate is estimated from
# Of the headline runs alone: together all would be a hundred times as large. Not in half precision, at half the size:
# it moves three of 2,000 test images of mini, and `evaluate` would not give the record's own accuracy.
WEIGHTS = "weights.safetensors"
MANIFEST = "MANIFEST.json"
FIGURES = tuple(exhibit for exhibit in EXHIBITS if "figure" in exhibit.__name__)


def headline_runs() -> set[str]:
    """The names of the runs whose weights are shipped, for `evaluate`: with and without DLT on digits and on mini."""
    return {
        make_config(profile, first_dataset(profile), method, "symmetric", 0.4, seed=1).name
        for profile in ("digits", "mini")
        for method in ("ce", "dlt-window")
    }


def has_losses(config: RunConfig) -> bool:
    """Whether a run's per-sample losses are shipped: of Table 5, and of the figures on the first seed, which they draw.

    Seeds that settings were chosen on are neither drawn nor reported.
    """
    if config.seed in TUNING_SEEDS:
        return False
    shown = (table5, *FIGURES) if config.seed == 1 else (table5,)
    return any(config in exhibit.runs(config.profile, config.seed).values() for exhibit in shown)


def manifest(store: Path) -> dict[str, str]:
    """The sha256 of every file of every record in `store`, by path inside it."""
    files = sorted(path for name in (*SHIPPED_FILES, LOSSES, WEIGHTS) for path in store.glob(f"*/*/{name}"))
    return {path.relative_to(store).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def ship(runs: Path, store: Path, profile: str) -> int:
    """Copy the finished records of a profile from `runs` into `store`, with weights of few; how many are new.

    Weights of a record that is there already come beside it where the run measured the same.
    """
    new, headlines = 0, headline_runs()
    for folder in sorted((runs / profile).glob("*/")):
        target = store / profile / folder.name
        if (record := read_record(folder)) is None:
            continue
        if read_record(target) is None:
            target.mkdir(parents=True, exist_ok=True)
            for name in (*SHIPPED_FILES, *([LOSSES] if has_losses(record.config) else [])):
                shutil.copyfile(folder / name, target / name)
            new += 1
        same = (folder / "epochs.csv").read_bytes() == (target / "epochs.csv").read_bytes()
        if folder.name in headlines and same and (folder / WEIGHTS).is_file():
            shutil.copyfile(folder / WEIGHTS, target / WEIGHTS)
    write_atomic(store / MANIFEST, json.dumps(manifest(store), indent=1) + "\n")
    return new


def verify(store: Path) -> list[str]:
    """One line for every shipped file that is missing or changed, and for every file that is not in the manifest."""
    path = store / MANIFEST
    try:
        expected = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"records: {path} cannot be read ({error})") from error
    found = manifest(store)
    files = {file.relative_to(store).as_posix() for file in store.rglob("*") if file.is_file()} - {MANIFEST}
    problems = []
    for name in sorted(files | expected.keys()):
        if name not in files:
            problems.append(f"{name}: missing")
        elif name not in expected:
            problems.append(f"{name}: not in the manifest")
        elif expected[name] != found.get(name):
            problems.append(f"{name}: changed")
    return problems
