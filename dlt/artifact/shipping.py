"""The records that the repository ships: how they get into checkpoints/, and how they are checked."""

import hashlib
import json
import shutil
from pathlib import Path

from dlt.harness.errors import InputError
from dlt.harness.records import read_record, write_atomic

SHIPPED_FILES = ("run.json", "epochs.csv", "timing.csv", "losses.npz")
MANIFEST = "MANIFEST.json"


def manifest(store: Path) -> dict[str, str]:
    """The sha256 of every file of every record in `store`, by path inside it."""
    files = sorted(path for name in SHIPPED_FILES for path in store.glob(f"*/*/{name}"))
    return {path.relative_to(store).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def ship(runs: Path, store: Path, profile: str) -> int:
    """Copy the finished records of a profile from `runs` into `store`, weights left out; how many are new."""
    new = 0
    for folder in sorted((runs / profile).glob("*/")):
        target = store / profile / folder.name
        if read_record(folder) is None or read_record(target) is not None:
            continue
        target.mkdir(parents=True, exist_ok=True)
        for name in SHIPPED_FILES:
            shutil.copyfile(folder / name, target / name)
        new += 1
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
