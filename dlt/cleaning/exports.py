"""The suspicious labels as other tools read them."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from dlt.cleaning.decisions import safe_csv, shown
from dlt.harness.records import write_atomic

ISSUES = ("id", "given_label", "suggested_label", "clean_probability", "kind")
LOCAL_FILES = "/data/local-files/?d="  # how Label Studio names files of its own disk


def write_exports(
    output: Path, table, media: str = "image", texts: Sequence[str] | None = None, prefix: str = LOCAL_FILES
) -> list[Path]:
    """cleanlab.csv, label_studio.json with its label_studio.xml, and issues.csv in `output`; their paths.

    `table` is a pandas DataFrame, a row an item of the data in its order, with the columns id, given_label,
    suggested_label, clean_probability, suspect and kind. `media` is "image", of which Label Studio finds the file at
    `prefix` and the column file, or the id, or "text", of which `texts` has one an item. ValueError for another.
    """
    if media not in ("image", "text") or (media == "text") != (texts is not None):
        raise ValueError(f"media: {media!r} must be image, or text with texts")
    worst = table.assign(content=_contents(table, texts, prefix))[table["suspect"].astype(bool)]
    worst = worst.sort_values("clean_probability", kind="stable")
    names = sorted({*map(str, table["given_label"]), *map(str, table["suggested_label"])})
    files = {
        "cleanlab.csv": _cleanlab(table),
        "label_studio.json": json.dumps([_task(row, media) for row in worst.itertuples()], indent=1) + "\n",
        "label_studio.xml": _interface(media, names),
        "issues.csv": safe_csv((_issue(row) for row in worst[list(ISSUES)].to_dict("records")), ISSUES),
    }
    for name, text in files.items():
        write_atomic(Path(output) / name, text)
    return [Path(output) / name for name in files]


def _contents(table, texts: Sequence[str] | None, prefix: str) -> list[str]:
    if texts is not None:
        return [shown(str(text)) for text in texts]
    return [prefix + quote(str(name).encode("utf-8", "surrogateescape")) for name in table.get("file", table["id"])]


def _cleanlab(table) -> str:
    """A row an item, as `cleanlab.classification.CleanLearning.find_label_issues` has them."""
    columns = {
        "suspect": "is_label_issue",
        "clean_probability": "label_quality",
        "given_label": "given_label",
        "suggested_label": "predicted_label",
    }
    return table[list(columns)].rename(columns=columns).to_csv(index=False, float_format="%.6g")


def _issue(row: dict) -> dict:
    """Its fields as texts; the probability in plain digits, which every spreadsheet reads."""
    texts = {name: shown(str(value)) for name, value in row.items()}
    return texts | {"clean_probability": f"{row['clean_probability']:.6f}"}


def _task(row, media: str) -> dict:
    """A task of Label Studio with the suggestion as a prediction, whose score is that the given label is wrong."""
    choice = {
        "from_name": "label",
        "to_name": media,
        "type": "choices",
        "value": {"choices": [str(row.suggested_label)]},
    }
    return {
        "data": {
            media: row.content,
            "id": shown(str(row.id)),
            "given_label": str(row.given_label),
            "clean_probability": round(float(row.clean_probability), 6),
            "kind": str(row.kind),
        },
        "predictions": [
            {"model_version": "dlt", "score": round(1 - float(row.clean_probability), 6), "result": [choice]}
        ],
    }


def _interface(media: str, names: list[str]) -> str:
    """The labelling interface that the tasks are made for."""
    tag = media.capitalize()
    choices = "".join(f"    <Choice value={_attribute(name)}/>\n" for name in names)
    return (
        f'<View>\n  <{tag} name="{media}" value="${media}"/>\n  <Header value="Given label: $given_label"/>\n'
        f'  <Choices name="label" toName="{media}" choice="single" showInline="true">\n{choices}  </Choices>\n</View>\n'
    )


def _attribute(text: str) -> str:
    """Quoted for XML, without the characters that XML has not."""
    return quoteattr(re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f]", "�", shown(text)))
