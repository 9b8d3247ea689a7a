"""What others can take along: a trained network with its model card, and the noisy labels of a setting."""

import json
import shutil
from pathlib import Path

import numpy as np

from dlt.harness.arrays import sha256_of
from dlt.harness.config import RunConfig
from dlt.harness.datasets import CIFAR_STATISTICS, MINI_IMAGES, Dataset, load, load_arrays
from dlt.harness.errors import InputError
from dlt.harness.label_noise import NoisyLabels
from dlt.harness.records import Record, read_record, write_atomic

# What a row of each data set is a row of; of a user's own, of the file.
SOURCES = {
    "digits": "sklearn.datasets.load_digits()",
    "cifar10": "torchvision.datasets.CIFAR10(train=True)",
    "cifar100": "torchvision.datasets.CIFAR100(train=True)",
    "clothing1m": "noisy_train_key_list.txt of Clothing1M",
}
CIFAR_TRAIN = 50000
LOADER = Path(__file__).with_name("loader.py")  # goes along with labels


def export_model(folder: Path, target: Path, dataset: str | None = None) -> list[Path]:
    """Copy the weights of the finished run in `folder` to `target`, with a model card. The files.

    `dataset` is the .npz file of images that the run was trained on, if it was: what else the network needs is there.
    """
    record = read_record(folder)
    weights = Path(folder) / "weights.safetensors"
    if record is None or not weights.is_file():
        raise InputError(f"folder: {folder} holds no finished run with weights.safetensors")
    _refuse_full(target)
    return write_model(record, target, _about(record, dataset) if dataset else _about_ours(record.config))


def _about(record: Record, dataset: str) -> dict:
    """What applying a network that was trained on the user's own images needs to know of them."""
    config = record.config
    if not Path(dataset).is_file() or sha256_of(dataset) != config.data_sha256:
        raise InputError(f"dataset: {dataset} is not the .npz file that the run in {record.folder} was trained on")
    if config.profile == "features":
        raise InputError(f"dataset: the run in {record.folder} was trained on features; only images need their file")
    return about_images(load_arrays(dataset))


def _about_ours(config: RunConfig) -> dict | None:
    """The same of one of our data sets of images; None where it is not at hand, or is no such."""
    if config.data_sha256 or config.profile == "features":
        return None
    try:
        data = load(config.dataset, config.profile, download=False)
    except InputError:
        return None
    return about_images(data) if isinstance(data.train.images, np.ndarray) else None


def about_images(dataset: Dataset) -> dict:
    """The names of the classes, the shape of an image and the normalisation: the `data` of `write_model`."""
    return {
        "class_names": list(dataset.train.class_names),
        "image_shape": list(dataset.train.images.shape[1:]),
        "mean": list(dataset.mean),
        "std": list(dataset.std),
    }


def write_model(record: Record, target: Path, data: dict | None = None, tested: bool = True) -> list[Path]:
    """Weights, configuration and model card of a finished run. The files.

    `data` is what applying the network needs to know of the images; a user's own may not be `tested`.
    """
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(record.folder / "weights.safetensors", target / "model.safetensors")
    config = record.run["config"] | ({"data": data} if data else {})
    write_atomic(target / "config.json", json.dumps(config, indent=1) + "\n")
    write_atomic(target / "README.md", model_card(record, data, tested))
    return [target / name for name in ("model.safetensors", "config.json", "README.md")]


