"""The figures of docs/performance.md are those of docs/performance/*.csv."""

import pandas
import pytest
import readme

from dlt.harness.places import ROOT

FOLDER = ROOT / "docs" / "performance"
PAGE = readme.PAGES[ROOT / "docs" / "performance.md"]


def read(name):
    return pandas.read_csv(FOLDER / f"{name}.csv")


def cells(start):
    """The cells of the one row that begins with this text."""
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| {start}")]
    return [cell.strip() for cell in row.strip("| ").split("|")]


def spread(row, digits):
    return f"{row.seconds:.{digits}f} ({row.least:.{digits}f}-{row.most:.{digits}f})"


@pytest.mark.parametrize(
    ("method", "start"),
    [
        ("ce", "CE in the harness"),
        ("sce", "SCE"),
        ("apl", "APL"),
        ("m-correction", "M-correction"),
        ("dividemix", "DivideMix"),
        ("dlt-last-epoch", "DLT (Last Epoch)"),
        ("dlt-window", "DLT (Slide Window)"),
    ],
)
def test_methods_over_their_cost_model(method, start):
    expected = []
    for profile, digits in (("digits", 3), ("mini", 2)):
        row = read(profile).set_index("what").loc[method]
        expected += [spread(row, digits), f"{row.ratio:.2f}"]
    assert cells(start)[1:] == expected


@pytest.mark.parametrize("method", ["ce", "dlt-window", "dlt-auto", "dividemix"])
def test_without_a_rate(method):
    expected = []
    for name, digits in (("digits-auto", 3), ("mini-auto", 2)):
        table = read(name).set_index("what")
        expected += [spread(table.loc[method], digits), f"{table.seconds[method] / table.seconds['ce']:.2f}"]
    assert cells(f"`{method}`")[1:] == expected


def test_shares_of_an_epoch():
    for what, start in (("augmentation (2 views)", "augmentation, 2 views"), ("detection", "detection")):
        shares = [float(read(profile).set_index("what").loc[what, "share"]) for profile in ("digits", "mini")]
        assert cells(start)[1:] == [f"{share:.1f}%" for share in shares]


def test_growth():
    for row in read("growth").itertuples():
        start = f"{'ResNet-18' if row.profile == 'paper' else row.profile} | {row.images:,} | {row.window} "
        expected = [str(row.steps), f"{row.seconds:.1f}", f"{row.ms_per_step:.0f}", f"{row.peak_mib:,.0f}"]
        assert cells(start)[3:] == expected


def test_cleaning():
    table = read("cleaning").set_index(["what", "rows"])
    for rows in sorted({rows for _, rows in table.index}):
        expected = []
        for what in ("exact", "index", "clean"):
            if (what, rows) in table.index:
                row = table.loc[(what, rows)]
                expected += [f"{row.seconds:.1f}", f"{row.peak_mib:,.0f}"]
            else:
                expected += ["-"] * 2
        found = table.found.get(("index", rows))
        expected.append("-" if found is None or pandas.isna(found) else f"{100 * found:.1f}%")
        assert cells(f"{rows:,} vectors")[1:] == expected


def test_augmentation():
    ours, theirs = read("augmentation").images_per_s
    assert f"{ours:,.0f}"[:4] in PAGE
    assert f"{round(theirs, -2):,.0f} images/s" in PAGE
    assert f"{ours / theirs:.0f} times" in PAGE


def test_whole_tables():
    for commit, rows in read("table1").groupby("commit"):
        wall = int(rows.wall_s.dropna().iloc[0])
        expected = [f"{wall // 60}:{wall % 60:02}"]
        expected += [f"{rows[name].sum():.1f}" for name in ("train_s", "test_s", "measure_s")]
        assert cells(commit[:7])[1:] == expected


def test_on_a_cluster():
    local, ray, killed = (f"{seconds:.0f} s" for seconds in read("ray").wall_s)
    assert f"two workers of this machine {local}" in PAGE
    assert ray in PAGE
    assert f"in {killed}" in PAGE
