"""From a target (table1, ...) to its runs, and from their records to the written table."""

import functools
import math
import os
import time
from pathlib import Path

import torch

from dlt.artifact.experiments import lacks_human_file
from dlt.artifact.printing import counted
from dlt.artifact.targets import TARGETS
from dlt.harness.config import RunConfig
from dlt.harness.datasets import data_folder, load
from dlt.harness.errors import InputError
from dlt.harness.label_noise import HUMAN_FILES
from dlt.harness.records import CHECKPOINTS, ROOT, RUNS, find_record, folder_of, is_locked
from dlt.harness.settings import PROFILES
from dlt.harness.sweep import Job, default_workers, sweep
from dlt.harness.training import resolve_device

CACHED_SEEDS = 3
# Seconds of one epoch of CE training: measured on one core of a Xeon with AVX-512 (digits, mini);
# guesses until a GPU has been timed (on an H200; 40 times that on a CPU).
CE_EPOCH_SECONDS = {"preact-digits": 0.15, "preact-mini": 3.7, "preact-resnet18": 2.0, "resnet50": 60.0}
CPU_FACTOR = {"preact-resnet18": 40, "resnet50": 40}


def resolve_profile(name: str) -> str:
    """`auto` is short where a GPU is there and digits where not; InputError for an unknown profile."""
    if name == "auto":
        return "short" if torch.cuda.is_available() else "digits"
    if name not in PROFILES:
        raise InputError(f"profile: {name!r} is not one of auto, {', '.join(PROFILES)}")
    return name


def reproduce(options) -> int:
    """Run what is missing of a target and write its table and figure; 1 if a run failed."""
    targets = [*TARGETS.values()] if options.target == "all" else [TARGETS[options.target]]
    seeds = _seeds(options)
    if options.cached:
        if options.methods or options.noise:
            raise InputError("cached: it shows all that is shipped; --methods and --noise choose what is trained")
        profiles = _cached_profiles(options.profile)
        for profile in profiles:
            shown = [t for t in targets if profile == profiles[0] or _has_records(t, profile, seeds)]
            _write(shown, profile, seeds, CHECKPOINTS, ROOT / "figures")
        return 0
    profile = resolve_profile(options.profile)
    device = _device(options)
    configs = {config.name: config for target in targets for config in target.runs(profile, seeds)}
    configs = _with_labels(_chosen([*configs.values()], options), options.data_dir)
    configs = [*{run.name: run for config in configs for run in [*config.required, config]}.values()]
    if options.workers is not None and options.workers < 1:
        raise InputError(f"workers: {options.workers} is not at least 1")
    _budget(options.time_budget)
    cluster, workers = _launcher(options, configs, device)
    print(_plan(options, profile, configs, RUNS, device, workers))
    if options.dry_run:
        return 0
    if options.fresh:
        _move_aside(configs, RUNS)
    failures = _train(configs, RUNS, device, workers, cluster, options)
    _write(targets, profile, seeds, RUNS, RUNS / "figures")
    return 1 if failures else 0


def _write(targets: list, profile: str, seeds: list[int], store: Path, folder: Path) -> None:
    for target in targets:
        try:
            text, written = target.write(profile, seeds, [store], folder)
        except InputError as error:
            if len(targets) == 1:
                raise
            print(f"{target.name} ({profile}) skipped: {error}")  # Figure 5 of CIFAR needs its true labels
            continue
        print(f"\n{text}" if text else f"{target.name}: {target.title}")
        print("written: " + ", ".join(_shown(path) for path in written))


def _cached_profiles(name: str) -> list[str]:
    """The profile asked for; for `auto` every one that has shipped records."""
    shipped = [profile for profile in PROFILES if any((CHECKPOINTS / profile).glob("*/run.json"))]
    return shipped if name == "auto" and shipped else [resolve_profile(name)]


def _has_records(target, profile: str, seeds: list[int]) -> bool:
    """Whether anything of a target was run in a profile and is shipped."""
    return any(find_record(config, [CHECKPOINTS]) for config in target.runs(profile, seeds))


