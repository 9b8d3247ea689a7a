"""review.html: whole in itself, its data as given, its script sound; decisions.csv both ways; exports."""

import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pandas
import pytest
from PIL import Image

from dlt.cleaning import review
from dlt.cleaning.decisions import COLUMNS, read_csv, safe_csv, shown
from dlt.cleaning.exports import write_exports
from dlt.cleaning.review import Item, thumbnail_bytes, write_review

HERE = Path(review.__file__).parent
NAMES = ["cat", 'dog\'s "best"', "$ dollar", "</script><b>", "猫", "قطة", "=SUM(A1)", "__DATA__"]
NASTY = [*NAMES, "'=x", "''-1", "+1", "@a", "a,b;c\td", "two\nlines", "carriage\r\nreturn", "-", "'", '"', "", "🐈"]
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")


def picture(side, color="red"):
    return thumbnail_bytes(Image.new("RGB", (side, side), color))


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


@pytest.fixture
def page(tmp_path):
    items = [
        Item(
            "cat/a.jpg",
            0,
            1,
            0.25,
            "wrong",
            picture(200),
            None,
            "my pictures/cat/a #1?.jpg",
            [("b", 1, 0), ("c", 2, 1)],
        ),
        Item("7", 1, 1, float("nan"), "outlier", None, {"text": "</script><script>alert(1)</script>", "n": 3}),
        Item(
            "a\udcff.jpg",
            7,
            3,
            1e-9,
            "duplicate",
            picture(200),
            None,
            "https://example.org/a?b=c",
            [("d", 0, {"x": 1})],
        ),
    ]
    shared = [picture(200), picture(8, "blue")]
    return write_review(tmp_path, items, NAMES, "<title> & __SCRIPT__", "words </pre>", "f" * 64, shared).read_text()


