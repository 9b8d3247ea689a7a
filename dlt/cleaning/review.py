"""review.html: one page, whole in itself, on which a person decides each suspicious label by keyboard.

The page writes decisions.csv, which `dlt.cleaning.apply` turns into a corrected copy of the data.
"""

import base64
import html
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from dlt.cleaning.decisions import shown
from dlt.harness.records import write_atomic

KINDS = ("wrong", "ambiguous", "outlier", "duplicate")
THUMBNAIL = 128  # pixels
MEDIA = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png"}  # by how a file begins

# An id, a class, and what is shown: a picture's bytes, its place in the shared thumbnails, fields of text, or nothing.
Neighbour = tuple[str, int, bytes | int | dict | None]


@dataclass(frozen=True)
class Item:
    """A suspicious label: `id` is a path below the source, or a row number; classes are places in `class_names`."""

    id: str
    given: int
    suggested: int
    clean_probability: float
    kind: str = "wrong"  # one of KINDS
    thumbnail: bytes | None = None  # JPEG or PNG
    row: dict | None = None  # fields to show of a text or a row of a table
    link: str | None = None  # the full picture: a path relative to the page, or a URL
    neighbours: Sequence[Neighbour] = ()


def write_review(
    output: Path,
    items: Sequence[Item],
    class_names: Sequence[str],
    title: str,
    words: str,
    data_sha256: str,
    thumbnails: Sequence[bytes] = (),
) -> Path:
    """Write `output`/review.html with the items in their order; its path.

    `words` is a summary as plain text, `data_sha256` that of `apply_source.data_hash`; `thumbnails` are those that
    neighbours name by number. ValueError for a class, kind or thumbnail that is none, and for an id that comes twice.
    """
    pictures = _Pictures(thumbnails)
    data = {
        "title": shown(title),
        "words": shown(words),
        "sha256": data_sha256,
        "classes": [shown(name) for name in class_names],
        "items": [_fields(item, len(class_names), pictures) for item in items],
        "pictures": pictures.encoded,
    }
    if len({item["id"] for item in data["items"]}) < len(items):
        raise ValueError("items: an id comes twice")
    here = Path(__file__).parent
    parts = {
        "TITLE": html.escape(shown(title)),
        "STYLE": (here / "review.css").read_text(encoding="utf-8"),
        "SCRIPT": "".join(
            (here / name).read_text(encoding="utf-8") for name in ("review_csv.js", "review.js", "review_draw.js")
        ),
        # In a script element, JSON ends nowhere but at "<".
        "DATA": json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    }
    template = (here / "review.html").read_text(encoding="utf-8")
    page = re.sub("__(TITLE|STYLE|SCRIPT|DATA)__", lambda found: parts[found[1]], template)
    write_atomic(Path(output) / "review.html", page)
    return Path(output) / "review.html"


def thumbnail_bytes(image) -> bytes:
    """A Pillow image as a JPEG of at most THUMBNAIL pixels a side; a much smaller one as a PNG, its pixels enlarged."""
    from PIL import Image

    buffer = io.BytesIO()
    if (factor := THUMBNAIL // max(image.size)) >= 2:
        image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST).save(buffer, "PNG")
    else:
        small = image.convert("RGB")
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        small.save(buffer, "JPEG", quality=80, optimize=True)
    return buffer.getvalue()


class _Pictures:
    """The thumbnails of the page as data: URLs, each once."""

    def __init__(self, shared: Sequence[bytes]):
        self.encoded: list[str] = []
        self._places: dict[bytes, int] = {}
        self._shared = shared

    def place(self, picture: bytes | int) -> int:
        """Where in `encoded` a picture is: its bytes, or a number of the shared thumbnails."""
        data = self._shared[picture] if isinstance(picture, int) else picture
        if data not in self._places:
            self._places[data] = len(self.encoded)
            self.encoded.append(f"data:{_media_type(data)};base64,{base64.b64encode(data).decode()}")
        return self._places[data]


def _media_type(data: bytes) -> str:
    for begin, name in MEDIA.items():
        if data.startswith(begin):
            return name
    raise ValueError(f"thumbnail: {data[:4]!r}... is neither a JPEG nor a PNG")


def _fields(item: Item, classes: int, pictures: _Pictures) -> dict:
    """The item as the page reads it; what it lacks is left out."""
    for label in (item.given, item.suggested, *(label for _, label, _ in item.neighbours)):
        if not 0 <= label < classes:
            raise ValueError(f"item {item.id!r}: class {label} is not in 0..{classes - 1}")
    if item.kind not in KINDS:
        raise ValueError(f"item {item.id!r}: kind {item.kind!r} is not one of {', '.join(KINDS)}")
    probability = float(item.clean_probability)
    fields = {
        "id": shown(item.id),
        "given": int(item.given),
        "suggested": int(item.suggested),
        "p": round(probability, 6) if math.isfinite(probability) else None,
        "kind": item.kind,
        "picture": None if item.thumbnail is None else pictures.place(item.thumbnail),
        "row": _row(item.row),
        "link": item.link and _address(item.link),
        "near": [_neighbour(neighbour, pictures) for neighbour in item.neighbours],
    }
    return {name: value for name, value in fields.items() if value not in (None, [])}


def _neighbour(neighbour: Neighbour, pictures: _Pictures) -> dict:
    name, label, what = neighbour
    fields = {"id": shown(name), "label": int(label)}
    if isinstance(what, dict):
        return fields | {"row": _row(what)}
    return fields if what is None else fields | {"picture": pictures.place(what)}


def _row(row: dict | None) -> dict | None:
    return row and {shown(str(name)): shown(str(value)) for name, value in row.items()}


def _address(link: str) -> str:
    """A URL as it is; a path with what a URL reads otherwise, such as # and ?, escaped."""
    if re.match("(https?|file)://", link):
        return link
    return quote(link.encode("utf-8", "surrogateescape"))
