"""Pictures embedded by a backbone: weights that the test makes, folders, lists, archives, and what can go wrong."""

import json
import random
import time
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dlt.__main__ import main
from dlt.cleaning import backbones, embedding
from dlt.cleaning.backbones import load_backbone
from dlt.cleaning.embedding import embed
from dlt.cleaning.listing import list_pictures

MODEL = "test_resnet"  # timm's smallest
COLOURS = {"blå $5": (40, 60, 200), "green": (60, 180, 60), "red": (200, 60, 40)}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of 40 photos a class, of different shapes, four of them in the wrong folder, and three odd files."""
    root = tmp_path_factory.mktemp("data") / "photos"
    draws, classes = np.random.default_rng(0), list(COLOURS)
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(40):
            wrong = i < 2 and label < 2
            colour = COLOURS[classes[(label + 1) % 3] if wrong else name]
            height, width = draws.integers(30, 60, 2)
            pixels = np.clip(colour + draws.normal(0, 25, (height, width, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{'wrong-' * wrong}{i} #1.png")
    (root / "red/broken.jpg").write_bytes(b"\xff\xd8\xff none")
    (root / "red/.hidden").write_bytes(b"")
    (root / "red/gone.png").symlink_to(root / "nowhere.png")
    return root


@pytest.fixture(scope="module")
def cleaned(photos, weights, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "photos-cleaned"
    assert main(command(photos, output, weights)) == 0
    return output


def command(path, output, weights, *more):
    return ["clean", str(path), "--output", str(output), "--backbone", MODEL, "--weights", str(weights), *more]


def shown(output):
    """What review.html shows."""
    page = (output / "review.html").read_text()
    return json.loads(page.partition('id="data">')[2].partition("</script>")[0])


def test_a_folder_of_photos(cleaned, photos):
    suspects = pd.read_csv(cleaned / "suspects.csv")
    assert suspects["file"].head(4).str.contains("wrong").all()
    assert set(suspects["file"].head(4)) <= {f"{p.parent.name}/{p.name}" for p in photos.rglob("*.png")}
    assert pd.read_csv(cleaned / "skipped.csv")["file"].tolist() == ["red/.hidden", "red/gone.png", "red/broken.jpg"]
    assert len(pd.read_csv(cleaned / "labels.csv")) == 120
    first = shown(cleaned)["items"][0]
    assert first["kind"]
    assert len(first["near"]) == 5
    assert all("picture" in near for near in first["near"])
    assert (cleaned / unquote(first["link"])).is_file()
    task = json.loads((cleaned / "label_studio.json").read_text())[0]
    assert "image" in task["data"]
    assert "wrong" in task["data"]["image"]


def test_what_is_embedded_is_kept(cleaned, photos, weights, tmp_path, monkeypatch):
    made = []
    real = backbones.Backbone.features
    monkeypatch.setattr(
        backbones.Backbone, "features", lambda self, batch: made.append(len(batch)) or real(self, batch)
    )
    before = (cleaned / "labels.csv").read_bytes()
    assert main(command(photos, cleaned, weights)) == 0
    assert made == []
    assert (cleaned / "labels.csv").read_bytes() == before

    monkeypatch.setattr(embedding, "PIECE", 50)
    listed, backbone = list_pictures(photos), load_backbone(MODEL, weights, CPU)
    vectors = embed(listed, backbone, 0, tmp_path, "")
    assert sum(made) == 120
    assert len(list(tmp_path.glob("*.npz"))) == 3
    monkeypatch.setattr(backbones.Backbone, "features", None)
    again = embed(list_pictures(photos), backbone, 0, tmp_path, "")
    assert np.array_equal(vectors.features, again.features)
    assert again.ids == vectors.ids
    monkeypatch.setattr(backbones.Backbone, "features", real)
    embed(list_pictures(photos), backbone, 1, tmp_path, "")
    assert len(list(tmp_path.glob("*.npz"))) == 3  # those without views are gone


def test_features_are_those_of_the_model(photos, weights, tmp_path):
    import timm
    from timm.data import create_transform, resolve_model_data_config

    vectors = embed(list_pictures(photos), load_backbone(MODEL, weights, CPU), 2, tmp_path, "")
    model = timm.create_model(MODEL, pretrained=True, pretrained_cfg_overlay={"file": str(weights)}, num_classes=0)
    transform = create_transform(**resolve_model_data_config(model))
    image = Image.open(photos / vectors.ids[7]).convert("RGB")
    with torch.no_grad():
        expected = model.eval()(transform(image)[None])[0].numpy()
    np.testing.assert_allclose(vectors.features[7], expected, rtol=1e-4, atol=1e-5)
    assert vectors.views.shape == (2, *vectors.features.shape)
    assert not np.allclose(vectors.views[0], vectors.views[1])


def test_a_view_is_a_part_perhaps_mirrored():
    pixels = np.arange(60 * 80, dtype=np.uint16).reshape(60, 80)
    image = Image.fromarray((pixels % 251).astype(np.uint8))
    seen = set()
    for i in range(50):
        part = embedding._part(image, random.Random(i))
        assert 0.49 * 80 * 60 < part.width * part.height <= 80 * 60
        assert part.width / part.height == pytest.approx(80 / 60, rel=0.05)
        seen.add(part.size)
    assert len(seen) > 25
    assert embedding._part(Image.new("RGB", (1, 1)), random.Random(0)).size == (1, 1)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_a_list_of_photos(photos, weights, tmp_path, capsys, suffix):
    """Paths relative to the list; to suspects, decisions and a corrected copy of the list."""
    (tmp_path / "photos").symlink_to(photos)
    rows = [
        {"shot": f"photos/{p.parent.name}/{p.name}", "what": p.parent.name, "price": i / 7}
        for i, p in enumerate(sorted(photos.rglob("*.png")))
        if p.is_file()
    ]
    rows += [{"shot": "photos/nowhere.png", "what": "red", "price": 1.0}, {"shot": None, "what": "red", "price": 1.0}]
    table, path = pd.DataFrame(rows), tmp_path / f"list.{suffix}"
    table.to_parquet(path) if suffix == "parquet" else table.to_csv(path, sep=",\t"[suffix == "tsv"], index=False)
    output, columns = tmp_path / "out", ("--label", "what")
    assert main(command(path, output, weights, *columns, "--path", "shot")) == 0
    suspects = pd.read_csv(output / "suspects.csv")
    assert suspects["file"].head(4).str.contains("wrong").all()
    assert pd.read_csv(output / "skipped.csv")["reason"].tolist() == ["there is no such file", "no file is given"]
    data = shown(output)
    first = data["items"][0]
    assert rows[int(first["id"])]["shot"] == suspects["file"][0]
    decided = {"id": first["id"], "given_label": data["classes"][first["given"]], "decision": "relabel"}
    decided |= {"new_label": "red", "data_sha256": data["sha256"]}
    pd.DataFrame([decided]).to_csv(tmp_path / "decisions.csv", index=False)
    arguments = [str(path), str(tmp_path / "decisions.csv"), str(tmp_path / "corrected"), *columns]
    assert main(["apply", *arguments]) == 0, capsys.readouterr().err
    corrected = tmp_path / f"corrected/data/list.{suffix}"
    read = pd.read_parquet if suffix == "parquet" else lambda file: pd.read_csv(file, sep=",\t"[suffix == "tsv"])
    table.loc[int(first["id"]), "what"] = "red"
    assert read(corrected)["what"].tolist() == table["what"].tolist()


def test_the_kind_of_a_list(tmp_path):
    from dlt.cleaning.vectors import is_vectors

    for name, text, vectors in (
        ("pictures", "file,label\na.png,x\n", False),
        ("features", "file,label,f0,f1\na.png,x,0.5,1\n", True),
        ("numbers", "path,label\n3,x\n", True),
        ("none", "name,label\na,x\n", True),
    ):
        (tmp_path / f"{name}.csv").write_text(text)
        assert is_vectors(tmp_path / f"{name}.csv") == vectors, name


def test_an_archive_of_images_and_a_page_with_fewer_pictures(weights, tmp_path, monkeypatch):
    draws = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], 40)
    images = draws.normal(0, 25, (120, 32, 32, 3)) + np.array(list(COLOURS.values()))[labels][:, None, None]
    given = labels.copy()
    given[[0, 50]] = [1, 2]
    path = tmp_path / "mine.npz"
    np.savez(path, images=np.clip(images, 0, 255).astype(np.uint8), labels=given)
    monkeypatch.setattr("dlt.cleaning.clean_vectors.MOST_PICTURED", 1)
    assert main(command(path, tmp_path / "out", weights, "--views", "1")) == 0
    assert set(pd.read_csv(tmp_path / "out/suspects.csv")["id"].head(2)) == {0, 50}
    first, second = shown(tmp_path / "out")["items"][:2]
    assert "link" not in first
    assert "picture" in first
    assert "picture" not in second


def test_a_network_of_ours(tiny, tmp_path, photos):
    """The folder of a finished run on a data set of ours, and the folder model/ that `clean` wrote."""
    run = ["--profile", "digits", "--method", "ce", "--noise", "none", "--output", str(tmp_path / "runs")]
    assert main(["train", *run, "--setting", "epochs=2", "--device", "cpu"]) == 0
    folder = next((tmp_path / "runs/digits").iterdir())
    backbone = load_backbone(str(folder), None, CPU)
    assert backbone.features(torch.stack([backbone.plain(Image.new("RGB", (20, 30)))] * 2)).shape == (2, 64)

    short = ["clean", str(photos), "--output", str(tmp_path / "out"), "--backbone", "none", "--profile", "digits"]
    assert main([*short, "--epochs", "20", "--device", "cpu"]) == 0
    backbone = load_backbone(str(tmp_path / "out/model"), None, CPU)
    assert backbone.features(backbone.plain(Image.new("RGB", (20, 30)))[None]).shape == (1, 64)


def test_without_a_network_it_falls_back(photos, tmp_path, monkeypatch, capsys):
    """Within seconds, with one line that says what is lost and how to get it."""
    monkeypatch.setattr("dlt.cleaning.clean.clean_from_scratch", lambda *_: {"from": "scratch"})
    monkeypatch.setattr("dlt.cleaning.from_scratch.in_words", lambda summary: "")
    started = time.perf_counter()
    assert main(["clean", str(photos), "--output", str(tmp_path / "out")]) == 0
    assert time.perf_counter() - started < 10
    line = capsys.readouterr().out.splitlines()[0]
    assert "cannot be fetched" in line
    assert "--weights FILE" in line
    assert "from scratch" in line


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--backbone", "resnet_of_mine"], "backbone: 'resnet_of_mine' is no model of timm and no folder"),
        (["--backbone", "resnet18"], "backbone: the weights of resnet18 cannot be fetched"),
        (["--backbone", MODEL, "--weights", "none.bin"], "weights: there is no file none.bin"),
        (["--backbone", MODEL, "--weights", "{file}"], "has no weights of test_resnet"),
        (["--backbone", "resnet18", "--weights", "{weights}"], "has no weights of resnet18"),
        (["--backbone", "{tmp}"], "holds no finished run"),
        (["--backbone", "{tmp}", "--weights", "{weights}"], "has its own"),
        (["--backbone", "none", "--weights", "{weights}"], "none takes no --weights"),
        (["--backbone", MODEL, "--folds", "5"], "--profile and --folds are for training from scratch"),
        (["--views", "-1"], "views: -1 is not in 0..32"),
    ],
)
def test_bad_backbones_are_one_line(photos, weights, tmp_path, capsys, arguments, line):
    (tmp_path / "file").write_bytes(b"nothing")
    places = {"tmp": tmp_path, "file": tmp_path / "file", "weights": weights}
    output = tmp_path / "out"
    arguments = [argument.format(**places) for argument in arguments]
    assert main(["clean", str(photos), "--output", str(output), *arguments]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert line in error
    assert not output.exists()


@pytest.mark.parametrize(
    ("text", "arguments", "line"),
    [
        ("file,label\nnone.png,a\n", [], "none of the 1 pictures"),
        ("file,label\nx.png,a\n", ["--path", "shot"], "has no column 'shot'"),
        ("file,what\nx.png,a\n", [], "has no column label"),
        ("shot,label\nx.png,a\n", [], "or no column path, file, filename, image, picture: name that of the pictures"),
        ("file,label\nx.png,a\nx.png,b,c\n", ["--path", "file"], "cannot be read"),
    ],
)
def test_bad_lists_are_one_line(weights, tmp_path, capsys, text, arguments, line):
    path = tmp_path / "list.csv"
    path.write_text(text)
    Image.new("RGB", (40, 40)).save(tmp_path / "x.png")
    assert main(command(path, tmp_path / "out", weights, *arguments)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert line in error
