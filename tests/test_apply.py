"""From decisions to a corrected copy and back: folders, lists, archives; the source untouched; every bad input."""

import os
import shutil

import numpy as np
import pytest

from dlt.cleaning.apply import apply_decisions, undo
from dlt.cleaning.apply_source import data_hash, open_source
from dlt.cleaning.decisions import COLUMNS, read_csv, safe_csv
from dlt.harness.errors import InputError

LIST = (
    '\ufeffpath,"label",note\r\n'
    'a.jpg,cat,"one, two"\r\n'
    'b.jpg,"dog","two\r\nlines"\n'
    "c.jpg,cat,\r\n"
    "\r\n"
    'd.jpg,dog,a "quote\r\n'
    'e.jpg,"a, ""b""",1.50\r\n'
    "f.jpg,cat,no end"
)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "pictures"
    for name in ("1.jpg", "2.jpg", "3.jpg", "sub/4.jpg", "SAME.jpg"):
        write(root / "cat" / name, f"cat {name}")
    for name in ("1.jpg", "1-2.jpg", "sub", "same.JPG"):
        write(root / "dog" / name, f"dog {name}")
    for name in ("-1.jpg", 'q"uote$<b>.jpg', "bad\udcff.jpg"):
        write(root / "=猫 قطة" / name, f"third {name}")
    write(root / "README", "not a class")
    write(root / "cat/.hidden", "hidden")
    (root / "empty").mkdir()
    (root / "dog/dead").symlink_to("nowhere")
    return root


@pytest.fixture
def listed(tmp_path):
    return write(tmp_path / "list.csv", LIST)


@pytest.fixture(params=["integers", "named", "texts"])
def archive(request, tmp_path):
    labels = np.arange(20) % 4
    names = np.array(["a", "b", "ccc", "=d"])
    arrays = {
        "features": np.random.default_rng(0).normal(size=(20, 3)),
        "labels": names[labels] if request.param == "texts" else labels.astype(np.int32),
        "weights": np.arange(20.0),
        "scale": np.array(3.0),
        "test_images": np.zeros((20, 2)),
        "other": np.zeros(7),
    }
    if request.param == "named":
        arrays["class_names"] = names
    (np.savez_compressed if request.param == "named" else np.savez)(tmp_path / "mine.npz", **arrays)
    return tmp_path / "mine.npz"


def tree(root):
    """{path: bytes, or where a link leads} of all files."""
    files = [file for file in sorted(root.rglob("*")) if file.is_symlink() or file.is_file()]
    return {str(f.relative_to(root)): os.readlink(f) if f.is_symlink() else f.read_bytes() for f in files}


def decide(source, path, decisions, **options):
    """A decisions.csv of {id: (decision, new label)}."""
    data = open_source(source, **options)
    given = dict(zip(data.ids, data.labels, strict=True))
    rows = [
        dict(zip(COLUMNS, (name, given[name], decision, new, data.data_hash()), strict=True))
        for name, (decision, new) in decisions.items()
    ]
    path.write_text(safe_csv(rows, COLUMNS), encoding="utf-8", newline="")
    return path


# ---------------------------------------------------------------------- a folder
FOLDER_DECISIONS = {
    "cat/1.jpg": ("relabel", "dog"),  # dog has 1.jpg and 1-2.jpg
    "cat/2.jpg": ("drop", ""),
    "cat/3.jpg": ("ambiguous", ""),
    "cat/sub/4.jpg": ("relabel", "dog"),  # dog has a file sub
    "cat/SAME.jpg": ("relabel", "dog"),
    "dog/1-2.jpg": ("keep", ""),
    "=猫 قطة/-1.jpg": ("relabel", "empty"),
    "=猫 قطة/bad\\udcff.jpg": ("relabel", "cat"),
}


@pytest.mark.parametrize("ambiguous", ["keep", "drop"])
def test_a_folder_is_copied_corrected_and_restored(folder, tmp_path, ambiguous):
    before = tree(folder)
    decisions = decide(folder, tmp_path / "decisions.csv", FOLDER_DECISIONS)
    outcome = apply_decisions(folder, decisions, tmp_path / "copy", ambiguous=ambiguous)
    assert tree(folder) == before
    copy = tree(tmp_path / "copy/data")
    expected = before.copy()
    third, bad = "=猫 قطة/-1.jpg", "=猫 قطة/bad\udcff.jpg"
    moves = {
        "cat/1.jpg": "dog/1-3.jpg",
        "cat/sub/4.jpg": "dog/4.jpg",
        "cat/SAME.jpg": "dog/SAME-2.jpg",
        third: "empty/-1.jpg",
        bad: "cat/bad\udcff.jpg",
    }
    for old, new in moves.items():
        expected[new] = expected.pop(old)
    left_out = ["cat/2.jpg", "cat/3.jpg"] if ambiguous == "drop" else ["cat/2.jpg"]
    dropped = {name: expected.pop(name) for name in left_out}
    assert copy == expected
    assert tree(tmp_path / "copy/dropped") == dropped
    assert (outcome.items, outcome.relabelled, outcome.left_out) == (12, 5, len(left_out))
    assert undo(tmp_path / "copy", tmp_path / "back") == tmp_path / "back"
    assert tree(tmp_path / "back") == before
    assert (tmp_path / "back/empty").is_dir()


