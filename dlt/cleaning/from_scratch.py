"""The noise rate of a folder of images, its suspicious labels, and a network that has not learnt them."""

import json
import math
from pathlib import Path

import numpy as np
import torch

from dlt.artifact.export import about_images, write_model
from dlt.artifact.printing import counted
from dlt.cleaning import page
from dlt.cleaning.apply_source import data_hash
from dlt.cleaning.pictures import Pictures, read_pictures, side_of
from dlt.cleaning.request import MARK, Request, left_out, mark_output, output_of
from dlt.cleaning.review import write_review
from dlt.cleaning.suspects import fold_parts, judge, out_of_sample, probabilities
from dlt.cleaning.truth import beside_the_truth, check_known, true_labels, truth_in_words
from dlt.harness.config import RunConfig, make_config
from dlt.harness.datasets import load
from dlt.harness.errors import InputError, RunFailed
from dlt.harness.records import (
    csv_text,
    find_record,
    folder_of,
    npy_bytes,
    npz_bytes,
    read_record,
    write_atomic,
)
from dlt.harness.settings import first_dataset
from dlt.harness.sweep import Job, core_count, default_workers, sweep

METHOD = "dlt-auto"
SIZES = {"digits": 8, "mini": 32, "short": 32, "paper": 32}  # pixels a side, as the profile's own images
LEAST_HELD_OUT = 10  # images, of a fold
MOST_TESTED = 500
MOST_THREADS = 8


def clean_from_scratch(request: Request, device: torch.device, say) -> dict:
    """`dlt.cleaning.clean.clean`, by networks that are trained on the pictures at the size of the profile."""
    profile = _profile(request, device.type)
    settings = _settings(request, profile, device.type)
    # What cannot be trained is refused before any picture is read.
    make_config(profile, first_dataset(profile), METHOD, "none", seed=request.seed, **settings)
    known = true_labels(request.path, request.clean_label, request.id_column)
    with output_of(request):
        pictures = read_pictures(request.path, SIZES[profile], request.label, request.id_column, request.picture_column)
        check_known(known, pictures.class_names)
        _check_folds(pictures, request)
    say(_what(pictures, profile))
    write_atomic(request.output / MARK, "")
    config, folds = _configs(request, profile, pictures, settings)
    everything = [config, *folds]
    store = request.output / "runs"
    workers = request.workers or default_workers(device.type, everything)
    failures = sweep(everything, Job(store, device.type, workers, say=say))
    failed = RunFailed(f"failed: {counted(len(failures), 'run')} (see above)")
    if find_record(config, [store]) is None:
        raise failed
    mark_output(request)
    judged = judge(pictures.labels, probabilities(config, store, device))
    summary = _summary(pictures, config, store, judged)
    given = [pictures.class_names[label] for label in pictures.labels]
    summary |= beside_the_truth(known, pictures.ids, given, judged, summary["estimated_noise_rate"])
    _write(request, pictures, config, store, judged, summary)
    if failures:
        raise failed
    if folds:
        parts = fold_parts(pictures.labels, request.folds, request.seed)
        write_atomic(request.output / "labels.npy", npy_bytes(pictures.labels))
        write_atomic(request.output / "pred_probs.npy", npy_bytes(out_of_sample(folds, parts, store, device)))
    return summary


def _profile(request: Request, device: str) -> str:
    """`auto`: short on a GPU; on a CPU mini, or digits for an archive of images as small."""
    if request.profile != "auto":
        if request.profile not in SIZES:
            raise InputError(f"profile: {request.profile!r} is not one of auto, {', '.join(SIZES)}")
        return request.profile
    if device == "cuda":
        return "short"
    side = side_of(request.path)
    return "digits" if side and side <= SIZES["digits"] else "mini"


def _settings(request: Request, profile: str, device: str) -> dict:
    """The user's, and all cores for a run, where its network is not too small for that: runs follow each other.

    The number of threads is part of a run: on a machine with another number of cores it is another run.
    """
    own = request.settings or {}
    return own if device != "cpu" or profile == "digits" else {"threads": min(core_count(), MOST_THREADS)} | own


