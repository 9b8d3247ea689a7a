"""What all pictures share: the look, colours that are told apart with any sight, marks, and how they are written.

The same numbers give the same bytes. matplotlib is imported where it is used: training does without.
"""

import contextlib
import io
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dlt.artifact.printing import to_csv
from dlt.harness.records import write_atomic

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours are told apart with any colour vision, the dashes in grey.
METHOD_STYLES = {
    "ce": ("#000000", (0, (1, 1))),
    "apl": ("#CC79A7", (0, (3, 3))),
    "sce": ("#E69F00", (0, (5, 1, 1, 1))),
    "m-correction": ("#009E73", (0, (2, 0.8))),
    "dividemix": ("#D55E00", (0, (6, 1, 1, 1, 1, 1))),
    "dlt-last-epoch": ("#56B4E9", (0, (10, 1.5))),
    "dlt-window": ("#0072B2", "-"),
    "dividemix-dlt": ("#0072B2", "-"),
    "dlt-auto": ("#0072B2", (0, (4, 1))),
    "co-teaching": ("#E69F00", (0, (1, 1))),
    "elr": ("#009E73", (0, (5, 1))),
    "elr-plus": ("#009E73", "-"),
    "cores2": ("#CC79A7", (0, (5, 1))),
    "pes": ("#D55E00", (0, (2, 1))),
    "ssr": ("#D55E00", (0, (1, 1))),
    "sop": ("#56B4E9", (0, (2, 1))),
    "sop-plus": ("#56B4E9", "-"),
    "eps-softmax": ("#000000", (0, (5, 1))),
    "mlnt": ("#000000", "-"),
}
# Of points: those of a colour are told apart by their shapes.
METHOD_MARKERS = {
    "dlt-auto": "*",
    "dlt-last-epoch": "d",
    **dict.fromkeys(("co-teaching", "elr", "cores2", "pes", "sop", "eps-softmax"), "s"),
    **dict.fromkeys(("elr-plus", "ssr", "sop-plus", "mlnt"), "^"),
}
OTHER_STYLE = ("#777777", (0, (3, 1, 1, 1)))
# Paul Tol's muted ones for further methods, in turn.
OTHER_STYLES = (
    ("#882255", (0, (4, 1))),
    ("#999933", (0, (7, 1, 2, 1))),
    ("#332288", (0, (2, 1, 1, 1))),
    ("#661100", (0, (8, 2, 2, 2))),
    ("#44AA99", (0, (1, 0.6))),
    OTHER_STYLE,
)
# Blue, vermillion and green of the same; dashes and hatches tell them apart in grey.
POPULATIONS = {
    "clean": {"color": "#0072B2", "linestyle": "-", "hatch": ""},
    "hard": {"color": "#009E73", "linestyle": (0, (2, 0.8)), "hatch": "...."},
    "noisy": {"color": "#D55E00", "linestyle": (0, (6, 1.5)), "hatch": "////"},
}
LOOK = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # text stays text
}
GREY = "#777777"
ERROR_TICKS = [0.5, 1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 60, 80]  # percent


@contextlib.contextmanager
def new_figure(width: float, height: float, **look) -> Iterator["Figure"]:
    """An empty figure of so many inches; inside, everything is drawn in our look, and what more of it is given."""
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context(["default", LOOK | look]):
        yield Figure(figsize=(width, height), layout="constrained")


def styles_of(methods: Iterable[str]) -> dict[str, tuple]:
    """{method: (colour, dashes)}: its own, or in their order the next of those for others."""
    others = itertools.cycle(OTHER_STYLES)
    return {method: METHOD_STYLES.get(method) or next(others) for method in methods}


def caption(figure: "Figure", words: str) -> None:
    """What the figure shows, above it, in as many lines as its width needs."""
    figure.suptitle(words, x=0.01, ha="left", fontsize=8, wrap=True)


def not_run(panel: "Axes") -> None:
    """Say that a panel is empty because nothing was run."""
    panel.text(0.5, 0.5, "not run", transform=panel.transAxes, ha="center", color=GREY)


def log_scale(panel: "Axes", which: str, ticks: list[float]) -> None:
    """The "x" or "y" axis on a log scale, with these ticks written as plain numbers."""
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    panel.set(**{f"{which}scale": "log"})
    axis = {"x": panel.xaxis, "y": panel.yaxis}[which]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def method_legend(figure: "Figure", names: dict[str, str], points: bool = False) -> None:
    """Below all panels, the line of each {method: its name}, or its point."""
    from matplotlib.lines import Line2D

    marks = []
    for method, (color, line) in styles_of(names).items():
        look = {"linestyle": "", **point_style(method)} if points else {"linestyle": line, "linewidth": 1.4}
        marks.append(Line2D([], [], color=color, **look))
    across, length = (6, 1) if points else (4, 3.2)
    figure.legend(
        marks, names.values(), loc="outside lower center", ncols=min(len(names), across) or 1, handlelength=length
    )


def point_style(method: str) -> dict:
    """Shape and size of a method's point."""
    marker = METHOD_MARKERS.get(method, "o")
    return {"marker": marker, "markersize": 9 if marker == "*" else 5}


def mark(panel: "Axes", epoch: float, words: str, height: float = 1.0) -> None:
    """A thin upright line at an epoch, with what happens there written at a height between 0 and 1."""
    panel.axvline(epoch + 0.5, color=GREY, linewidth=0.7, linestyle=(0, (1, 2)), zorder=0)
    panel.annotate(
        words,
        (epoch + 0.5, height),
        xycoords=("data", "axes fraction"),
        xytext=(3, -8),
        textcoords="offset points",
        fontsize=6,
        color=GREY,
    )


def write_figure(figure: "Figure", numbers: "pandas.DataFrame", path: Path, colors: Iterable[str] = ()) -> list[Path]:
    """PNG and PDF without dates, and the numbers as CSV, beside each other; `colors` of further lines are kept."""
    from PIL import Image

    metadata = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None, "Creator": None}}
    files = {}
    for suffix, about in metadata.items():
        out = io.BytesIO()
        figure.savefig(out, format=suffix, dpi=150, metadata=about)
        files[suffix] = small_png(Image.open(out), own=colors) if suffix == "png" else out.getvalue()
    files["csv"] = to_csv(numbers)
    for suffix, data in files.items():
        write_atomic(path.with_suffix(f".{suffix}"), data)
    return [path.with_suffix(f".{suffix}") for suffix in files]


def small_png(image, colours: int = 256, own: Iterable[str] = ()) -> bytes:
    """A Pillow picture as PNG with a palette of so many colours: a third of the size.

    Those of our lines, and the figure's `own`, are among them: left to itself, the palette has many shades of the
    bands and drops a line's.
    """
    from matplotlib.colors import to_rgb
    from PIL import Image

    image = image.convert("RGB")
    lines = {color for color, _ in METHOD_STYLES.values()} | {style["color"] for style in POPULATIONS.values()}
    lines |= {"#FFFFFF", "#000000", *own}
    kept = [round(255 * level) for color in sorted(lines) for level in to_rgb(color)]
    shades = image.quantize(colours - len(lines), dither=Image.Dither.NONE).getpalette()
    palette = Image.new("P", (1, 1))
    palette.putpalette(kept + shades[: 3 * colours - len(kept)])
    out = io.BytesIO()
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(out, "png", optimize=True)
    return out.getvalue()
