"""The lists of packages agree with each other, and the citation with the project."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]


def by_name(requirements):
    return {r.name: r for r in map(Requirement, requirements)}


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEPENDENCIES = by_name(PROJECT["dependencies"])

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
    assert [d for d in PROJECT["dependencies"] if not re.fullmatch(r"[a-z-]+>=\d+(\.\d+)*", d)] == []


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
