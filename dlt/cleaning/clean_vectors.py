"""The noise rate of labelled vectors and their suspicious labels: DLT on a small network, and nearest neighbours.

Nobody tells the rate. A first estimate comes from the nearest neighbours; DLT without a rate of its own (`dlt-auto`)
trains with it, and judges together with the neighbours. The estimate that is reported is the share of labels that this
judgement expects to be wrong, which errs by less on tuning data than the first one.
"""

import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from dlt.artifact.printing import counted
from dlt.cleaning.exports import write_exports
from dlt.cleaning.neighbours import Neighbours, judgement, nearest
from dlt.cleaning.reasons import by_class, expected_among_first, kinds
from dlt.cleaning.review import Item, write_review
from dlt.cleaning.suspects import probabilities
from dlt.cleaning.truth import beside_the_truth, check_known, truth_in_words
from dlt.cleaning.vectors import Vectors
from dlt.harness.config import RunConfig, make_config
from dlt.harness.devices import resolve_device
from dlt.harness.errors import RunFailed
from dlt.harness.features import scale
from dlt.harness.records import csv_text, find_record, npy_bytes, npz_bytes, write_atomic
from dlt.harness.sweep import Bar, attempt

MOST_TESTED = 500
MOST_RATE = 0.95  # that Eq. 7 can take
MOST_BELIEVED = 0.3  # estimated noise rate above which weak features may be to blame
SHOWN_NEIGHBOURS = 5
MOST_PICTURED = 2000  # suspects with thumbnails in the page, which then has some 50 MB


def clean_vectors(
    vectors: Vectors, output: Path, device: str, seed: int, settings: dict, say=print, known: dict | None = None
) -> dict:
    """Train, judge and write everything below `output`; the summary, as in summary.json. Raises RunFailed.

    `known` are the true labels by id, as far as they are known: the summary then says how well the others were found.
    """
    check_known(known, vectors.class_names)
    classes = len(vectors.class_names)
    if vectors.columns:
        say(vectors.columns)
    say(f"{len(vectors)} samples of {classes} classes, {vectors.features.shape[1]} features each: nearest neighbours")
    neighbours = nearest(scale(vectors.features, vectors.features, vectors.scaling), say=say)
    rate = neighbours.rate(vectors.labels, classes)
    # On tuning data either estimate trains alike; the larger one lets fewer wrong labels in.
    w = min(neighbours.disagreement(vectors.labels, classes), MOST_RATE)
    config = _config(vectors, output, w, seed, settings)
    store, device = output / "runs", resolve_device(device)
    train(config, store, device, say)
    return judge(vectors, neighbours, probabilities(config, store, device), rate, output, known)


def judge(
    vectors: Vectors, neighbours: Neighbours, predicted: np.ndarray, rate: float, output: Path, known: dict | None
) -> dict:
    """Write what a network's `predicted` probabilities (N, C) and the neighbours say together; the summary."""
    classes = len(vectors.class_names)
    votes = neighbours.votes(vectors.labels, classes)
    judged = judgement(predicted, votes, neighbours.rows.shape[1], vectors.labels, rate)
    table = _table(vectors, judged, votes, neighbours)
    summary = _summary(vectors, judged, table, rate)
    summary |= beside_the_truth(
        known, vectors.ids, table["given_label"].tolist(), table, summary["estimated_noise_rate"]
    )
    _write(output, vectors, judged, neighbours, table, summary)
    return summary


def _config(vectors: Vectors, output: Path, rate: float, seed: int, settings: dict) -> RunConfig:
    path = output / "data" / "features" / f"{vectors.name}.npz"
    # Without a test set what is watched is the agreement with some of the given labels; nothing depends on it.
    some = np.linspace(0, len(vectors) - 1, min(len(vectors), MOST_TESTED)).astype(int)
    arrays = {
        "features": vectors.features.astype(np.float32),
        "labels": vectors.labels,
        "test_features": vectors.features[some].astype(np.float32),
        "test_labels": vectors.labels[some],
        "class_names": np.array(vectors.class_names),
        "scaling": np.array(vectors.scaling),
    }
    if vectors.views is not None:
        arrays["views"] = vectors.views.astype(np.float32)
    write_atomic(path, npz_bytes(arrays))
    return make_config("features", str(path), "dlt-auto", "none", seed=seed, assumed_rate=rate, **settings)


def train(config: RunConfig, store: Path, device: torch.device, say) -> None:
    """In this process: to start another one takes longer than to train on a thousand vectors. Raises RunFailed."""
    if find_record(config, [store]) is not None:
        return
    say(f"to train: {config.name}")
    bar, threads = Bar([config], say), torch.get_num_threads()
    try:
        how = attempt(config, store, device.type, None, math.inf, lambda row: bar.epoch(config, row))
        bar.ended(config, store, how)
    finally:
        bar.close()
        torch.set_num_threads(threads)
    if find_record(config, [store]) is None:
        raise RunFailed("failed: the run (see above)")


def _table(vectors: Vectors, judged: np.ndarray, votes: np.ndarray, neighbours: Neighbours):
    """A pandas DataFrame, a row a sample in their order: what is thought of each label, and why."""
    import pandas

    names, every = np.array(vectors.class_names, dtype=object), np.arange(len(vectors))
    suggested = judged.argmax(1)
    table = pandas.DataFrame(
        {
            "id": pandas.Series(vectors.ids, dtype=object),
            "given_label": names[vectors.labels],
            "suggested_label": names[suggested],
            "clean_probability": judged[every, vectors.labels],
            "agreeing_neighbours": votes[every, vectors.labels],
            "suspect": suggested != vectors.labels,
            "kind": kinds(judged, vectors.labels, neighbours),
        }
    )
    if vectors.pictures is not None:
        table.insert(1, "file", pandas.Series(vectors.pictures.sources, dtype=object))
    return table


