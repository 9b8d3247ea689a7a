"""From a target (table1, ...) to its runs, and from their records to the written table."""

import functools
import math
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from dlt.artifact import costs
from dlt.artifact.experiments import PICTURE_PROFILES, lacks_human_file, reported_seeds
from dlt.artifact.printing import counted
from dlt.artifact.selection import chosen, is_selection, narrowed, seeds_of, select
from dlt.artifact.targets import TARGETS, Target, accuracies
from dlt.harness import records
from dlt.harness.config import RunConfig
from dlt.harness.datasets import data_folder, load
from dlt.harness.devices import resolve_device
from dlt.harness.errors import InputError
from dlt.harness.label_noise import HUMAN_FILES
from dlt.harness.own_code import is_own
from dlt.harness.places import require_checkout, shown
from dlt.harness.records import find_record, folder_of, is_locked
from dlt.harness.run import noisy_labels
from dlt.harness.settings import resolve_profile
from dlt.harness.sweep import Job, default_workers, sweep


@dataclass(frozen=True)
class _Asked:
    """What a command asks for: targets and their runs, the stores that may have these, and where to write."""

    targets: list[Target]
    profile: str
    seeds: list[int]
    configs: list[RunConfig]
    stores: list[Path]
    folder: Path

    @functools.cached_property
    def shipped(self) -> list[RunConfig]:
        """The runs that need not be trained, since the repository has them, and runs/ has not."""
        first = ((config, find_record(config, self.stores)) for config in self.configs)
        return [config for config, record in first if record and record.folder.is_relative_to(records.CHECKPOINTS)]

    @property
    def own(self) -> list[RunConfig]:
        """The others."""
        return [config for config in self.configs if config not in self.shipped]


def reproduce(options) -> int:
    """Run what is missing of a target and write its table and figure; 1 if a run failed."""
    targets = [*TARGETS.values()] if options.target == "all" else [TARGETS[options.target]]
    seeds = seeds_of(options.seeds)
    if options.cached:
        _write_cached(targets, options)
        return 0
    device = _device(options)
    profile = resolve_profile(options.profile, device)
    if profile not in PICTURE_PROFILES:
        raise InputError(
            f"profile: {profile!r} is for vectors of one's own; tables are of {', '.join(PICTURE_PROFILES)}"
        )
    selected = options.target != "all" and targets[0].table is not None and is_selection(options)
    asked = (_selection if selected else _whole)(targets, options, profile, seeds)
    configs = [*{run.name: run for config in asked.own for run in [*config.required, config]}.values()]
    if options.workers is not None and options.workers < 1:
        raise InputError(f"workers: {options.workers} is not at least 1")
    _budget(options.time_budget)
    cluster, workers = _launcher(options, configs, device)
    store = records.RUNS
    print(_plan(options, asked, configs, device, workers))
    if options.dry_run:
        return 0
    _check_own_noises(asked.own, options.data_dir)
    if options.fresh:
        _move_aside(configs, store)
    before = [config for config in asked.own if find_record(config, [store])]
    failures = _train(configs, store, device, workers, cluster, options)
    if selected:
        print(f"\n{_sources(asked, len(before))}")
    _write(asked.targets, profile, seeds, asked.stores, asked.folder)
    return 1 if failures else 0


def _whole(targets: list[Target], options, profile: str, seeds: list[int]) -> _Asked:
    """Targets as they are; --methods and --noise choose what is trained for them."""
    configs = {config.name: config for target in targets for config in target.runs(profile, seeds)}
    stores = [records.RUNS]
    configs = _with_labels(chosen([*configs.values()], options), options.data_dir, stores)
    return _Asked(targets, profile, seeds, configs, stores, options.output or records.RUNS / "figures")


def _selection(targets: list[Target], options, profile: str, seeds: list[int]) -> _Asked:
    """A table of the rows, columns and seeds asked for alone; shipped runs are taken too."""
    stores = [records.RUNS]
    if not (options.no_shipped or options.fresh):
        stores.append(records.CHECKPOINTS)
    table = select(targets[0].table, options)
    configs = _with_labels(table.runs(profile, seeds), options.data_dir, stores)
    table, left_out = narrowed(table, profile, configs)
    if left_out:
        print(f"left out, since nothing of them can be run: {', '.join(left_out)}")
    folder = options.output or records.RUNS / "selected"
    return _Asked([accuracies(table)], profile, seeds, configs, stores, folder)


