"""`python -m dlt clean`: from a folder of pictures or an archive to suspects, page and model; and every bad input."""

import json
import os
import re

import numpy as np
import pandas
import pytest
import readme
from handmade import quadrants, words
from PIL import Image

from dlt.__main__ import main
from dlt.cleaning import comparison, page
from dlt.cleaning.clean import Request, clean, in_words
from dlt.cleaning.pictures import read_pictures
from dlt.harness.errors import InputError, RunFailed

SHORT = {"epochs": 12, "drop_after": 8, "batch_size": 16}
SETTINGS = words(SHORT)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """An archive of 240 images, of which 24 are labelled wrong; the path and the wrong rows."""
    images, labels = quadrants(240, np.random.default_rng(0))
    wrong = np.arange(0, 240, 10)
    labels[wrong] = (labels[wrong] + 1) % 4
    path = tmp_path_factory.mktemp("planted") / "mine.npz"
    names = np.array(["upper left", "upper right", "lower <left>", "lower right"])
    np.savez(path, images=images, labels=labels, class_names=names)
    return path, wrong


@pytest.fixture(scope="module")
def cleaned(planted, tmp_path_factory):
    output = tmp_path_factory.mktemp("cleaned") / "out"
    assert main(["clean", str(planted[0]), "--output", str(output), "--folds", "2", "--device", "cpu", *SETTINGS]) == 0
    return output


# ---------------------------------------------------------------------- what is written
def test_planted_errors_come_first(cleaned, planted):
    _, wrong = planted
    suspects = pandas.read_csv(cleaned / "suspects.csv")
    columns = ["file", "given_label", "suggested_label", "clean_probability"]
    assert list(suspects) == columns
    assert suspects["clean_probability"].is_monotonic_increasing
    assert set(suspects["file"].head(20)) <= set(wrong)
    assert len(set(suspects["file"]) & set(wrong)) >= 22
    assert (suspects["given_label"] != suspects["suggested_label"]).all()


def test_every_label_is_listed_in_order(cleaned):
    labels = pandas.read_csv(cleaned / "labels.csv")
    assert list(labels["file"]) == list(range(240))
    assert (labels["suspect"] == (labels["given_label"] != labels["suggested_label"])).all()
    assert set(labels[labels["suspect"]]["file"]) == set(pandas.read_csv(cleaned / "suspects.csv")["file"])


def test_the_summary_counts(cleaned):
    summary = json.loads((cleaned / "summary.json").read_text())
    assert summary["images"] == 240 == sum(part["images"] for part in summary["by_class"].values())
    assert summary["suspects"] == sum(part["suspects"] for part in summary["by_class"].values())
    assert summary["test_accuracy"] is None
    assert "suspicious labels" in (cleaned / "summary.txt").read_text()
    assert "warning" not in in_words(summary)
    assert "warning: more labels look wrong than right" in in_words(summary | {"suspect_share": 0.6})


def test_the_page_is_whole_in_itself(cleaned):
    page = (cleaned / "index.html").read_text()
    assert page.count("<img") == len(pandas.read_csv(cleaned / "suspects.csv"))
    assert not re.search(r'(src|href)="(?!data:|suspects\.csv|gallery-1\.png)', page)
    assert "lower &lt;left&gt;" in page
    assert "lower <left>" not in page


def test_the_gallery_is_a_picture(cleaned):
    with Image.open(cleaned / "gallery-1.png") as image:
        assert min(image.size) > 300


def test_the_model_can_be_used_again(cleaned, planted):
    import torch

    from dlt.harness.networks import build_network, load_weights

    config = json.loads((cleaned / "model/config.json").read_text())
    data = config["data"]
    network = build_network(config["setting"]["network"], data["image_shape"][2], len(data["class_names"]), seed=0)
    load_weights(cleaned / "model/model.safetensors", [network])
    images = np.load(planted[0])["images"] / 255
    images = torch.from_numpy((images - data["mean"][0]) / data["std"][0]).float()[:, None]
    with torch.no_grad():
        suggested = network.eval()(images).argmax(1).numpy()
    labels = pandas.read_csv(cleaned / "labels.csv")
    assert (np.array(data["class_names"])[suggested] == labels["suggested_label"]).all()
    assert "not known: there was no test set" in (cleaned / "model/README.md").read_text()


def test_out_of_sample_probabilities(cleaned, planted):
    labels, probabilities = (np.load(cleaned / name) for name in ("labels.npy", "pred_probs.npy"))
    assert np.array_equal(labels, np.load(planted[0])["labels"])
    assert probabilities.shape == (240, 4)
    assert np.allclose(probabilities.sum(1), 1)
    right = np.arange(240) % 4
    assert (probabilities.argmax(1) == right).mean() > 0.9


