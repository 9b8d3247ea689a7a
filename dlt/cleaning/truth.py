"""How well wrong labels were found, where the true ones are known: of an archive, or of a column of a list."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dlt.cleaning.apply_source import open_source
from dlt.cleaning.tables import LISTS, read_npy, read_table, unlabelled
from dlt.harness.arrays import read_archive
from dlt.harness.errors import InputError


def true_labels(path: Path, clean_label: str | None, id_column: str | None) -> dict[str, str] | None:
    """{id: true label} of the samples at `path`, as far as they are known; None where nobody gives them. InputError.

    An archive may have an array `clean_labels`; `clean_label` is a column of a list, or a .npy file beside features.
    """
    path = Path(path)
    if path.suffix == ".npz" and path.is_file():
        if clean_label:
            raise InputError("clean-label: an archive has its true labels in an array clean_labels")
        return _of_archive(path)
    if clean_label is None:
        return None
    if path.suffix == ".npy":
        clean, needed = read_npy(Path(clean_label), "clean-label"), read_npy(path, "path").shape[:1]
        if clean.shape != needed or clean.dtype.kind not in "iuU":
            raise InputError(f"clean-label: {clean_label} is {clean.dtype} {clean.shape}; must be labels {needed}")
        return _numbered(clean)
    if path.suffix not in LISTS or not path.is_file():
        raise InputError(f"clean-label: {path} is no list ({', '.join(LISTS)}); a folder has no true labels")
    source = open_source(path, clean_label, id_column)
    unknown = set(unlabelled(path, read_table(path), clean_label, source.labels))
    return {source.ids[row]: source.labels[row] for row in range(len(source.ids)) if row not in unknown}


def _of_archive(path: Path) -> dict[str, str] | None:
    arrays = read_archive(path, ("labels", "clean_labels", "class_names"))
    if "clean_labels" not in arrays:
        return None
    clean, names = arrays["clean_labels"], arrays.get("class_names")
    if clean.shape != arrays.get("labels", clean).shape or clean.ndim != 1 or clean.dtype.kind not in "iuU":
        raise InputError(f"path: {path}: clean_labels are {clean.dtype} {clean.shape}; must be as labels")
    if names is None or clean.dtype.kind == "U":
        return _numbered(clean)
    if clean.size and not 0 <= clean.min() <= clean.max() < len(names):
        raise InputError(f"path: {path}: clean_labels are {clean.min()}..{clean.max()}; class_names are {len(names)}")
    return _numbered(names[clean])


def _numbered(labels: np.ndarray) -> dict[str, str]:
    return {str(row): str(label) for row, label in enumerate(labels)}


def check_known(known: dict[str, str] | None, names: Sequence[str]) -> None:
    """InputError where no true label is one of the classes `names`: they are written otherwise, 1.0 for 1."""
    if known and not {*known.values()} & {*names}:
        found, classes = ", ".join(sorted({*known.values()})[:5]), ", ".join(names[:5])
        raise InputError(f"clean-label: no true label is a class of the labels: {found}; the classes are {classes}")


def beside_the_truth(known: dict[str, str] | None, ids: list[str], names: list[str], judged, rate: float) -> dict:
    """{"truth": how well the labels were found that are not the `known` ones}, or nothing where none are.

    `ids` and `names` are those of all N samples and of their given labels; `judged` is a DataFrame in their order, with
    the columns clean_probability and suspect; `rate` is the estimated one. What is not known is left out.
    """
    from sklearn.metrics import average_precision_score, precision_score, recall_score

    rows = [row for row, name in enumerate(ids) if known and name in known]
    if not rows:
        return {}
    wrong = np.array([known[ids[row]] != names[row] for row in rows])
    suspect, right = judged["suspect"].to_numpy()[rows], judged["clean_probability"].to_numpy()[rows]
    found = {
        "realised_rate": wrong.mean(),
        "estimate_error": rate - wrong.mean(),
        "average_precision": average_precision_score(wrong, -right) if wrong.any() else None,
        "precision": precision_score(wrong, suspect, zero_division=0),
        "recall": recall_score(wrong, suspect, zero_division=0),
    }
    return {
        "truth": {"known": len(rows)}
        | {name: value if value is None else round(float(value), 4) for name, value in found.items()}
    }


def truth_in_words(summary: dict) -> list[str]:
    """A line, where the summary has the measures."""
    if not (truth := summary.get("truth")):
        return []
    ranked = truth["average_precision"]
    ranked = "-" if ranked is None else f"{100 * ranked:.1f}"
    return [
        f"beside {truth['known']} true labels: {100 * truth['realised_rate']:.1f}% are wrong, the estimate is off by "
        f"{100 * truth['estimate_error']:+.1f} points; average precision {ranked}, "
        f"precision {100 * truth['precision']:.1f}, recall {100 * truth['recall']:.1f}"
    ]
