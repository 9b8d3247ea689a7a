"""Wrong labels of real pictures: `python -m dlt clean` with a backbone of one's own, beside what else ranks labels.

    python -m dlt.cleaning.comparison_pictures FOLDER [--seeds 3]

The pictures are those of profile `mini`, 5,120 of CIFAR-10, as PNG files in folders of the classes that people gave
them (CIFAR-10N, worse). The backbone is trained by plain cross-entropy on 10,000 pictures of CIFAR-100, none of which
is among them. The same by commands, once the pictures are there:

    python -m dlt train --method ce --noise none --profile mini --dataset FOLDER/cifar100.npz --output FOLDER/runs
    python -m dlt export FOLDER/runs/mini/RUN FOLDER/model --dataset FOLDER/cifar100.npz
    python -m dlt clean FOLDER/pictures --backbone FOLDER/model

Nothing was tuned on the result. $DLT_DATA has CIFAR-10, CIFAR-100 and cifar10n.npz. Writes pictures.csv, pictures.md.
"""

import argparse
import shutil
import time
from pathlib import Path

import numpy as np

from dlt.artifact.export import export_model
from dlt.cleaning.clean import Request, clean
from dlt.cleaning.comparison import measures, to_markdown
from dlt.cleaning.comparison_tools import cleanlab, neighbours
from dlt.harness.config import make_config
from dlt.harness.datasets import load
from dlt.harness.devices import device_name, resolve_device
from dlt.harness.errors import InputError, RunFailed
from dlt.harness.features import scale
from dlt.harness.images import Images
from dlt.harness.measures import code_version
from dlt.harness.records import folder_of, npz_bytes, read_record, write_atomic
from dlt.harness.run import noisy_labels
from dlt.harness.sweep import Job, sweep

TRAIN, TEST = 100, 20  # pictures of each class of CIFAR-100
NAME = "human-worse"


def write_pictures(folder: Path) -> np.ndarray:
    """PNG files `folder`/<given class>/<number>.png; the true labels (N,) by number."""
    from PIL import Image

    dataset = load("cifar10", "mini")
    given = noisy_labels(dataset, make_config("mini", "cifar10", "ce", NAME)).labels
    for number, (pixels, label) in enumerate(zip(dataset.train.images, given, strict=True)):
        path = folder / dataset.train.class_names[label] / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return dataset.train.labels


def train_backbone(folder: Path) -> tuple[Path, float]:
    """The folder of the trained network, and the seconds that its training took."""
    dataset = load("cifar100", "paper")
    arrays = _first(dataset.train, TRAIN, "") | _first(dataset.test, TEST, "test_")
    archive = folder / "cifar100.npz"
    write_atomic(archive, npz_bytes(arrays | {"class_names": np.array(dataset.train.class_names)}))
    config = make_config("mini", str(archive), "ce", "none")
    if failures := sweep([config], Job(folder / "runs", "cpu", 1)):
        raise RunFailed(str(failures))
    run, model = folder_of(folder / "runs", config), folder / "model"
    shutil.rmtree(model, ignore_errors=True)
    export_model(run, model, str(archive))
    return model, float(read_record(run).timing()[["train_s", "test_s"]].to_numpy().sum())


def _first(part: Images, count: int, prefix: str) -> dict[str, np.ndarray]:
    """The first `count` pictures of each class, in their order."""
    rows = np.sort(np.concatenate([np.flatnonzero(part.labels == label)[:count] for label in np.unique(part.labels)]))
    return {f"{prefix}images": part.images[rows], f"{prefix}labels": part.labels[rows]}


def compare(pictures: Path, true: np.ndarray, backbone: Path, seed: int, output: Path) -> list[dict]:
    """A row a tool: how well it finds the labels that are not the true ones, and its seconds."""
    import pandas

    shutil.rmtree(output, ignore_errors=True)  # so that its time is that of the whole
    started = time.perf_counter()
    summary = clean(Request(pictures, output, device="cpu", seed=seed, backbone=str(backbone)))
    seconds = {"DLT": time.perf_counter() - started}
    judged = pandas.read_csv(output / "labels.csv")
    archive = np.load(output / "data" / "features" / f"{pictures.name}.npz")
    features, labels, names = (archive[name] for name in ("features", "labels", "class_names"))
    order = [int(Path(file).stem) for file in judged["file"]]
    own = np.array([list(names).index(name) for name in load("cifar10", "mini").train.class_names])
    wrong = labels != own[true[order]]

    tools = {"DLT": (-judged["clean_probability"].to_numpy(), judged["suspect"].to_numpy())}
    rates = {"DLT": summary["estimated_noise_rate"]}
    features = scale(features, features, "unit")
    for tool, rank in {"cleanlab": cleanlab, "neighbours": neighbours}.items():
        started = time.perf_counter()
        tools[tool] = rank(features, labels, seed)
        seconds[tool], rates[tool] = time.perf_counter() - started, float(tools[tool][1].mean())
    n = int(tools["cleanlab"][1].sum())
    about = {"planted": NAME, "seed": seed, "samples": len(labels), "wrong": int(wrong.sum()), "n": n}
    return [
        about | {"tool": tool, "rate": rates[tool], "seconds": seconds[tool]} | measures(wrong, *found, n)
        for tool, found in tools.items()
    ]


def main() -> None:
    import pandas

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for runs and results; the same command goes on")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    folder, rows = options.folder, []
    about = {"device": device_name(resolve_device("cpu")), "code": code_version()["commit"]}
    try:
        true = write_pictures(folder / "pictures")
        backbone, seconds = train_backbone(folder)
        for seed in range(1, options.seeds + 1):
            found = compare(folder / "pictures", true, backbone, seed, folder / f"cleaned-s{seed}")
            rows += [row | {"backbone_seconds": seconds} | about for row in found]
    except (InputError, RunFailed) as error:
        raise SystemExit(f"error: {error}") from None
    frame = pandas.DataFrame(rows)
    write_atomic(folder / "pictures.csv", frame.to_csv(index=False, float_format="%.6g"))
    write_atomic(folder / "pictures.md", to_markdown(frame))
    print(to_markdown(frame))


if __name__ == "__main__":
    main()
