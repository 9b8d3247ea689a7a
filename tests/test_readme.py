"""What the README and the pages of docs/ show is what the shipped records say, and their code runs."""

import re

import pandas
import pytest
import torch
from readme import PAGES, README, TEXT, python

import dlt
from dlt.artifact.experiments import TABLES, Column
from dlt.artifact.summary import SHOWN, summary
from dlt.harness.config import make_config
from dlt.harness.method import METHODS
from dlt.harness.records import CHECKPOINTS, ROOT, find_record
from dlt.harness.training import train


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: shown[0])
def test_numbers_are_those_of_the_shipped_records(shown):
    text = summary(*shown, CHECKPOINTS)
    assert len(text.splitlines()) > 3
    assert text in README


def test_the_estimated_rate_ends_where_the_readme_says():
    last = {}
    for rate in ("estimated", "nominal"):
        runs = [
            make_config("digits", "digits", "dlt-window", "symmetric", 0.4, seed=seed, assumed_rate=rate)
            for seed in (1, 2, 3)
        ]
        records = [find_record(run, [CHECKPOINTS]) for run in runs]
        last[rate] = sum(record.result["test_accuracy"]["last"] for record in records) / 3
    sentence = f"it then ends at {last['estimated']:.1f}, told the nominal rate at {last['nominal']:.1f}"
    assert sentence in " ".join(TEXT.split())


def test_instance_noise_ends_where_the_readme_says():
    last = {}
    for method in ("dlt-window", "dividemix", "ce"):
        runs = [make_config("digits", "digits", method, "instance", 0.4, seed=seed) for seed in range(1, 11)]
        last[method] = sum(find_record(run, [CHECKPOINTS]).result["test_accuracy"]["last"] for run in runs) / 10
    sentence = "DLT ends at {:.1f}, DivideMix at {:.1f}, cross-entropy at {:.1f}".format(*last.values())
    assert sentence in " ".join(TEXT.split())


def test_human_labels_end_where_the_readme_says():
    runs = [make_config("mini", "cifar10", name, "human-worse") for name in ("dividemix", "dlt-window", "ce")]
    last = [find_record(run, [CHECKPOINTS]).result["test_accuracy"]["last"] for run in runs]
    sentence = "DivideMix ends at {:.1f}, DLT at {:.1f}, cross-entropy at {:.1f}".format(*last)
    assert sentence in " ".join(TEXT.split())


def test_ours_is_as_far_ahead_of_the_other_methods_as_the_readme_says():
    """On mini of DivideMix in three columns, of nine in the nearer of two; of these on digits in the mean of eight."""
    beyond, ours = TABLES["beyond"], "dlt-auto"
    nine = beyond.rows.keys() - TABLES["table1"].rows.keys() - {ours, "mlnt"}
    assert len(nine) == 9

    def last(profile, method, column, seed, tested="test_accuracy"):
        record = find_record(beyond.config(profile, method, column, seed), [CHECKPOINTS])
        return record.result[tested]["last"]

    def ahead_of_dividemix(tested):
        columns = [Column("cifar10", *noise) for noise in (("symmetric", 0.4), ("symmetric", 0.6), ("asymmetric", 0.4))]
        leads = [
            sum(last("mini", ours, column, s) - last("mini", "dividemix", column, s, tested) for s in (1, 2, 3)) / 3
            for column in columns
        ]
        return f"{min(leads):.1f} to {max(leads):.1f}"

    photographs = [Column("cifar10", "symmetric", 0.4), Column("cifar10", "human-worse", 0.4021)]
    nearest = min(last("mini", ours, c, 1) - max(last("mini", method, c, 1) for method in nine) for c in photographs)
    digits = [column for column in beyond.columns if beyond.config("digits", ours, column, 1)]
    cells = [(column, seed) for column in digits for seed in (1, 2, 3)]
    mean = {method: sum(last("digits", method, *cell) for cell in cells) / len(cells) for method in {*nine, ours}}
    assert len(cells) == 24
    text = " ".join(TEXT.split())
    one, both = map(ahead_of_dividemix, ("test_accuracy", "test_accuracy_ensemble"))
    assert f"by {one} points in the columns of three seeds ({both} with both its networks)" in text
    assert f"{nearest:.1f} points or more ahead of [nine other methods]" in text
    assert f"by {mean[ours] - max(mean[method] for method in nine):.1f} in the mean of eight columns" in text


