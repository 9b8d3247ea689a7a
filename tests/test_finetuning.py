"""A backbone trained on the user's own pictures: what it finds and begins with, and what is refused."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm import get_pretrained_cfg
from torchvision import transforms

from dlt.__main__ import main
from dlt.cleaning import finetuning
from dlt.harness.config import make_config
from dlt.harness.errors import InputError
from dlt.harness.networks import build_network, load_weights
from dlt.harness.records import read_record
from dlt.harness.run import Run

MODEL = "test_resnet"  # timm's smallest
COLOURS = {"blue": (40, 60, 200), "green": (60, 180, 60), "red": (200, 60, 40)}
SHORT = ["--epochs", "2", "--device", "cpu"]
SHORT += [word for pair in ("batch_size=8", "learning_rate=0.02", "threads=1") for word in ("--setting", pair)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of 36 photos a class, of different shapes, six of them in the wrong folder, and a broken one."""
    root = tmp_path_factory.mktemp("data") / "photos"
    draws, classes = np.random.default_rng(0), list(COLOURS)
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(36):
            colour = COLOURS[classes[(label + 1) % 3] if i < 2 else name]
            pixels = np.clip(colour + draws.normal(0, 25, (*draws.integers(30, 60, 2), 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{'wrong-' * (i < 2)}{i}.png")
    (root / "red/broken.jpg").write_bytes(b"\xff\xd8\xff none")
    return root


def command(path, output, weights, *more):
    start = ["clean", str(path), "--output", str(output), "--backbone", MODEL, "--weights", str(weights)]
    return [*start, "--finetune", *SHORT, *more]


@pytest.fixture(scope="module")
def cleaned(photos, weights, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "photos-cleaned"
    assert main(command(photos, output, weights)) == 0
    return output


def test_it_finds_what_is_wrong(cleaned):
    suspects = pd.read_csv(cleaned / "suspects.csv")
    assert suspects["file"].head(6).str.contains("wrong").all()
    assert len(suspects) < 12
    assert pd.read_csv(cleaned / "skipped.csv")["file"].tolist() == ["red/broken.jpg"]
    assert len(pd.read_csv(cleaned / "labels.csv")) == 108
    assert (cleaned / "review.html").is_file()


def test_the_run_is_the_recipe_on_the_backbone(cleaned):
    (folder,) = (cleaned / "runs/paper").iterdir()
    record, path = read_record(folder), cleaned / "data/finetune/photos.json"
    config = record.config
    assert (config.method, config.setting.network) == ("dlt-window", f"timm:{MODEL}")
    assert (config.setting.weight_decay, config.setting.drop_after) == (1e-3, 1)
    assert (config.method_config["noisy_weight"], config.method_config["mixup_alpha"]) == (0, 0.5)
    assert 0.03 < config.assumed_rate < 0.2
    assert record.epochs()["test_accuracy"].iloc[-1] > 90  # of given labels, 6 of which are wrong
    given, trained = load_file(path.parent / "weights.safetensors"), load_file(folder / "weights.safetensors")
    run = Run(replace(config, dataset=str(path)), torch.device("cpu"))
    begun = run.networks[0].state_dict()
    assert given.keys() == {name for name in begun if name.startswith("0.")}
    assert all(begun[name].equal(value) for name, value in given.items())
    moved = [name for name, value in given.items() if not trained[f"network1.{name}"].equal(value)]
    assert "0.conv1.0.weight" in moved
    # What is judged is what the trained network says.
    network = run.networks[0].eval()
    load_weights(folder / "weights.safetensors", [network])
    features, predicted = finetuning._seen(run.config, cleaned / "runs", run.device)
    with torch.no_grad():
        body = network[0](run.plain(torch.arange(8)))
        torch.testing.assert_close(torch.from_numpy(features[:8]), body, rtol=1e-4, atol=1e-5)
        shares = network[1](body).double().softmax(1)
    torch.testing.assert_close(torch.from_numpy(predicted[:8]), shares, rtol=1e-4, atol=1e-5)
    # What a batch has is the centre of a picture whose shorter side is 8/7 of it.
    assert run.train_images.shape == (3, 160, 160)
    image = Image.open(run.train_images.paths[80]).convert("RGB")
    about = get_pretrained_cfg(MODEL)
    steps = (transforms.Resize(183), transforms.CenterCrop(160), transforms.ToTensor())
    expected = transforms.Compose([*steps, transforms.Normalize(about.mean, about.std)])(image)
    torch.testing.assert_close(run.plain(torch.tensor([80]))[0], expected)


def test_the_same_again_trains_nothing(cleaned, photos, weights, capsys):
    before = (cleaned / "labels.csv").read_bytes()
    assert main(command(photos, cleaned, weights)) == 0
    said = capsys.readouterr().out
    assert "to train" not in said
    assert "on this CPU" not in said
    assert (cleaned / "labels.csv").read_bytes() == before


def test_a_network_of_ours(photos, tmp_path, capsys):
    """The folder that `export` or `clean` writes of a network for 12 classes."""
    network = build_network("preact-mini", 3, 12, seed=1)
    model = tmp_path / "model"
    model.mkdir()
    weights = {f"network1.{name}": value.contiguous() for name, value in network.state_dict().items()}
    save_file(weights, model / "model.safetensors")
    data = {"image_shape": [32, 32, 3], "class_names": list("abcdefghijkl"), "mean": [0.5] * 3, "std": [0.25] * 3}
    (model / "config.json").write_text(json.dumps({"data": data, "setting": {"network": "preact-mini"}}))
    output = tmp_path / "out"
    assert main(["clean", str(photos), "--output", str(output), "--backbone", str(model), "--finetune", *SHORT]) == 0
    assert "about 1 minute of training on this CPU" in capsys.readouterr().out
    given = load_file(output / "data/finetune/weights.safetensors")
    assert given.keys() == network.state_dict().keys() - {"linear.weight", "linear.bias"}
    assert all(network.state_dict()[name].equal(value) for name, value in given.items())
    assert pd.read_csv(output / "suspects.csv")["file"].head(4).str.contains("wrong").all()


@pytest.mark.parametrize(
    ("path", "arguments", "line"),
    [
        ("photos", ["--backbone", "none"], "finetune: it trains a backbone on the pictures as they are: no --backbone"),
        ("photos", ["--views", "2"], "no --views"),
        ("photos", ["--folds", "5"], "--profile and --folds are for training from scratch"),
        ("photos", ["--setting", "network=mlp"], "setting: network: what is trained is the backbone, test_resnet"),
        ("photos", ["--epochs", "1"], "dlt-window: warmup_epochs: 1 leave none of 1 epochs"),
        ("few", [], "few has 30 readable images; at least 100 are needed"),
        ("mine.npz", [], "finetune: it reads pictures from files, and"),
        ("wine.csv", [], "finetune: it is for pictures;"),
    ],
)
def test_what_does_not_fit_is_one_line(photos, weights, tmp_path, capsys, path, arguments, line):
    (tmp_path / "photos").symlink_to(photos)
    for i in range(30):
        (tmp_path / f"few/{i % 2}").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40)).save(tmp_path / f"few/{i % 2}/{i}.png")
    np.savez(tmp_path / "mine.npz", images=np.zeros((40, 32, 32, 3), np.uint8), labels=np.arange(40) % 2)
    (tmp_path / "wine.csv").write_text("f0,label\n0.5,a\n")
    none = [] if "none" in arguments else ["--backbone", MODEL, "--weights", str(weights)]
    start = ["clean", str(tmp_path / path), "--output", str(tmp_path / "out"), "--finetune", *none]
    assert main([*start, *SHORT, *arguments]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert line in error


def test_lists_that_do_not_fit(cleaned, tmp_path):
    shutil.copytree(cleaned / "data/finetune", tmp_path / "data")
    path = tmp_path / "data/photos.json"

    def begin(network=f"timm:{MODEL}"):
        Run(make_config("paper", str(path), "ce", "none", network=network), torch.device("cpu"))

    listed = json.loads(path.read_text())
    path.write_text(json.dumps(listed | {"sha256": "0"}))
    with pytest.raises(InputError, match=r"cannot begin with .* \(it is not the file that was listed"):
        begin()
    for text in (json.dumps(listed | {"labels": None}), "[]", "{"):
        path.write_text(text)
        with pytest.raises(InputError, match=r"photos\.json is not a list of pictures"):
            begin()
    with pytest.raises(InputError, match="dataset: 'clothing1m' is not run in profile 'mini'"):
        make_config("mini", str(path), "ce", "none")
    path.write_text(json.dumps(listed))
    with pytest.raises(InputError, match=r"the labels of .*photos\.json are noisy as they come"):
        make_config("paper", str(path), "ce", "symmetric", 0.2)
    with pytest.raises(InputError, match=r"photos\.json is read from files"):
        make_config("paper", str(path), "ce", "none", hard="incomplete", epoch_samples=0)
    with pytest.raises(InputError, match="network: 'timm:none' is not one of"):
        begin("timm:none")
    with pytest.raises(InputError, match=r"cannot begin with .* \(Error"):
        begin("preact-mini")
