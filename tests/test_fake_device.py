"""No wait for the device in a step, and no tensor on another one: every method on tensors that claim to be on CUDA.

PyTorch's fake tensors have a device, a shape and no values: an operation on two devices raises, and so does all that
needs a value (`.item()`, `nonzero`, a shape that depends on data), which on a GPU is a wait. Once an epoch, before its
first step, a method may wait, and three do: M-correction and DivideMix for their mixtures, DivideMix and DLT* for the
sizes of the two sets. That is done here on the CPU.
"""

import contextlib

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from dlt.harness.method import METHODS
from dlt.harness.run import Run
from dlt.harness.training import train_epoch

CPU = torch.device("cpu")
CUDA = torch.device("cuda")
DRAWS = ("rand", "randint", "randperm")


@contextlib.contextmanager
def faking(monkeypatch):
    """Inside, tensors are fake; draws are made without a generator, of which CUDA's needs a driver."""
    with monkeypatch.context() as patch, FakeTensorMode():
        for name in DRAWS:
            draw = getattr(torch, name)
            patch.setattr(torch, name, lambda *a, draw=draw, generator=None, **k: draw(*a, **k))
        patch.setattr(Run, "generator", lambda run, purpose: None)
        yield


def moved(value):
    """The same with a fake tensor on CUDA for every tensor; the rest as it is. Called where tensors are fake."""
    if isinstance(value, torch.Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=CUDA)
    if isinstance(value, (list, tuple)):
        return type(value)(moved(item) for item in value)
    if isinstance(value, dict):
        return {key: moved(item) for key, item in value.items()}
    return value


def move(thing):
    """All tensors of an object, in place."""
    for name, value in vars(thing).items():
        if isinstance(value, (torch.Tensor, list, tuple, dict)):
            setattr(thing, name, moved(value))


def on_cuda(run):
    """The run as it would be on a GPU."""
    run.device = CUDA
    for network in [*run.networks, *getattr(run.method, "averages", [])]:
        for module in network.modules():
            for name, parameter in list(module._parameters.items()):
                if parameter is not None:
                    module._parameters[name] = torch.nn.Parameter(moved(parameter), requires_grad=False)
            for name, buffer in list(module._buffers.items()):
                if buffer is not None:
                    module._buffers[name] = moved(buffer)
    run.labels, run.rows, run.test_labels = moved((run.labels, run.rows, run.test_labels))
    move(run.observed)
    for images in (run.train_images, run.test_images):
        images.device = CUDA
        move(images)
    for part in ("threshold", "mixture"):
        if hasattr(run.method, part):
            move(getattr(run.method, part))
    move(run.method)


WITH_GRADIENTS = {"mlnt"}  # takes gradients within its loss, and autograd asks for a device
CASES = [
    *((method, {}, epoch) for method in METHODS if method not in WITH_GRADIENTS for epoch in (1, 3)),
    ("dlt-window", {"detection": "augmented"}, 3),
    ("dlt-window", {"detection": "training"}, 3),
    ("dlt-window", {"partners": "union", "running_statistics": "all"}, 3),
    ("m-correction", {"variant": "MD-DYR-SH", "bootstrap_epoch": 2, "guided_epochs": 1, "cooling_epochs": 2}, 2),
    ("m-correction", {"variant": "MD-DYR-SH", "bootstrap_epoch": 2, "guided_epochs": 1, "cooling_epochs": 2}, 3),
]


def prepared(tiny_config, method, options, epoch, tmp_path):
    """A run on the CPU that stands before the first step of `epoch`, whose batches are drawn."""
    config = tiny_config(method, epochs=4, options=options)
    run = Run(config, CPU, store=tmp_path)
    if method == "f-correction":
        run.method.transition = torch.eye(run.num_classes)
    for earlier in range(1, epoch):
        train_epoch(run, earlier)
    run.begin_epoch(epoch)
    for network in run.networks:
        network.train()
    run.method.start_epoch(epoch)
    return run, list(run.method.batches(epoch))


def batch_on_cuda(batch):
    return type(batch)(**{name: moved(value) for name, value in vars(batch).items()})


@pytest.mark.parametrize(("method", "options", "epoch"), CASES, ids=str)
def test_a_step_stays_on_the_device(method, options, epoch, tiny_config, tmp_path, monkeypatch):
    run, batches = prepared(tiny_config, method, options, epoch, tmp_path)
    with faking(monkeypatch):
        on_cuda(run)
        for batch in (batches[0], batches[-1]):  # whole, and the short last one
            loss = run.method.loss(batch_on_cuda(batch))
            assert loss.shape == ()
            assert loss.device.type == "cuda"
        assert run.observed.losses.device.type == "cuda"


@pytest.mark.parametrize(
    ("spoilt", "error"),
    [
        (lambda run, loss: loss * loss.item(), "local_scalar_dense"),
        (lambda run, loss: loss * len((run.labels > 1).nonzero()), "nonzero|Dynamic"),
        (lambda run, loss: loss + torch.zeros(3).mean(), None),
        (lambda run, loss: run.labels[:5] + torch.zeros(5, dtype=torch.long), "[Dd]evice"),
    ],
    ids=["item", "nonzero", "scalar", "mismatch"],
)
def test_the_check_sees_a_wait_and_a_mismatch(spoilt, error, tiny_config, tmp_path, monkeypatch):
    run, batches = prepared(tiny_config, "ce", {}, 1, tmp_path)
    with faking(monkeypatch):
        on_cuda(run)
        loss = run.method.loss(batch_on_cuda(batches[0]))
        if error is None:
            spoilt(run, loss)  # a scalar of the CPU may join: it costs nothing
        else:
            with pytest.raises(Exception, match=error):
                spoilt(run, loss)
    assert np.isfinite(float(torch.ones(()).item()))  # outside all is real again


def test_the_windows_thresholds_stay_on_the_device(monkeypatch):
    from dlt.threshold import LastEpoch, SlideWindow

    with faking(monkeypatch):
        losses = torch.empty(20, device=CUDA)
        for threshold in (SlideWindow(3), LastEpoch()):
            for _ in range(4):
                threshold.record(losses)
            threshold.end_epoch()
            assert threshold.threshold(0.6).device.type == "cuda"


def test_all_methods_are_here():
    assert {method for method, _, _ in CASES} | WITH_GRADIENTS == set(METHODS)