def test_the_comparison_with_cleanlab_is_its_csv():
    table = pandas.read_csv(ROOT / "docs/cleaning.csv").groupby(["planted", "tool"]).mean(numeric_only=True)
    for planted in ("symmetric0.2", "symmetric0.4", "asymmetric0.3", "human-worse"):
        cells = [
            f"{100 * table.loc[(planted, tool), measure]:.1f}"
            for measure in ("average_precision", "f1", "precision_at_n", "recall_at_n")
            for tool in ("DLT", "cleanlab")
        ]
        assert f"| {planted} | {' | '.join(cells)} |" in TEXT


def test_the_comparison_on_vectors_is_its_csv():
    tools = ("DLT", "cleanlab", "Datalab, features", "neighbours", "HOC")
    table = pandas.read_csv(ROOT / "docs/cleaning-vectors.csv")
    assert sorted(set(table["seed"])) == [1, 2, 3, 4, 5]
    mean = table.groupby(["planted", "tool"]).mean(numeric_only=True)
    for planted in set(table["planted"]):
        ours = mean.loc[(planted, "DLT")]
        cells = {name: [f"{100 * ours['wrong'] / ours['samples']:.1f}"] for name in ("ranked", "flagged")}
        if ours["wrong"]:
            cells["ranked"] += [f"{100 * mean.loc[(planted, tool), 'average_precision']:.1f}" for tool in tools]
            assert f"| {planted} | {' | '.join(cells['ranked'])} |" in TEXT
        cells["flagged"] += [f"{100 * mean.loc[(planted, tool), 'f1']:.1f}" if ours["wrong"] else "" for tool in tools]
        cells["flagged"] += [f"{mean.loc[(planted, tool), 'flagged']:.0f}" for tool in tools]
        assert f"| {planted} | {' | '.join(cells['flagged'])} |" in TEXT
    for (planted, seed), rows in table.groupby(["planted", "seed"]):  # as the text says
        theirs = rows.set_index("tool").loc[["cleanlab", "Datalab"], ["average_precision", "f1", "flagged"]]
        assert theirs.iloc[0].equals(theirs.iloc[1]), (planted, seed)


def test_the_comparison_on_pictures_is_its_csv():
    table = pandas.read_csv(ROOT / "docs/cleaning-pictures.csv")
    assert sorted(set(table["seed"])) == [1, 2, 3]
    mean = table.groupby("tool").mean(numeric_only=True).loc[["DLT", "cleanlab", "neighbours"]]
    ours = mean.loc["DLT"]
    cells = [f"{100 * share:.1f}" for share in (ours["wrong"] / ours["samples"], ours["rate"])]
    cells += [f"{100 * value:.1f}" for name in ("average_precision", "f1") for value in mean[name]]
    cells += [f"{value:.0f}" for value in mean["flagged"]]
    assert f"| pictures human-worse | {' | '.join(cells)} |" in TEXT


def test_the_estimates_on_vectors_are_their_csv():
    table = pandas.read_csv(ROOT / "docs/cleaning-rates.csv")
    estimates = ["HOC", "votes", "the lesser", "logistic regression", "margins", "judgement"]
    for planted, rows in table.groupby("planted"):
        means = [(rows["wrong"] / rows["samples"]).mean(), *rows[estimates].mean()]
        assert f"| {planted} | {' | '.join(f'{100 * mean:.1f}' for mean in means)} |" in TEXT


