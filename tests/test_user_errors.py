"""What goes wrong in a method of the user's own: one line with file and line number, the traceback in a file."""

import sys

import pytest
from handmade import words

from dlt.__main__ import main
from dlt.harness import records
from dlt.harness.config import make_config
from dlt.harness.errors import InputError
from dlt.harness.training import train
from dlt.harness.user_errors import TRACEBACK

HEAD = """\
import torch
from torch.nn import functional as F

from dlt import Method


class Mine(Method):
    def loss(self, batch):
        logits = self.run.forward(self.run.augmented(batch.index))
"""
WHOLE = "        return F.cross_entropy(logits, self.run.labels[batch.index])\n"
BAD = {
    "any exception": ("        return {}['x']\n", "method: my_method.py:10: KeyError: 'x'; the whole traceback: "),
    "below its own line": (
        "        return F.cross_entropy(logits, logits[:, 0].long()[1:])\n",
        "method: my_method.py:10: ValueError: Expected input batch_size",
    ),
    "another device": (
        "        return F.cross_entropy(logits, self.run.labels[batch.index].to('meta'))\n",
        "method: my_method.py:10: ",
    ),
    "no gradient to be had": (
        "        root = logits.sum().exp()\n        loss = root * 2\n        root.add_(1)\n        return loss\n",
        "method: my_method.py:8: RuntimeError: one of the variables needed for gradient computation",
    ),
    "not a scalar": ("        return logits\n", "method: Mine.loss (my_method.py:8) gave a tensor of shape (64, 4); "),
    "in predict": (WHOLE + "\n    def predict(self, images):\n        return images.nothing\n", "my_method.py:13: "),
    "in __init__": (
        WHOLE + "\n    def __init__(self, config, run):\n        self.x = config.x\n",
        "method: my_method.py:13: AttributeError: 'Config' object has no attribute 'x'",
    ),
    "at import": (
        WHOLE + "\n\nprint(nothing)\n",
        "method: cannot import 'my_method:Mine' (my_method.py:13: NameError: ",
    ),
}


@pytest.fixture
def run(own_modules, stores, tiny, monkeypatch, capsys):
    """Train with the user's file; exit code and the last line of the errors."""
    monkeypatch.chdir(stores)

    def trained(text):
        (own_modules / "my_method.py").write_text(HEAD + text)
        sys.modules.pop("my_method", None)
        settings = words({"epochs": 2, "drop_after": 1})
        command = ["train", "--method", "my_method:Mine", "--profile", "digits", "--dataset", tiny, "--noise", "none"]
        code = main([*command, "--device", "cpu", *settings])
        return code, capsys.readouterr().err.strip().splitlines()[-1]

    return trained


@pytest.mark.parametrize(("body", "line"), BAD.values(), ids=BAD)
def test_it_is_one_line_with_its_place(run, body, line):
    code, told = run(body)
    assert code == 2
    assert line in told
    if "the whole traceback" in told:
        path = records.ROOT / told.rpartition(": ")[2]
        assert path.name == TRACEBACK
        assert path.read_text().startswith("Traceback (most recent call last)")


def test_a_loss_that_is_no_number_says_where(run):
    code, told = run("        return logits.sum() * float('nan')\n")
    assert code == 1
    assert "the loss is nan at epoch 1, step 1 (my_method.py:8)" in told


def test_errors_of_ours_are_not_hidden(run, monkeypatch):
    monkeypatch.setattr("dlt.harness.training.test_accuracies", lambda run: 1 / 0)
    monkeypatch.setattr("dlt.harness.user_errors.is_own", lambda method: False)
    with pytest.raises(ZeroDivisionError):
        run(WHOLE)


def test_code_that_was_edited_since_is_not_run_under_its_old_name(own_modules, tiny, tmp_path):
    file = own_modules / "my_method.py"
    file.write_text(HEAD + WHOLE)
    sys.modules.pop("my_method", None)
    config = make_config("digits", tiny, "my_method:Mine", "none", epochs=2)
    file.write_text(HEAD + WHOLE + "# edited")
    with pytest.raises(InputError, match="run: the file of my_method:Mine was edited since tiny-none-my_method"):
        next(train(config, tmp_path, "cpu"))


def test_a_finished_run_keeps_no_traceback(run, stores, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("dlt.harness.training.test_accuracies", lambda run: 1 / 0)
        assert run(WHOLE)[0] == 2
    (folder,) = (stores / "runs/digits").iterdir()
    assert (folder / TRACEBACK).exists()
    assert run(WHOLE)[0] == 0
    assert not (folder / TRACEBACK).exists()
