"""Figure 6: what hard samples look like, originals above the hard copies that the runs of Figure 7 trained on."""

from pathlib import Path

import numpy as np

from dlt.artifact.drawing import caption, new_figure, write_figure
from dlt.artifact.exhibits.common import KINDS, found, hard_runs, setting_line

TITLE = "hard samples"
runs = hard_runs


def write(profile: str, seeds: list[int], stores: list[Path], folder: Path) -> tuple[str, list[Path]]:
    """Originals above their hard copies, one of each class, as the runs of Figure 7 trained on them."""
    import pandas

    found_records = {
        kind: found({s: hard_runs(profile, s)[f"dlt-window {kind}"] for s in seeds}, stores) for kind in KINDS
    }
    there = {kind: next(iter(records.values())) for kind, records in found_records.items() if records}
    rows = []
    with new_figure(8, 0.9 + 2.1 * max(len(there), 1)) as figure:
        parts = figure.subfigures(max(len(there), 1), 1, squeeze=False)[:, 0]
        for part, (kind, record) in zip(parts, there.items(), strict=False):
            arrays = record.losses()
            _draw_gallery(part, KINDS[kind], arrays["hard_originals"], arrays["hard_copies"])
            difference = np.abs(arrays["hard_copies"].astype(int) - arrays["hard_originals"])
            rows += [
                {"kind": kind, "image": i, "mean_change": d.mean(), "largest_change": int(d.max())}
                for i, d in enumerate(difference)
            ]
        title = f"Clean samples and the hard copies made of them\n{setting_line(profile, min(len(there), 1))}"
        caption(figure, title)
        return "", write_figure(figure, pandas.DataFrame(rows), Path(folder) / profile / "figure6")


def _draw_gallery(figure, title: str, originals: np.ndarray, copies: np.ndarray) -> None:
    figure.suptitle(title, fontsize=8, fontweight="bold", x=0.01, ha="left")
    panels = figure.subplots(2, len(originals), squeeze=False)
    for row, (words, images) in zip(panels, (("original", originals), ("hard", copies)), strict=True):
        for panel, image in zip(row, images, strict=True):
            panel.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            panel.set(xticks=[], yticks=[])
            panel.grid(False)
        row[0].set_ylabel(words)


CLAIMS = ()
