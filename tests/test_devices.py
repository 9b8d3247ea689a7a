"""GPUs that are not here, by stand-ins: a device error in a worker, several GPUs, a checkpoint of another device."""

import json
import os

import numpy as np
import pytest
import torch
from torch import nn

from dlt.harness import devices, distributed, sweep
from dlt.harness.config import make_config
from dlt.harness.errors import InputError
from dlt.harness.records import folder_of, read_record
from dlt.harness.sweep import Job
from dlt.harness.training import train

FAILING = """
import os
import torch
from baselines.robust_losses import CE

class Notes(CE):
    def __init__(self, config, run):
        super().__init__(config, run)
        with open(os.environ["NOTES"], "a") as file:
            file.write(f"{run.config.seed} {os.getpid()} {os.getppid()}\\n")

    def loss(self, batch):
        if self.run.config.seed == 1:
            raise ERROR
        return super().loss(batch)
"""


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        ('torch.AcceleratorError("CUDA error: an illegal memory access was encountered")', True),
        ('RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED")', True),
        ('RuntimeError("an error of its own")', False),
    ],
)
def test_a_worker_ends_with_its_device(own_modules, tiny, tmp_path, monkeypatch, error, lost):
    """Its context is dead, and would fail the next run too: another process takes it."""
    name = f"failing_{abs(hash(error))}"
    (own_modules / f"{name}.py").write_text(FAILING.replace("ERROR", error))
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    configs = [make_config("digits", tiny, f"{name}:Notes", seed=seed, epochs=2) for seed in (1, 2)]
    failures = sweep.sweep(configs, Job(tmp_path, "cpu", 1, say=lambda line: None))
    assert list(failures) == [configs[0].name]
    assert "rror" in failures[configs[0].name]
    assert read_record(folder_of(tmp_path, configs[1])) is not None
    processes = {line.split()[1] for line in (tmp_path / "notes").read_text().splitlines()}
    assert len(processes) == (2 if lost else 1)


def test_workers_take_the_gpus_in_turn(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert sweep._devices("cuda") == ["cuda:0", "cuda:1", "cuda:2"]
    assert sweep._devices("cuda:1") == ["cuda:1"]
    assert sweep._devices("cpu") == ["cpu"]
    assert sweep.default_workers("cuda", []) == 3
    assert sweep.default_workers("cuda:1", []) == 1


def test_each_worker_is_given_its_gpu(monkeypatch, tmp_path, tiny_config):
    given = []

    class Worker:
        config = None

        def __init__(self, context, store, device, data_dir, deadline):
            given.append(device)

        def start(self, config):
            pass

        def stop(self):
            pass

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(sweep, "_Worker", Worker)
    configs = [tiny_config("ce", seed=seed) for seed in range(4)]
    sweep.sweep(configs, Job(tmp_path, "cuda", 3, say=lambda line: None))
    assert given == ["cuda:0", "cuda:1", "cuda:0"]


def test_one_gpu_of_several(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.resolve_device("cuda:1") == torch.device("cuda", 1)
    assert devices.resolve_device("auto") == torch.device("cuda")
    with pytest.raises(InputError, match="device: cuda:2; the GPUs here are cuda:0 to cuda:1"):
        devices.resolve_device("cuda:2")
    with pytest.raises(InputError, match="device: 'gpu' is not auto, cpu, cuda"):
        devices.resolve_device("gpu")


def test_bf16_only_where_the_processor_has_it(tiny_config, tmp_path, monkeypatch):
    """Elsewhere the run of the same name is in fp32, and its record says so."""
    found = {}
    for precision, has in (("bf16", True), ("bf16", False), ("fp32", False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=has: {"amx_bf16": False, "avx512_bf16": has})
        config, store = tiny_config("ce", precision=precision), tmp_path / str(has)
        list(train(config, store, "cpu"))
        record = read_record(folder_of(store, config))
        found[precision, has] = record.run["precision"], record.epochs()["train_loss"].tolist()
    assert [used for used, _ in found.values()] == ["bf16", "fp32", "fp32"]
    assert found["bf16", True] != found["bf16", False] == found["fp32", False]


def test_a_run_does_not_go_on_on_another_kind_of_device(tiny_config, tmp_path):
    config = tiny_config("ce")
    rows = train(config, tmp_path, "cpu")
    next(rows)
    rows.close()
    path = folder_of(tmp_path, config) / "run.json"
    begun = json.loads(path.read_text())
    path.write_text(json.dumps(begun | {"device": "NVIDIA H100"}))
    with pytest.raises(InputError, match="was begun on NVIDIA H100, not on cpu"):
        list(train(config, tmp_path, "cpu"))
    path.write_text(json.dumps(begun))
    assert len(list(train(config, tmp_path, "cpu"))) == 2  # nothing was lost


# ---------------------------------------------------------------------- several processes
def _rank(rank, size, port, folder):
    """Each rank takes its share of rows that come in two kinds, and merges statistics; what it found goes to a file."""
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=size)
    rows = torch.arange(7.0).requires_grad_()
    gathered = distributed.gathered(distributed.share(rows) * 2, 7)
    gathered.sum().backward()

    torch.manual_seed(0)
    images = torch.cat([torch.randn(6, 3, 4, 4), 5 + 2 * torch.randn(6, 3, 4, 4)])  # labelled, then unlabelled
    network = nn.Sequential(nn.BatchNorm2d(3, momentum=1.0), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    parallel = distributed.Parallel([network], images)
    with torch.no_grad():
        parallel.forward(lambda module, own: module(own), network, images)
    own_mean = network[0].running_mean.clone()
    parallel.merge_statistics()
    torch.save(
        {
            "gathered": gathered.detach(),
            "gradient": rows.grad,
            "own_mean": own_mean,
            "mean": network[0].running_mean,
            "variance": network[0].running_var,
        },
        f"{folder}/{rank}.pt",
    )
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    import socket

    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(_rank, (2, port, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


def test_rows_are_gathered_in_their_order(ranks):
    for rank, found in enumerate(ranks):
        assert found["gathered"].tolist() == [0, 2, 4, 6, 8, 10, 12]
        assert found["gradient"].tolist() == [2.0 if row % 2 == rank else 0.0 for row in range(7)]


def test_every_rank_sees_every_kind_of_row(ranks):
    """Halves of the batch in one piece would leave one rank the labelled rows alone, the other the unlabelled ones."""
    for found in ranks:
        assert (found["own_mean"] > 1.5).all()
        assert (found["own_mean"] < 3.5).all()


def test_statistics_are_those_of_all_rows(ranks):
    torch.manual_seed(0)
    images = torch.cat([torch.randn(6, 3, 4, 4), 5 + 2 * torch.randn(6, 3, 4, 4)]).numpy()
    shares = [images[rank::2] for rank in (0, 1)]
    mean = np.mean([share.mean((0, 2, 3)) for share in shares], axis=0)
    unbiased = np.mean([share.var((0, 2, 3), ddof=1) for share in shares], axis=0)
    spread = np.var([share.mean((0, 2, 3)) for share in shares], axis=0)
    for found in ranks:
        np.testing.assert_allclose(found["mean"], mean, rtol=1e-5)
        np.testing.assert_allclose(found["variance"], unbiased + spread, rtol=1e-5)
        np.testing.assert_allclose(found["variance"], images.var((0, 2, 3)), rtol=0.02)
