"""`clean` on embeddings and tables: what is read, how it is judged, and the way to a corrected copy."""

import json

import numpy as np
import pandas
import pytest
import torch

from dlt.__main__ import main
from dlt.cleaning import hoc
from dlt.cleaning.clean_vectors import in_words
from dlt.cleaning.neighbours import Neighbours, approximate, exact, judgement, nearest
from dlt.cleaning.reasons import by_class, expected_among_first, kinds
from dlt.cleaning.truth import beside_the_truth, check_known, true_labels, truth_in_words
from dlt.cleaning.vectors import read_vectors
from dlt.harness.errors import InputError

NAMES = ("ant", "bee", "cow")


def data(seed=0, count=150):
    """Three clusters, and labels of which every tenth is another one: features, labels, which are wrong."""
    rng = np.random.default_rng(seed)
    true = np.arange(count) % 3
    features = 4 * np.eye(3, 6)[true] + rng.normal(size=(count, 6))
    wrong = np.arange(count) % 10 == 4
    return features, np.where(wrong, (true + 1) % 3, true), wrong


def frame():
    features, labels, _ = data()
    table = pandas.DataFrame(features, columns=list("abcdef"))
    return table.assign(name=[f"row {i}" for i in range(len(table))], label=np.array(NAMES)[labels])


@pytest.fixture
def archive(tmp_path):
    features, labels, _ = data()
    arrays = {"features": features, "labels": labels, "clean_labels": np.arange(150) % 3}
    np.savez(tmp_path / "mine.npz", **arrays, class_names=np.array(NAMES))
    return tmp_path / "mine.npz"


# ---------------------------------------------------------------------- neighbours
def test_votes_and_rate_by_hand():
    features, labels, _ = data()
    neighbours = nearest(features, 5)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    for row in range(0, 150, 10):
        order = np.argsort(np.linalg.norm(unit - unit[row], axis=1))
        expected = [other for other in order if other != row][:5]
        assert neighbours.rows[row].tolist() == expected
        votes = [sum(labels[other] == label for other in expected) / 5 for label in range(3)]
        assert neighbours.votes(labels, 3)[row].tolist() == votes
    most = neighbours.votes(labels, 3).argmax(1)
    assert neighbours.disagreement(labels, 3) == np.mean(most != labels) == pytest.approx(0.1, abs=0.03)
    assert neighbours.rate(labels, 3) == pytest.approx(0.1, abs=0.03)


def test_what_hoc_counts_and_expects_by_loops():
    draws = np.random.default_rng(0)
    triples = draws.integers(0, 3, (3, 40))
    counts = np.zeros((3, 3, 3))
    for a, b, c in triples.T:
        counts[a, b, c] += 1 / 40
    for found, axes in zip(hoc.counted(*triples, 3), ((1, 2), 2, ()), strict=True):
        np.testing.assert_allclose(found, counts.sum(axes))
    p, transition = draws.dirichlet(np.ones(3)), draws.dirichlet(np.ones(3), 3)
    c1, c2, c3 = hoc.expected(torch.from_numpy(p), torch.from_numpy(transition))
    for a in range(3):
        assert c1[a] == pytest.approx(sum(p[m] * transition[m, a] for m in range(3)))
        for b in range(3):
            assert c2[a, b] == pytest.approx(sum(p[m] * transition[m, a] * transition[m, b] for m in range(3)))
            for c in range(3):
                three = sum(p[m] * transition[m, a] * transition[m, b] * transition[m, c] for m in range(3))
                assert c3[a, b, c] == pytest.approx(three)


def test_hoc_finds_a_transition_matrix():
    """Where neighbours do share their true class, p and T come back."""
    draws = np.random.default_rng(0)
    p, transition = np.array([0.2, 0.3, 0.5]), np.array([[0.9, 0.1, 0.0], [0.1, 0.7, 0.2], [0.0, 0.4, 0.6]])
    true = draws.choice(3, 20000, p=p)
    labels, first, second = ((draws.random((20000, 1)) > transition.cumsum(1)[true]).sum(1) for _ in range(3))
    shares, found = hoc.estimate(labels, first, second, 3)
    np.testing.assert_allclose(shares, p, atol=0.03)
    np.testing.assert_allclose(found, transition, atol=0.05)
    again = hoc.estimate(labels, first, second, 3)
    assert np.array_equal(shares, again[0])
    assert np.array_equal(found, again[1])


