"""Label noise of the user's own: the contract, what breaks it, and what stands in the record."""

import json
import sys

import numpy as np
import pytest
from handmade import words

from dlt.__main__ import main
from dlt.harness import records
from dlt.harness.config import make_config
from dlt.harness.datasets import load
from dlt.harness.errors import InputError
from dlt.harness.run import noisy_labels

NEXT = """
def flip(labels, rate, num_classes, generator):
    chosen = generator.random(len(labels)) < rate
    labels[chosen] = (labels[chosen] + 1) % num_classes
    return labels


def dark(labels, rate, num_classes, generator, images):
    darkness = -images.reshape(len(images), -1).mean(axis=1)
    chosen = darkness >= np.quantile(darkness, 1 - rate)
    return np.where(chosen, 0, labels)
"""


@pytest.fixture
def own(own_modules, monkeypatch):
    """Write the user's file."""

    def write(text):
        (own_modules / "my_noise.py").write_text("import numpy as np\nimport torch\n" + text)
        sys.modules.pop("my_noise", None)

    return write


def labels_of(noise, rate=0.3, seed=1):
    config = make_config("digits", "digits", "ce", noise, rate, seed=seed)
    return noisy_labels(load("digits", "digits"), config)


def test_labels_are_those_of_the_function_and_the_seed(own):
    own(NEXT)
    noisy = labels_of("my_noise:flip")
    wrong = noisy.labels != noisy.true_labels
    assert 0.25 < noisy.realised < 0.35
    assert (noisy.labels[wrong] == (noisy.true_labels[wrong] + 1) % 10).all()
    assert labels_of("my_noise:flip").sha256 == noisy.sha256 != labels_of("my_noise:flip", seed=2).sha256
    np.testing.assert_array_equal(noisy.true_labels, load("digits", "digits").train.labels)  # not written over


def test_it_may_look_at_the_images(own):
    own(NEXT)
    noisy = labels_of("my_noise:dark", 0.25)
    images = load("digits", "digits").train.images
    darkest = images.reshape(len(images), -1).mean(axis=1) <= np.quantile(images.mean(axis=(1, 2, 3)), 0.2)
    assert (noisy.labels[darkest] == 0).all()
    own("def flip(labels, rate, num_classes, generator, images):\n    images[:] = 0\n    return labels\n")
    with pytest.raises(InputError, match=r"my_noise.py:4: ValueError: assignment destination is read-only"):
        labels_of("my_noise:flip")


def test_an_edited_noise_is_another_run(own):
    own(NEXT)
    first = make_config("digits", "digits", "ce", "my_noise:flip", 0.3)
    assert first.name.startswith("digits-my_noise.flip0.3-ce-s1-")
    own(NEXT + "# edited")
    assert make_config("digits", "digits", "ce", "my_noise:flip", 0.3).name != first.name


BAD = {
    "shape": ("return labels[1:]", "my_noise:flip gave int64 (1296,); it must give integers (1297,)"),
    "dtype": ("return labels / 2", "my_noise:flip gave float64 (1297,); it must give integers (1297,)"),
    "nothing": ("return None", "my_noise:flip gave object (); it must give"),
    "range": ("return labels + 1", "my_noise:flip gave labels 1..10; must be in 0..9"),
    "negative": ("return torch.as_tensor(labels) - 1", "my_noise:flip gave labels -1..8; must be in 0..9"),
    "its own randomness": (
        "return np.random.permutation(labels)",
        "my_noise:flip gave other labels when called again; draw from `generator` alone",
    ),
    "an error": ("return labels[rate:]", "my_noise.py:4: TypeError: slice indices must be integers"),
}


@pytest.mark.parametrize(("body", "line"), BAD.values(), ids=BAD)
def test_what_breaks_the_contract_is_one_line(own, body, line):
    own(f"def flip(labels, rate, num_classes, generator):\n    {body}\n")
    with pytest.raises(InputError) as raised:
        labels_of("my_noise:flip")
    assert str(raised.value).startswith(f"noise: {line}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("flip = 3", "noise: 'my_noise:flip' is not a function"),
        ("def flip(labels): pass", "noise: my_noise:flip(labels) does not take (labels, rate, num_classes, generator["),
        ("def other(): pass", "noise: cannot import 'my_noise:flip'"),
        ("def flip(", "noise: cannot import 'my_noise:flip' (SyntaxError"),
    ],
)
def test_what_is_no_such_function_is_one_line(own, text, line):
    own(text)
    with pytest.raises(InputError) as raised:
        make_config("digits", "digits", "ce", "my_noise:flip", 0.3)
    assert str(raised.value).startswith(line)


def test_the_commands_take_it(own, stores, tiny, capsys, monkeypatch):
    own(NEXT)
    monkeypatch.chdir(stores)
    data = ["--profile", "digits", "--dataset", tiny, "--noise", "my_noise:flip", "--device", "cpu"]
    assert main(["train", "--method", "ce", *data]) == 2
    assert "noise-rate: give one with --noise my_noise:flip" in capsys.readouterr().err
    data += ["--noise-rate", "0.4"]
    assert main(["export-noise", "labels", *data]) == 0
    assert main(["estimate", *data, *words({"epochs": 4, "early_epoch": 1})]) == 0
    assert "put in: 40.0% nominal" in capsys.readouterr().out
    (folder,) = (stores / "runs/digits").iterdir()
    record = records.read_record(folder)
    about = record.run["label_noise"]
    exported = json.loads((stores / "labels/noise.json").read_text())
    assert record.config.noise_sha256
    for name in ("transition_matrix", "realised_rate"):
        assert about[name] == exported[name]
    assert about["sha256"] == exported["sha256_of_int64_labels"]
    matrix = np.array(about["transition_matrix"])
    np.testing.assert_allclose(matrix.diagonal() + np.roll(matrix, -1, axis=1).diagonal(), 1)
