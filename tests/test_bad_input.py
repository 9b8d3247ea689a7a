"""What people give to `clean`, `apply` and `undo` by mistake: one line that says what and where, and nothing lost."""

import io
import os
import zipfile

import numpy as np
import pandas
import pytest
import torch
from PIL import Image

from dlt.__main__ import main
from dlt.cleaning.listing import list_pictures
from dlt.cleaning.pictures import read_pictures

MODEL = "test_resnet"  # timm's smallest
LABELS = np.arange(60) % 2
ROWS = b"x,y,label\n" + b"1,2,a\n3,5,b\n" * 30


def npz(path, **arrays):
    features = np.random.default_rng(0).normal(size=(60, 4))
    np.savez(path, **{"features": features, "labels": LABELS} | arrays)


def header_bomb(path, key="features"):
    """A few bytes that claim 32 TiB."""
    claimed, labels = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(claimed, {"descr": "<f8", "fortran_order": False, "shape": (2**40, 4)})
    np.save(labels, LABELS)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{key}.npy", claimed.getvalue() + b"0" * 800)
        archive.writestr("labels.npy", labels.getvalue())


def cut_short(path):
    npz(path)
    path.write_bytes(path.read_bytes()[:-200])


def flipped(path):
    npz(path)
    data = bytearray(path.read_bytes())
    data[300] ^= 255
    path.write_bytes(data)


def claimed_npy(path):
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (2**40, 4)})


def pictures(path, classes=2, each=2):
    for label in range(classes):
        (path / f"c{label}").mkdir(parents=True)
        for number in range(each):
            Image.new("L", (8, 8), 9 * label).save(path / f"c{label}" / f"{number}.png")


def flat(path):
    path.mkdir()
    Image.new("L", (8, 8)).save(path / "1.png")


def table(path, **columns):
    pandas.DataFrame({"x": range(60), "y": LABELS, "label": LABELS} | columns).to_csv(path, index=False)


def objects(count):
    return np.array([{}] * count, dtype=object)