def _check_own_noises(configs: list[RunConfig], data_dir: str | None) -> None:
    """InputError now, not run by run, where a noise of the user's own gives no labels."""
    own = {(c.dataset, c.noise, c.noise_rate): c for c in configs if is_own(c.noise)}
    for config in own.values():
        noisy_labels(load(config.dataset, config.profile, data_dir), config, data_dir)


def _sources(asked: _Asked, before: int) -> str:
    """Where the runs of a table come from."""
    finished = sum(find_record(config, [records.RUNS]) is not None for config in asked.own)
    counts = {
        "shipped": len(asked.shipped),
        "in runs/ before": before,
        "trained now": finished - before,
        "not finished": len(asked.own) - finished,
    }
    parts = [f"{count} {words}" for words, count in counts.items() if count or words != "not finished"]
    return f"{counted(len(asked.configs), 'run')}: {', '.join(parts)}"


def _write_cached(targets: list, options) -> None:
    """Tables and figures of the shipped records, of each profile that has any; trains nothing."""
    require_checkout("cached")
    if options.methods or options.noise:
        raise InputError("cached: it shows all that is shipped; without it --methods and --noise take shipped runs too")
    if options.dry_run:
        raise InputError("cached: it trains nothing and writes at once; --dry-run lists what would be trained")
    profiles = _cached_profiles(options)
    for profile in profiles:
        seeds = _cached_seeds(profile, options.seeds and seeds_of(options.seeds))
        there = [target for target in targets if profile == profiles[0] or _has_records(target, profile, seeds)]
        _write(there, profile, seeds, [records.CHECKPOINTS], options.output or records.ROOT / "figures")


def _cached_profiles(options) -> list[str]:
    """The profile asked for; for `auto` every one that has shipped records."""
    shipped = [profile for profile in PICTURE_PROFILES if any((records.CHECKPOINTS / profile).glob("*/run.json"))]
    if options.profile == "auto" and shipped:
        return shipped
    return [resolve_profile(options.profile, _device(options))]


def _cached_seeds(profile: str, asked: list[int] | None) -> list[int]:
    """The seeds of a profile's shipped records; where some are `asked` for, those of them."""
    shipped = reported_seeds(profile, [records.CHECKPOINTS])
    if asked is None:
        return shipped or [1]
    there = [seed for seed in asked if seed in shipped]
    if len(there) < len(asked):
        lacking = ", ".join(str(seed) for seed in asked if seed not in shipped)
        print(f"seeds: {profile} has no shipped records of {lacking}; shown: {', '.join(map(str, there)) or 'none'}")
    return there or [1]


def _has_records(target, profile: str, seeds: list[int]) -> bool:
    """Whether anything of a target was run in a profile and is shipped."""
    return any(find_record(config, [records.CHECKPOINTS]) for config in target.runs(profile, seeds))


def _write(targets: list, profile: str, seeds: list[int], stores: list[Path], folder: Path) -> None:
    for target in targets:
        try:
            text, written = target.write(profile, seeds, stores, folder)
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


def _with_labels(configs: list[RunConfig], data_dir: str | None, stores: list[Path]) -> list[RunConfig]:
    """The runs that are finished or whose labels are there: those that people gave are not downloaded."""
    lacking = [c for c in configs if lacks_human_file(c, data_dir) and find_record(c, stores) is None]
    for dataset in sorted({config.dataset for config in lacking}):
        count = sum(config.dataset == dataset for config in lacking)
        files = " or ".join(HUMAN_FILES[dataset])
        line = f"left out: {counted(count, 'run')} with human labels, no {files} in {data_folder(data_dir)}"
        if count == len(configs):
            raise InputError(line)
        print(line)
    return [config for config in configs if config not in lacking]


def _plan(options, asked: _Asked, configs: list[RunConfig], device: str, workers: int) -> str:
    missing = [config for config in configs if options.fresh or find_record(config, [records.RUNS]) is None]
    shipped = f"{len(asked.shipped)} shipped, " if asked.shipped else ""
    plan = (
        f"{options.target}, profile {asked.profile}: {counted(len(configs) + len(asked.shipped), 'run')}, {shipped}"
        f"{len(configs) - len(missing)} finished, {len(missing)} to train on {device}, {workers} at a time"
    )
    if not missing:
        return plan
    plan += f": about {costs.in_words(costs.training_seconds(missing, device) / workers)}"
    there = sum(find_record(config, [records.CHECKPOINTS]) is not None for config in missing)
    return plan + (f"; {there} of them are shipped, --cached shows these" if there else "")


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
