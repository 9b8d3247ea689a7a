"""A backbone trained on the user's own pictures, by the recipe for Clothing1M, before it says which labels are wrong.

The frozen backbone comes first: its features' nearest neighbours tell the w of Eq. 7. The network that DLT has trained
then gives probabilities and features, and these are judged as vectors are.
"""

import hashlib
import json
import math
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dlt.artifact.printing import counted
from dlt.cleaning.backbones import Backbone
from dlt.cleaning.clean_vectors import MOST_RATE, MOST_TESTED, judge, train
from dlt.cleaning.embedding import embedded_request
from dlt.cleaning.from_scratch import MOST_THREADS
from dlt.cleaning.neighbours import nearest
from dlt.cleaning.request import Request
from dlt.cleaning.truth import check_known
from dlt.cleaning.vectors import Vectors
from dlt.harness.config import RunConfig, make_config
from dlt.harness.errors import InputError
from dlt.harness.features import scale
from dlt.harness.networks import evaluating, load_weights, without_head
from dlt.harness.records import find_record, folder_of, write_atomic
from dlt.harness.run import Run
from dlt.harness.sweep import core_count

METHOD = "dlt-window"
BATCH = 64  # pictures at a time in the finished network
TIMED = 8  # pictures of the batch that is timed


def clean_finetuned(request: Request, backbone: Backbone, device: torch.device, say) -> dict:
    """`dlt.cleaning.clean.clean` with a backbone that is trained itself."""
    channels, height, width = backbone.start.shape
    if channels != 3 or height != width:
        raise InputError(f"finetune: {backbone.name} is not for square pictures in colour")
    if request.path.is_file() and request.path.suffix == ".npz":
        raise InputError(f"finetune: it reads pictures from files, and {request.path} is an archive; give a folder")
    if "network" in (request.settings or {}):
        raise InputError(f"setting: network: what is trained is the backbone, {backbone.name}")
    # As from scratch: on a CPU all cores, whose number is part of a run; and bf16 is slow on most.
    own = {"precision": "fp32", "threads": min(core_count(), MOST_THREADS)} if device.type == "cpu" else {}
    settings = own | {"network": backbone.start.network} | (request.settings or {})
    recipe = make_config("paper", "clothing1m", METHOD, "none", seed=request.seed, **settings)
    vectors, known = embedded_request(request, backbone, say, f"{backbone.name} is trained on them")
    check_known(known, vectors.class_names)
    config = _config(vectors, backbone, recipe, request.output, say)
    store = request.output / "runs"
    if device.type == "cpu" and find_record(config, [store]) is None:
        say(_how_long(config, backbone, len(vectors)))
    train(config, store, device, say)
    features, predicted = _seen(config, store, device)
    vectors = replace(vectors, features=features)
    neighbours = nearest(scale(features, features, vectors.scaling), say=say)
    rate = neighbours.rate(vectors.labels, len(vectors.class_names))
    return judge(vectors, neighbours, predicted, rate, request.output, known)


def _config(vectors: Vectors, backbone: Backbone, recipe: RunConfig, output: Path, say) -> RunConfig:
    """The recipe on the pictures, after writing their list; w is the lesser estimate that the neighbours give."""
    from safetensors.torch import save

    start, folder = backbone.start, output / "data" / "finetune"
    weights = save({name: value.contiguous().cpu() for name, value in start.weights.items()})
    write_atomic(folder / "weights.safetensors", weights)
    shown = vectors.pictures
    paths = [str(shown.listed.root / source) for source in shown.sources]
    listed = {
        "paths": paths,
        "files": [[stat.st_size, stat.st_mtime_ns] for stat in map(os.stat, paths)],
        "labels": vectors.labels.tolist(),
        "class_names": vectors.class_names,
        # As of vectors: what is watched is the agreement with some of the given labels.
        "tested": np.linspace(0, len(vectors) - 1, min(len(vectors), MOST_TESTED)).astype(int).tolist(),
        "mean": start.mean,
        "std": start.std,
        "crop": start.shape[1],
        "weights": "weights.safetensors",
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    path = folder / f"{vectors.name}.json"
    write_atomic(path, json.dumps(listed))
    neighbours = nearest(scale(vectors.features, vectors.features, vectors.scaling), say=say)
    rate = min(neighbours.rate(vectors.labels, len(vectors.class_names)), MOST_RATE)
    how = {"seed": recipe.seed, "assumed_rate": rate, "options": recipe.method_config}
    return make_config("paper", str(path), METHOD, "none", **how, **vars(recipe.setting))


def _how_long(config: RunConfig, backbone: Backbone, count: int) -> str:
    """By the time of a forward and a backward pass on random pixels; reading pictures comes on top."""
    network = nn.Sequential(backbone.network).train()
    batch = torch.randn(TIMED, *backbone.start.shape)
    for _ in range(2):  # the first one takes longer
        started = time.perf_counter()
        network(batch).sum().backward()
        seconds = time.perf_counter() - started
    rows = min(count, config.setting.epoch_samples or count)
    hours = config.cost * rows * seconds / TIMED / 3600
    took = f"{hours:.1f} hours" if hours >= 1 else counted(math.ceil(60 * hours), "minute")
    return f"about {took} of training on this CPU; a GPU is many times faster"


@torch.no_grad()
def _seen(config: RunConfig, store: Path, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, D) and probabilities (N, C) of all pictures, by the finished network."""
    from tqdm import tqdm

    run = Run(config, device, store=store)
    load_weights(folder_of(store, config) / "weights.safetensors", run.networks)
    rows = torch.arange(len(run.train_images), device=device).split(BATCH)
    with evaluating(run.networks[0]), without_head(run.networks[0]) as head:
        batches = tqdm(run.train_images.ahead(rows), "judging", len(rows), unit="batch")
        features = torch.cat([run.forward(run.plain(index)) for index in batches])
    return features.cpu().numpy(), head(features).double().softmax(1).cpu().numpy()
