"""The suspicious labels to look at: a gallery of the worst of each class, and a page with a sortable list."""

import base64
import html
import io
import os
from pathlib import Path

from dlt.cleaning.listing import open_picture
from dlt.cleaning.pictures import Pictures
from dlt.cleaning.reasons import SURE
from dlt.cleaning.review import Item, thumbnail_bytes
from dlt.harness.records import write_atomic

WORST = 8  # shown of each class in the gallery
CLASSES = 10  # rows of one gallery
LISTED = 500  # shown in the page; suspects.csv has all
THUMBNAIL = 96  # pixels


def thumbnail(pictures: Pictures, row: int):
    """Image `row` as a Pillow image of at most THUMBNAIL pixels a side: of the user's file where there is one."""
    from PIL import Image

    image = _picture(pictures, row)
    if pictures.root is not None:
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        return image
    factor = max(1, THUMBNAIL // max(image.size))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def write_galleries(output: Path, pictures: Pictures, ranked) -> list[Path]:
    """gallery-1.png, ...: a row a class, its most suspicious images first. The files; those of before are replaced."""
    for old in output.glob("gallery-*.png"):
        old.unlink()
    worst = {name: part.head(WORST) for name, part in ranked.groupby("given_label", sort=True)}
    names, written = list(worst), []
    for page, start in enumerate(range(0, len(names), CLASSES), 1):
        figure = _gallery(pictures, {name: worst[name] for name in names[start : start + CLASSES]})
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=110)
        written.append(output / f"gallery-{page}.png")
        write_atomic(written[-1], buffer.getvalue())
    return written


def review_items(output: Path, pictures: Pictures, ranked) -> list[Item]:
    """The suspects for review.html, in their order, each with its picture and the way to the whole of it."""
    classes = {name: label for label, name in enumerate(pictures.class_names)}
    return [
        Item(
            id=pictures.ids[suspect.Index],
            given=classes[suspect.given_label],
            suggested=classes[suspect.suggested_label],
            clean_probability=suspect.clean_probability,
            kind="wrong" if suspect.clean_probability < 1 - SURE else "ambiguous",
            thumbnail=thumbnail_bytes(_picture(pictures, suspect.Index)),
            link=None if pictures.root is None else os.path.relpath(pictures.root / suspect.file, output.resolve()),
        )
        for suspect in ranked.itertuples()
    ]


def _picture(pictures: Pictures, row: int):
    """Image `row` as a Pillow image: the user's file where there is one."""
    from PIL import Image

    if pictures.root is not None:
        return open_picture(pictures.root / pictures.sources[row])[0]
    return Image.fromarray(pictures.images[row].squeeze())


def _gallery(pictures: Pictures, worst: dict):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.05 * WORST + 1.2, 1.35 * len(worst) + 0.5), layout="constrained")
    figure.suptitle(
        "Most suspicious labels of each class: labelled (left), suggested (above), probability that the label is right",
        x=0.01,
        ha="left",
        fontsize=8,
    )
    for panels, (name, rows) in zip(figure.subplots(len(worst), WORST, squeeze=False), worst.items(), strict=True):
        for panel in panels:
            panel.set_axis_off()
        words = {"fontsize": 8, "parse_math": False}  # a $ in a name is a $
        panels[0].text(-0.12, 0.5, _short(name), transform=panels[0].transAxes, ha="right", va="center", **words)
        for panel, suspect in zip(panels, rows.itertuples(), strict=False):
            panel.imshow(thumbnail(pictures, suspect.Index), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            title = f"{_short(suspect.suggested_label)}\n{suspect.clean_probability:.1g}"
            panel.set_title(title, fontsize=7, parse_math=False)
    return figure


def _short(name: str, length: int = 14) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


def write_page(output: Path, pictures: Pictures, ranked, summary: dict, words: str, galleries: list[Path]) -> Path:
    """index.html, whole in itself: the summary, suspects by class, and the first LISTED suspects, to be sorted."""
    shown = ranked.head(LISTED)
    rows = "\n".join(_row(pictures, suspect) for suspect in shown.itertuples())
    classes = "\n".join(
        f"<tr><td>{html.escape(name)}</td><td>{part['images']}</td><td>{part['suspects']}</td>"
        f"<td>{100 * part['suspects'] / max(part['images'], 1):.1f}%</td></tr>"
        for name, part in summary["by_class"].items()
    )
    links = "".join(f' <a href="{file.name}">Gallery {i}</a>.' for i, file in enumerate(galleries, 1))
    more = f"The first {len(shown)} of {len(ranked)}; all are in" if len(shown) < len(ranked) else "Also as a file:"
    text = _PAGE.format(
        title=html.escape(f"{summary['name']}: suspicious labels"),
        words=html.escape(words),
        classes=classes,
        rows=rows,
        more=more,
        links=links,
    )
    write_atomic(output / "index.html", text)
    return output / "index.html"


def _row(pictures: Pictures, suspect) -> str:
    buffer = io.BytesIO()
    thumbnail(pictures, suspect.Index).save(buffer, "PNG" if pictures.root is None else "JPEG")
    kind = "png" if pictures.root is None else "jpeg"
    image = f'<img alt="" src="data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}">'
    words = map(html.escape, (suspect.file, suspect.given_label, suspect.suggested_label))
    cells = [image, *words, f"{suspect.clean_probability:.2g}"]
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse; margin: 1rem 0 }}
th, td {{ padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: left }}
th {{ position: sticky; top: 0; background: #f4f4f4; cursor: pointer }}
#suspects td:nth-child(n+5), #classes td:nth-child(n+2) {{ text-align: right; font-variant-numeric: tabular-nums }}
#suspects td:nth-child(2) {{ overflow-wrap: anywhere; min-width: 6rem }}
img {{ display: block; width: 4rem; height: 4rem; object-fit: contain; image-rendering: pixelated }}
pre {{ background: #f4f4f4; padding: 1rem; white-space: pre-wrap }}
</style>
<h1>{title}</h1>
<pre>{words}</pre>
<p>A label is suspicious where the network that DLT trained, which discards labels of high loss, thinks another class
likelier; the probability that a label is right is that network's. Click a heading to sort.</p>
<h2>By class</h2>
<table id="classes"><thead><tr><th>given label</th><th>images</th><th>suspicious</th><th>share</th></tr></thead>
<tbody>
{classes}
</tbody></table>
<h2>Suspicious labels, the worst first</h2>
<p>{more} <a href="suspects.csv">suspects.csv</a>.{links}</p>
<table id="suspects"><thead><tr><th>image</th><th>file</th><th>given</th><th>suggested</th>
<th>probability that it is right</th></tr></thead>
<tbody>
{rows}
</tbody></table>
<script>
for (const heading of document.querySelectorAll("th")) heading.onclick = () => {{
  const body = heading.closest("table").tBodies[0], column = heading.cellIndex;
  const up = heading.dataset.up = heading.dataset.up === "1" ? "0" : "1";
  const value = row => row.cells[column].textContent;
  const compare = (a, b) => value(a).localeCompare(value(b), undefined, {{numeric: true}});
  const number = row => parseFloat(value(row));
  const numbers = [...body.rows].every(row => /^[-+.\\de]+%?$/.test(value(row)));
  body.append(...[...body.rows].sort((a, b) =>
    (up === "1" ? 1 : -1) * (numbers ? number(a) - number(b) : compare(a, b))));
}};
</script>
</html>
"""
