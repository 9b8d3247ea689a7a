"""CLAIMS.md: its verdicts, and that the committed page is that of the shipped records."""

import numpy as np
import pytest
from scipy import stats

from dlt.artifact import claims
from dlt.artifact.verdicts import FAILS, HOLDS, OPEN, Difference, decide, significant, summarise
from dlt.harness.datasets import data_folder
from dlt.harness.records import CHECKPOINTS, ROOT


def test_interval_and_test_are_students():
    difference = Difference("sym 0.4", {1: 1.0, 2: 2.0, 3: 3.0})
    assert difference.mean == 2.0
    assert difference.half_width == pytest.approx(4.302653 * 1.0 / np.sqrt(3), rel=1e-5)  # t(0.975, 2)
    assert difference.p_value == pytest.approx(2 * stats.t.sf(2.0 * np.sqrt(3), 2))
    assert str(difference) == "sym 0.4 +2.0 ± 2.5"
    assert np.isnan(Difference("", {1: 1.0}).half_width)
    assert str(Difference("sym 0.4", {1: 1.0})) == "sym 0.4 +1.0"


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([1.0, 1.1, 0.9], HOLDS),
        ([-1.0, -1.1, -0.9], FAILS),
        ([1.0, -1.0, 0.5], OPEN),
        ([5.0], OPEN),
        ([0.0, 0.0], OPEN),
        ([1.0, 1.0], HOLDS),
    ],
)
def test_one_seed_or_an_interval_with_zero_decides_nothing(differences, verdict):
    assert decide([Difference("", dict(enumerate(differences)))]) == [verdict]


def test_a_column_of_one_seed_makes_no_other_harder_to_decide():
    two = [Difference("", {1: 1.0, 2: 1.05}), Difference("", {1: -1.0, 2: -1.06})]  # p of 0.016 and 0.018
    one = [Difference("", {1: 9.0})] * 4
    assert decide([one[0], two[0], *one[1:], two[1]]) == [OPEN, HOLDS, OPEN, OPEN, OPEN, FAILS]


def test_columns_are_tested_together():
    """Holm, against its definition: the smallest p of m at 5% / m, the next at 5% / (m - 1), until one is too large."""
    assert significant([0.04]) == [True]
    assert significant([0.04, 0.04]) == [False, False]
    assert significant([0.01, 0.04]) == [True, True]
    assert significant([0.04, 0.012, 0.3]) == [False, True, False]
    assert significant([]) == []
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = rng.uniform(0, 0.1, 6)
        order = np.argsort(p)
        adjusted = np.maximum.accumulate(p[order] * np.arange(6, 0, -1))
        expected = np.empty(6, dtype=bool)
        expected[order] = adjusted <= 0.05
        assert significant(list(p)) == expected.tolist()


def test_verdicts_of_columns():
    assert summarise([HOLDS] * 3) == HOLDS
    assert summarise([HOLDS, FAILS, OPEN, HOLDS]) == "in part (2 holds, 1 undecided, 1 fails)"
    assert summarise([OPEN] * 5 + [FAILS]) == "**fails** (5 undecided, 1 fails)"  # one that contradicts is enough
    assert summarise([OPEN] * 2 + [HOLDS]) == "in part (1 holds, 2 undecided)"
    assert summarise([FAILS, FAILS, OPEN]) == "**fails** (1 undecided, 2 fails)"
    assert summarise([HOLDS], 6) == "holds, 1 of 6 columns run"


def test_most_cases_are_not_all(write_run, tmp_path, monkeypatch):
    from handmade import ASYM, SMALL, SYM

    monkeypatch.setitem(claims.experiments.TABLES, "table9", SMALL)
    for seed, noise in ((1, 0.0), (2, 0.2), (3, 0.1)):
        write_run("ce", SYM, seed, 60.0, 90.0)
        write_run("ce", ASYM, seed, 60.0, 90.0)
        write_run("dlt-window", SYM, seed, 70.0 + noise, 90.0)
        write_run("dlt-window", ASYM, seed, 59.0 + noise, 90.0)
    every, most = claims.above("table9", "dlt-window", "ce"), claims.above_in_most("table9", "dlt-window", "ce")
    assert every("digits", [1, 2, 3], [tmp_path])[0] == "in part (1 holds, 1 fails)"
    verdict, words = most("digits", [1, 2, 3], [tmp_path])
    assert verdict == HOLDS
    assert words.startswith("mean of columns +4.6 ± 0.2; higher in 1 of 2 columns")


def test_seeds_that_not_all_columns_have_are_left_out(write_run, tmp_path, monkeypatch):
    from handmade import ASYM, SMALL, SYM

    monkeypatch.setitem(claims.experiments.TABLES, "table9", SMALL)
    for column, seeds in ((SYM, (1, 2, 3)), (ASYM, (2, 3, 4))):
        for seed in seeds:
            write_run("ce", column, seed, 60.0, 90.0)
            write_run("dlt-window", column, seed, 60.0 + seed, 90.0)
    most = claims.above_in_most("table9", "dlt-window", "ce")
    assert most("digits", [1, 2, 3, 4], [tmp_path])[1].startswith("mean of columns +2.5")  # of 2 and 3 in both


def test_best_minus_last_is_tested_against_its_bound(write_run, tmp_path, monkeypatch):
    from handmade import SMALL, SYM

    monkeypatch.setitem(claims.experiments.TABLES, "table1", SMALL)
    overfits, keeps = claims.best_minus_last("ce", 1), claims.best_minus_last("ce", -1)
    write_run("ce", SYM, 1, 60.0, 70.0)
    assert overfits("digits", [1, 2, 3], [tmp_path])[0] == "undecided, 1 of 2 columns run"  # one seed decides nothing
    write_run("ce", SYM, 2, 60.0, 71.0)
    write_run("ce", SYM, 3, 60.0, 69.0)
    verdict, words = overfits("digits", [1, 2, 3], [tmp_path])
    assert (verdict, words) == ("holds, 1 of 2 columns run", "Best - Last: sym 0.4 +10.0 ± 2.5 (n = 3)")
    assert keeps("digits", [1, 2, 3], [tmp_path])[0] == "**fails**, 1 of 2 columns run"


def test_without_records_nothing_was_run(tmp_path):
    for claim in claims.CLAIMS:
        assert claim.check("digits", [1], [tmp_path]) is None, claim.words


def test_the_committed_page_is_that_of_the_records():
    """What is said of `mini` needs the labels of CIFAR-10."""
    with_cifar = (data_folder(None) / "cifar-10-batches-py").is_dir()
    profiles = ("digits", "mini") if with_cifar else ("digits",)
    text = claims.to_markdown([CHECKPOINTS], profiles)
    committed = (ROOT / "CLAIMS.md").read_text()
    assert committed == text if with_cifar else committed.startswith(text)
