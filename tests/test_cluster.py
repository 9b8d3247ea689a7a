"""Runs on a Ray cluster are the runs of one machine, byte for byte, also when a node dies."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import types

import psutil
import pytest
import readme

from dlt.__main__ import main
from dlt.harness import cluster, records
from dlt.harness.sweep import End, Job, sweep
from dlt.harness.training import train

ON_RAY = ["table1", "--profile", "digits", "--device", "cpu", "--launcher", "ray"]
SAME = ("epochs.csv", "losses.npz", "weights.safetensors", "run.json")


def same_records(config, one, other):
    folders = [records.folder_of(store, config) for store in (one, other)]
    return all((folders[0] / name).read_bytes() == (folders[1] / name).read_bytes() for name in SAME)


def finish(config, store):
    for run in [*config.required, config]:
        for _ in train(run, store, "cpu"):
            pass


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (ON_RAY, "launcher: ray is not installed; pip install '.[cluster]'"),
        ([*ON_RAY, "--workers", "2"], "workers: 2; on a cluster's CPUs"),
        ([*ON_RAY[:-1], "local", "--address", "auto"], "address: 'auto' is of a Ray cluster"),
    ],
)
def test_what_is_refused(arguments, line, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)  # as where it is not installed
    assert main(arguments) == 2
    assert line in capsys.readouterr().err


def test_an_unknown_launcher_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main([*ON_RAY[:-1], "slurm"])
    assert "choose from" in capsys.readouterr().err


def test_an_address_without_a_cluster(capsys):
    pytest.importorskip("ray")
    for address in (f"127.0.0.1:{free_port()}", "nonsense"):
        assert main([*ON_RAY, "--address", address]) == 2
        assert f"address: no Ray cluster at '{address}'" in capsys.readouterr().err


def test_without_shared_storage_files_go_there_and_come_back(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", types.SimpleNamespace(get=lambda value: value))
    config, driver = tiny_config("f-correction"), tmp_path / "driver"
    (required,) = config.required
    finish(required, driver)
    given = {run.name: cluster._read(records.folder_of(driver, run)) for run in (required, config)}
    arguments = (config, driver, driver / "unseen", "cpu", None)

    assert cluster._train_on_node(*arguments, 0.0, given) == (End.NOT_BEGUN, {})
    how, files = cluster._train_on_node(*arguments, time.time() + 600, given)
    assert how is End.FINISHED
    assert not records.folder_of(driver, config).exists()
    cluster._write(records.folder_of(driver, config), files)
    finish(config, tmp_path / "whole")
    assert same_records(config, driver, tmp_path / "whole")

    how, files = cluster._train_on_node(*arguments, time.time() + 600, given | {required.name: {}})
    assert f"requires {required.name}" in how
    assert files == {}


def test_with_shared_storage_it_trains_in_the_store(tiny_config, tmp_path):
    config = tiny_config("ce")
    next(train(config, tmp_path, "cpu", checkpoint_seconds=0))  # and goes on from what it finds there
    with cluster._token(tmp_path) as token:
        how, files = cluster._train_on_node(config, tmp_path, token, "cpu", None, time.time() + 600, {})
    assert (how, [*files]) == (End.FINISHED, ["run.json"])
    assert not token.exists()
    finish(config, tmp_path / "whole")
    assert same_records(config, tmp_path, tmp_path / "whole")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def nodes():
    """The address of a cluster of two nodes with one CPU each, and the process of the second."""
    ray = pytest.importorskip("ray")
    address = f"127.0.0.1:{free_port()}"
    roles = (["--head", "--port", address.split(":")[1], "--include-dashboard", "false"], ["--address", address])
    with tempfile.TemporaryDirectory(prefix="ray") as folder, contextlib.ExitStack() as stack:
        environment = os.environ | {"RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0"}
        environment |= {"RAY_raylet_start_wait_time_s": "120", "RAY_worker_niceness": "0"}  # on a busy machine
        for role in roles:
            command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus", "1", *role]
            node = subprocess.Popen(
                [*command, "--object-store-memory", "100000000"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(stop, node)
            wait_for(lambda: raylet(node))  # noqa: B023
        stack.callback(ray.shutdown)
        yield address, node


def stop(node):
    node.terminate()
    node.wait(60)


def raylet(node):
    children = psutil.Process(node.pid).children(recursive=True)
    return next((child for child in children if child.name() == "raylet"), None)


def wait_for(condition):
    limit = time.time() + 120
    while not condition():
        assert time.time() < limit
        time.sleep(0.5)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
def test_a_node_dies_and_the_sweep_ends_complete(nodes, tiny_config, tmp_path, monkeypatch, shared):
    address, node = nodes
    if not shared:
        monkeypatch.setattr(cluster, "_token", lambda store: contextlib.nullcontext(store / "unseen"))
    configs = [tiny_config(method, seed=seed) for seed in (1, 2, 3) for method in ("ce", "dlt-window")]
    ray_cluster = cluster.Cluster(address)
    wait_for(lambda: ray_cluster.places(configs, "cpu") == 2)
    said = []

    def say(line):
        said.append(line)
        if len(said) == 2:  # after the first run
            raylet(node).kill()

    assert sweep(configs, Job(tmp_path / "ray", "cpu", 2, say=say, cluster=ray_cluster)) == {}
    assert len(said) == 1 + len(configs)
    for config in configs:
        finish(config, tmp_path / "local")
        assert same_records(config, tmp_path / "ray", tmp_path / "local")


def test_no_runs_need_no_place():
    assert cluster.Cluster.places(None, [], "cpu") == 0


@pytest.mark.slow
def test_a_failed_run_is_reported_and_the_rest_goes_on(nodes, tiny_config, tmp_path):
    ray_cluster = cluster.Cluster(nodes[0])
    whole, failing = tiny_config("ce"), tiny_config("dlt-window")
    folder = records.folder_of(tmp_path, failing)
    records.write_atomic(folder / "checkpoint.pt", "broken")
    failures = sweep([failing, whole], Job(tmp_path, "cpu", 2, say=lambda line: None, cluster=ray_cluster))
    assert list(failures) == [failing.name]
    assert "checkpoint.pt is corrupt" in failures[failing.name]
    assert records.find_record(whole, [tmp_path]) is not None


@pytest.mark.slow
def test_the_readmes_commands(nodes, stores, monkeypatch, capsys):
    monkeypatch.setenv("RAY_ADDRESS", nodes[0])  # as on a machine that belongs to the cluster
    for words in [words for words in readme.COMMANDS if "ray" in words]:
        assert main([*words[1:], "--device", "cpu", "--methods", "ce", "--noise", "symmetric0.4"]) == 0
        sys.modules["ray"].shutdown()  # each command is a process of its own
    assert "1 to train on cpu" in capsys.readouterr().out
    assert len([*stores.glob("runs/digits/*ce-s1*/run.json")]) == 1
