"""From a target (table1, ...) to its runs, and from their records to the written table."""

import os
import time
from pathlib import Path

import torch

from dlt.artifact import experiments, figures, tables
from dlt.harness.config import PROFILES, RunConfig
from dlt.harness.errors import InputError
from dlt.harness.records import CHECKPOINTS, ROOT, RUNS, find_record, folder_of, is_locked
from dlt.harness.sweep import default_workers, sweep
from dlt.harness.training import resolve_device

CACHED_SEEDS = 3
# Seconds of one epoch of CE training: measured on one core of a Xeon with AVX-512 (digits, mini);
# guesses until a GPU has been timed (short, paper on an H200; 40 times that on a CPU).
CE_EPOCH_SECONDS = {"digits": 0.17, "mini": 4.5, "short": 2.0, "paper": 2.0}
CPU_FACTOR = {"digits": 1, "mini": 1, "short": 40, "paper": 40}


def resolve_profile(name: str) -> str:
    """`auto` is short where a GPU is there and digits where not; InputError for an unknown profile."""
    if name == "auto":
        return "short" if torch.cuda.is_available() else "digits"
    if name not in PROFILES:
        raise InputError(f"profile: {name!r} is not one of auto, {', '.join(PROFILES)}")
    return name


def reproduce(options) -> int:
    """Run what is missing of a target and write its table and figure; 1 if a run failed."""
    profile = resolve_profile(options.profile)
    device = resolve_device(options.device).type
    seeds = _seeds(options)
    table = experiments.TABLES[options.target]
    configs = _chosen(table.runs(profile, seeds), options)
    if options.cached:
        store, figures_dir = CHECKPOINTS, ROOT / "figures"
    else:
        store, figures_dir = RUNS, RUNS / "figures"
        workers = options.workers or default_workers(device, configs)
        if workers < 1:
            raise InputError(f"workers: {options.workers} is not at least 1")
        print(_plan(options, profile, configs, store, device, workers))
        if options.dry_run:
            return 0
        if options.fresh:
            _move_aside(configs, store)
        failures = sweep(configs, store, device, workers, options.data_dir)
        if failures:
            print(f"{len(failures)} runs failed; the same command tries them again")
    frame = tables.collect(table, profile, seeds, [store])
    print()
    print(tables.to_markdown(table, profile, frame))
    written = tables.write(table, profile, frame, figures_dir)
    written += figures.accuracy_curves(table, profile, seeds, [store], figures_dir)
    print("written: " + ", ".join(_shown(path) for path in written))
    return 1 if not options.cached and failures else 0


def _seeds(options) -> list[int]:
    count = options.seeds if options.seeds is not None else CACHED_SEEDS if options.cached else 1
    if count < 1:
        raise InputError(f"seeds: {count} is not at least 1")
    return list(range(1, count + 1))


def _chosen(configs: list[RunConfig], options) -> list[RunConfig]:
    """The runs that --methods and --noise leave."""
    for field, value in (("methods", lambda c: c.method), ("noise", lambda c: f"{c.noise}{c.noise_rate:g}")):
        if text := getattr(options, field):
            wanted, there = set(text.split(",")), {value(config) for config in configs}
            if unknown := wanted - there:
                raise InputError(f"{field}: {', '.join(sorted(unknown))} not among {', '.join(sorted(there))}")
            configs = [config for config in configs if value(config) in wanted]
    return configs


def _plan(options, profile, configs, store, device, workers) -> str:
    missing = [config for config in configs if options.fresh or find_record(config, [store]) is None]
    seconds = ce_epoch_seconds(profile, device) * sum(config.cost for config in missing) / workers
    return (
        f"{options.target}, profile {profile}: {len(configs)} runs, {len(configs) - len(missing)} finished, "
        f"{len(missing)} to train on {device}, {workers} at a time"
        + (f": about {_duration(seconds)}" if missing else "")
    )


def ce_epoch_seconds(profile: str, device: str) -> float:
    """What an epoch of CE training takes: measured from finished runs here, else the value for our machine."""
    measured = []
    for path in sorted(RUNS.glob(f"{profile}/*-ce-s*/timing.csv"))[:5]:
        import pandas

        measured.append(pandas.read_csv(path)[["train_s", "test_s", "measure_s"]].sum(axis=1).median())
    if measured:
        return sorted(measured)[len(measured) // 2]
    return CE_EPOCH_SECONDS[profile] * (CPU_FACTOR[profile] if device == "cpu" else 1)


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


def status(targets: tuple[str, ...], profile: str, seeds: int) -> str:
    """A line per run of every target that is not done, and a count per target."""
    profile = resolve_profile(profile)
    lines = []
    for target in targets:
        configs = experiments.TABLES[target].runs(profile, list(range(1, seeds + 1)))
        states = {config.name: _state(config) for config in configs}
        counts = {state: list(states.values()).count(state) for state in ("done", "running", "stopped", "missing")}
        lines.append(f"{target} ({profile}): " + ", ".join(f"{n} {state}" for state, n in counts.items()))
        lines += [f"  {state:8} {name}" for name, state in states.items() if state != "done"]
    return "\n".join(lines)


def overview(targets: tuple[str, ...]) -> str:
    """What there is, what is cached, and what a fresh run costs here. Runs nothing."""
    device = resolve_device("auto").type
    lines = [f"device: {device}   profile `auto` is {resolve_profile('auto')} here", ""]
    for target in targets:
        lines.append(f"{target}: {experiments.TABLES[target].title}")
        for profile in PROFILES:
            configs = experiments.TABLES[target].runs(profile, [1])
            shipped = sum(
                find_record(config, [CHECKPOINTS]) is not None
                for config in experiments.TABLES[target].runs(profile, list(range(1, CACHED_SEEDS + 1)))
            )
            workers = default_workers(device, configs)
            seconds = ce_epoch_seconds(profile, device) * sum(config.cost for config in configs) / workers
            here = sum(find_record(config, [RUNS]) is not None for config in configs)
            lines.append(
                f"  --profile {profile:7} {len(configs)} runs a seed, about {_duration(seconds)} fresh; "
                f"{here} in runs/, {shipped} shipped"
            )
    lines += ["", "./reproduce.sh table1            train what is missing, print and write the table",
              "./reproduce.sh table1 --cached   from the shipped records, trains nothing",
              "./reproduce.sh train --help      one run; also: evaluate, status, verify, test"]  # fmt: skip
    return "\n".join(lines)