class Structure(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


# ---------------------------------------------------------------------- the page
def test_the_page_holds_what_it_was_given(page):
    data = data_of(page)
    assert data["classes"] == NAMES
    assert (data["title"], data["words"], data["sha256"]) == ("<title> & __SCRIPT__", "words </pre>", "f" * 64)
    first, second, third = data["items"]
    assert (first["id"], first["given"], first["suggested"], first["p"], first["kind"]) == (
        "cat/a.jpg",
        0,
        1,
        0.25,
        "wrong",
    )
    assert unquote(first["link"]) == "my pictures/cat/a #1?.jpg"
    assert not set("#?") & set(first["link"])
    assert second["row"] == {"text": "</script><script>alert(1)</script>", "n": "3"}
    assert not {"p", "picture", "link", "near"} & set(second)
    assert (third["id"], third["link"]) == ("a\\udcff.jpg", "https://example.org/a?b=c")
    assert third["near"] == [{"id": "d", "label": 0, "row": {"x": "1"}}]


def test_a_thumbnail_is_there_once(page):
    data = data_of(page)
    assert len(data["pictures"]) == 2
    assert data["pictures"][0].startswith("data:image/jpeg;base64,")
    assert data["pictures"][1].startswith("data:image/png;base64,")
    first, _, third = data["items"]
    assert first["picture"] == third["picture"] == first["near"][0]["picture"] == 0
    assert first["near"][1]["picture"] == 1


def test_the_page_is_whole_in_itself(page):
    structure = Structure()
    structure.feed(page)
    for tag, attributes in structure.found:
        assert not {"src", "href", "action"} & set(attributes), (tag, attributes)
    policy = next(a["content"] for tag, a in structure.found if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert [tag for tag, _ in structure.found].count("script") == 2
    assert "<title>&lt;title&gt; &amp; __SCRIPT__</title>" in page


def test_every_element_that_the_script_names_is_there(page):
    structure = Structure()
    structure.feed(page)
    ids = [attributes["id"] for _, attributes in structure.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    script = "".join((HERE / name).read_text() for name in ("review.js", "review_draw.js"))
    assert set(re.findall(r'\$\("([\w-]+)"\)', script)) <= set(ids)
    actions = {attributes["data-do"] for _, attributes in structure.found if "data-do" in attributes}
    assert actions <= set(re.findall(r"^  (\w+): \(\) =>", script, re.MULTILINE))


def test_everything_that_can_be_worked_has_a_name(page):
    structure = Structure()
    structure.feed(page)
    labelled = {"aria-label", "aria-labelledby"}
    for tag, attributes in structure.found:
        if tag in ("dialog", "progress", "aside") or attributes.get("role") in ("listbox", "combobox", "group"):
            assert labelled & set(attributes), (tag, attributes)
    assert ("html", {"lang": "en"}) in structure.found


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (Item("a", 0, 8, 0.5), "class 8 is not in 0..7"),
        (Item("a", 0, 1, 0.5, neighbours=[("b", -1, None)]), "class -1 is not in"),
        (Item("a", 0, 1, 0.5, "odd"), "kind 'odd'"),
        (Item("a", 0, 1, 0.5, thumbnail=b"GIF89a"), "neither a JPEG nor a PNG"),
    ],
)
def test_items_that_cannot_be_shown(item, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_review(tmp_path, [item], NAMES, "", "", "0")
    assert not list(tmp_path.iterdir())


def test_an_id_that_comes_twice(tmp_path):
    with pytest.raises(ValueError, match="comes twice"):
        write_review(tmp_path, [Item("a", 0, 1, 0.5)] * 2, NAMES, "", "", "0")


def test_thumbnails_are_small():
    for size in ((4000, 300), (8, 8), (28, 28), (128, 128), (1, 500)):
        with Image.open(io.BytesIO(thumbnail_bytes(Image.new("L", size)))) as small:
            assert max(small.size) <= review.THUMBNAIL
            assert small.format == ("PNG" if max(size) <= 64 else "JPEG")


# ---------------------------------------------------------------------- its script
@needs_node
def test_the_script_parses(page, tmp_path):
    script = tmp_path / "script.js"
    script.write_text(re.findall(r"<script>(.*?)</script>", page, re.DOTALL)[-1])
    subprocess.run(["node", "--check", script], check=True)


def in_node(expression, given, tmp_path):
    """What the page's CSV functions make of `given`, a JSON value."""
    script = tmp_path / "csv.js"
    end = "process.stdout.write(JSON.stringify((given => {expression})(JSON.parse(require('fs').readFileSync(0)))))"
    script.write_text((HERE / "review_csv.js").read_text() + end.replace("{expression}", expression))
    answer = subprocess.run(
        ["node", script], input=json.dumps(given), capture_output=True, check=True, encoding="utf-8"
    )
    return json.loads(answer.stdout)


@needs_node
def test_csv_from_the_page_is_read_here(tmp_path):
    rows = [[name, other] for name, other in zip(NASTY, reversed(NASTY), strict=True)]
    path = tmp_path / "decisions.csv"
    path.write_bytes(in_node("csvText(given)", [["a", "b"], *rows], tmp_path).encode())
    assert [[row["a"], row["b"]] for _, row in read_csv(path, ["a", "b"])] == rows


@needs_node
def test_csv_from_here_is_read_by_the_page(tmp_path):
    rows = [{"a": name, "b": other} for name, other in zip(NASTY, reversed(NASTY), strict=True)]
    for text in (safe_csv(rows, ["a", "b"]), safe_csv(rows, ["a", "b"]).removesuffix("\r\n")):
        assert in_node("csvRows(given)", text, tmp_path) == [["a", "b"], *map(list, map(dict.values, rows))]


@needs_node
def test_csv_from_a_spreadsheet_is_read_by_the_page(tmp_path):
    assert in_node("csvRows(given)", 'id;b\n"a,1";x\n\n', tmp_path) == [["id", "b"], ["a,1", "x"]]


def test_no_field_is_a_formula():
    text = safe_csv([{"a": name} for name in NASTY], ["a"])
    assert text.startswith("\ufeff")
    assert not re.search(r'^"?[=+\-@\t]', text, re.MULTILINE)


def test_page_and_apply_agree_on_the_columns():
    columns = re.search(r"const COLUMNS = (\[.*\]);", (HERE / "review_draw.js").read_text())[1]
    assert tuple(json.loads(columns)) == COLUMNS


# ---------------------------------------------------------------------- exports
@pytest.fixture
def table():
    return pandas.DataFrame(
        {
            "id": ["cat/a #1.jpg", "=b.jpg", "c.jpg"],
            "given_label": ["cat", "<dog>", "cat"],
            "suggested_label": ["<dog>", "cat", "cat"],
            "clean_probability": [0.2, 0.00001, 0.9],
            "suspect": [True, True, False],
            "kind": ["wrong", "wrong", ""],
        }
    )


def test_cleanlab_has_a_row_an_item(table, tmp_path):
    write_exports(tmp_path, table)
    read = pandas.read_csv(tmp_path / "cleanlab.csv")
    assert list(read) == ["is_label_issue", "label_quality", "given_label", "predicted_label"]
    assert read["is_label_issue"].tolist() == [True, True, False]
    assert np.allclose(read["label_quality"], table["clean_probability"])


def test_label_studio_has_the_suspects_the_worst_first(table, tmp_path):
    write_exports(tmp_path, table)
    first, second = json.loads((tmp_path / "label_studio.json").read_text())
    assert first["data"]["id"] == "=b.jpg"
    assert second["data"]["image"] == "/data/local-files/?d=cat/a%20%231.jpg"
    (result,) = second["predictions"][0]["result"]
    assert result["value"] == {"choices": ["<dog>"]}
    assert second["predictions"][0]["score"] == 0.8
    view = ElementTree.parse(tmp_path / "label_studio.xml").getroot()
    assert view.find("Image").get("name") == result["to_name"]
    assert view.find("Choices").get("name") == result["from_name"]
    assert [choice.get("value") for choice in view.iter("Choice")] == ["<dog>", "cat"]


def test_label_studio_with_texts(table, tmp_path):
    write_exports(tmp_path, table, "text", ["one", "two", "three"])
    tasks = json.loads((tmp_path / "label_studio.json").read_text())
    assert [task["data"]["text"] for task in tasks] == ["two", "one"]
    with pytest.raises(ValueError, match="media"):
        write_exports(tmp_path, table, "text")


def test_issues_are_for_spreadsheets(table, tmp_path):
    write_exports(tmp_path, table)
    assert (tmp_path / "issues.csv").read_bytes().startswith(b"\xef\xbb\xbfid,given_label")
    rows = [row for _, row in read_csv(tmp_path / "issues.csv", ["id", "clean_probability"])]
    assert [(row["id"], row["clean_probability"]) for row in rows] == [
        ("=b.jpg", "0.000010"),
        ("cat/a #1.jpg", "0.200000"),
    ]
    assert "'=b.jpg" in (tmp_path / "issues.csv").read_text()


def test_what_is_no_utf8_can_be_shown():
    assert shown("a\udcff.jpg").encode() == b"a\\udcff.jpg"