SOURCES = {
    # archives
    "header of 32 TiB": ("a.npz", header_bomb, "is not a numpy.savez archive of plain arrays"),
    "pictures of 32 TiB": ("a.npz", lambda path: header_bomb(path, "images"), "is not a numpy.savez archive"),
    "cut short": ("a.npz", cut_short, "is not a numpy.savez archive"),
    "a flipped bit": ("a.npz", flipped, "is not a numpy.savez archive"),
    "a folder named .npz": ("a.npz", pictures, "Is a directory"),
    "objects": ("a.npz", lambda path: npz(path, labels=objects(60)), "Object arrays cannot be loaded"),
    "objects in names": ("a.npz", lambda path: npz(path, class_names=objects(2)), "Object arrays cannot be loaded"),
    "too few names": ("a.npz", lambda path: npz(path, class_names=np.array(["a"])), "must be one name a class"),
    "a name twice": ("a.npz", lambda path: npz(path, class_names=np.array(["a", "a"])), "must be one name a class"),
    "a name too many": ("a.npz", lambda path: npz(path, class_names=np.array([*"abc"])), "has the class 'c'"),
    "names in 2-D": ("a.npz", lambda path: npz(path, class_names=np.array([[*"ab"], [*"cd"]])), "one name a class"),
    "labels in 2-D": ("a.npz", lambda path: npz(path, labels=np.eye(2, dtype=int)[LABELS]), "(60, 2); must be (N,)"),
    "labels as bytes": ("a.npz", lambda path: npz(path, labels=np.array([b"a", b"b"] * 30)), "labels of |S1 (60,)"),
    "no sample": (
        "a.npz",
        lambda path: npz(path, features=np.zeros((0, 4)), labels=LABELS[:0]),
        "labels of int64 (0,)",
    ),
    "a class a sample": (
        "a.npz",
        lambda path: npz(path, labels=np.arange(60)),
        "60 samples of 60 classes; at least two",
    ),
    "complex numbers": ("a.npz", lambda path: npz(path, features=np.full((60, 4), 1j)), "features are complex128"),
    # tables and lists
    "no row": ("a.csv", lambda path: path.write_bytes(b"x,y,label\n"), "a.csv has no rows"),
    "no picture": ("a.csv", lambda path: path.write_bytes(b"file,label\n"), "a.csv has no rows"),
    "ragged": ("a.csv", lambda path: path.write_bytes(ROWS + b"1,2,a,4\n"), "row 60 has 4 fields; the header has 3"),
    "no UTF-8": ("a.csv", lambda path: path.write_bytes(ROWS + b"1,2,\xe9t\xe9\n"), "no text in UTF-8 (byte 0xe9)"),
    "UTF-16": ("a.csv", lambda path: path.write_text(ROWS.decode(), encoding="utf-16"), "it has zero bytes"),
    "a picture named .csv": ("a.csv", lambda path: Image.new("L", (8, 8)).save(path, "PNG"), "it has zero bytes"),
    "no label": (
        "a.csv",
        lambda path: path.write_bytes(ROWS + b"1,2,\n"),
        "1 rows have no 'label', the first is row 60",
    ),
    "two columns of labels": ("a.csv", lambda path: path.write_bytes(b"label,label\n1,2\n"), "has 2 column 'label'"),
    "commas in a .tsv": ("a.tsv", lambda path: path.write_bytes(ROWS), "has no column label"),
    "a number too large": ("a.csv", lambda path: table(path, x=[1e30, *range(59)]), "1e+30 is too large"),
    "no Parquet": ("a.parquet", lambda path: path.write_bytes(b"PAR1 nothing PAR1"), "is not a Parquet file"),
    "a folder named .csv": ("a.csv", pictures, "there is no file"),
    "lists of addresses": (
        "a.csv",
        lambda path: path.write_text("file,label\nhttp://x/y.png,a\n"),
        "there is no such file",
    ),
    "other files": ("a.txt", lambda path: path.write_bytes(ROWS), "nor a list (.csv, .tsv, .parquet), nor an .npz"),
    "a claim of 32 TiB": ("a.npy", claimed_npy, "a.npy is no .npy file of plain numbers"),
    # folders
    "no class folders": ("mine", flat, "has no pictures in folders; expected mine/<class>/<picture>"),
    "a picture a class": ("mine", lambda path: pictures(path, 60, 1), "60 classes; at least two a class"),
    "links that go round": ("mine", lambda path: path.symlink_to(path), "there is no file or folder"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_what_cannot_be_cleaned(name, tmp_path, capsys):
    file, make, line = SOURCES[name]
    path = tmp_path / file
    make(path)
    before = path.read_bytes() if path.is_file() else sorted(tmp_path.rglob("*"))
    options = ["--label", str(path)] if path.suffix == ".npy" else []
    options += [] if path.suffix else ["--backbone", "none", "--profile", "digits"]
    assert main(["clean", str(path), "--output", str(tmp_path / "out"), "--device", "cpu", *options]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert line in error
    assert not (tmp_path / "out/runs").exists()
    made = tmp_path / "out"
    after = (
        path.read_bytes() if path.is_file() else sorted(p for p in tmp_path.rglob("*") if made not in (p, *p.parents))
    )
    assert after == before


def test_an_archive_beyond_the_memory(tmp_path, monkeypatch, capsys):
    """A zip of a few bytes may unpack to any number: it is refused by what it says of itself."""
    np.savez_compressed(tmp_path / "a.npz", features=np.zeros((60, 10000)), labels=LABELS)
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2000}.__getitem__)
    assert main(["clean", str(tmp_path / "a.npz"), "--output", str(tmp_path / "out")]) == 2
    assert "a.npz unpacks to 0.0 GiB; must be at most half of the memory, 0.0 GiB" in capsys.readouterr().err
    decisions = [str(tmp_path / "none.csv"), str(tmp_path / "copy")]
    assert main(["apply", str(tmp_path / "a.npz"), *decisions]) == 2
    assert "at most half of the memory" in capsys.readouterr().err


def test_odd_files_among_good_ones(tmp_path):
    """Each is read as a person sees it, or left out and named."""
    root = tmp_path / "mine"
    pictures(root, 2, 60)
    noise = np.random.default_rng(0).integers(0, 255, (99, 99, 3)).astype(np.uint8)
    Image.fromarray(noise).save(root / "c0/short.jpg")
    (root / "c0/short.jpg").write_bytes((root / "c0/short.jpg").read_bytes()[:2000])
    (root / "c0/zero.png").write_bytes(b"")
    (root / "c0/text.png").write_bytes(b"hello")
    (root / "c1/notes.txt").write_bytes(b"hello")
    (root / "c1/out.png").symlink_to("/etc/passwd")
    Image.new("1", (30000, 30000)).save(root / "c1/huge.png")
    left_out = {"c0/short.jpg", "c0/text.png", "c0/zero.png", "c1/huge.png", "c1/notes.txt", "c1/out.png"}
    (root / "c0/folder.png").mkdir()
    (root / "c1/up").symlink_to(root)
    (root / "loose.png").write_bytes(b"")
    Image.new("CMYK", (9, 9)).save(root / "c0/cmyk.jpg")
    Image.new("RGBA", (9, 9)).save(root / "c0/clear.webp")
    Image.new("P", (9, 9)).save(root / "c0/few.gif")
    Image.new("RGB", (9, 9)).save(root / "c1/moves.gif", save_all=True, append_images=[Image.new("RGB", (9, 9), "red")])
    Image.new("RGB", (900, 1)).save(root / "c1/line.png")
    Image.new("RGB", (9, 9)).save(root / "c1/two\nlines.png")
    Image.new("RGB", (9, 9)).save(root / 'c1/=1+1, "x".png')
    found = read_pictures(root, 8)
    assert set(found.skipped) == left_out
    assert len(found) == 120 + 7
    assert list_pictures(root).skipped == {}


@pytest.mark.parametrize(
    ("weights", "line"),
    [
        (lambda model: {name: value * torch.nan for name, value in model.items()}, "makes NaN or"),
        (lambda model: {"run": print}, "has no weights of test_resnet (weights_only=True blocked"),
        (lambda model: {}, "lacks 15 weights of test_resnet, the first is conv1.0.weight"),
        (lambda model: {name: value for name, value in model.items() if "layer4" not in name}, "the first is layer4"),
    ],
    ids=["NaN", "code", "nothing", "some"],
)
def test_weights_that_are_none(weights, line, tmp_path, capsys):
    import timm

    pictures(tmp_path / "mine", 2, 50)
    torch.save(weights(timm.create_model(MODEL).state_dict()), tmp_path / "weights.pt")
    options = ["--backbone", MODEL, "--weights", str(tmp_path / "weights.pt"), "--output", str(tmp_path / "out")]
    assert main(["clean", str(tmp_path / "mine"), *options, "--device", "cpu"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert line in error
    assert "weights_only=False" not in error


@pytest.mark.parametrize(
    ("decisions", "line"),
    [
        (None, "cannot be read"),
        (b"", "has no column id, given_label"),
        (b"\x89PNG", "has no column id, given_label"),
        (b"id,given_label,decision,new_label,data_sha256\n", "has no decision"),
        (b"id,given_label,decision,new_label,data_sha256\nc0/0.png,c0,keep,,12\n", "is about other data (12"),
    ],
)
def test_decisions_that_are_none(decisions, line, tmp_path, capsys):
    pictures(tmp_path / "mine")
    if decisions is not None:
        (tmp_path / "decisions.csv").write_bytes(decisions)
    assert main(["apply", str(tmp_path / "mine"), str(tmp_path / "decisions.csv"), str(tmp_path / "copy")]) == 2
    error = capsys.readouterr().err
    assert (len(error.splitlines()), line in error) == (1, True), error
    assert not (tmp_path / "copy").exists()