def test_the_same_command_trains_nothing(cleaned, planted, capsys):
    files = {path: path.read_bytes() for path in cleaned.rglob("*") if path.is_file()}
    command = ["clean", str(planted[0]), "--output", str(cleaned), "--folds", "2", "--device", "cpu", *SETTINGS]
    assert main(command) == 0
    assert "runs to train" not in capsys.readouterr().out
    assert {path: path.read_bytes() for path in cleaned.rglob("*") if path.is_file()} == files


# ---------------------------------------------------------------------- folders of pictures
@pytest.fixture
def folder(tmp_path):
    """Two classes of 60 pictures each, of many kinds, a broken one, and what is no picture."""
    rng = np.random.default_rng(0)
    root = tmp_path / "my-pictures"
    for name, level in (("dark", 40), ("light side", 200)):
        (root / name / "more").mkdir(parents=True)
        for i in range(60):
            pixels = np.clip(rng.normal(level, 20, (20 + i % 3, 24, 3)), 0, 255).astype(np.uint8)
            suffix = ("png", "jpg", "bmp", "webp")[i % 4]
            Image.fromarray(pixels).save(root / name / ("more" if i % 2 else ".") / f"{i}.{suffix}")
    (root / "dark" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (root / "dark" / ".hidden.png").write_bytes(b"")
    (root / "dark" / "notes.txt").write_text("no picture")
    (root / "dark" / "gone.png").symlink_to(root / "nowhere.png")
    (root / "readme.png").write_bytes(b"not in a class folder")
    return root


def test_a_folder_is_read(folder):
    pictures = read_pictures(folder, 32)
    assert pictures.images.shape == (120, 32, 32, 3)
    assert pictures.class_names == ("dark", "light side")
    assert np.bincount(pictures.labels).tolist() == [60, 60]
    assert {file: reason.split()[0] for file, reason in sorted(pictures.skipped.items())} == {
        "dark/.hidden.png": "hidden",
        "dark/broken.png": "cannot",
        "dark/gone.png": "a",
        "dark/notes.txt": "cannot",
    }
    assert pictures.squeezed == 120  # none is square
    means = pictures.images.mean(axis=(1, 2, 3))
    assert (means[pictures.labels == 0] < 80).all()
    assert (means[pictures.labels == 1] > 160).all()
    assert all((folder / source).is_file() for source in pictures.sources)


def test_a_large_picture_does_not_cut_into_the_bar(folder, monkeypatch, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 350)  # half of them are above it, none above twice as much
    assert len(read_pictures(folder, 8)) == 120
    assert not [warning for warning in recwarn if issubclass(warning.category, Image.DecompressionBombWarning)]
    monkeypatch.setattr("dlt.cleaning.listing.LEAST_IMAGES", 10)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 250)  # those of 22 rows are above twice as much
    pictures = read_pictures(folder, 8)
    assert len(pictures) < 120
    assert sum("decompression bomb" in reason for reason in pictures.skipped.values()) == 120 - len(pictures)


def test_class_folders_that_are_links(folder, tmp_path):
    (tmp_path / "links").mkdir()
    for name in ("dark", "light side"):
        (tmp_path / "links" / name).symlink_to(folder / name)
    assert np.bincount(read_pictures(tmp_path / "links", 32).labels).tolist() == [60, 60]


def test_names_of_any_kind(folder, tmp_path):
    """Bytes that are no UTF-8 stay as they are in the lists, and a $ in the gallery is a $."""
    (folder / "dark").rename(folder / "a$_$b")
    odd = folder / os.fsdecode(b"a$_$b/caf\xe9.png")
    (folder / "a$_$b/0.png").rename(odd)
    pictures = read_pictures(folder, 8)
    row = pictures.sources.index(os.fsdecode(b"a$_$b/caf\xe9.png"))
    columns = ["file", "given_label", "suggested_label", "clean_probability"]
    suspects = pandas.DataFrame([[pictures.sources[row], "a$_$b", "a$_$b", 0.1]], [row], columns, dtype=object)
    assert page.write_galleries(tmp_path, pictures, suspects) == [tmp_path / "gallery-1.png"]
    summary = {"name": "mine", "by_class": {"a$_$b": {"images": 60, "suspects": 1}}}
    written = page.write_page(tmp_path, pictures, suspects, summary, "one", [tmp_path / "gallery-1.png"])
    assert b"a$_$b/caf\xe9.png" in written.read_bytes()