def _device(options) -> str:
    """ "cpu" or "cuda". A GPU of a cluster need not be in the machine where the command is given."""
    if options.launcher == "ray" and options.device == "cuda":
        return "cuda"
    return resolve_device(options.device).type


def _launcher(options, configs: list[RunConfig], device: str) -> tuple:
    """The cluster, None for this machine's processes, and how many runs train at a time."""
    if options.launcher == "local":
        if options.address is not None:
            raise InputError(f"address: {options.address!r} is of a Ray cluster; it goes with --launcher ray")
        return None, default_workers(device, configs) if options.workers is None else options.workers
    if options.workers is not None and device == "cpu":
        raise InputError(f"workers: {options.workers}; on a cluster's CPUs as many runs train as have their threads")
    from dlt.harness.cluster import Cluster

    cluster = Cluster(options.address or "auto", options.workers or 1)
    return cluster, cluster.places(configs, device)


def _train(configs: list[RunConfig], store: Path, device: str, workers: int, cluster, options) -> dict[str, str]:
    """Train what is missing; the failed runs. The data are looked at first, and downloaded once for all workers."""
    deadline = time.time() + _budget(options.time_budget)
    for dataset, profile in {(c.dataset, c.profile) for c in configs if find_record(c, [store]) is None}:
        load(dataset, profile, options.data_dir)
    job = Job(
        store,
        device,
        workers,
        options.data_dir,
        deadline,
        seconds=lambda config: _seconds([config], device),
        cluster=cluster,
    )
    failures = sweep(configs, job)
    left = [c for c in configs if c.name not in failures and find_record(c, [store]) is None]
    if left:
        duration = _duration(_seconds(left, device) / workers)
        print(
            f"time is up; left: {counted(len(left), 'run')}, about {duration} less what stopped runs have done; the "
            "same command goes on"
        )
    if failures:
        print(f"failed: {counted(len(failures), 'run')}; the same command tries again")
    return failures


def _budget(text: str | None) -> float:
    """Seconds of "90s", "9m", "1.5h", or of a number alone; without a text no limit."""
    if text is None:
        return math.inf
    units = {"s": 1, "m": 60, "h": 3600}
    try:
        seconds = float(text.rstrip("smh")) * units[text[-1] if text[-1:] in units else "s"]
    except (ValueError, KeyError):
        seconds = -1.0
    if not 0 < seconds < math.inf:
        raise InputError(f"time-budget: {text!r} is not a time like 90s, 9m or 1.5h")
    return seconds


def _seeds(options) -> list[int]:
    count = options.seeds if options.seeds is not None else CACHED_SEEDS if options.cached else 1
    if count < 1:
        raise InputError(f"seeds: {count} is not at least 1")
    return list(range(1, count + 1))


def _chosen(configs: list[RunConfig], options) -> list[RunConfig]:
    """The runs that --methods and --noise leave."""
    for field, value in (("methods", lambda c: c.method), ("noise", lambda c: c.noise_name)):
        if text := getattr(options, field):
            wanted, there = set(text.split(",")), {value(config) for config in configs}
            if unknown := wanted - there:
                raise InputError(f"{field}: {', '.join(sorted(unknown))} not among {', '.join(sorted(there))}")
            configs = [config for config in configs if value(config) in wanted]
    return configs


def _with_labels(configs: list[RunConfig], data_dir: str | None) -> list[RunConfig]:
    """The runs whose labels are there: those that people gave are no part of a data set, and are not downloaded."""
    lacking = [config for config in configs if lacks_human_file(config, data_dir)]
    for dataset in sorted({config.dataset for config in lacking}):
        count, files = sum(c.dataset == dataset for c in lacking), " or ".join(HUMAN_FILES[dataset])
        line = f"left out: {counted(count, 'run')} with human labels, no {files} in {data_folder(data_dir)}"
        if count == len(configs):
            raise InputError(line)
        print(line)
    return [config for config in configs if config not in lacking]