def test_the_log_names_every_change(folder, tmp_path):
    decisions = decide(folder, tmp_path / "decisions.csv", FOLDER_DECISIONS)
    apply_decisions(folder, decisions, tmp_path / "copy")
    rows = {row["id"]: row for _, row in read_csv(tmp_path / "copy/changes.csv", ["id", "place", "new_label"])}
    assert set(rows) == set(FOLDER_DECISIONS)
    assert (rows["cat/1.jpg"]["place"], rows["cat/1.jpg"]["new_label"]) == ("data/dog/1-3.jpg", "dog")
    assert rows["cat/3.jpg"]["decision"] == "ambiguous"
    assert rows["dog/1-2.jpg"]["place"] == ""


def test_names_can_be_swapped(folder, tmp_path):
    swap = {"cat/1.jpg": ("relabel", "dog"), "dog/1.jpg": ("relabel", "cat")}
    apply_decisions(folder, decide(folder, tmp_path / "d.csv", swap), tmp_path / "copy")
    assert (tmp_path / "copy/data/dog/1.jpg").read_text() == "cat 1.jpg"
    assert (tmp_path / "copy/data/cat/1.jpg").read_text() == "dog 1.jpg"


def test_a_dry_run_writes_nothing(folder, tmp_path):
    decisions = decide(folder, tmp_path / "decisions.csv", FOLDER_DECISIONS)
    outcome = apply_decisions(folder, decisions, tmp_path / "copy", dry_run=True)
    assert "nothing written" in str(outcome)
    assert not (tmp_path / "copy").exists()


def test_a_class_that_is_emptied_is_named(folder, tmp_path):
    third = [name for name in open_source(folder).ids if name.startswith("=")]
    decisions = decide(folder, tmp_path / "decisions.csv", dict.fromkeys(third, ("drop", "")))
    assert "no item is left of =猫 قطة" in str(apply_decisions(folder, decisions, tmp_path / "copy"))


def test_the_hash_is_of_names_labels_and_sizes(folder, tmp_path):
    before = data_hash(folder)
    shutil.copytree(folder, tmp_path / "elsewhere", symlinks=True)
    assert data_hash(tmp_path / "elsewhere") == before
    write(folder / "cat/1.jpg", "another size")
    assert data_hash(folder) != before
    shutil.move(tmp_path / "elsewhere/cat/1.jpg", tmp_path / "elsewhere/cat/9.jpg")
    assert data_hash(tmp_path / "elsewhere") != before


# ---------------------------------------------------------------------- a list
LIST_DECISIONS = {
    "0": ("relabel", 'a, "b"'),
    "1": ("relabel", "cat"),
    "3": ("drop", ""),
    "5": ("drop", ""),
    "2": ("keep", ""),
}


def test_only_labels_change_in_a_list(listed, tmp_path):
    apply_decisions(listed, decide(listed, tmp_path / "d.csv", LIST_DECISIONS), tmp_path / "copy")
    changed = LIST.replace("a.jpg,cat", 'a.jpg,"a, ""b"""').replace('b.jpg,"dog"', 'b.jpg,"cat"')
    changed = changed.replace('d.jpg,dog,a "quote\r\n', "").replace("f.jpg,cat,no end", "")
    assert (tmp_path / "copy/data/list.csv").read_bytes() == changed.encode()
    assert (tmp_path / "copy/dropped/list.csv").read_bytes().endswith(b'd.jpg,dog,a "quote\r\nf.jpg,cat,no end')
    assert listed.read_bytes() == LIST.encode()
    undo(tmp_path / "copy", tmp_path / "back")
    assert tree(tmp_path / "back") == {"list.csv": LIST.encode()}