def test_the_rate_is_the_smaller_and_many_classes_have_the_votes_alone(monkeypatch):
    features, labels, _ = data()
    neighbours = nearest(features)
    monkeypatch.setattr(hoc, "estimate", lambda *_: (np.full(3, 1 / 3), 0.99 * np.eye(3)))
    assert neighbours.rate(labels, 3) == pytest.approx(0.01)
    monkeypatch.setattr(hoc, "estimate", lambda *_: (np.full(3, 1 / 3), 0.1 * np.eye(3)))
    assert neighbours.rate(labels, 3) == neighbours.disagreement(labels, 3)
    monkeypatch.setattr(hoc, "MOST_CLASSES", 2)
    monkeypatch.setattr(hoc, "estimate", None)
    assert neighbours.rate(labels, 3) == neighbours.disagreement(labels, 3)


def test_fewer_samples_than_voters():
    assert nearest(np.eye(4), 15).rows.shape == (4, 3)


def test_many_samples_have_an_index_or_one_line(monkeypatch):
    features, *_ = data()
    said = []
    monkeypatch.setattr("dlt.cleaning.neighbours.MOST_EXACT", 149)
    monkeypatch.setattr("dlt.cleaning.neighbours.find_spec", lambda name: None)
    found = nearest(features, 5, said.append)
    assert said == ["an exact search among 150 samples, which pip install faiss-cpu would make faster"]
    monkeypatch.setattr("dlt.cleaning.neighbours.find_spec", lambda name: name)
    monkeypatch.setattr("dlt.cleaning.neighbours.approximate", lambda unit, voters: (len(unit), voters))
    assert nearest(features, 5, said.append) == (150, 5)
    assert found.rows.shape == (150, 5)
    assert len(said) == 1


def test_the_index_finds_nearly_all_neighbours_and_never_the_sample_itself():
    pytest.importorskip("faiss")
    unit, _, _ = data(count=3000)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    unit[7] = unit[2000:2020] = unit[8]  # many equals: the sample itself may not be among those found
    some, all_of_them = approximate(unit, 15), exact(unit.astype(np.float32), 15)
    assert not (some.rows == np.arange(3000)[:, None]).any()
    shared = np.mean([len({*a} & {*b}) / 15 for a, b in zip(some.rows, all_of_them.rows, strict=True)])
    assert shared > 0.95
    assert np.isclose(some.distances[:, 0], all_of_them.distances[:, 0], atol=1e-3).mean() > 0.99


def test_the_judgement_is_between_network_and_neighbours():
    network, votes, labels = np.array([[0.6, 0.4], [0.5, 0.5]]), np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([0, 1])
    judged = judgement(network, votes, 15, labels, 0.5)
    assert judged.sum(1) == pytest.approx(1)
    assert judged[0, 1] > 0.4
    assert judged[1, 0] > 0.5
    certain = judgement(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), 15, np.array([0]), 0.5)
    assert certain.argmax() == 0  # neighbours alone do not overrule a network that is sure


def test_the_fewer_labels_are_wrong_the_more_a_label_weighs():
    network, labels = np.array([[0.2, 0.5, 0.3]] * 100), np.zeros(100, int)
    votes = np.full_like(network, 1 / 3)
    before = network[0, 0] / network[0, 1]
    for rate, factor in ((0.1, 9), (0.0, 99), (0.5, 1), (0.8, 1)):  # a rate of none: less than one label
        judged = judgement(network, votes, 15, labels, rate)[0]
        assert judged[0] / judged[1] == pytest.approx(before * factor, rel=1e-4)
        assert judged[1] / judged[2] == pytest.approx(5 / 3, rel=1e-4)


# ---------------------------------------------------------------------- reasons
def test_kinds():
    judged = np.array([[0.05, 0.95], [0.4, 0.6], [0.05, 0.95], [0.05, 0.95]])
    rows = np.array([[1], [0], [3], [2]])
    distances = np.array([[0.5], [0.5], [0.001], [0.9]])
    labels = np.array([0, 0, 0, 1])
    assert kinds(judged, labels, Neighbours(rows, distances)).tolist() == ["wrong", "ambiguous", "duplicate", "outlier"]