def test_grey_pictures_stay_grey_and_of_16_bits_too(tmp_path):
    for name, level in (("a", 10), ("b", 200)):
        (tmp_path / name).mkdir()
        for i in range(50):
            Image.fromarray(np.full((9, 9), level, np.uint8)).save(tmp_path / name / f"{i}.png")
        Image.fromarray(np.full((9, 9), level << 8, np.uint16)).save(tmp_path / name / "deep.png")
    pictures = read_pictures(tmp_path, 8)
    assert pictures.images.shape == (102, 8, 8, 1)
    assert np.unique(pictures.images[pictures.labels == 0]).tolist() == [10]
    assert np.unique(pictures.images[pictures.labels == 1]).tolist() == [200]


def test_large_images_of_an_archive_are_shrunk(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(100) % 2
    np.savez(tmp_path / "a.npz", images=rng.integers(0, 255, (100, 40, 30, 3)).astype(np.uint8), labels=labels)
    assert read_pictures(tmp_path / "a.npz", 32).images.shape == (100, 32, 32, 3)


def test_the_readmes_command_end_to_end(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder.parent)
    output = folder.parent / "my-pictures-cleaned"
    output.mkdir()
    (output / ".dlt-clean").touch()
    for stale in ("skipped.csv", "labels.npy", "pred_probs.npy"):
        (output / stale).write_text("of before")
    settings = ["--setting", "network=preact-digits", "--setting", "threads=1", *SETTINGS]
    assert main([*readme.command("clean", "my-pictures/")[1:], "--device", "cpu", *settings]) == 0
    said = capsys.readouterr().out
    assert "4 files left out" in said
    assert "120 pictures not square: squeezed to a square, nothing is cut off" in said
    assert len(pandas.read_csv(output / "skipped.csv")) == 4
    assert len(pandas.read_csv(output / "labels.csv")) == 120
    assert (output / "index.html").is_file()
    assert not (output / "labels.npy").exists()


def test_where_nothing_is_suspicious(folder, tmp_path):
    pictures = read_pictures(folder, 8)
    none = pandas.DataFrame(columns=["file", "given_label", "suggested_label", "clean_probability"])
    galleries = page.write_galleries(tmp_path, pictures, none)
    summary = {"name": "mine", "by_class": {"dark": {"images": 60, "suspects": 0}}}
    text = page.write_page(tmp_path, pictures, none, summary, "none", galleries).read_text()
    assert galleries == []
    assert "gallery" not in text.lower()
    assert "<td>0.0%</td>" in text


# ---------------------------------------------------------------------- bad input
def save(path, count, classes=2):
    np.savez(path, images=np.zeros((count, 8, 8), np.uint8), labels=np.arange(count) % classes)
    return path


def save_text(path):
    path.write_text("label\n")
    return path


def test_bad_input(tmp_path, capsys, planted):
    (tmp_path / "empty").mkdir()
    (tmp_path / "one/cat").mkdir(parents=True)
    (tmp_path / "broken/cat").mkdir(parents=True)
    for i in range(120):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "one/cat" / f"{i}.png")
        (tmp_path / f"two/{'cat' if i % 2 else 'dog'}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / f"two/{'cat' if i % 2 else 'dog'}/{i}.png")
    (tmp_path / "broken/cat/1.png").write_bytes(b"nothing")
    bad = {
        "nowhere": ([str(tmp_path / "nowhere")], "there is no file or folder"),
        "text": ([str(save_text(tmp_path / "a.txt"))], "is neither a folder of class folders, nor a list (.csv"),
        "empty": ([str(tmp_path / "empty")], "has no pictures in folders; expected empty/<class>/<picture>"),
        "one class": ([str(tmp_path / "one")], "has one class, 'cat'"),
        "all broken": ([str(tmp_path / "broken")], "none of the 1 pictures of broken"),
        "ten images": ([str(save(tmp_path / "ten.npz", 10))], "has 10 readable images; at least 100 are needed"),
        "folds": ([str(planted[0]), "--folds", "25"], "folds: 25 is not 0 or in 2..24: the smallest class"),
        "one fold": ([str(planted[0]), "--folds", "1"], "folds: 1 is not 0 or in 2..24"),
        "output is a file": ([str(planted[0]), "--output", str(planted[0])], "mine.npz cannot be made (File exists)"),
        "output of others": ([str(planted[0]), "--output", str(planted[0].parent)], "is not empty, and not of this"),
        "output inside": ([str(tmp_path / "two"), "--output", str(tmp_path / "two/out")], "lies among the pictures"),
        "workers": ([str(planted[0]), "--workers", "0"], "workers: 0 is not at least 1"),
        "profile": ([str(planted[0]), "--profile", "large"], "profile: 'large' is not one of auto, digits"),
        "setting": ([str(planted[0]), "--setting", "epoch=1"], "setting: no 'epoch'"),
        # After the refused setting, not "output: ... is not empty".
        "network": ([str(planted[0]), "--setting", "network=resnet"], "network: 'resnet' is not one of"),
    }
    for name, (arguments, line) in bad.items():
        assert main(["clean", "--output", str(tmp_path / "out"), *arguments, "--device", "cpu"]) == 2, name
        error = capsys.readouterr().err
        assert line in error, name
        assert error.splitlines()[-1].startswith("error: "), name
        assert not (tmp_path / "out").exists(), name


def test_a_failed_fold_keeps_the_rest(planted, tmp_path, monkeypatch, capsys):
    """The result that needs no fold is written; the exit code says that a run failed."""
    from dlt.cleaning import from_scratch

    def without_folds(configs, *more, **keywords):
        assert sweep(configs[:1], *more, **keywords) == {}
        return {config.name: "no memory" for config in configs[1:]}

    sweep = from_scratch.sweep
    monkeypatch.setattr(from_scratch, "sweep", without_folds)
    output = tmp_path / "out"
    command = ["clean", str(planted[0]), "--output", str(output), "--folds", "2", "--device", "cpu", *SETTINGS]
    assert main(command) == 1
    assert "error: failed: 2 runs (see above); the same command tries again" in capsys.readouterr().err
    assert (output / "index.html").is_file()
    assert not (output / "pred_probs.npy").exists()

    monkeypatch.setattr(from_scratch, "sweep", lambda configs, *more, **keywords: {configs[0].name: "no memory"})
    assert main([*command[:2], "--output", str(tmp_path / "none"), "--device", "cpu", *SETTINGS]) == 1
    assert not (tmp_path / "none/index.html").exists()


# ---------------------------------------------------------------------- the comparison
def test_measures_of_a_ranking():
    wrong = np.array([True, False, True, False, False])
    found = comparison.measures(wrong, np.array([5.0, 4, 3, 2, 1]), np.array([True, True, False, False, False]), n=3)
    assert found["flagged"] == 2
    assert found["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert (found["precision"], found["recall"], found["f1"]) == (0.5, 0.5, 0.5)
    assert found["precision_at_n"] == pytest.approx(2 / 3)
    assert found["recall_at_n"] == 1.0


def test_nothing_flagged_is_no_division_by_zero():
    found = comparison.measures(np.zeros(3, bool) | [True, False, False], np.arange(3.0), np.zeros(3, bool), n=0)
    assert found["precision"] == found["recall"] == found["f1"] == 0


def test_without_cleanlab_it_says_so(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cleanlab.filter", None)
    with pytest.raises(InputError, match="pip install"):
        comparison.cleanlab_issues(np.array([0, 1]), np.eye(2))


@pytest.mark.slow
def test_ahead_of_cleanlab_on_planted_errors(tmp_path):
    """Average precision and F1, precision and recall at equal numbers flagged: one seed, about two minutes."""
    pytest.importorskip("cleanlab")
    ours, theirs = comparison.compare("digits", "asymmetric0.3", 1, tmp_path)
    for name in ("average_precision", "f1", "precision_at_n", "recall_at_n"):
        assert ours[name] > theirs[name], name


# ---------------------------------------------------------------------- the length of training
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--setting", "epochs=20", "--setting", "drop_after=30"], "drop_after: 30 is more than all of 20 epochs"),
        (["--setting", "speed=1"], "setting: no 'speed'"),
        (["--setting", "window=5"], "it is an option of the methods"),
        (["--epochs", "0"], "epochs: 0 is not at least 1"),
        (["--epochs", "1"], "leave none of 1 epochs"),
        (["--output", "my-pictures/inside"], "lies among the pictures"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_a_picture_is_read(folder, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(folder.parent)
    monkeypatch.setattr("dlt.cleaning.from_scratch.read_pictures", lambda *_: pytest.fail("pictures were read"))
    assert main(["clean", "my-pictures", "--device", "cpu", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_one_number_scales_the_schedule(planted, tmp_path, monkeypatch):
    """With 20 of 60 epochs warm-up and decay end early, and the learning rate falls in the middle."""
    trained = []
    monkeypatch.setattr("dlt.cleaning.from_scratch.sweep", lambda configs, job: trained.extend(configs) or {})
    path, _ = planted
    with pytest.raises(RunFailed):  # nothing was trained
        clean(Request(path, tmp_path / "out", "digits", "cpu", settings={"epochs": 20}), say=lambda line: None)
    (config,) = trained
    assert (config.setting.epochs, config.setting.drop_after) == (20, 10)
    assert (config.method_config["warmup_epochs"], config.method_config["decay_epochs"]) == (3, 1)
