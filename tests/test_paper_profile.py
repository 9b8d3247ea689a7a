"""The paper's own setting on the real data: a few steps, since an epoch takes minutes on a CPU."""

import itertools

import pytest
import torch

from dlt.harness.config import make_config
from dlt.harness.errors import InputError
from dlt.harness.measures import epoch_measures
from dlt.harness.run import Run
from dlt.harness.training import train_epoch


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ce", "dlt-window", "dlt-last-epoch"])
def test_a_few_steps_of_the_paper_profile(method, monkeypatch):
    options = {} if method == "ce" else {"warmup_epochs": 1}
    config = make_config("paper", "cifar10", method, "symmetric", 0.4, options=options)
    try:
        run = Run(config, torch.device("cpu"))
    except InputError as error:
        pytest.skip(f"needs CIFAR-10: {error}")
    assert len(run.labels) == 50_000
    assert run.steps_per_epoch == 391
    batches = type(run.method).batches
    monkeypatch.setattr(type(run.method), "batches", lambda self, epoch: itertools.islice(batches(self, epoch), 3))
    rows = [train_epoch(run, epoch) | epoch_measures(run.observed, run.noisy_labels) for epoch in (1, 2)]
    assert all(row["train_loss"] == pytest.approx(2.3, abs=1.5) for row in rows)
    if method != "ce":
        assert rows[1]["q"] == pytest.approx(1 - 0.4 / 10)
        assert rows[1]["threshold"] > 0
