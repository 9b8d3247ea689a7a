"""What a run is called, and how one number scales a schedule."""

import numpy as np
import pytest
import torch

from dlt.harness.config import config_from_dict, make_config
from dlt.harness.errors import InputError
from dlt.harness.settings import SCHEDULES, SETTINGS, schedule_for, setting_for
from dlt.harness.training import train

OWN = """
from dataclasses import dataclass
from dlt import Method

class Mine(Method):
    @dataclass(frozen=True)
    class Config:
        window: int = 1

    @classmethod
    def setting_defaults(cls, run_config):
        return {"window": run_config.schedule.window}

    def loss(self, batch):
        return LOSS

class Waits(Mine):
    @classmethod
    def requires(cls, run_config):
        from dlt.harness.config import make_config
        return make_config(run_config.profile, run_config.dataset, "other:Mine", run_config.noise, 0.4)
"""


@pytest.fixture
def own(own_modules):
    def write(loss="self.run.forward(self.run.plain(batch.index)).square().mean()", name="own"):
        (own_modules / f"{name}.py").write_text(OWN.replace("LOSS", loss))
        return name

    return write


def test_the_window_of_ones_own_method_is_part_of_its_name(own, tiny):
    method = f"{own()}:Mine"
    short, long = (make_config("digits", tiny, method, options={"window": s}) for s in (10, 99))
    assert (short.method_config["window"], long.method_config["window"]) == (10, 99)
    assert short.name != long.name
    assert make_config("digits", tiny, method).name == short.name  # the profile's
    with pytest.raises(InputError, match="it is an option of the methods that have it: --option window=99"):
        make_config("digits", tiny, method, window=99)


def test_a_name_tells_which_losses_the_estimate_is_made_from(tiny):
    def name(**more):
        return make_config("digits", tiny, "dlt-window", assumed_rate="estimated", **more).name

    assert name() == name(early_epoch=6)
    assert name() != name(early_epoch=9)
    assert name(epochs=30) == name(epochs=30, early_epoch=3)
    told = [make_config("digits", tiny, "dlt-window", early_epoch=early).name for early in (6, 9)]
    assert told[0] == told[1]  # nothing of it depends on the epoch


def test_a_name_tells_the_file_of_a_required_method(own, own_modules, tiny):
    own(name="waiting_own"), own(name="other")
    config = make_config("digits", tiny, "waiting_own:Waits")
    (required,) = config.required
    with open(own_modules / "other.py", "a") as file:
        file.write("# edited")
    edited = make_config("digits", tiny, "waiting_own:Waits")
    assert edited.required[0].name != required.name
    assert edited.name != config.name


@pytest.mark.parametrize(("profile", "dataset"), SETTINGS)
def test_one_number_scales_a_schedule(profile, dataset):
    row, phases = SETTINGS[profile, dataset], SCHEDULES[profile, dataset]
    assert setting_for(profile, dataset) == row
    assert schedule_for(profile, dataset) == phases
    twice = setting_for(profile, dataset, epochs=2 * row.epochs)
    assert (twice.drop_after, twice.early_epoch) == (2 * row.drop_after, 2 * row.early_epoch)
    scaled = schedule_for(profile, dataset, 2 * row.epochs)
    assert (scaled.warmup_epochs, scaled.decay_epochs) == (2 * phases.warmup_epochs, 2 * phases.decay_epochs)
    assert scaled.window == phases.window  # in batches, of which an epoch has as many as before
    for epochs in range(2, row.epochs):
        config = make_config(profile, dataset, "dlt-window", "none", epochs=epochs)
        method = config.method_config
        assert 1 <= method["warmup_epochs"] <= method["warmup_epochs"] + method["decay_epochs"] <= epochs
        assert 1 <= config.setting.early_epoch <= epochs >= config.setting.drop_after >= 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"epochs": 20, "drop_after": 30}, "drop_after: 30 is more than all of 20 epochs"),
        ({"epochs": 20, "early_epoch": 21}, r"early_epoch: 21 is outside 1\.\.20"),
        ({"epochs": 20, "options": {"warmup_epochs": 15, "decay_epochs": 6}}, "decay_epochs: 6 after 15 of warm-up"),
    ],
)
def test_phases_that_do_not_fit_are_refused(tiny, more, words):
    with pytest.raises(InputError, match=words):
        make_config("digits", tiny, "dlt-window", **more)


def test_an_old_record_holds_the_schedule_in_its_setting(tiny):
    import dataclasses

    config = make_config("digits", "digits", "dlt-window")
    values = dataclasses.asdict(config)
    values["setting"] |= {"warmup_epochs": 10, "decay_epochs": 12, "window": 10, "ramp_epochs": 8}
    assert config_from_dict(values) == config


def test_nothing_is_said_where_the_truth_is_not_known(tiny_config, tmp_path):
    config = tiny_config("dlt-window", "none", 0.0, assumed_rate=0.4)
    row = list(train(config, tmp_path, "cpu"))[-1]
    about_truth = [name for name in row if name.startswith(("loss_clean", "loss_noisy", "clean_", "noisy_"))]
    about_truth += ["precision", "recall", "auc", "pseudo_label_accuracy"]
    assert all(np.isnan(row[name]) for name in about_truth)
    assert row["q"] == pytest.approx(0.6)


def test_something_is_said_where_nothing_was_put_into_true_labels(tmp_path):
    config = make_config("digits", "digits", "dlt-window", "none", assumed_rate=0.1, epochs=2)
    row = list(train(config, tmp_path, "cpu"))[-1]
    assert row["clean_kept"] > 0
    assert row["precision"] == 0.0


@pytest.mark.parametrize(
    ("loss", "found"),
    [
        ("self.run.forward(self.run.plain(batch.index)).sum(1)", r"a tensor of shape \(64,\)"),
        ("self.run.plain(batch.index).mean()", r"a tensor of shape \(\) without gradient"),
        ("1.0", "float"),
        ("None", "NoneType"),
    ],
)
def test_a_loss_that_cannot_be_minimised_is_one_line(own, tiny, tmp_path, loss, found):
    name = f"own_{abs(hash(loss))}"
    config = make_config("digits", tiny, f"{own(loss, name)}:Mine", epochs=2)
    with pytest.raises(InputError, match=rf"method: Mine.loss \(own_\d+.py:\d+\) gave {found}; it must give a scalar"):
        list(train(config, tmp_path, "cpu"))


def test_fp32_is_ieee(tiny_config, tmp_path):
    """Not TF32, which cuDNN takes for float32 on its own."""
    parts = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    for part in parts:
        part.fp32_precision = "tf32"
    next(train(tiny_config("ce"), tmp_path, "cpu"))
    assert [part.fp32_precision for part in parts] == ["ieee", "ieee"]
