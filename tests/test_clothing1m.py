"""Clothing1M on a few generated photographs in its published layout: reading, refusing, training on subsets."""

import shutil
import threading
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import transforms

from dlt.harness import clothing1m, records
from dlt.harness.clothing1m import CLASSES, MEAN, STD, load_clothing1m
from dlt.harness.config import make_config
from dlt.harness.datasets import load
from dlt.harness.errors import InputError
from dlt.harness.networks import NETWORKS, build_network
from dlt.harness.run import Run, balanced_rows
from dlt.harness.training import evaluate, train, train_epoch

CPU = torch.device("cpu")
SIZES = ((256, 256), (300, 400), (420, 280), (90, 120), (256, 310), (700, 256))
SHORT = {
    "network": "tiny",
    "epochs": 2,
    "drop_after": 1,
    "batch_size": 8,
    "epoch_samples": 28,
    "precision": "fp32",
    "threads": 1,
}


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """A data folder: 56 noisy training images and 8 clean test images, bright where their class says."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "clothing1m"
    rng = np.random.default_rng(0)

    def write(name, count, modes):
        keys = [f"images/{i % 3}/{i:02}/{name}{i}.jpg" for i in range(count)]
        for i, key in enumerate(keys):
            pixels = rng.integers(0, 80, (*SIZES[i % len(SIZES)], 3), dtype=np.uint8)
            pixels[:, :, i % 3] += np.uint8(10 * (i % 14))
            (folder / key).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).convert(modes[i % len(modes)]).save(folder / key)
        return keys

    train, test = write("noisy", 56, ("RGB",)), write("clean", 8, ("RGB", "L", "CMYK"))
    lists = {"noisy_train": train, "clean_train": test, "clean_val": test, "clean_test": test}
    for name, keys in lists.items():
        (folder / f"{name}_key_list.txt").write_text("".join(f"{key}\n" for key in keys))
    for name, keys in (("noisy", train), ("clean", [*test, train[0]])):
        (folder / f"{name}_label_kv.txt").write_text("".join(f"{key} {i % 14}\n" for i, key in enumerate(keys)))
    return root


@pytest.fixture
def mine(published, tmp_path):
    """A copy that a test may damage."""
    shutil.copytree(published, tmp_path / "mine")
    return tmp_path / "mine"


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch):
    def tiny(channels, classes):
        pooled = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))
        return nn.Sequential(nn.Conv2d(channels, 8, 16, 16), nn.BatchNorm2d(8), nn.ReLU(), *pooled)

    monkeypatch.setitem(NETWORKS, "tiny", tiny)


@pytest.fixture
def config():
    return lambda method, **more: make_config("paper", "clothing1m", method, "none", **SHORT | more)


@pytest.fixture
def files(published):
    dataset = load("clothing1m", "paper", published)
    return dataset.source(dataset.train, CPU)


# ---------------------------------------------------------------------- reading
def test_the_published_layout_is_read(published):
    dataset = load("clothing1m", "paper", published)
    assert (len(dataset.train), len(dataset.test), dataset.num_classes) == (56, 8, 14)
    assert dataset.train.class_names == CLASSES
    assert (CLASSES[0], CLASSES[13]) == ("T-Shirt", "Underwear")
    assert dataset.train.labels.tolist() == [i % 14 for i in range(56)]
    assert dataset.train.images[17] == str(published / "clothing1m/images/2/17/noisy17.jpg")


def test_plain_images_are_the_published_transforms(published, files):
    dataset = load("clothing1m", "paper", published)
    steps = (transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), transforms.Normalize(MEAN, STD))
    for source, part in ((files, dataset.train), (dataset.source(dataset.test, CPU), dataset.test)):
        index = torch.tensor([3, 0, 4, 1, 2, 5])
        images = (Image.open(part.images[i]).convert("RGB") for i in index)
        expected = torch.stack([transforms.Compose(steps)(image) for image in images])
        batch = source.plain(index)
        torch.testing.assert_close(batch, expected)
        assert batch.is_contiguous(memory_format=torch.channels_last)
        assert batch.shape[1:] == source.shape


def test_augmentation_equals_a_slow_one_with_the_same_draws(files):
    index = torch.tensor([5, 0, 1, 2, 2, 3])
    batch = files.augmented(index, torch.Generator().manual_seed(3))
    draws = torch.rand((6, 3), generator=torch.Generator().manual_seed(3))
    for image, row, (down, right, coin) in zip(batch, index, draws, strict=True):
        resized = transforms.Resize(256)(Image.open(files.paths[row]))
        width, height = resized.size
        left, top = int(right * (width - 223)), int(down * (height - 223))
        crop = resized.crop((left, top, left + 224, top + 224))
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if coin < 0.5 else crop
        torch.testing.assert_close(image, transforms.Normalize(MEAN, STD)(transforms.ToTensor()(crop)))
    assert 0 < (draws[:, 2] < 0.5).sum() < 6


def test_no_rows_give_an_empty_batch(files):
    nothing = torch.zeros(0, dtype=torch.int64)
    assert files.plain(nothing).shape == files.augmented(nothing, torch.Generator()).shape == (0, 3, 224, 224)


def test_one_decode_serves_all_views_and_the_next_batch_is_read_ahead(files, monkeypatch):
    decoded, second = [], threading.Event()
    original = clothing1m._decoded

    def counted(path, *how):
        decoded.append(path)
        if path == files.paths[3]:
            second.set()
        return original(path, *how)

    monkeypatch.setattr(clothing1m, "_decoded", counted)
    batches = files.ahead(torch.tensor([1, 2, 3, 4]).split(2))
    index = next(batches)
    assert second.wait(10)  # rows 3 and 4 are decoded although only 1 and 2 were given
    files.plain(index)
    files.augmented(index, torch.Generator())
    files.plain(next(batches))
    assert sorted(decoded) == sorted(files.paths[1:5])
    assert next(batches, None) is None


def test_only_the_last_images_are_kept(files, monkeypatch):
    monkeypatch.setattr(clothing1m, "KEPT", 4)
    files.plain(torch.tensor([0, 1, 2, 3]))
    files.plain(torch.tensor([0, 4, 5]))
    assert list(files._kept) == [3, 0, 4, 5]
    assert len(files.plain(torch.arange(6))) == 6


# ---------------------------------------------------------------------- refusing
def change_line(path, old, new):
    path.write_text(path.read_text().replace(old, new))


TRAIN, LABELS, IMAGE = "noisy_train_key_list.txt", "noisy_label_kv.txt", "images/2/05/noisy5.jpg"
DAMAGE = {
    "no folder": (shutil.rmtree, "clothing1m is not a folder"),
    "no training list": (lambda folder: (folder / TRAIN).unlink(), f"{TRAIN} is missing"),
    "no labels": (lambda folder: (folder / LABELS).unlink(), f"{LABELS} is missing"),
    "no test list": (lambda folder: (folder / "clean_test_key_list.txt").unlink(), "clean_test_key_list.txt is miss"),
    "no clean labels": (lambda folder: (folder / "clean_label_kv.txt").unlink(), "clean_label_kv.txt is missing"),
    "empty list": (lambda folder: (folder / TRAIN).write_text("\n"), f"{TRAIN} is empty"),
    "binary list": (lambda folder: (folder / TRAIN).write_bytes(b"\xff\xd8"), f"{TRAIN} cannot be read"),
    "no image": (lambda folder: (folder / IMAGE).unlink(), f"{IMAGE} of {TRAIN} is missing"),
    "no label": (lambda folder: change_line(folder / LABELS, f"{IMAGE} 5\n", ""), f"no label for {IMAGE}"),
    "class 14": (lambda folder: change_line(folder / LABELS, f"{IMAGE} 5", f"{IMAGE} 14"), "'14'; must be in 0..13"),
    "no number": (lambda folder: change_line(folder / LABELS, f"{IMAGE} 5", f"{IMAGE} Suit"), "'Suit'; must be in"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_missing_and_malformed_data_are_named(mine, damage, message):
    damage(mine / "clothing1m")
    with pytest.raises(InputError) as error:
        load("clothing1m", "paper", mine)
    assert message in str(error.value)
    if "missing" in message or "folder" in message:
        assert "its authors give it on request" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"no image", None], ids=["empty", "text", "truncated"])
def test_a_broken_image_is_named(mine, config, tmp_path, content):
    path = mine / "clothing1m" / IMAGE
    path.write_bytes(path.read_bytes()[:-4000] if content is None else content)
    with pytest.raises(InputError, match=rf"{IMAGE} is not a whole image .*; replace it"):
        list(train(config("ce", epoch_samples=0), tmp_path, "cpu", str(mine)))


def test_labels_of_their_own_take_no_noise(config):
    with pytest.raises(InputError, match="noise: 'symmetric'; the labels of clothing1m are noisy as they come"):
        make_config("paper", "clothing1m", "ce", "symmetric", 0.2)
    with pytest.raises(InputError, match="assumed-rate: 'realised' with noise none"):
        config("dlt-window", assumed_rate="realised")
    with pytest.raises(InputError, match="dataset: 'clothing1m' is not run in profile 'short'"):
        make_config("short", "clothing1m", "ce", "none")


@pytest.mark.parametrize("error", [URLError("no route"), RuntimeError("invalid hash value")])
def test_weights_that_cannot_be_fetched_are_one_line(monkeypatch, error):
    def fail(*arguments, **more):
        raise error

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(InputError, match=r"network: the ImageNet weights of resnet50 .*resnet50-0676ba61\.pth"):
        build_network("resnet50", 3, 14, seed=1)


# ---------------------------------------------------------------------- the setting
def test_the_recipe():
    def made(method):
        return make_config("paper", "clothing1m", method, "none")

    setting = made("ce").setting
    assert (setting.network, setting.epochs, setting.drop_after, setting.batch_size) == ("resnet50", 80, 40, 64)
    assert (setting.learning_rate, setting.weight_decay, setting.epoch_samples) == (0.002, 1e-3, 32000)
    window, dividemix = made("dlt-window"), made("dividemix")
    assert window.assumed_rate == window.believed_rate == 0.38
    values = window.method_config
    assert (values["warmup_epochs"], values["decay_epochs"], values["window"]) == (1, 10, 200)
    assert (values["noisy_weight"], values["mixup_alpha"]) == (0, 0.5)
    values = dividemix.method_config
    assert (values["unlabelled_weight"], values["mixup_alpha"], values["confidence_penalty"]) == (0, 0.5, True)
    assert make_config("paper", "clothing1m", "dlt-window", "none", assumed_rate=0.3).believed_rate == 0.3
    elsewhere = make_config("paper", "cifar10", "dividemix", "symmetric", 0.2).method_config
    assert (elsewhere["mixup_alpha"], elsewhere["confidence_penalty"]) == (4.0, False)


def test_resnet50_keeps_the_weights_it_is_given(monkeypatch):
    given = {}

    def random_weights(self, *arguments, **more):
        from torchvision.models import resnet50

        given.update(resnet50().state_dict())
        return dict(given)

    monkeypatch.setattr("torchvision.models.ResNet50_Weights.get_state_dict", random_weights)
    one, same, other = (build_network("resnet50", 3, 14, seed) for seed in (1, 1, 2))
    assert one.fc.weight.shape == (14, 2048)
    assert one.fc.weight.equal(same.fc.weight)
    assert not one.fc.weight.equal(other.fc.weight)
    assert other.layer1[0].conv1.weight.equal(given["layer1.0.conv1.weight"])


# ---------------------------------------------------------------------- epochs on a subset
def test_an_epoch_has_as_many_rows_of_every_class():
    labels = np.repeat([0, 1, 2], [50, 9, 3])
    rows = balanced_rows(labels, 24, np.random.default_rng(1))
    assert np.bincount(labels[rows]).tolist() == [12, 9, 3]  # all of the rare ones, the rest of the frequent one
    assert np.bincount(labels[balanced_rows(labels, 9, np.random.default_rng(1))]).tolist() == [3, 3, 3]
    assert (np.diff(rows) > 0).all()
    assert not np.array_equal(rows, balanced_rows(labels, 24, np.random.default_rng(2)))
    assert balanced_rows(labels, 99, np.random.default_rng(1)).tolist() == list(range(62))


def test_every_epoch_draws_its_rows_and_trains_on_no_other(config, published):
    run = Run(config("dividemix"), CPU, str(published))
    assert run.rows.tolist() == list(range(56))
    drawn = []
    for epoch in (1, 2):
        train_epoch(run, epoch)
        assert (~run.observed.losses.isnan()).nonzero().flatten().equal(run.rows)
        assert run.labels[run.rows].bincount().tolist() == [2] * 14
        drawn.append(run.rows.tolist())
    assert drawn[0] != drawn[1]
    assert run.steps_per_epoch == 4
    assert run.evaluation_losses().shape == (28,)
    batches = list(run.method.batches(2))
    seen = torch.cat([torch.cat((batch.index, batch.unlabelled)) for batch in batches])
    assert set(seen.tolist()) <= set(run.rows.tolist())
    clean, w = run.method.splits[0]
    assert clean.shape == w.shape == (56,)
    assert clean.nonzero().flatten().tolist() == sorted({i for b in batches if not b.network for i in b.index.tolist()})
    assert run.method.labelled_share == clean[run.rows].float().mean()


@pytest.mark.parametrize("method", ["ce", "m-correction", "dividemix", "dlt-window"])
def test_contract(method, config, published, tmp_path):
    """Two epochs on 28 of 56 images; finite, the same twice, stopped and resumed bit for bit."""
    options = {"bootstrap_epoch": 2} if method == "m-correction" else {}
    made = config(method, options=options)
    rows = list(train(made, tmp_path / "whole", "cpu", str(published)))
    assert np.isfinite([row["train_loss"] for row in rows]).all()
    assert rows[0]["train_loss"] < 10
    assert np.isnan(rows[0]["loss_clean_mean"])  # which labels are right is not known
    if method != "ce":
        assert np.isnan(rows[1]["clean_kept"])
    next(train(made, tmp_path / "parts", "cpu", str(published), checkpoint_seconds=0))
    list(train(made, tmp_path / "parts", "cpu", str(published)))
    whole, parts = (records.folder_of(tmp_path / name, made) for name in ("whole", "parts"))
    for name in ("epochs.csv", "losses.npz", "weights.safetensors"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes()
    record = records.read_record(whole)
    assert record.run["label_noise"]["realised_rate"] is None
    assert record.run["label_noise"]["assumed_rate"] == 0.38
    assert record.losses() == {}  # none are kept where an epoch is a subset
    last = record.epochs()["test_accuracy"].iloc[-1]
    assert evaluate(whole, "cpu", str(published))["test_accuracy"] == pytest.approx(last, abs=1e-3)


def test_the_folder_can_be_named(published):
    assert len(load_clothing1m(published / "clothing1m").test) == 8