def _plan(options, profile, configs, store, device, workers) -> str:
    missing = [config for config in configs if options.fresh or find_record(config, [store]) is None]
    return (
        f"{options.target}, profile {profile}: {counted(len(configs), 'run')}, {len(configs) - len(missing)} finished, "
        f"{len(missing)} to train on {device}, {workers} at a time"
        + (f": about {_duration(_seconds(missing, device) / workers)}" if missing else "")
    )


def _seconds(configs: list[RunConfig], device: str) -> float:
    """What training takes, one run after the other."""
    return sum(config.cost * _ce_epoch_seconds(config, device) for config in configs)


def _ce_epoch_seconds(config: RunConfig, device: str) -> float:
    """An epoch of CE training as runs finished here took it; a value of ours where there are none."""
    measured = _measured_ce_epochs(RUNS / config.profile, config.dataset_name)
    if measured:
        return measured[len(measured) // 2]
    network = config.setting.network
    return CE_EPOCH_SECONDS.get(network, 1.0) * (CPU_FACTOR.get(network, 1) if device == "cpu" else 1)


@functools.cache
def _measured_ce_epochs(folder: Path, dataset: str) -> list[float]:
    """Median seconds of an epoch of each finished CE run, ascending."""
    import pandas

    paths = sorted(folder.glob(f"{dataset}-*-ce-s*/timing.csv"))
    return sorted(pandas.read_csv(path, index_col="epoch").sum(axis=1).median() for path in paths)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _move_aside(configs: list[RunConfig], store: Path) -> None:
    """Finished and half-finished runs go to runs/old/<time>/: nothing is deleted."""
    aside = store / "old" / time.strftime("%Y%m%d-%H%M%S")
    for config in configs:
        folder = folder_of(store, config)
        if not folder.exists():
            continue
        if is_locked(folder):
            raise InputError(f"run: {folder.name} is being trained by another process")
        (aside / config.profile).mkdir(parents=True, exist_ok=True)
        os.rename(folder, aside / config.profile / folder.name)


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _state(config: RunConfig) -> str:
    folder = folder_of(RUNS, config)
    if find_record(config, [RUNS]) is not None:
        return "done"
    if is_locked(folder):
        return "running"
    return "stopped" if (folder / "checkpoint.pt").exists() else "missing"


def status(profile: str, seeds: int) -> str:
    """A line per run of every target that is not done, and a count per target."""
    profile = resolve_profile(profile)
    lines = []
    for target in TARGETS:
        configs = [c for c in TARGETS[target].runs(profile, list(range(1, seeds + 1))) if not lacks_human_file(c)]
        states = {config.name: _state(config) for config in configs}
        counts = {state: list(states.values()).count(state) for state in ("done", "running", "stopped", "missing")}
        lines.append(f"{target} ({profile}): " + ", ".join(f"{n} {state}" for state, n in counts.items()))
        lines += [f"  {state:8} {name}" for name, state in states.items() if state != "done"]
    return "\n".join(lines)


def overview() -> str:
    """What there is, what is shipped, and what a fresh run costs here. Runs nothing."""
    device = resolve_device("auto").type
    lines = [
        f"device: {device}   profile `auto` is {resolve_profile('auto')} here",
        "",
        "fresh runs of one seed take about (runs of all seeds that are shipped):",
    ]
    for target in TARGETS.values():
        costs = []
        for profile in PROFILES:
            configs = [config for config in target.runs(profile, [1]) if not lacks_human_file(config)]
            if configs:
                everything = target.runs(profile, list(range(1, CACHED_SEEDS + 1)))
                shipped = sum(find_record(config, [CHECKPOINTS]) is not None for config in everything)
                seconds = _seconds(configs, device) / default_workers(device, configs)
                costs.append(f"{profile} {_duration(seconds)}" + f" ({shipped} shipped)" * bool(shipped))
        lines.append(f"  {target.name:10} {'; '.join(costs) or 'needs no run'}")
    lines += [
        "",
        "./reproduce.sh table1            train what is missing, print and write the table",
        "./reproduce.sh all --cached      everything from the shipped records, trains nothing",
        "./reproduce.sh train --help      one run; also: evaluate, estimate, export, export-noise, bench,",
        "                                 status, verify, notebooks, claims, test",
    ]
    return "\n".join(lines)