def test_a_list_by_its_paths(listed, tmp_path):
    decisions = decide(listed, tmp_path / "d.csv", {"e.jpg": ("relabel", "dog")}, id_column="path")
    apply_decisions(listed, decisions, tmp_path / "copy", id_column="path")
    assert 'e.jpg,"dog",1.50' in (tmp_path / "copy/data/list.csv").read_text(encoding="utf-8")
    undo(tmp_path / "copy", tmp_path / "back")
    assert (tmp_path / "back/list.csv").read_bytes() == LIST.encode()


@pytest.mark.parametrize(("name", "text"), [("l.tsv", "x\tmine\n1\ta\n2\tb\n"), ("l.csv", "x;mine\n1;a\n2;b\n")])
def test_other_delimiters_and_columns(name, text, tmp_path):
    source = write(tmp_path / name, text)
    decisions = decide(source, tmp_path / "d.csv", {"0": ("relabel", "b")}, label="mine")
    apply_decisions(source, decisions, tmp_path / "copy", label="mine")
    assert (tmp_path / "copy/data" / name).read_text() == text.replace("a\n", "b\n", 1).replace("mb\n", "ma\n")
    undo(tmp_path / "copy", tmp_path / "back")
    assert (tmp_path / "back" / name).read_text() == text


def test_a_parquet_list(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    labels = pyarrow.array([3, 1, 1, 2, 1], pyarrow.int16())
    table = pyarrow.table({"text": list("abcde"), "label": labels}).replace_schema_metadata({"by": "me"})
    parquet.write_table(table, tmp_path / "list.parquet")
    source = tmp_path / "list.parquet"
    decided = {"0": ("drop", ""), "1": ("relabel", "2"), "3": ("relabel", "1")}
    apply_decisions(source, decide(source, tmp_path / "d.csv", decided), tmp_path / "copy")
    copy = parquet.read_table(tmp_path / "copy/data/list.parquet")
    assert copy.to_pydict() == {"text": list("bcde"), "label": [2, 1, 1, 1]}
    assert copy.schema.equals(table.schema, check_metadata=True)
    undo(tmp_path / "copy", tmp_path / "back")
    assert parquet.read_table(tmp_path / "back/list.parquet").equals(table, check_metadata=True)


# ---------------------------------------------------------------------- an archive
def test_an_archive_is_copied_corrected_and_restored(archive, tmp_path):
    before = archive.read_bytes()
    data = open_source(archive)
    classes = data.classes
    decided = {"0": ("relabel", classes[2]), "3": ("drop", ""), "5": ("ambiguous", ""), "19": ("relabel", classes[1])}
    apply_decisions(archive, decide(archive, tmp_path / "d.csv", decided), tmp_path / "copy")
    old, new = np.load(archive), np.load(tmp_path / "copy/data/mine.npz")
    rows = np.delete(np.arange(20), [3, 5])
    assert list(new) == list(old)
    for key in ("features", "weights"):
        assert np.array_equal(new[key], old[key][rows])
    for key in ("scale", "test_images", "other"):
        assert np.array_equal(new[key], old[key])
    labels = open_source(tmp_path / "copy/data/mine.npz").labels
    expected = np.array(data.labels, dtype=object)
    expected[[0, 19]] = classes[2], classes[1]
    assert labels == expected[rows].tolist()
    assert new["labels"].dtype == old["labels"].dtype
    assert archive.read_bytes() == before
    undo(tmp_path / "copy", tmp_path / "back")
    assert (tmp_path / "back/mine.npz").read_bytes() == before


# ---------------------------------------------------------------------- what is refused
def changed(row, **fields):
    return row | fields


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: [changed(row, data_sha256="0" * 64)], r"line 2 of .*: is about other data \(000000000000"),
        (lambda row: [changed(row, id="cat/9.jpg")], r"line 2 .*: id 'cat/9.jpg' is not in the data"),
        (lambda row: [changed(row, new_label="cow")], "new_label 'cow' is not a class of the data: =猫 قطة, cat, dog"),
        (lambda row: [changed(row, new_label="")], "new_label '' is not a class"),
        (lambda row: [changed(row, new_label="cat")], "new_label 'cat' is the given label; that is decision keep"),
        (lambda row: [changed(row, given_label="dog")], "given_label of 'cat/1.jpg' is 'dog'; in the data it is 'cat'"),
        (lambda row: [changed(row, decision="move")], "'move' is not one of keep, relabel, ambiguous, drop"),
        (lambda row: [changed(row, decision="drop")], "decision drop has new_label 'dog'"),
        (lambda row: [row, row], "line 3 of .*: repeats an earlier line about 'cat/1.jpg'"),
        (lambda row: [row, changed(row, decision="keep", new_label="")], "line 3 of .*: contradicts an earlier line"),
        (lambda row: [], "has no decision"),
    ],
)
def test_decisions_that_do_not_fit(folder, tmp_path, change, message):
    row = dict(zip(COLUMNS, ("cat/1.jpg", "cat", "relabel", "dog", data_hash(folder)), strict=True))
    path = write(tmp_path / "decisions.csv", safe_csv(change(row), COLUMNS))
    with pytest.raises(InputError, match=message) as caught:
        apply_decisions(folder, path, tmp_path / "copy")
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,decision\na,keep\n", "no column given_label, new_label, data_sha256"),
        ('"a', "cannot be read"),
        ("", "no column id"),
    ],
)
def test_files_that_are_no_decisions(folder, tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        apply_decisions(folder, write(tmp_path / "decisions.csv", text), tmp_path / "copy")
    with pytest.raises(InputError, match="cannot be read"):
        apply_decisions(folder, tmp_path / "nothing.csv", tmp_path / "copy")


def test_a_spreadsheet_may_have_saved_the_decisions(folder, tmp_path):
    path = decide(folder, tmp_path / "d.csv", {"cat/1.jpg": ("relabel", "dog")})
    path.write_text(path.read_text(encoding="utf-8-sig").replace(",", ";"), encoding="utf-8")
    assert apply_decisions(folder, path, tmp_path / "copy").relabelled == 1


@pytest.mark.parametrize("output", ["pictures", "pictures/copy", "full", "full/file"])
def test_outputs_that_are_refused(folder, tmp_path, output):
    write(tmp_path / "full/file", "mine")
    decisions = decide(folder, tmp_path / "decisions.csv", {"cat/1.jpg": ("drop", "")})
    before = tree(tmp_path)
    with pytest.raises(InputError, match="output: "):
        apply_decisions(folder, decisions, tmp_path / output)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.json", "{}", "is no folder of class folders"),
        ("x.csv", "a,b\n1,2\n", "no column label or given_label"),
        ("x.csv", "label,label\n1,2\n", "has 2 column 'label'"),
        ("x.csv", "label,b\n1\n", "row 0 has 1 fields; the header has 2"),
        ("x.csv", 'label,b\n1,"2\n', "a quote that does not close"),
        ("x.csv", "", "no column label"),
        ("x.npz", "no zip", "not a numpy.savez archive"),
        ("x.parquet", "no", "pyarrow|not a Parquet file"),
    ],
)
def test_sources_that_are_refused(name, text, message, tmp_path):
    with pytest.raises(InputError, match=message):
        data_hash(write(tmp_path / name, text))


