"""CLAIMS.md: its verdicts, and that the committed page is that of the shipped records."""

import numpy as np
import pytest

from dlt.artifact import claims
from dlt.harness.records import CHECKPOINTS, ROOT


def test_interval_is_students():
    mean, half = claims.interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert half == pytest.approx(4.302653 * 1.0 / np.sqrt(3), rel=1e-5)  # t(0.975, 2)
    assert claims.interval([1.0])[0] == 1.0
    assert np.isnan(claims.interval([1.0])[1])


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([1.0, 1.1, 0.9], claims.HOLDS),
        ([-1.0, -1.1, -0.9], claims.FAILS),
        ([1.0, -1.0, 0.5], claims.OPEN),
        ([5.0], claims.OPEN),
    ],
)
def test_one_seed_or_an_interval_with_zero_decides_nothing(differences, verdict):
    assert claims.decide(*claims.interval(differences)) == verdict


def test_verdicts_of_columns_are_counted():
    assert claims.summarise([claims.HOLDS] * 3) == claims.HOLDS
    mixed = claims.summarise([claims.HOLDS, claims.FAILS, claims.OPEN, claims.HOLDS])
    assert mixed == "in part (2 holds, 1 undecided, 1 fails)"


def test_without_records_nothing_was_run(tmp_path):
    for claim in claims.CLAIMS:
        assert claim.check("digits", [tmp_path]) is None, claim.words


def test_the_committed_page_is_that_of_the_records():
    assert (ROOT / "CLAIMS.md").read_text() == claims.to_markdown([CHECKPOINTS])
