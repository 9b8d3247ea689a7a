"""What `./reproduce.sh TARGET` knows: for each target its runs, and how it is written from their records."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dlt.artifact import experiments, figures, loss_figures, printing, split_figures, studies, study_tables, tables
from dlt.harness.config import RunConfig


@dataclass(frozen=True)
class Target:
    """A table or figure. `write(profile, seeds, stores, folder)` gives what to print and the files it wrote."""

    name: str
    title: str
    runs: Callable[[str, list[int]], list[RunConfig]]
    write: Callable[[str, list[int], list[Path], Path], tuple[str, list[Path]]]


def _write_accuracies(table, profile, seeds, stores, folder):
    frame = tables.collect(table, profile, seeds, stores)
    text = tables.text(table, profile, frame)
    written = printing.write(text, profile, frame, folder)
    return printing.to_markdown(text), written + figures.accuracy_curves(table, profile, seeds, stores, folder)


def _write_table(collect, words, profile, seeds, stores, folder):
    frame = collect(profile, seeds, stores)
    text = words(profile, frame)
    return printing.to_markdown(text), printing.write(text, profile, frame, folder)


def _write_figure(draw, profile, seeds, stores, folder):
    return "", draw(profile, seeds, stores, folder)


def _write_figure7(profile, seeds, stores, folder):
    text, written = _write_table(study_tables.collect_hard, study_tables.hard_text, profile, seeds, stores, folder)
    return text, loss_figures.figure7(profile, seeds, stores, folder) + written


def _runs(of_seed, profile: str, seeds: list[int]) -> list[RunConfig]:
    """The runs of a study, seed by seed."""
    runs = (of_seed(profile, seed) for seed in seeds)
    return [config for found in runs for config in (found.values() if isinstance(found, dict) else found)]


def _hard_runs(profile: str, seeds: list[int]) -> list[RunConfig]:
    both = [*_runs(studies.hard_runs, profile, seeds), *_runs(studies.hard_table_runs, profile, seeds)]
    return list({config.name: config for config in both}.values())


def _accuracies(table) -> Target:
    return Target(table.name, table.title, table.runs, partial(_write_accuracies, table))


def _drawn(draw, title: str, of_seed) -> Target:
    return Target(draw.__name__, title, partial(_runs, of_seed), partial(_write_figure, draw))


TARGETS = {
    target.name: target
    for target in (
        *(_accuracies(table) for name, table in experiments.TABLES.items() if name != "beyond"),
        Target(
            "table5",
            "noise rate estimated from losses",
            partial(_runs, studies.rate_runs),
            partial(_write_table, study_tables.collect_rates, study_tables.rates_text),
        ),
        _drawn(loss_figures.figure1, "loss of clean and noisy samples under CE and DLT", studies.loss_runs),
        _drawn(split_figures.figure2, "scheme of the last epoch and slide window strategies", lambda *_: []),
        _drawn(split_figures.figure3, "ratio of clean and noisy samples sent to training", studies.ratio_runs),
        _drawn(split_figures.figure4, "test accuracy with and without the decreasing threshold", studies.decay_runs),
        _drawn(loss_figures.figure5, "losses early, late, and their difference", studies.difference_runs),
        Target(
            "figure6", "hard samples", partial(_runs, studies.hard_runs), partial(_write_figure, split_figures.figure6)
        ),
        Target("figure7", "losses of noisy, hard and clean samples", _hard_runs, _write_figure7),
        Target(
            "ablations",
            "what the paper leaves open, tried",
            partial(_runs, studies.ablation_runs),
            partial(_write_table, study_tables.collect_ablations, study_tables.ablations_text),
        ),
        _accuracies(experiments.TABLES["beyond"]),
    )
}