def test_rates_of_classes_and_expected_errors_by_hand():
    judged = np.array([[0.9, 0.1]] * 8 + [[0.2, 0.8]] * 2 + [[0.25, 0.75]] * 10)
    labels = np.repeat([0, 1], 10)
    found = by_class(judged, labels, ("x", "y"))
    assert (found["x"]["samples"], found["x"]["suspects"], found["x"]["expected"]) == (10, 2, 2.4)
    assert found["x"]["low"] < 0.2 < found["x"]["high"]
    assert found["y"]["suspects"] == 0
    assert expected_among_first(judged, labels, (1,)) == {1: 0.8, 2: 1.6}


# ---------------------------------------------------------------------- end to end
def test_an_archive_from_suspects_to_a_corrected_copy_and_back(archive, tmp_path, capsys):
    *_, wrong = data()
    output = tmp_path / "out"
    assert main(["clean", str(archive), "--output", str(output), "--epochs", "30"]) == 0
    said = capsys.readouterr().out
    assert "estimated noise rate" in said
    assert "beside 150 true labels: 10.0% are wrong, the estimate is off by" in said
    assert f"then: ./reproduce.sh apply {archive} decisions.csv corrected/" in said
    suspects = pandas.read_csv(output / "suspects.csv")
    found = wrong[suspects["id"]]
    assert found.mean() > 0.8
    assert found.sum() > 0.9 * wrong.sum()
    assert found[:10].all()
    assert set(suspects["kind"]) <= {"wrong", "ambiguous", "outlier", "duplicate"}
    summary = json.loads((output / "summary.json").read_text())
    assert summary["estimated_noise_rate"] == pytest.approx(wrong.mean(), abs=0.04)
    assert list(summary["by_class"]) == list(NAMES)
    truth = summary["truth"]
    assert (truth["known"], truth["realised_rate"]) == (150, 0.1)
    assert truth["estimate_error"] == pytest.approx(summary["estimated_noise_rate"] - 0.1)
    assert truth["precision"] == pytest.approx(found.mean(), abs=1e-4)
    assert truth["recall"] == pytest.approx(found.sum() / wrong.sum(), abs=1e-4)
    assert truth["average_precision"] > 0.9
    warning = "far too high"
    assert warning not in said
    assert warning in in_words(summary | {"estimated_noise_rate": 0.31})
    assert {"review.html", "issues.csv", "cleanlab.csv", "label_studio.json"} <= {f.name for f in output.iterdir()}
    assert len(pandas.read_csv(output / "cleanlab.csv")) == 150

    sha = read_vectors(archive).data_sha256
    rows = suspects.assign(decision="relabel", new_label=suspects["suggested_label"], data_sha256=sha)
    rows = rows[["id", "given_label", "decision", "new_label", "data_sha256"]]
    rows.to_csv(tmp_path / "decisions.csv", index=False)
    arguments = [str(archive), str(tmp_path / "decisions.csv"), str(tmp_path / "corrected")]
    assert main(["apply", *arguments, "--dry-run"]) == 0
    assert not (tmp_path / "corrected").exists()
    assert main(["apply", *arguments]) == 0
    corrected = np.load(tmp_path / "corrected" / "data" / "mine.npz")
    changed = corrected["labels"] != np.load(archive)["labels"]
    assert np.flatnonzero(changed).tolist() == sorted(suspects["id"])
    assert main(["undo", str(tmp_path / "corrected"), str(tmp_path / "before")]) == 0
    (again,) = (tmp_path / "before").glob("*.npz")
    np.testing.assert_array_equal(np.load(again)["labels"], np.load(archive)["labels"])


