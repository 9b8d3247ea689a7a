"""Labelled pictures as vectors: each embedded once by a backbone, in pieces that are kept and gone on with."""

import hashlib
import math
import os
import random
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from dlt.cleaning.apply_source import data_hash
from dlt.cleaning.backbones import Backbone
from dlt.cleaning.listing import Listed, Shown, check_enough, in_a_line, list_pictures, readable
from dlt.cleaning.request import Request, left_out, mark_output, output_of
from dlt.cleaning.truth import true_labels
from dlt.cleaning.vectors import Vectors
from dlt.harness.errors import InputError
from dlt.harness.records import npz_bytes, write_atomic

PIECE = 256  # pictures of a file of embeddings
BATCH = 32  # pictures at a time in the network
LEAST_PART = 0.5  # of a picture in an augmented view


def embedded_request(request: Request, backbone: Backbone, say, doing: str) -> tuple[Vectors, dict | None]:
    """The pictures of a request as vectors, and those of their labels that are known to be true.

    `doing` ends the line that says what comes. All that is asked for is checked before anything is written.
    """
    known = true_labels(request.path, request.clean_label, request.id_column)
    with output_of(request):
        listed = list_pictures(request.path, request.label, request.id_column, request.picture_column)
        sha256 = data_hash(request.path, request.label, request.id_column)
    say(f"{len(listed)} pictures, {doing}")
    mark_output(request)
    vectors = embed(listed, backbone, request.views, request.output / "embeddings", sha256)
    if listed.skipped:
        say(left_out(listed.skipped))
    return vectors, known


def embed(listed: Listed, backbone: Backbone, views: int, folder: Path, data_sha256: str) -> Vectors:
    """The pictures that can be read, as vectors with `views` stored views of augmented pictures; resumable.

    What cannot be read goes to `listed.skipped`. Pieces of before lie in `folder`; those of other pictures, weights or
    numbers of views go when all is done. Raises InputError where too few pictures can be read.
    """
    from PIL import Image

    with warnings.catch_warnings():
        # A picture above Pillow's limit is read, with a warning that would cut into the bar; one twice as large is not.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        pieces = [np.load(file) for file in _pieces(listed, backbone, views, folder)]
    good = readable(listed, [reason or None for piece in pieces for reason in piece["reasons"].tolist()])
    labels, names = listed.numbered(good)
    check_enough(listed.name, labels, names)
    features = np.concatenate([piece["features"] for piece in pieces if len(piece["features"])])  # (n, 1 + views, D)
    return Vectors(
        listed.name,
        features[:, 0],
        labels,
        names,
        [listed.ids[row] for row in good],
        "unit",
        data_sha256,
        views=features[:, 1:].swapaxes(0, 1) if views else None,
        pictures=Shown(listed, good),
    )


def _pieces(listed: Listed, backbone: Backbone, views: int, folder: Path) -> list[Path]:
    """The files of the embeddings, in order, after making those that are not there."""
    from tqdm import tqdm

    rows = [range(start, min(start + PIECE, len(listed))) for start in range(0, len(listed), PIECE)]
    files = [folder / f"{_name(listed, part, backbone, views)}.npz" for part in rows]
    missing = [(part, file) for part, file in zip(rows, files, strict=True) if not file.exists()]
    done = len(listed) - sum(len(part) for part, _ in missing)
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(listed), initial=done, desc="embedding", unit="picture") as bar,
    ):
        for part, file in missing:
            write_atomic(file, npz_bytes(_piece(listed, part, backbone, views, pool, bar)))
    for old in set(folder.glob("*.npz")) - set(files):
        old.unlink()
    return files


def _name(listed: Listed, rows: range, backbone: Backbone, views: int) -> str:
    """Of pictures as they are now, weights and views."""
    if listed.root is None:
        what = [hashlib.sha256(listed.images[rows.start : rows.stop].tobytes()).hexdigest()]
    else:
        stats = [os.stat(listed.root / listed.sources[row]) for row in rows]
        what = [(listed.sources[row], s.st_size, s.st_mtime_ns) for row, s in zip(rows, stats, strict=True)]
    return hashlib.sha256(repr((what, rows, backbone.key, views)).encode(errors="surrogateescape")).hexdigest()[:16]


def _piece(listed: Listed, rows: range, backbone: Backbone, views: int, pool: ThreadPoolExecutor, bar) -> dict:
    """{features (n, 1 + views, D) of those that can be read, reasons (rows,): why not, or nothing}."""
    features, reasons = [], []
    for batch in _batches(listed, rows, backbone, views, pool):
        if read := [what for what in batch if not isinstance(what, str)]:
            features.append(backbone.features(torch.cat(read)).view(len(read), 1 + views, -1).numpy())
            if not np.isfinite(features[-1]).all():
                raise InputError(f"backbone: {backbone.name} makes NaN or infinite features; its weights are damaged")
        reasons += [what if isinstance(what, str) else "" for what in batch]
        bar.update(len(batch))
    return {"features": np.concatenate(features) if features else np.empty(0), "reasons": np.array(reasons)}


def _batches(listed: Listed, rows: range, backbone: Backbone, views: int, pool: ThreadPoolExecutor) -> Iterator[list]:
    """Lists of a picture's views (1 + V, C, H, W), or why it cannot be read; the next is read while one is in use."""

    def submit(part: range) -> list[Future]:
        return [pool.submit(_read, listed, row, backbone, views) for row in part]

    parts = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    waiting = submit(parts[0])
    for following in [*parts[1:], range(0)]:
        now, waiting = waiting, submit(following)
        yield [future.result() for future in now]


def _read(listed: Listed, row: int, backbone: Backbone, views: int) -> torch.Tensor | str:
    try:
        image, _ = listed.open(row)
        parts = (_part(image, random.Random(f"{row} {view}")) for view in range(views))
        return torch.stack([backbone.plain(image), *map(backbone.plain, parts)])
    except Exception as error:  # whatever a broken file may do to Pillow
        return in_a_line(error)


def _part(image, draws: random.Random):
    """A view of a Pillow image: a part of its shape and of LEAST_PART of its area or more, mirrored at even odds."""
    from PIL import ImageOps

    side = math.sqrt(draws.uniform(LEAST_PART, 1))
    width, height = max(1, round(side * image.width)), max(1, round(side * image.height))
    left, top = draws.randint(0, image.width - width), draws.randint(0, image.height - height)
    part = image.crop((left, top, left + width, top + height))
    return ImageOps.mirror(part) if draws.random() < 0.5 else part