def test_archives_that_are_refused(tmp_path):
    for arrays in (
        {"images": np.zeros(3)},
        {"labels": np.zeros(3)},
        {"labels": np.array([0, 5]), "class_names": ["a", "b"]},
    ):
        np.savez(tmp_path / "x.npz", **arrays)
        with pytest.raises(InputError, match="source: "):
            data_hash(tmp_path / "x.npz")


def test_ids_that_come_twice_are_refused(tmp_path):
    with pytest.raises(InputError, match="the id 'a' comes twice"):
        data_hash(write(tmp_path / "x.csv", "path,label\na,1\na,2\n"), id_column="path")


def test_a_copy_of_nothing_is_refused(listed, tmp_path):
    everything = dict.fromkeys(open_source(listed).ids, ("drop", ""))
    with pytest.raises(InputError, match="leaves nothing"):
        apply_decisions(listed, decide(listed, tmp_path / "d.csv", everything), tmp_path / "copy")


@pytest.mark.parametrize("harm", ["data/dog/1-3.jpg", "dropped/cat/2.jpg", "changes.csv", "about.json"])
def test_a_copy_that_was_changed_is_not_undone(folder, tmp_path, harm):
    apply_decisions(folder, decide(folder, tmp_path / "d.csv", FOLDER_DECISIONS), tmp_path / "copy")
    (tmp_path / "copy" / harm).unlink()
    with pytest.raises(InputError):
        undo(tmp_path / "copy", tmp_path / "back")
    assert not (tmp_path / "back").exists()
    assert not list(tmp_path.glob(".back*"))


def test_undo_writes_nothing_outside(folder, tmp_path):
    apply_decisions(folder, decide(folder, tmp_path / "d.csv", FOLDER_DECISIONS), tmp_path / "copy")
    log = tmp_path / "copy/changes.csv"
    log.write_bytes(log.read_bytes().replace(b",cat/2.jpg", b",../../cat/2.jpg"))
    with pytest.raises(InputError, match="changed since"):
        undo(tmp_path / "copy", tmp_path / "back")
    assert not (tmp_path / "cat").exists()
