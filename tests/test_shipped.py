"""The shipped records are whole, are those of today's code, and the committed tables say what they say."""

import pytest

from dlt.artifact import shipping
from dlt.artifact.experiments import reported_seeds
from dlt.artifact.targets import TARGETS
from dlt.harness.records import CHECKPOINTS, ROOT, read_record
from dlt.harness.training import evaluate

FOLDERS = sorted(path.parent for path in CHECKPOINTS.glob("*/*/run.json"))


def test_every_file_has_its_sha256():
    assert shipping.verify(CHECKPOINTS) == []
    assert len(FOLDERS) > 3


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_record_is_named_after_its_configuration(folder):
    record = read_record(folder)
    assert record.config.name == record.run["name"] == folder.name
    assert len(record.epochs()) == record.config.setting.epochs
    noise = record.run["label_noise"]
    if record.config.noise in ("symmetric", "asymmetric"):
        assert noise["realised_rate"] <= noise["nominal_rate"] + 1e-9


def test_losses_are_shipped_where_the_rule_says():
    """Of Table 5 and of what figures draw, but not of the seeds that settings were chosen on."""
    records = [read_record(folder) for folder in FOLDERS]
    has = [(record.folder / shipping.LOSSES).is_file() for record in records]
    assert has == [shipping.has_losses(record.config) for record in records]
    assert {True, False} <= set(has)


@pytest.mark.parametrize(
    "path",
    [path for pattern in ("*/table*.md", "*/ablations.md") for path in sorted((ROOT / "figures").glob(pattern))],
    ids=lambda p: f"{p.parent.name}-{p.stem}",
)
def test_committed_tables_are_those_of_the_records(path, tmp_path):
    text, _ = TARGETS[path.stem].write(
        path.parent.name, reported_seeds(path.parent.name, [CHECKPOINTS]), [CHECKPOINTS], tmp_path
    )
    assert path.read_text() == text


def test_weights_that_are_shipped_give_the_accuracy_of_their_record():
    """Of the headline runs on digits; those on CIFAR-10 need its images."""
    folders = [path.parent for path in CHECKPOINTS.glob("digits/*/weights.safetensors")]
    assert {folder.name for folder in folders} <= shipping.headline_runs()
    assert len(folders) == 2
    for folder in folders:
        last = read_record(folder).epochs()["test_accuracy"].iloc[-1]
        assert evaluate(folder, "cpu")["test_accuracy"] == pytest.approx(last, abs=0.21)  # one image, on another CPU
