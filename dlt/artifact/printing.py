"""A table as text: markdown that reads well in a terminal, LaTeX, and the numbers as CSV."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dlt.harness.records import write_atomic

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Text:
    """A table as text, whatever the format. The first `left` columns are names, the others numbers."""

    name: str  # as on the command line and in file names
    title: str
    setting: str
    head: list[str]
    lines: list[list[str]]  # a name stands in the first of its lines only
    notes: list[str]
    left: int = 1

    @property
    def heading(self) -> str:
        """Table 1 for table1, Figure 7 for figure7_kept, Ablations for ablations."""
        return re.sub(r"(\d+).*", r" \1", self.name).capitalize()


def to_markdown(text: Text) -> str:
    """The table as markdown, its columns aligned so that it reads well in a terminal too."""
    widths = [max(3, *map(len, column)) for column in zip(text.head, *text.lines, strict=True)]
    aligned = [str.ljust if i < text.left else str.rjust for i in range(len(widths))]

    def line(cells):
        return f"| {' | '.join(pad(c, w) for pad, c, w in zip(aligned, cells, widths, strict=True))} |"

    rule = [("-" if pad is str.ljust else ":").rjust(w, "-") for pad, w in zip(aligned, widths, strict=True)]
    grid = [line(text.head), line(rule), *map(line, text.lines)]
    title = f"### {text.heading}: {text.title}"
    return "\n\n".join([title, text.setting, "\n".join(grid), "\n".join(f"- {n}" for n in text.notes)]) + "\n"


def to_latex(text: Text, profile: str) -> str:
    """The table as a LaTeX float over both columns of a page; it needs the package booktabs."""

    def line(cells):
        return " & ".join(map(_latex, cells)) + r" \\"

    body = [
        r"\addlinespace " * bool(i and text.left > 1 and cells[0]) + line(cells) for i, cells in enumerate(text.lines)
    ]
    caption = _latex(f"{text.title[0].upper()}{text.title[1:]}. {text.setting}")
    columns = "l" * text.left + "r" * (len(text.head) - text.left)
    return "\n".join(
        [
            r"\begin{table*}",
            r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
            rf"\caption{{{caption}}}",
            rf"\label{{tab:{text.name}-{profile}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            line(text.head),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}\par\smallskip\raggedright",
            *(_latex(note) + r"\par" for note in text.notes),
            r"\end{table*}",
            "",
        ]
    )


_LATEX = {character: f"\\{character}" for character in "{}$&#_%"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "—": "---",
    "--": "-{}-",
}


def _latex(text: str) -> str:
    """Escaped; `code` in a typewriter font, the sign of a number a minus."""
    text = re.sub(r"--|[\\{}$&#_%~^±—]", lambda match: _LATEX[match[0]], text)
    text = re.sub(r"(^| )-(?=\d)", r"\1$-$", text)
    return re.sub(r"`([^`]*)`", r"\\texttt{\1}", text)


def to_csv(frame: "pandas.DataFrame") -> str:
    """The frame with numbers to four decimals."""
    rounded = frame.round(4)
    numbers = rounded.select_dtypes("float").columns
    rounded[numbers] += 0.0  # no -0.0
    return rounded.to_csv(index=False, lineterminator="\n")


def write(text: Text, profile: str, frame: "pandas.DataFrame", folder: Path) -> list[Path]:
    """Write <folder>/<profile>/<name>.md, .tex and .csv."""
    return write_into(Path(folder) / profile, text, profile, frame)


def write_into(folder: Path, text: Text, label: str, frame: "pandas.DataFrame") -> list[Path]:
    """Write <folder>/<name>.md, .tex and .csv; `label` ends that of the LaTeX table."""
    texts = {"md": to_markdown(text), "tex": to_latex(text, label), "csv": to_csv(frame)}
    paths = [folder / f"{text.name}.{suffix}" for suffix in texts]
    for path, content in zip(paths, texts.values(), strict=True):
        write_atomic(path, content)
    return paths


# ---------------------------------------------------------------------- words
def fixed(value: float) -> str:
    """One decimal; a half goes up, in whatever order its mean was added up. Nothing for NaN."""
    return "" if value != value else f"{value + 1e-9:.1f}"


def signed(value: float) -> str:
    """One decimal with its sign; nothing for NaN."""
    text = "" if value != value else f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def with_deviation(mean: float, std: float, n: int, seeds: int) -> str:
    """Mean and deviation; the number of seeds where it is less than the `seeds` elsewhere."""
    deviation = f" ± {fixed(std)}" if n > 1 else ""
    return fixed(mean) + deviation + (f" (n={n})" if 0 < n < seeds else "")


def counted(number: int, noun: str) -> str:
    """1 run, 2 runs."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def seeds_in_words(seeds: int, several: str = "") -> str:
    """not run yet, 1 seed, 3 seeds; `several` goes before the number of more than one."""
    if seeds == 0:
        return "not run yet"
    return "1 seed" if seeds == 1 else f"{several}{seeds} seeds"


def command_note(name: str, profile: str, seeds: int, here: int, whole: int) -> str:
    """How the reader gets the same; `here` of the `whole` number of runs that the command needs are shown."""
    command = f"`./reproduce.sh {name} --profile {profile} --seeds {max(seeds, 1)}`"
    if here == whole:
        return f"{command} makes this, training what runs/ lacks."
    return f"{command} makes the whole, {counted(whole, 'run')}, training what runs/ lacks; {here} of them are here."


def compute(hours: "pandas.Series", runs: int) -> str:
    """`hours` by device, of CPU cores (as many as threads) or of a GPU, in words."""
    return f"{'; '.join(_cost(*cost) for cost in hours.items())}; {counted(runs, 'run')}"


def _cost(device: str, hours: float) -> str:
    on_cpu = [name.startswith("cpu") for name in device.split(" and ")]
    unit = "core" if all(on_cpu) else "device" if any(on_cpu) else "GPU"
    amount = f"{60 * hours:.1f} {unit}-minutes" if hours < 0.05 else f"{hours:.1f} {unit}-hours"
    return f"{amount} on {device.replace('cpu: ', '')}"
