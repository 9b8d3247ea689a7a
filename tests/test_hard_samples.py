"""Section 3.3: hard samples, and runs that train on them."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import dlt
from dlt.harness import records
from dlt.harness.config import make_config
from dlt.harness.errors import InputError
from dlt.harness.run import Run
from dlt.harness.training import train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (60, 16, 12, 3), dtype=np.uint8)


def generator(seed):
    return torch.Generator().manual_seed(seed)


class Linear(torch.nn.Module):
    def __init__(self, pixels):
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(pixels, 4)

    def forward(self, images):
        return self.linear(images.flatten(1))


# ---------------------------------------------------------------------- the two generators
@pytest.mark.parametrize("channels", [1, 3])
def test_incomplete_is_the_same_for_a_seed_and_changes_every_image(images, channels):
    images = images[..., :channels]
    hard = dlt.hard_samples.incomplete(images, generator(1))
    assert (hard.dtype, hard.shape) == (np.uint8, images.shape)
    np.testing.assert_array_equal(hard, dlt.hard_samples.incomplete(images, generator(1)))
    assert (hard != dlt.hard_samples.incomplete(images, generator(2))).any()
    assert (hard != images).any(axis=(1, 2, 3)).all()


def test_incomplete_takes_tensors_and_tiny_images():
    hard = dlt.hard_samples.incomplete(torch.randint(256, (40, 4, 4, 1), dtype=torch.uint8), generator(0))
    assert (hard.dtype, hard.shape) == (torch.uint8, (40, 4, 4, 1))
    assert dlt.hard_samples.incomplete(np.empty((0, 8, 8, 1), np.uint8), generator(0)).shape == (0, 8, 8, 1)


def test_fgsm_stays_within_epsilon_and_raises_the_loss(images):
    network, labels = Linear(16 * 12 * 3), np.arange(60) % 4
    hard = dlt.hard_samples.adversarial(network, images, labels, 8 / 255)
    change = np.abs(hard.astype(int) - images)
    assert change.max() == 8
    assert ((change == 8) | (hard == 0) | (hard == 255)).all()

    def loss(pixels):
        logits = network(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255)
        return F.cross_entropy(logits, torch.from_numpy(labels), reduction="none")

    assert (loss(hard) > loss(images)).all()
    assert all(parameter.grad is None for parameter in network.parameters())


def test_fgsm_against_eq_9(images):
    """One image, the gradient by hand: of a linear network it is W^T (p - onehot)."""
    network = Linear(16 * 12 * 3)
    hard = dlt.hard_samples.adversarial(network, images[:1], np.array([2]), 4 / 255)
    pixels = torch.from_numpy(images[:1]).permute(0, 3, 1, 2).float() / 255
    p = network(pixels).softmax(1)[0].detach().numpy()
    gradient = network.linear.weight.detach().numpy().T @ (p - np.eye(4)[2])
    step = np.sign(gradient).reshape(3, 16, 12).transpose(1, 2, 0)
    np.testing.assert_array_equal(hard[0], np.clip(images[0].astype(int) + 4 * step, 0, 255))


def test_epsilon_is_never_exceeded_by_rounding(images):
    hard = dlt.hard_samples.adversarial(Linear(16 * 12 * 3), images, np.zeros(60, int), 0.05)  # 12.75 of 255
    assert np.abs(hard.astype(int) - images).max() == 12


@pytest.mark.parametrize("epsilon", [-0.1, 1.1])
def test_epsilon_outside_the_range(images, epsilon):
    with pytest.raises(ValueError, match="epsilon"):
        dlt.hard_samples.adversarial(Linear(16 * 12 * 3), images, np.zeros(60, int), epsilon)


def test_images_must_be_bytes(images):
    with pytest.raises(ValueError, match="uint8"):
        dlt.hard_samples.incomplete(images / 255, generator(0))


# ---------------------------------------------------------------------- in a run
@pytest.mark.parametrize("kind", ["incomplete", "adversarial"])
def test_hard_copies_are_a_third_population(tiny_config, tmp_path, kind):
    config = tiny_config("dlt-window", hard=kind)
    for required in config.required:
        assert (required.method, required.noise, required.hard) == ("ce", "none", "none")
        list(train(required, tmp_path, "cpu"))
    run = Run(config, CPU, store=tmp_path)
    plain = Run(tiny_config("dlt-window"), CPU)
    noisy = plain.noisy_labels.labels != plain.noisy_labels.true_labels
    hard = run.noisy_labels.hard
    assert hard.sum() == (~noisy).sum()  # as many as clean ones, behind all others
    assert not hard[: len(noisy)].any()
    np.testing.assert_array_equal(run.noisy_labels.labels[: len(noisy)], plain.noisy_labels.labels)
    np.testing.assert_array_equal(run.noisy_labels.labels[hard], plain.noisy_labels.true_labels[~noisy])
    assert run.assumed_rate == pytest.approx(noisy.sum() / len(hard))
    assert len(run.train_images) == len(hard)

    rows = list(train(config, tmp_path, "cpu"))
    assert rows[-1]["clean_kept"] + rows[-1]["noisy_kept"] + rows[-1]["hard_kept"] <= len(hard)
    assert rows[-1]["loss_hard_mean"] > 0
    record = records.read_record(records.folder_of(tmp_path, config))
    assert record.run["label_noise"]["hard_samples"] == hard.sum()
    assert f"-symmetric0.4-{kind}-dlt-window-" in record.folder.name
    arrays = record.losses()
    assert arrays["hard_copies"].shape == arrays["hard_originals"].shape == (4, 8, 8, 1)  # one of each class
    assert (arrays["hard_copies"] != arrays["hard_originals"]).any()


def test_runs_without_hard_copies_keep_their_columns(tiny_config, tmp_path):
    row = list(train(tiny_config("dlt-window"), tmp_path, "cpu"))[-1]
    assert not any("hard" in name for name in row)


@pytest.mark.parametrize(("more", "words"), [({"hard": "soft"}, "hard: 'soft'"), ({"epsilon": 0}, "epsilon: 0")])
def test_bad_input(tiny, more, words):
    with pytest.raises(InputError, match=words):
        make_config("digits", tiny, "ce", "symmetric", 0.2, **more)