def test_the_losses_of_ones_own_training():
    code = python("estimate_from_margins")
    generator = torch.Generator().manual_seed(0)
    kept = {epoch: torch.rand(200, generator=generator) + 3 * (torch.arange(200) < 60) for epoch in (3, 4)}
    scope = {"kept": kept}
    exec(code, scope)
    assert abs(scope["estimate"].rate - 0.3) < 0.02


def test_slide_window_in_somebodys_own_loop():
    code = python("SlideWindow")
    torch.manual_seed(0)
    model = torch.nn.Linear(5, 3)
    images, labels = torch.randn(400, 5), torch.randint(3, (400,))
    scope = {
        "dlt": dlt,
        "torch": torch,
        "F": torch.nn.functional,
        "model": model,
        "epochs": 4,
        "loader": list(zip(images.split(64), labels.split(64), strict=True)),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
    }
    before = model.weight.detach().clone()
    exec(code, scope)
    assert not model.weight.equal(before)
    assert 0 < scope["clean"].sum() < len(scope["clean"])  # a part of the last batch was kept


def test_a_method_of_ones_own(tiny, tmp_path, own_modules):
    code = python("class SmallLoss")
    (own_modules / "my_method.py").write_text(code)

    def config():
        return make_config("digits", tiny, "my_method:SmallLoss", "symmetric", 0.4, epochs=2, drop_after=1)

    first, second = train(config(), tmp_path, "cpu")
    assert second["train_loss"] < first["train_loss"]
    name = config().name
    (tmp_path / "my_method.py").write_text(code + "# edited")
    assert config().name != name  # an edited method is another run


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = set(re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", PAGES[page]))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_anchors_are_headings(page):
    for link, anchor in re.findall(r"\]\(([^)#:]*\.md)?#([^)]+)\)", PAGES[page]):
        headings = re.findall(r"^#+ (.+)$", (page.parent / link if link else page).read_text(), re.MULTILINE)
        assert anchor in {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_counts_of_claims_are_those_of_the_page():
    profiles = re.findall(r"## Profile `(\w+)`.*\n\n(Of .*)\n", (ROOT / "CLAIMS.md").read_text())
    assert len(profiles) == 2
    for profile, counts in profiles:
        assert f"| `{profile}` | {' | '.join(re.findall(r'[0-9]+', counts))} |" in README


def test_the_readme_stays_short():
    assert len(README.splitlines()) <= 170


def test_differences_are_those_of_ten_seeds():
    """What docs/results.md says of DivideMix and SCE beside DLT, of Best and Last, and of the rates, on digits."""
    claims = (ROOT / "CLAIMS.md").read_text()
    (line,) = [x for x in claims.splitlines() if "ends above DivideMix (Last), for all" in x and "n = 10" in x]
    assert "asym 0.3 -0.9 ± 0.5; asym 0.4 -1.4 ± 0.4" in line
    assert "by 0.9 and 1.4 points" in TEXT
    (line,) = [x for x in claims.splitlines() if "ends above SCE (Last)" in x and "n = 10" in x]
    assert "sym 0.2 -0.3 " in line
    assert "asym 0.2 -0.9 " in line
    assert "ahead by 0.3 and 0.9 points at 0.2" in TEXT
    assert "sym 0.6 +2.3 " in line
    assert "asym 0.4 +6.0 " in line
    assert "behind by 2.3 and 6.0" in TEXT


@pytest.mark.parametrize("command", ["./reproduce.sh table1", "./reproduce.sh test"])
def test_the_two_commands_are_there(command):
    assert command in README


def test_every_method_is_on_its_page():
    text = (ROOT / "docs/methods.md").read_text()
    rows = dict(re.findall(r"\| `([\w-]+)` \| .+? \| \[[\w.]+\]\(\.\./([\w/.]+)\) \|", text))
    assert rows == {name: place.partition(":")[0].replace(".", "/") + ".py" for name, (place, _) in METHODS.items()}