def _check_folds(pictures: Pictures, request: Request) -> None:
    if request.folds:
        counts = np.bincount(pictures.labels)
        most = min(counts.min(), len(pictures) // LEAST_HELD_OUT)
        if not 2 <= request.folds <= most:
            raise InputError(
                f"folds: {request.folds} is not 0 or in 2..{most}: the smallest class, "
                f"{pictures.class_names[counts.argmin()]!r}, has {counts.min()} images, and a fold needs "
                f"{LEAST_HELD_OUT}"
            )


def _what(pictures: Pictures, profile: str) -> str:
    size = "x".join(map(str, pictures.images.shape[1:3]))
    lines = [f"{len(pictures)} images of {len(pictures.class_names)} classes at {size} pixels, profile {profile}"]
    if pictures.squeezed:
        lines.append(f"{counted(pictures.squeezed, 'picture')} not square: squeezed to a square, nothing is cut off")
    if pictures.test is None:
        lines.append("no test set: the accuracies that training shows are agreement with some of the given labels")
    if pictures.skipped:
        lines.append(left_out(pictures.skipped))
    return "\n".join(lines)


# ---------------------------------------------------------------------- training
def _configs(request: Request, profile: str, pictures: Pictures, settings: dict) -> tuple[RunConfig, list[RunConfig]]:
    """DLT, told no rate, on all images; and on the images of each fold."""

    def config(name: str, rows, test_images, test_labels) -> RunConfig:
        path = request.output / "data" / profile / f"{name}.npz"
        arrays = {
            "images": pictures.images[rows],
            "labels": pictures.labels[rows],
            "test_images": test_images,
            "test_labels": test_labels,
            "class_names": np.array(pictures.class_names),
        }
        write_atomic(path, npz_bytes(arrays))
        return make_config(profile, str(path), METHOD, "none", seed=request.seed, **settings)

    every = np.arange(len(pictures))
    # Without a test set what is watched is the agreement with some of the given labels; nothing depends on it.
    some = every[:: math.ceil(len(every) / MOST_TESTED)]
    whole = config(pictures.name, every, *(pictures.test or (pictures.images[some], pictures.labels[some])))
    parts = fold_parts(pictures.labels, request.folds, request.seed) if request.folds else []
    return whole, [
        config(f"{pictures.name}-fold{i}", rows, pictures.images[held_out], pictures.labels[held_out])
        for i, (rows, held_out) in enumerate(parts, 1)
    ]


# ---------------------------------------------------------------------- what is written
def _summary(pictures: Pictures, config: RunConfig, store: Path, judged) -> dict:
    epochs = read_record(folder_of(store, config)).epochs()
    names = pictures.class_names
    suspects = judged[judged["suspect"]]
    pairs = suspects.groupby(["given", "suggested"]).size().sort_values(ascending=False).head(10)
    counts = [np.bincount(part["given"], minlength=len(names)).tolist() for part in (judged, suspects)]
    return {
        "name": pictures.name,
        "images": len(judged),
        "skipped": len(pictures.skipped or {}),
        "classes": len(names),
        "profile": config.profile,
        "seed": config.seed,
        "estimated_noise_rate": round(float(epochs["w"].iloc[-1]), 4),
        "suspects": len(suspects),
        "suspect_share": round(len(suspects) / len(judged), 4),
        "test_accuracy": float(epochs["test_accuracy"].iloc[-1]) if pictures.test else None,
        "by_class": {name: {"images": n, "suspects": s} for name, n, s in zip(names, *counts, strict=True)},
        "frequent": [{"given": names[g], "suggested": names[s], "images": int(n)} for (g, s), n in pairs.items()],
    }


def in_words(summary: dict) -> str:
    """The summary as a few lines of text."""
    lines = [
        f"{summary['name']}: {summary['images']} images of {summary['classes']} classes"
        + (f"; {counted(summary['skipped'], 'file')} left out" if summary["skipped"] else ""),
        f"estimated noise rate: {100 * summary['estimated_noise_rate']:.1f}%",
        f"suspicious labels: {summary['suspects']} ({100 * summary['suspect_share']:.1f}%)",
    ]
    if summary["test_accuracy"] is not None:
        lines.append(f"test accuracy of the network trained with DLT: {summary['test_accuracy']:.1f}%")
    if max(summary["estimated_noise_rate"], summary["suspect_share"]) > 0.5:
        lines.append(
            "warning: more labels look wrong than right. Unless they are, the network has learnt too little: train "
            "for more epochs, or on more pictures"
        )
    for pair in summary["frequent"][:5]:
        lines.append(f"  {pair['images']} labelled {pair['given']} look like {pair['suggested']}")
    return "\n".join([*lines, *truth_in_words(summary)])


def _write(request: Request, pictures: Pictures, config: RunConfig, store: Path, judged, summary: dict) -> None:
    import pandas

    path, output = request.path, request.output
    names = np.array(pictures.class_names)
    files = pandas.Series(pictures.sources, dtype=object)  # as text, names that are no UTF-8 would be refused
    table = judged.assign(file=files, given=names[judged["given"]], suggested=names[judged["suggested"]])
    table = table[["file", "given", "suggested", "clean_probability", "suspect"]]
    table = table.rename(columns={"given": "given_label", "suggested": "suggested_label"})
    ranked = table[table["suspect"]].sort_values("clean_probability", kind="stable")
    write_atomic(output / "suspects.csv", ranked.drop(columns="suspect").to_csv(index=False, float_format="%.6g"))
    write_atomic(output / "labels.csv", table.to_csv(index=False, float_format="%.6g"))
    if pictures.skipped:
        rows = [{"file": file, "reason": reason} for file, reason in pictures.skipped.items()]
        write_atomic(output / "skipped.csv", csv_text(rows))
    write_atomic(output / "summary.json", json.dumps(summary, indent=1) + "\n")
    write_atomic(output / "summary.txt", in_words(summary) + "\n")
    galleries = page.write_galleries(output, pictures, ranked)
    page.write_page(output, pictures, ranked, summary, in_words(summary), galleries)
    items = page.review_items(output, pictures, ranked)
    title = f"{summary['name']}: suspicious labels"
    write_review(
        output, items, pictures.class_names, title, in_words(summary), data_hash(path, request.label, request.id_column)
    )
    dataset = load(config.dataset, config.profile)
    about = {"estimated_noise_rate": summary["estimated_noise_rate"]} | about_images(dataset)
    write_model(read_record(folder_of(store, config)), output / "model", about, tested=pictures.test is not None)
