"""What is asked for of a table of accuracies: rows, columns and seeds, of ours and of the user's own."""

import dataclasses
import re

from dlt.artifact.experiments import ROWS, Column, Table
from dlt.harness.config import RunConfig
from dlt.harness.errors import InputError
from dlt.harness.label_noise import HUMAN_NOISES, NOISES
from dlt.harness.method import load_method
from dlt.harness.own_code import is_own
from dlt.harness.own_noise import load_noise


def seeds_of(text: str | None) -> list[int]:
    """[1, 2, 3] of "3", [1, 2, 5] of "1,2,5", [7] of "7,"; [1] where nothing is said."""
    parts = (text or "1").split(",")
    if not all(part.isdecimal() for part in parts if part) or not parts[0]:
        raise InputError(f"seeds: {text} is neither a number from 1 on nor a list like 1,2,5")
    if len(parts) > 1:
        return sorted({int(part) for part in parts if part})
    if int(parts[0]) < 1:
        raise InputError(f"seeds: {text} is not at least 1")
    return list(range(1, int(parts[0]) + 1))


def is_selection(options) -> bool:
    """Whether other rows, columns or seeds are asked for than those of the whole table."""
    seeds = seeds_of(options.seeds)
    return bool(options.methods or options.noise) or seeds != list(range(1, len(seeds) + 1))


def noise_of(text: str) -> tuple[str, float]:
    """("symmetric", 0.4) of "symmetric0.4", ("my_noise:flip", 0.3) of "my_noise:flip0.3"; InputError for no noise."""
    if text in HUMAN_NOISES:
        return text, HUMAN_NOISES[text][2]
    if text == "none":
        return text, 0.0
    parts = re.fullmatch(r"(.+?)(0?\.\d+)", text)
    name = parts[1] if parts else text
    if is_own(name):
        load_noise(name)
    elif name not in NOISES:
        raise InputError(f"noise: {name!r} is not one of {', '.join(NOISES)}, nor a module:function")
    if not parts:
        raise InputError(f"noise: {text!r} lacks its rate: write it behind, {text}0.4")
    return name, float(parts[2])


def select(table: Table, options) -> Table:
    """The table with the rows of --methods and the columns of --noise, beside the paper's numbers where it has some."""
    methods = _listed(options.methods) or [*table.rows]
    for method in methods:
        if method not in table.rows:
            load_method(method)  # InputError for an unknown one
    settings = [noise_of(text) for text in _listed(options.noise)]
    cells = {
        dataset: {setting: own.get(setting, {}) for setting in settings or own} for dataset, own in table.paper.items()
    }
    return dataclasses.replace(
        table,
        rows={method: table.rows.get(method, ROWS.get(method, method)) for method in methods},
        paper=cells,
        baseline=table.baseline if table.baseline in methods else methods[0],
        command=_command(options),
    )


def narrowed(table: Table, profile: str, configs: list[RunConfig]) -> tuple[Table, list[str]]:
    """The table without the rows and columns in which none of these runs stands, and what these are."""
    names = {config.name for config in configs}
    seed = configs[0].seed if configs else 1

    def has_run(method: str, column: Column) -> bool:
        config = table.config(profile, method, column, seed)
        return config is not None and config.name in names

    rows = {m: name for m, name in table.rows.items() if any(has_run(m, column) for column in table.columns)}
    columns = [column for column in table.columns if any(has_run(method, column) for method in rows)]
    if not rows:
        raise InputError(f"{table.name}: nothing that was asked for can be run in profile {profile}")
    cells: dict[str, dict] = {}
    for column in columns:
        setting = (column.noise, column.rate)
        cells.setdefault(column.dataset, {})[setting] = table.paper[column.dataset][setting]
    left_out = [method for method in table.rows if method not in rows]
    kept = {(column.noise, column.rate) for column in columns}
    left_out += [f"{noise} {rate}" for noise, rate in _settings(table) if (noise, rate) not in kept]
    baseline = table.baseline if table.baseline in rows else next(iter(rows))
    return dataclasses.replace(table, rows=rows, paper=cells, baseline=baseline), left_out


def _settings(table: Table) -> list[tuple[str, float]]:
    """The kinds of noise of its columns, whatever the data set."""
    return list(dict.fromkeys((column.noise, column.rate) for column in table.columns))


def chosen(configs: list[RunConfig], options) -> list[RunConfig]:
    """The runs of a figure, or of all targets, that --methods and --noise leave."""
    for field, attribute in (("methods", "method"), ("noise", "noise_name")):
        if not (wanted := _listed(getattr(options, field))):
            continue
        there = {getattr(config, attribute) for config in configs}
        if unknown := {*wanted} - there:
            raise InputError(f"{field}: {', '.join(sorted(unknown))} not among {', '.join(sorted(there))}")
        configs = [config for config in configs if getattr(config, attribute) in wanted]
    return configs


def _listed(text: str | None) -> list[str]:
    return list(dict.fromkeys(filter(None, (text or "").split(","))))


def _command(options) -> str:
    """The words of the command line that ask for this."""
    words = {"methods": options.methods, "noise": options.noise, "seeds": options.seeds or "1"}
    return " ".join(f"--{name} {value}" for name, value in words.items() if value)