def _summary(vectors: Vectors, judged: np.ndarray, table, rate: float) -> dict:
    suspects = table[table["suspect"]]
    pairs = suspects.groupby(["given_label", "suggested_label"]).size().sort_values(ascending=False, kind="stable")
    return {
        "name": vectors.name,
        "samples": len(vectors),
        "classes": len(vectors.class_names),
        "estimated_noise_rate": round(float(1 - table["clean_probability"].mean()), 4),
        "noise_rate_by_neighbours": round(rate, 4),
        "suspects": len(suspects),
        "suspect_share": round(len(suspects) / len(vectors), 4),
        "kinds": {str(kind): int(count) for kind, count in suspects["kind"].value_counts().items()},
        "expected_among_first": expected_among_first(judged, vectors.labels),
        "by_class": by_class(judged, vectors.labels, vectors.class_names),
        "frequent": [{"given": g, "suggested": s, "samples": int(n)} for (g, s), n in pairs.head(10).items()],
    }


def in_words(summary: dict) -> str:
    """The summary as a few lines of text."""
    lines = [
        f"{summary['name']}: {summary['samples']} samples of {summary['classes']} classes",
        f"estimated noise rate: {100 * summary['estimated_noise_rate']:.1f}% "
        f"(by the nearest neighbours alone: {100 * summary['noise_rate_by_neighbours']:.1f}%)",
        f"suspicious labels: {summary['suspects']} ({100 * summary['suspect_share']:.1f}%): "
        + (", ".join(f"{count} {kind}" for kind, count in summary["kinds"].items()) or "none"),
    ]
    for first, wrong in summary["expected_among_first"].items():
        lines.append(f"  of the first {first} about {wrong:.0f} are expected to be wrong")
    if summary["estimated_noise_rate"] > MOST_BELIEVED:
        lines.append("  (where features tell the classes badly apart, rate and expected numbers are far too high)")
    for pair in summary["frequent"][:5]:
        lines.append(f"  {counted(pair['samples'], 'label')} {pair['given']} should perhaps be {pair['suggested']}")
    return "\n".join([*lines, *truth_in_words(summary)])


def _write(output: Path, vectors: Vectors, judged: np.ndarray, neighbours: Neighbours, table, summary: dict) -> None:
    ranked = table[table["suspect"]].sort_values("clean_probability", kind="stable")
    write_atomic(output / "suspects.csv", ranked.drop(columns="suspect").to_csv(index=False, float_format="%.6g"))
    write_atomic(output / "labels.csv", table.to_csv(index=False, float_format="%.6g"))
    write_atomic(output / "judgement.npy", npy_bytes(judged.astype(np.float32)))
    write_atomic(output / "summary.json", json.dumps(summary, indent=1) + "\n")
    write_atomic(output / "summary.txt", in_words(summary) + "\n")
    if vectors.pictures is not None:
        write_exports(output, table)
        skipped = [{"file": file, "reason": reason} for file, reason in vectors.pictures.listed.skipped.items()]
        if skipped:
            write_atomic(output / "skipped.csv", csv_text(skipped))
        shown = _thumbnails(vectors, ranked.index[:MOST_PICTURED], neighbours)
    else:
        rows = vectors.rows or [{"row": name} for name in vectors.ids]
        shown = {place: _words(row) for place, row in enumerate(rows)}
        write_exports(output, table, "text", ["; ".join(f"{k}: {v}" for k, v in row.items()) for row in shown.values()])
    items = [_item(vectors, row, ranked, neighbours, shown, output) for row in ranked.index]
    title = f"{vectors.name}: suspicious labels"
    write_review(output, items, vectors.class_names, title, in_words(summary), vectors.data_sha256)


def _words(row: dict) -> dict:
    """The fields of a row as texts."""
    return {str(name): f"{value:.6g}" if isinstance(value, float) else str(value) for name, value in row.items()}


def _thumbnails(vectors: Vectors, suspects, neighbours: Neighbours) -> dict[int, bytes]:
    """{row: JPEG or PNG} of the suspects and of the neighbours that stand beside them."""
    from tqdm import tqdm

    rows = np.unique([*suspects, *neighbours.rows[suspects, :SHOWN_NEIGHBOURS].ravel()]).astype(int).tolist()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = tqdm(pool.map(vectors.pictures.thumbnail, rows), "thumbnails", len(rows), unit="picture")
        return dict(zip(rows, made, strict=True))


def _item(vectors: Vectors, row: int, ranked, neighbours: Neighbours, shown: dict, output: Path) -> Item:
    """`shown` has of a row its thumbnail, or its fields; not of pictures that come late."""
    found, pictures = ranked.loc[row], vectors.pictures
    return Item(
        id=vectors.ids[row],
        given=int(vectors.labels[row]),
        suggested=vectors.class_names.index(found["suggested_label"]),
        clean_probability=float(found["clean_probability"]),
        kind=found["kind"],
        thumbnail=shown.get(row) if pictures else None,
        row=None if pictures else shown[row],
        link=pictures.link(row, output) if pictures else None,
        neighbours=[
            (vectors.ids[other], int(vectors.labels[other]), shown.get(other))
            for other in neighbours.rows[row, :SHOWN_NEIGHBOURS]
        ],
    )
