"""What there is: the runs here and in the targets, and what a fresh run would cost. Trains nothing."""

from collections import Counter
from pathlib import Path

from dlt.artifact import costs
from dlt.artifact.experiments import PICTURE_PROFILES, lacks_human_file, reported_seeds
from dlt.artifact.printing import compute
from dlt.artifact.targets import TARGETS
from dlt.harness import records
from dlt.harness.config import RunConfig
from dlt.harness.devices import resolve_device
from dlt.harness.places import IS_CHECKOUT, shown
from dlt.harness.records import find_record, folder_of, is_locked, read_record
from dlt.harness.settings import PROFILES, resolve_profile
from dlt.harness.sweep import default_workers

STATES = ("done", "running", "stopped", "shipped", "missing")
NAMED = 10  # missing runs of a target that are named
USAGE = """
./reproduce.sh table1            train what is missing, print and write the table
./reproduce.sh all --cached      everything from the shipped records, trains nothing
./reproduce.sh train --help      one run; also: clean, evaluate, estimate, export, export-noise, bench,
                                 compare, status, verify, notebooks, claims, test"""
USAGE_OF_PACKAGE = """
noisy-labels table1              train what is missing, print and write the table
noisy-labels train --help        one run; also: clean, evaluate, estimate, export, export-noise, bench,
                                 compare, status
The shipped records and the notebooks are in the repository."""


def status(profile: str, seeds: list[int]) -> str:
    """Every run in runs/, whosever it is; what is shipped; what each target misses in a profile with these seeds."""
    profile = resolve_profile(profile, resolve_device("auto").type)
    return "\n".join([*_of_runs(records.RUNS), *_of_shipped(records.CHECKPOINTS), "", *_of_targets(profile, seeds)])


def _of_shipped(store: Path) -> list[str]:
    """A line for each profile: what its shipped records took to compute, and on what."""
    import pandas

    lines = []
    for profile in PICTURE_PROFILES:
        shipped = [record for folder in (store / profile).glob("*/") if (record := read_record(folder))]
        if shipped:
            hours = pandas.Series([r.hours for r in shipped]).groupby([r.run["device"] for r in shipped]).sum()
            lines.append(f"shipped ({profile}): {compute(hours, len(shipped))}")
    return lines


def _of_targets(profile: str, seeds: list[int]) -> list[str]:
    """How many runs of each target are done, and the first names of those that no earlier target misses too."""
    lines, named = [], set()
    for target in TARGETS.values():
        configs = [config for config in target.runs(profile, seeds) if not lacks_human_file(config)]
        states = {config.name: _state_in_all(config) for config in configs}
        counts = Counter(states.values())
        lines.append(f"{target.name} ({profile}): " + ", ".join(f"{counts[state]} {state}" for state in STATES))
        missing = [name for name, state in states.items() if state == "missing" and name not in named]
        lines += [f"  missing  {name}" for name in missing[:NAMED]]
        if more := missing[NAMED:]:
            lines.append(f"  missing  and {len(more)} more")
        named.update(missing)
    return lines


def _of_runs(store: Path) -> list[str]:
    """A line for every run of any profile: its state, the Last of a finished one, its folder."""
    begun = [folder for profile in PROFILES for folder in sorted((store / profile).glob("*/"))]
    lines = []
    for folder in begun:
        state = _state(folder)
        if state == "missing":  # a folder that is no run's
            continue
        last = f"{read_record(folder).result['test_accuracy']['last']:.1f}" if state == "done" else ""
        lines.append(f"  {state:8} {last:>5}  {shown(folder)}")
    return [f"runs in {shown(store)}, with Last:" if lines else f"no runs in {shown(store)}", *lines]


def _state_in_all(config: RunConfig) -> str:
    """That of a run in runs/, and where it is missing there, whether it is shipped."""
    state = _state(folder_of(records.RUNS, config))
    return "shipped" if state == "missing" and find_record(config, [records.CHECKPOINTS]) else state


def _state(folder: Path) -> str:
    """One of STATES. A run is stopped also where it has not come to its first checkpoint."""
    if read_record(folder) is not None:
        return "done"
    if is_locked(folder):
        return "running"
    return "stopped" if (folder / "run.json").exists() else "missing"


def overview() -> str:
    """What there is, what is shipped, and what a fresh run costs here."""
    device = resolve_device("auto").type
    seeds = reported_seeds("*", [records.CHECKPOINTS])
    lines = [
        f"device: {device}   profile `auto` is {resolve_profile('auto', device)} here",
        "",
        "fresh runs of one seed take about (runs of all seeds that are shipped):",
        *(f"  {target.name:10} {_costs_of(target, device, seeds)}" for target in TARGETS.values()),
        "",
    ]
    return "\n".join(lines) + (USAGE if IS_CHECKOUT else USAGE_OF_PACKAGE)


def _costs_of(target, device: str, seeds: list[int]) -> str:
    """The duration of one seed of a target, profile by profile, and how many of the runs of `seeds` are shipped."""
    parts = []
    for profile in PICTURE_PROFILES:
        configs = [config for config in target.runs(profile, [1]) if not lacks_human_file(config)]
        if not configs:
            continue
        seconds = costs.training_seconds(configs, device) / default_workers(device, configs)
        everything = target.runs(profile, seeds)
        shipped = sum(find_record(config, [records.CHECKPOINTS]) is not None for config in everything)
        parts.append(f"{profile} {costs.in_words(seconds)}" + (f" ({shipped} shipped)" if shipped else ""))
    return "; ".join(parts) or "needs no run"