def model_card(record: Record, data: dict | None = None, tested: bool = True) -> str:
    """What the network is, what it was trained on, how good it is, and what it is not for; as for `write_model`."""
    config, noise, result = record.run["config"], record.run["label_noise"], record.result["test_accuracy"]
    realised = noise["realised_rate"]
    rate = "unknown (labels as they came)" if realised is None else f"{100 * realised:.1f}%"
    accuracy = """| test accuracy, mean of the last 10 epochs | {last:.2f}% |
| best epoch, chosen on the test set (oracle) | {best:.2f}% |""".format(**result)
    accuracy = accuracy if tested else "| test accuracy | not known: there was no test set |"
    versions = ", ".join(f"{name} {version}" for name, version in record.run["versions"].items())
    channels, classes, images = "channels", "classes", "normalised images of so many channels"
    if data:
        channels, classes = data["image_shape"][2], len(data["class_names"])
        if "estimated_noise_rate" in data:
            rate += f", {100 * data['estimated_noise_rate']:.1f}% by our estimate"
        images = (
            "images of {}x{} pixels, bytes / 255, minus `mean`, divided by `std`; these and the names of the "
            "classes are under `data` in config.json"
        ).format(*data["image_shape"][:2])
    licence = "" if record.config.data_sha256 else "license: mit\n"  # a user's own images are for the user to license
    return f"""---
{licence}library_name: pytorch
tags: [image-classification, noisy-labels]
---
# {record.folder.name}

{config["setting"]["network"]} trained with `{config["method"]}` on {config["dataset"]}, label noise {config["noise"]}.

| | |
| --- | --- |
| wrong labels in training | {rate} |
{accuracy}
| epochs, batch size, learning rate | {config["setting"]["epochs"]}, {config["setting"]["batch_size"]}, \
{config["setting"]["learning_rate"]} |
| seed | {config["seed"]} |
| label noise, sha256 of the labels | {noise["sha256"]} |
| device | {record.run["device"]} |
| code | {record.run["code"]["commit"]} (source {record.run["code"]["source_sha256"]}) |
| versions | {versions} |

`model.safetensors` holds the weights of every network under `network1.` (and `network2.`, where a method trains two);
`config.json` the whole configuration. The network takes {images}. Load it with

```python
from dlt.harness.networks import build_network, load_weights

network = build_network("{config["setting"]["network"]}", {channels}, {classes}, seed=0).eval()
load_weights("model.safetensors", [network])  # of two networks, give both
```

Made to study learning from noisy labels, not for use in products.
"""


def export_noise(noisy: NoisyLabels, data: Dataset, config: RunConfig, target: Path) -> list[Path]:
    """Write the labels that the runs of `config` train on, and which rows of the source they belong to. The files.

    labels.npy and rows.npy, int64 (N,) each, say that row rows[i] of the source is trained on as labels[i];
    labels.csv has both beside the true labels, noise.json says what the source is, and the noise; loader.py joins
    them to the source's images in plain PyTorch.
    """
    _refuse_full(target)
    source, samples, part = _source(data, config)
    rows = np.arange(len(noisy.labels)) if data.train.rows is None else data.train.rows
    target.mkdir(parents=True, exist_ok=True)
    np.save(target / "labels.npy", noisy.labels)
    np.save(target / "rows.npy", rows)
    table = np.column_stack([rows, noisy.labels, noisy.true_labels])
    np.savetxt(target / "labels.csv", table, fmt="%d", delimiter=",", header="row,given,clean", comments="")
    about = {
        "dataset": config.dataset_name,
        "profile": config.profile,
        "source": source,
        "source_samples": samples,
        "part": part,
        "noise": config.noise,
        "seed": config.seed,
        "samples": len(noisy.labels),
        "nominal_rate": noisy.nominal,
        "realised_rate": noisy.realised,
        "sha256_of_int64_labels": noisy.sha256,
        "transition_matrix": noisy.transition_matrix().round(6).tolist(),
    }
    write_atomic(target / "noise.json", json.dumps(about, indent=1) + "\n")
    shutil.copyfile(LOADER, target / LOADER.name)
    return [target / name for name in ("labels.npy", "rows.npy", "labels.csv", "noise.json", LOADER.name)]


def _source(data: Dataset, config: RunConfig) -> tuple[str, int, str]:
    """What the rows count through, how many it has, and which of them are trained on."""
    source = SOURCES.get(config.dataset, Path(config.dataset).name)
    if config.dataset in CIFAR_STATISTICS:
        part = f"the first {MINI_IMAGES[config.dataset][0]} of each class" if config.profile == "mini" else "all"
        return source, CIFAR_TRAIN, part
    if data.train.rows is None:
        return source, len(data.train), "all"
    return source, len(data.train) + len(data.test), "a stratified split; the others are the test set"


def _refuse_full(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"target: {target} is not an empty folder; nothing was overwritten")
