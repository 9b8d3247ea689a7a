"""dlt as an installed package: a folder of packages that is no checkout, and the user somewhere else."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from handmade import SHORT, quadrants, words

from dlt.__main__ import main
from dlt.harness import places
from dlt.harness.measures import code_version

ROOT = Path(__file__).parents[1]
OWN_METHOD = "from baselines.robust_losses import CE\n\n\nclass Mine(CE):\n    pass\n"


@pytest.mark.parametrize(
    "arguments",
    [["verify"], ["ship", "--profile", "digits"], ["claims"], ["notebooks"], ["table1", "--cached"]],
    ids=lambda arguments: arguments[-1],
)
def test_what_needs_the_repository_says_so(arguments, stores, capsys, monkeypatch):
    monkeypatch.setattr(places, "IS_CHECKOUT", False)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert "needs a checkout of the repository" in err
    assert not list(stores.iterdir())


def test_runs_and_data_are_where_the_user_stands(tmp_path):
    """Not among the packages; and the commit of a repository around them is not ours."""
    packages, here = tmp_path / "site-packages", tmp_path / "here"
    here.mkdir()
    for name in ("dlt", "baselines"):
        shutil.copytree(ROOT / name, packages / name, ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-C", tmp_path, "-c", "user.name=A", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "theirs"], check=True)
    code = (
        "import json\n"
        "from dlt.harness import datasets, measures, records\n"
        "paths = [records.RUNS, records.CHECKPOINTS, datasets.data_folder(None)]\n"
        "print(json.dumps([*map(str, paths), measures.code_version()]))"
    )
    version = {"commit": "unknown", "source_sha256": code_version()["source_sha256"]}
    environment = {name: value for name, value in os.environ.items() if name != "DLT_DATA"}
    environment["PYTHONPATH"] = str(packages)
    answer = subprocess.run([sys.executable, "-c", code], cwd=here, env=environment, capture_output=True, check=True)
    assert json.loads(answer.stdout) == [*(str(here / name) for name in ("runs", "checkpoints", "data")), version]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The console script of a wheel in a fresh environment; the packages of others are those of this one."""
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    for name in ("dlt", "baselines"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "from setuptools.build_meta import build_wheel; build_wheel('..')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    shutil.rmtree(source)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel], check=True)
    (site,) = folder.glob("venv/lib/python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv/bin/noisy-labels"


@pytest.mark.slow
def test_a_wheel_is_used_from_any_folder(installed, tmp_path, tiny):
    import PIL.Image

    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "DLT_DATA")}

    def run(*arguments):
        answer = subprocess.run([installed, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)
        return answer.returncode, answer.stdout, answer.stderr

    (tmp_path / "my_method.py").write_text(OWN_METHOD)
    images, labels = quadrants(120, np.random.default_rng(0))
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = tmp_path / f"pictures/{label}/{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(image).save(path)
    before = sorted(installed.parents[1].rglob("*.py"))

    short = ["--profile", "digits", "--device", "cpu", *words(SHORT)]
    noise = ["--noise-rate", "0.4"]
    for arguments in (
        ["train", "--method", "my_method:Mine", "--dataset", tiny, *noise, *short],
        ["estimate", "--dataset", tiny, "--noise", "symmetric", *noise, *short, "--setting", "early_epoch=1"],
        ["clean", "pictures", *short],
        ["status", "--profile", "digits"],
        [],
    ):
        code, out, err = run(*arguments)
        assert code == 0, err
    assert "noisy-labels table1" in out
    run_folders = sorted(path.name for path in (tmp_path / "runs/digits").iterdir())
    assert [name.rsplit("-", 1)[0] for name in run_folders] == [
        "tiny-symmetric0.4-ce-s1",
        "tiny-symmetric0.4-my_method.Mine-s1",
    ]
    assert (tmp_path / "pictures-cleaned/index.html").exists()
    assert not (tmp_path / "checkpoints").exists()
    for arguments in (["verify"], ["notebooks"], ["table1", "--cached"]):
        code, out, err = run(*arguments)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert f"dlt is installed as a package, in {installed.parents[1]}" in err
    assert sorted(installed.parents[1].rglob("*.py")) == before
