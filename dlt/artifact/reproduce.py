"""From a target (table1, ...) to its runs, and from their records to the written table."""

import math
import os
import re
import time
from pathlib import Path

from dlt.artifact import costs
from dlt.artifact.experiments import PICTURE_PROFILES, lacks_human_file, reported_seeds
from dlt.artifact.printing import counted
from dlt.artifact.targets import TARGETS
from dlt.harness import records
from dlt.harness.config import RunConfig
from dlt.harness.datasets import data_folder, load
from dlt.harness.errors import InputError
from dlt.harness.label_noise import HUMAN_FILES
from dlt.harness.places import require_checkout, shown
from dlt.harness.records import find_record, folder_of, is_locked
from dlt.harness.settings import resolve_profile
from dlt.harness.sweep import Job, default_workers, sweep
from dlt.harness.training import resolve_device


def reproduce(options) -> int:
    """Run what is missing of a target and write its table and figure; 1 if a run failed."""
    targets = [*TARGETS.values()] if options.target == "all" else [TARGETS[options.target]]
    if options.seeds is not None and options.seeds < 1:
        raise InputError(f"seeds: {options.seeds} is not at least 1")
    if options.cached:
        _write_cached(targets, options)
        return 0
    seeds = list(range(1, (options.seeds or 1) + 1))
    device = _device(options)
    profile = resolve_profile(options.profile, device)
    if profile not in PICTURE_PROFILES:
        raise InputError(
            f"profile: {profile!r} is for vectors of one's own; tables are of {', '.join(PICTURE_PROFILES)}"
        )
    configs = {config.name: config for target in targets for config in target.runs(profile, seeds)}
    configs = _with_labels(_chosen([*configs.values()], options), options.data_dir)
    configs = [*{run.name: run for config in configs for run in [*config.required, config]}.values()]
    if options.workers is not None and options.workers < 1:
        raise InputError(f"workers: {options.workers} is not at least 1")
    _budget(options.time_budget)
    cluster, workers = _launcher(options, configs, device)
    store = records.RUNS
    print(_plan(options, profile, configs, store, device, workers))
    if options.dry_run:
        return 0
    if options.fresh:
        _move_aside(configs, store)
    failures = _train(configs, store, device, workers, cluster, options)
    _write(targets, profile, seeds, store, store / "figures")
    return 1 if failures else 0


def _write_cached(targets: list, options) -> None:
    """Tables and figures of the shipped records, of each profile that has any; trains nothing."""
    require_checkout("cached")
    if options.methods or options.noise:
        raise InputError("cached: it shows all that is shipped; --methods and --noise choose what is trained")
    profiles = _cached_profiles(options)
    for profile in profiles:
        seeds = _cached_seeds(profile, options.seeds)
        there = [target for target in targets if profile == profiles[0] or _has_records(target, profile, seeds)]
        _write(there, profile, seeds, records.CHECKPOINTS, records.ROOT / "figures")


def _cached_profiles(options) -> list[str]:
    """The profile asked for; for `auto` every one that has shipped records."""
    shipped = [profile for profile in PICTURE_PROFILES if any((records.CHECKPOINTS / profile).glob("*/run.json"))]
    if options.profile == "auto" and shipped:
        return shipped
    return [resolve_profile(options.profile, _device(options))]


def _cached_seeds(profile: str, count: int | None) -> list[int]:
    """The seeds of a profile's shipped records; where a `count` is asked for, those of 1 to `count`."""
    shipped = reported_seeds(profile, [records.CHECKPOINTS])
    if count is None:
        return shipped or [1]
    asked = range(1, count + 1)
    there = [seed for seed in asked if seed in shipped]
    if len(there) < count:
        lacking = ", ".join(str(seed) for seed in asked if seed not in shipped)
        print(f"seeds: {profile} has no shipped records of {lacking}; shown: {', '.join(map(str, there)) or 'none'}")
    return there or [1]


def _has_records(target, profile: str, seeds: list[int]) -> bool:
    """Whether anything of a target was run in a profile and is shipped."""
    return any(find_record(config, [records.CHECKPOINTS]) for config in target.runs(profile, seeds))


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
        print("written: " + ", ".join(shown(path) for path in written))


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
        seconds=lambda config: costs.training_seconds([config], device),
        cluster=cluster,
    )
    failures = sweep(configs, job)
    left = [c for c in configs if c.name not in failures and find_record(c, [store]) is None]
    if left:
        duration = costs.in_words(costs.training_seconds(left, device) / workers)
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
    parts = re.fullmatch(r"(\d+\.?\d*|\.\d+)([smh]?)", text)
    seconds = float(parts[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[parts[2]] if parts else 0
    if not 0 < seconds < math.inf:
        raise InputError(f"time-budget: {text!r} is not a time like 90s, 9m or 1.5h")
    return seconds


def _chosen(configs: list[RunConfig], options) -> list[RunConfig]:
    """The runs that --methods and --noise leave."""
    for field, attribute in (("methods", "method"), ("noise", "noise_name")):
        text = getattr(options, field)
        if not text:
            continue
        wanted, there = set(text.split(",")), {getattr(config, attribute) for config in configs}
        if unknown := wanted - there:
            raise InputError(f"{field}: {', '.join(sorted(unknown))} not among {', '.join(sorted(there))}")
        configs = [config for config in configs if getattr(config, attribute) in wanted]
    return configs


def _with_labels(configs: list[RunConfig], data_dir: str | None) -> list[RunConfig]:
    """The runs whose labels are there: those that people gave are no part of a data set, and are not downloaded."""
    lacking = [config for config in configs if lacks_human_file(config, data_dir)]
    for dataset in sorted({config.dataset for config in lacking}):
        count = sum(config.dataset == dataset for config in lacking)
        files = " or ".join(HUMAN_FILES[dataset])
        line = f"left out: {counted(count, 'run')} with human labels, no {files} in {data_folder(data_dir)}"
        if count == len(configs):
            raise InputError(line)
        print(line)
    return [config for config in configs if config not in lacking]


def _plan(options, profile, configs, store, device, workers) -> str:
    missing = [config for config in configs if options.fresh or find_record(config, [store]) is None]
    plan = (
        f"{options.target}, profile {profile}: {counted(len(configs), 'run')}, {len(configs) - len(missing)} finished, "
        f"{len(missing)} to train on {device}, {workers} at a time"
    )
    if not missing:
        return plan
    return f"{plan}: about {costs.in_words(costs.training_seconds(missing, device) / workers)}"


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
