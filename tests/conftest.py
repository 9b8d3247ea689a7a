import numpy as np
import pytest
import torch

from dlt.harness.config import make_config


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A .npz of 250 synthetic grey 8x8 images (100 for the test) of 4 classes: a bright quadrant in noise."""
    rng = np.random.default_rng(0)

    def draw(count):
        labels = np.arange(count) % 4
        images = rng.integers(0, 120, (count, 8, 8, 1))
        for image, label in zip(images, labels, strict=True):
            image[4 * (label // 2) :][:4, 4 * (label % 2) :][:, :4] += 100
        return images.astype(np.uint8), labels

    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    images, labels = draw(250)
    test_images, test_labels = draw(100)
    np.savez(path, images=images, labels=labels, test_images=test_images, test_labels=test_labels)
    return str(path)


@pytest.fixture
def tiny_config(tiny):
    """A configuration of three epochs with one of warm-up; the 250 images leave a short last batch."""

    def config(method, noise="symmetric", noise_rate=0.4, **more):
        short = {"epochs": 3, "drop_after": 2, "warmup_epochs": 1, "decay_epochs": 1, "ramp_epochs": 1, "window": 2}
        return make_config("digits", tiny, method, noise, noise_rate, **short | more)

    return config