def test_the_same_command_trains_nothing_and_says_the_same(archive, tmp_path, capsys):
    arguments = ["clean", str(archive), "--output", str(tmp_path / "out"), "--epochs", "10"]
    assert main(arguments) == 0
    first = (tmp_path / "out" / "labels.csv").read_bytes()
    assert "to train" in capsys.readouterr().out
    assert main(arguments) == 0
    assert "to train" not in capsys.readouterr().out
    assert (tmp_path / "out" / "labels.csv").read_bytes() == first


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "npy"])
def test_tables_and_npy_files(tmp_path, suffix):
    table, (features, labels, _) = frame(), data()
    path, options = tmp_path / f"mine.{suffix}", {}
    if suffix == "npy":
        np.save(path, features)
        np.save(tmp_path / "labels.npy", labels)
        options = {"label": str(tmp_path / "labels.npy")}
    elif suffix == "parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if suffix == "tsv" else ",")
    vectors = read_vectors(path, **options)
    np.testing.assert_allclose(vectors.features, features)
    np.testing.assert_array_equal(vectors.labels, labels)
    assert (vectors.scaling, vectors.ids[3]) == ("unit" if suffix == "npy" else "standard", "3")
    if suffix != "npy":
        assert vectors.class_names == NAMES
        assert read_vectors(path, "label", "name").ids[3] == "row 3"
        assert vectors.rows[3]["name"] == "row 3"


@pytest.mark.parametrize(
    ("name", "values", "feature"),
    [
        ("id", np.arange(150)[::-1] * 7 + 3, False),  # called an id, and all different
        ("review_ID", np.arange(150) ** 2, False),
        ("id", np.arange(150) % 50, True),  # tells no row
        ("humid", np.arange(150) ** 2, True),
        ("position", np.arange(1, 151), False),  # without a gap
        ("position", np.arange(150) / 2, True),
    ],
)
def test_what_only_numbers_the_rows_is_no_feature(tmp_path, name, values, feature):
    path = tmp_path / "mine.csv"
    frame().assign(**{name: values}).to_csv(path, index=False)
    vectors = read_vectors(path)
    used, others = vectors.columns.split("; no features (texts, or numbers of rows): ")
    assert (vectors.features.shape[1], name in used, name in others) == (6 + feature, feature, not feature)
    assert "name" in others
    frame()[["label", "name"]].assign(**{name: values}).to_csv(path, index=False)
    if not feature:
        with pytest.raises(InputError, match="no column of measured numbers"):
            read_vectors(path)


# ---------------------------------------------------------------------- the truth
@pytest.mark.parametrize("suffix", ["csv", "parquet", "npy", "npz"])
def test_true_labels_of_every_kind_of_file(tmp_path, suffix):
    """As far as they are known; and they are no feature."""
    path, true, column, known = tmp_path / f"mine.{suffix}", np.arange(150) % 3, "checked", 150
    table = frame().assign(checked=true.astype(object))
    table.loc[[7, 9], "checked"] = None
    if suffix == "npy":
        column = str(tmp_path / "true.npy")
        np.save(path, np.zeros((150, 6)))
        np.save(column, true)
    elif suffix == "npz":
        np.savez(path, labels=true, clean_labels=true)
        column = None
    else:
        known = 148
        table.to_csv(path, index=False) if suffix == "csv" else table.astype({"checked": "Int64"}).to_parquet(path)
        assert read_vectors(path, clean_label=column).features.shape[1] == 6
    found = true_labels(path, column, None)
    assert (len(found), found["4"]) == (known, "1")
    check_known(found, ("1", "7"))
    with pytest.raises(
        InputError, match=r"no true label is a class of the labels: 0, 1, 2; the classes are 1\.0, 2\.0"
    ):
        check_known(found, ("1.0", "2.0"))
    if suffix == "npy":
        np.save(column, true[:149])
        with pytest.raises(InputError, match=r"true.npy is int64 \(149,\); must be labels \(150,\)"):
            true_labels(path, column, None)


def test_measures_beside_the_truth_by_hand():
    judged = pandas.DataFrame({"clean_probability": [0.1, 0.2, 0.9, 0.3], "suspect": [True, True, False, True]})
    known = {"a": "x", "b": "y", "c": "y"}
    found = beside_the_truth(known, [*"abcd"], [*"xxyy"], judged, 0.5)["truth"]
    assert (found["known"], found["realised_rate"], found["estimate_error"]) == (3, 0.3333, 0.1667)
    assert (found["average_precision"], found["precision"], found["recall"]) == (0.5, 0.5, 1.0)
    assert beside_the_truth(None, [*"abcd"], [*"xxyy"], judged, 0.5) == {}
    right = beside_the_truth({"a": "x"}, [*"abcd"], [*"xxyy"], judged, 0.5)
    assert right["truth"]["average_precision"] is None
    assert "average precision -, precision 0.0" in truth_in_words(right)[0]


