"""The first screen of the README: ours | paper | difference, for one column of Table 1."""

from pathlib import Path

from dlt.artifact.experiments import PROFILES_LIKE_PAPER, TABLES
from dlt.artifact.tables import collect

# What the README shows: (profile, noise, rate, seeds).
SHOWN = (("mini", "symmetric", 0.4, 1),)


def summary(profile: str, noise: str, rate: float, seeds: int, store: Path) -> str:
    """A markdown table of Last: ours, the paper's and their difference; gains over CE where data differ."""
    table = TABLES["table1"]
    frame = collect(table, profile, list(range(1, seeds + 1)), [store])
    frame = frame[(frame["noise"] == noise) & (frame["rate"] == rate) & (frame["metric"] == "last") & (frame["n"] > 0)]
    if profile in PROFILES_LIKE_PAPER:
        lines = ["| method | ours | paper | difference | seeds |", "| --- | ---: | ---: | ---: | ---: |"]
        cells = [(cell.mean, cell.paper, cell.difference) for cell in frame.itertuples()]
    else:
        lines = [
            "| method | Last, ours | gain over CE: ours | paper | difference | seeds |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
        ]
        cells = [(c.mean, c.gain, c.paper_gain, c.gain - c.paper_gain) for c in frame.itertuples()]
    for cell, numbers in zip(frame.itertuples(), cells, strict=True):
        first, *others = numbers
        deviation = f" ± {cell.std:.1f}" if cell.n > 1 else ""
        texts = [f"{first:.1f}{deviation}", *(f"{number:+.1f}" for number in others), str(cell.n)]
        if cell.method == table.baseline and profile not in PROFILES_LIKE_PAPER:
            texts[1:4] = ["", "", ""]
        lines.append(f"| {table.rows[cell.method]} | {' | '.join(texts)} |")
    return "\n".join(lines)
