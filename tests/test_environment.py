"""The lists of packages agree with each other, and the citation with the project."""

import ast
import pkgutil
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
DISTRIBUTIONS = {"sklearn": "scikit-learn", "PIL": "pillow", "IPython": "ipython"}
BROUGHT_ALONG = {"pillow", "huggingface_hub"}  # by torchvision, by timm
NOTEBOOKS = {"ipython", "nbclient", "nbconvert", "nbformat"}  # brought along by jupyter
FOR_AN_EXTRA = {
    "dlt/artifact/notebook.py": NOTEBOOKS,
    "dlt/artifact/report.py": NOTEBOOKS,
    "dlt/harness/cluster.py": {"ray"},
    "dlt/cleaning/comparison.py": {"cleanlab"},
    "dlt/cleaning/neighbours.py": {"faiss"},
    "dlt/cleaning/comparison_tools.py": {"cleanlab"},
}


def by_name(requirements):
    return {r.name: r for r in map(Requirement, requirements)}


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
# All that the lock and environment.yml hold: what a plain install brings, the notebooks, the tests.
LISTED = [*PROJECT["dependencies"], *EXTRAS["artifact"], *EXTRAS["test"]]
DEPENDENCIES = by_name(LISTED)

# environment.yml keeps this order: Python, pip, what comes from conda-forge, what pip adds.
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())
CONDA_PYTHON, CONDA_PIP, *_from_conda, _from_pip = CONDA["dependencies"]
FROM_CONDA = by_name(text.replace("-base", "") for text in _from_conda)  # PyPI knows matplotlib, not -base
FROM_PIP = by_name(_from_pip["pip"])

LOCK = (ROOT / "requirements.lock").read_text()
LOCK_LINES = [line for line in LOCK.splitlines() if not line.lstrip().startswith("#")]
PINS = [Requirement(line) for line in LOCK_LINES]  # a name may have several, each for some Pythons or systems


def test_dependencies_are_names_with_one_lower_bound():
    # reproduce.sh compares versions without the packaging library and knows no other form.
    assert [d for d in LISTED if not re.fullmatch(r"[a-z-]+>=\d+(\.\d+)*", d)] == []


def imported(path):
    """The packages of others that a file imports, at its top or inside functions, by their names on an index."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return {DISTRIBUTIONS.get(name, name) for name in names - sys.stdlib_module_names - {"dlt", "baselines"}}


@pytest.mark.parametrize("folder", ["dlt/*.py", "dlt/harness", "dlt/cleaning", "dlt/artifact", "baselines"])
def test_a_plain_install_brings_what_is_imported(folder):
    """And an extra what the few files import that are for it."""
    files = ROOT.glob(folder if folder.endswith(".py") else f"{folder}/**/*.py")
    for path in files:
        there = set(by_name(PROJECT["dependencies"])) | BROUGHT_ALONG
        allowed = there | FOR_AN_EXTRA.get(path.relative_to(ROOT).as_posix(), set())
        assert imported(path) <= allowed, path


def test_a_plain_install_brings_neither_notebooks_nor_tests():
    assert not set(by_name(PROJECT["dependencies"])) & {"jupyter", "nbval", "pytest", "ruff", "pyyaml"}
    assert set(by_name(EXTRAS["artifact"])) == {"jupyter", "nbval"}
    assert set(by_name(EXTRAS["test"])) == {"pytest", "pytest-xdist", "pyyaml", "ruff"}


def test_the_command_of_the_package_is_there():
    for name, target in PROJECT["scripts"].items():
        assert (name, callable(pkgutil.resolve_name(target))) == ("noisy-labels", True)


def test_the_oldest_torch_is_tried_with_the_tests_and_notebooks_installed():
    jobs = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]
    install = next(step["run"] for step in jobs["oldest"]["steps"] if "pip install" in step.get("run", ""))
    torch = PROJECT["dependencies"][0].split(">=")[1]
    assert shlex.split(install)[-3:] == [f"torch=={torch}.*", "torchvision==0.26.*", ".[test,artifact]"]


def test_conda_environment_has_the_same_packages():
    assert FROM_CONDA | FROM_PIP == DEPENDENCIES | FROM_PIP
    assert CONDA["channels"] == ["conda-forge"]
    assert (CONDA["name"], CONDA_PIP) == ("dlt", "pip")


def test_conda_environment_takes_torch_as_locked():
    assert list(FROM_PIP) == ["torch", "torchvision"]
    assert list(FROM_PIP.values()) == [pin for pin in PINS if pin.name in FROM_PIP]


def test_lock_was_made_from_these_dependencies():
    packages = re.findall(r"^([\w-]+)==.*\n((?: +#.*\n)+)", LOCK, flags=re.MULTILINE)
    assert {name for name, needed_by in packages if PROJECT["name"] in needed_by} == set(DEPENDENCIES)


def test_locked_versions_are_allowed():
    pins = [pin for pin in PINS if pin.name in DEPENDENCIES]
    assert {pin.name for pin in pins} == set(DEPENDENCIES)
    for pin in pins:
        (exact,) = pin.specifier
        assert exact.operator == "=="
        assert DEPENDENCIES[pin.name].specifier.contains(exact.version), pin


def test_lock_names_no_registry():
    pin = re.compile(r"[\w-]+==[\w.]+( ; [\w.' <>=!()-]+)?")
    assert [line for line in LOCK_LINES if not pin.fullmatch(line)] == []
    assert "://" not in LOCK


def test_python_versions_agree():
    supported = SpecifierSet(PROJECT["requires-python"])
    (oldest,) = supported
    assert f"--python-version {oldest.version} " in LOCK
    assert f"--python '{supported}," in (ROOT / "reproduce.sh").read_text()
    assert supported.contains(CONDA_PYTHON.removeprefix("python="))


def test_citation_names_the_paper_and_says_unofficial():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert "unofficial" in citation["message"]
    assert "unofficial" in citation["title"]
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    paper = citation["preferred-citation"]
    assert paper["title"] == "Learning from Noisy Labels via Dynamic Loss Thresholding"
    assert " ".join(a["family-names"] for a in paper["authors"]) == "Yang Jin Li Wang Miao Geng Zhang"
    assert (paper["type"], paper["year"]) == ("article", 2021)
    assert "2104.02570" in paper["url"]