# ---------------------------------------------------------------------- bad input
def written(tmp_path, **columns):
    path = tmp_path / "bad.csv"
    frame().assign(**columns).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("columns", "options", "line"),
    [
        ({"a": [None, *range(149)]}, {}, "column 'a' has 1 missing values, the first in row 0"),
        ({"a": [np.inf, *range(149)]}, {}, "NaN or infinite; the first in row 0, column 0"),
        ({"label": "same"}, {}, "one class, 'same'"),
        ({}, {"label": "sort"}, "no column 'sort'"),
        ({}, {"id_column": "label2"}, "no column 'label2'"),
        ({"name": "same"}, {"id_column": "name"}, "the id 'same' comes twice"),
        (dict.fromkeys("abcdef", "words"), {}, "has no column of measured numbers beside 'label'"),
        (dict.fromkeys("abcdef", 1.0), {}, "all samples have the same features"),
    ],
)
def test_bad_tables(tmp_path, columns, options, line):
    with pytest.raises(InputError, match=line):
        read_vectors(written(tmp_path, **columns), **options)


@pytest.mark.parametrize(
    ("arrays", "line"),
    [
        ({"labels": np.arange(150) / 2}, "labels"),
        ({"labels": np.zeros(150, int)}, "one class"),
        ({"labels": np.full(150, 7)}, "7..7; class_names are 3|labels"),
        ({"features": np.zeros((150, 6))}, "all samples have the same features"),
        ({"features": np.full((150, 6), np.nan)}, "NaN or infinite"),
        ({"features": np.zeros((150, 2, 3))}, "features"),
        ({"features": np.zeros((20, 6)), "labels": np.arange(20) % 3}, "20 samples; at least 50"),
        ({"features": np.array([{}] * 150, dtype=object)}, "archive of plain arrays"),
        ({"features": np.where(np.eye(150, 6) > 0, 1e300, 1.0)}, "1e+300 is too large"),
        ({"labels": np.full(150, np.nan)}, "labels of float64"),
        ({"labels": np.arange(150) > 70}, "labels of bool"),
        ({"labels": np.arange(200) % 3}, "must be 150 whole numbers"),
        ({"labels": np.arange(150) % 3 - 1}, "labels"),
        ({"views": np.zeros((2, 3))}, "views are float64 (2, 3); must be numbers (V, 150, 6)"),
        ({"views": np.full((2, 150, 6), np.nan)}, "views are NaN"),
        ({"scaling": np.array("odd")}, "scaling is 'odd'"),
        ({"clean_labels": np.zeros(149, int)}, "clean_labels are int64 (149,); must be as labels"),
        ({"clean_labels": np.full(150, 3)}, "clean_labels are 3..3; class_names are 3"),
    ],
)
def test_bad_archives_are_one_line(tmp_path, capsys, arrays, line):
    features, labels, _ = data()
    arrays = {"features": features, "labels": labels, "class_names": np.array(NAMES)} | arrays
    np.savez(tmp_path / "bad.npz", **arrays)
    assert main(["clean", str(tmp_path / "bad.npz"), "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert any(part in error for part in line.split("|")), error


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.npy", b"nothing", "needs the file of its labels"),
        ("a.csv", b"", "has no column"),
        ("a.csv", b"label,a\nx,1\ny\n", "row 1 has 1 fields"),
        ("a.parquet", b"nothing", "a.parquet"),
        ("a.npz", b"nothing", "archive of plain arrays"),
    ],
)
def test_broken_files_are_one_line(tmp_path, capsys, name, content, line):
    (tmp_path / name).write_bytes(content)
    assert main(["clean", str(tmp_path / name), "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert (len(error.splitlines()), line in error) == (1, True), error


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--profile", "mini"], "is for pictures"),
        (["--folds", "3"], "folds: they are for pictures"),
        (["--clean-label", "true"], "clean-label: an archive has its true labels in an array clean_labels"),
        (["--epochs", "0"], "epochs: 0"),
    ],
)
def test_options_that_do_not_fit(archive, tmp_path, capsys, arguments, line):
    assert main(["clean", str(archive), "--output", str(tmp_path / "out"), *arguments]) == 2
    assert line in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
