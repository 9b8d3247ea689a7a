"""The order of the house: imports point down only, and training needs no plotting package."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FORMULAS = ("dlt.threshold", "dlt.semisupervised", "dlt.noise_rate", "dlt.hard_samples")
FILES = sorted([*ROOT.glob("dlt/**/*.py"), *ROOT.glob("baselines/**/*.py")])


def imported(path):
    """The modules of this repository that a file imports, at its top or inside functions."""
    package = path.relative_to(ROOT).with_suffix("").parts
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: -node.level]) + "." if node.level else ""
            names |= {f"{base}{node.module or ''}".rstrip(".")}
            names |= {f"{base}{node.module}.{alias.name}" for alias in node.names if node.module == "dlt"}
    return {name for name in names if name.split(".")[0] in ("dlt", "baselines")}


def floor(name):
    """Paper's files that are mere formulas, 0; the harness, 1; Algorithm 1, 2; baselines, 3; artifact, commands, 4."""
    if name in FORMULAS:
        return 0
    if name.startswith("dlt.harness"):
        return 1
    if name.startswith("baselines"):
        return 3
    if name.startswith(("dlt.artifact", "dlt.cleaning", "dlt.commands", "dlt.__main__", "dlt.bench")):
        return 4
    return 2


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for other in imported(path):
        assert floor(other) <= floor(name), f"{name} imports {other}"
        if name.startswith("dlt"):
            assert not other.startswith("baselines"), f"{name} imports {other}"


def test_the_check_sees_imports():
    assert imported(ROOT / "dlt/algorithm.py") >= {"dlt.harness.method", "dlt.threshold", "dlt.semisupervised"}


def test_training_imports_no_plotting_package():
    code = (
        "import sys, dlt.__main__, dlt.harness.training, baselines.robust_losses\n"
        "print([m for m in ('matplotlib', 'seaborn', 'pandas', 'IPython') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_short(path):
    assert len(path.read_text().splitlines()) <= 400
