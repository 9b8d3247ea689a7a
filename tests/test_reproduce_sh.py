"""reproduce.sh finds or builds an environment, among stand-ins for uv and Python that cost nothing. No network."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text()
PYTHON = """#!{bash}
# Asked on standard input what it lacks, or to run something: says who it is and what it was told.
if [[ $1 == - ]]; then printf %s '{lacks}'
elif [[ $1 == -c ]]; then [[ -n "{ray}" ]]
else printf '%s\\n' "{path}" "$@"; fi
"""
UV = """#!{bash}
echo "$*" >> "{log}"
case $1 in
    venv) mkdir "${{@: -1}}" "${{@: -1}}/bin" && cp "{python}" "${{@: -1}}/bin/python" ;;
    pip) while [[ -e "{hanging}" ]]; do sleep 0.01; done; [[ ! -e "{offline}" ]] ;;
esac
"""
TOOLS = "awk bash cat cmp cp df dirname flock mkdir mv perl readlink rm sleep uname".split()


class House:
    """A copy of what reproduce.sh needs, in a folder with a space, and a PATH with no uv and no Python."""

    def __init__(self, folder):
        self.root = folder / "a house"
        self.bin = folder / "bin"
        self.elsewhere = folder / "elsewhere"
        for directory in (self.root, self.bin, self.elsewhere):
            directory.mkdir()
        for name in ("reproduce.sh", "pyproject.toml", "requirements.lock"):
            shutil.copy(ROOT / name, self.root)
        for tool in TOOLS:
            if found := shutil.which(tool):  # flock or perl may be absent
                (self.bin / tool).symlink_to(found)
        self.venv = self.root / ".venv"
        self.uv_log = folder / "uv.log"
        self.offline = folder / "offline"
        self.hanging = folder / "hanging"

    def executable(self, path, text, **values):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(bash=self.bin / "bash", path=path, **values))
        path.chmod(0o755)
        return path

    def python(self, prefix, lacks="", ray=""):
        return self.executable(prefix / "bin/python", PYTHON, lacks=lacks, ray=ray)

    def add_uv(self):
        built = self.python(self.bin / "built")
        state = {"log": self.uv_log, "offline": self.offline, "hanging": self.hanging}
        self.executable(self.bin / "uv", UV, python=built, **state)
        return str(built)

    def start(self, *arguments, cwd=None, **environment):
        return subprocess.Popen(
            [self.root / "reproduce.sh", *arguments],
            cwd=cwd or self.root,
            env={"PATH": str(self.bin), **{name: str(value) for name, value in environment.items()}},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments, **options):
        with self.start(*arguments, **options) as process:
            out, err = process.communicate(timeout=20)
        return process.returncode, out.splitlines(), err.splitlines()

    def environments_built(self):
        return len(re.findall("^venv ", self.uv_log.read_text(), flags=re.MULTILINE))


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


@pytest.mark.parametrize("name", ["reproduce.sh", ".ci/run"])
def test_scripts_parse_and_are_executable(name):
    assert subprocess.run(["bash", "-n", ROOT / name]).returncode == 0
    assert os.access(ROOT / name, os.X_OK)


def test_arguments_reach_the_package_as_they_are(house):
    named = house.python(house.elsewhere)
    code, out, err = house.run("table1", "--data-dir", "my data", "*", DLT_PYTHON=named)
    assert (code, err) == (0, [])
    assert out == [str(named), "-P", "-m", "dlt", "table1", "--data-dir", "my data", "*"]


def test_without_arguments_the_package_says_what_there_is(house):
    named = house.python(house.elsewhere)
    assert house.run(DLT_PYTHON=named) == (0, [str(named), "-P", "-m", "dlt"], [])


def test_named_python_comes_before_active_and_built_ones(house):
    named = house.python(house.elsewhere / "named")
    active = house.python(house.elsewhere / "active").parents[1]
    assert house.run(DLT_PYTHON=named, VIRTUAL_ENV=active, CONDA_PREFIX=active)[1][0] == str(named)


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_active_environment_is_used_if_it_has_all(house, variable):
    built = house.add_uv()
    active = house.elsewhere / "active"
    house.python(active)
    assert house.run(**{variable: active})[1][0] == str(active / "bin/python")
    assert not house.venv.exists()

    house.python(active, lacks="torch>=2.11")
    code, out, err = house.run(**{variable: active})
    assert (code, out[0]) == (0, built)
    assert f"the active {active} lacks torch>=2.11" in err[0]


def test_environment_is_built_once_and_again_when_the_lock_changes(house):
    built = house.add_uv()
    code, out, err = house.run("status")
    assert (code, out[0], len(err)) == (0, built, 1)
    assert "download" in err[0]

    assert house.run("status") == (0, [built, "-P", "-m", "dlt", "status"], [])
    assert house.environments_built() == 1

    (house.root / "requirements.lock").write_text("torch==2.15.1\n")
    assert house.run("status")[0] == 0
    assert house.environments_built() == 2
    assert sorted(path.name for path in house.root.glob(".*")) == [".venv", ".venv.lock"]


def test_failed_build_leaves_no_environment(house):
    house.add_uv()
    house.offline.touch()
    code, out, err = house.run()
    assert (code, out, len(err)) == (2, [], 2)
    assert "could not set up" in err[1]
    assert not house.venv.exists()


def test_failed_rebuild_keeps_the_old_environment(house):
    house.add_uv()
    house.run()
    lock = house.root / "requirements.lock"
    lock.write_text("torch==2.15.1\n")
    house.offline.touch()
    assert house.run()[0] == 2
    assert (house.venv / "bin/python").exists()
    lock.write_text(LOCK)
    assert house.run()[0] == 0


def test_killed_build_is_done_again(house):
    house.add_uv()
    house.hanging.touch()
    with house.start() as killed:
        while not house.uv_log.exists() or "pip sync" not in house.uv_log.read_text():
            time.sleep(0.01)
        os.killpg(killed.pid, signal.SIGKILL)
    house.hanging.unlink()
    assert not house.venv.exists()
    assert house.run()[0] == 0
    assert house.environments_built() == 2


@pytest.mark.parametrize("tool", ["flock", "perl"])
def test_two_at_once_build_once(house, tool):
    if not shutil.which(tool):
        pytest.skip(f"no {tool} here")
    if tool == "perl":
        (house.bin / "flock").unlink(missing_ok=True)  # as on macOS
    built = house.add_uv()
    house.hanging.touch()
    both = [house.start(), house.start()]
    time.sleep(0.2)  # both are at it; if not, the test proves less but holds
    house.hanging.unlink()
    assert [process.communicate(timeout=20)[0].splitlines()[0] for process in both] == [built, built]
    assert house.environments_built() == 1


def test_environment_from_elsewhere_is_used_or_left_alone(house):
    house.add_uv()
    own = house.python(house.venv)
    assert house.run()[1][0] == str(own)

    house.python(house.venv, lacks="nbval>=0.11")
    code, out, err = house.run()
    assert (code, out, len(err)) == (2, [], 1)
    assert "lacks nbval>=0.11" in err[0]
    assert own.exists()
    assert not house.uv_log.exists()


def test_neither_uv_nor_python(house):
    code, out, err = house.run("table1")
    assert (code, out, len(err)) == (2, [], 1)
    assert "Python 3.11" in err[0]


def test_uv_finds_no_python(house):
    house.executable(house.bin / "uv", "#!{bash}\n[[ $1 == --version ]]")
    code, out, err = house.run("table1")
    assert (code, out, len(err)) == (2, [], 1)
    assert "Python 3.11" in err[0]


def test_uv_is_fetched_with_pip_where_it_is_missing(house):
    house.add_uv()
    (house.bin / "uv").rename(house.bin / "uv-to-fetch")
    # As on Debian: no venv module, and of pip only `install --target FOLDER uv`.
    python3 = """#!{bash}
        case $2 in
            venv) exit 1 ;;
            pip) [[ $5 == --target ]] && mkdir -p "$6/bin" && cp "{uv}" "$6/bin/uv" ;;
        esac"""
    house.executable(house.bin / "python3", python3, uv=house.bin / "uv-to-fetch")
    assert house.run()[0] == 0
    assert (house.venv / "bin/python").exists()


def test_test_runs_linter_tests_and_notebooks(house):
    named = str(house.python(house.elsewhere))
    lint = [named, "-m", "ruff", "check", ".", named, "-m", "ruff", "format", "--check", "--quiet", "."]
    tests = [named, "-m", "pytest", "--numprocesses", "auto", "--dist", "loadfile"]
    assert house.run("test", DLT_PYTHON=named)[1] == lint + tests

    (house.root / "notebooks").mkdir()
    (house.root / "notebooks/01.ipynb").touch()
    notebooks = [*tests, "--nbval", "--nbval-current-env", "notebooks"]
    assert house.run("test", DLT_PYTHON=named, cwd=house.elsewhere)[1] == lint + tests + notebooks
    assert house.run("test", "-k", "one thing", DLT_PYTHON=named)[1] == [*lint, *tests, "-k", "one thing"]


def test_test_runs_several_nodes_where_ray_is_installed(house):
    named = str(house.python(house.elsewhere, ray="installed"))
    slow = [named, "-m", "pytest", "-m", "slow", "tests/test_cluster.py", "tests/test_distributed.py"]
    assert house.run("test", DLT_PYTHON=named)[1][-len(slow) :] == slow
    assert "slow" not in house.run("test", "-k", "one thing", DLT_PYTHON=named)[1]


def test_test_fails_with_the_linter(house):
    failing = house.executable(house.elsewhere / "python", "#!{bash}\n[[ $1 == - || $3 != check ]]")
    assert house.run("test", DLT_PYTHON=failing)[0] == 1


def test_ci_calls_the_test_command(house):
    named = house.python(house.elsewhere)
    shutil.copytree(ROOT / ".ci", house.root / ".ci")
    environment = {"PATH": str(house.bin), "DLT_PYTHON": str(named)}
    ci = subprocess.run([house.root / ".ci/run"], env=environment, capture_output=True, text=True)
    assert (ci.returncode, ci.stdout.splitlines()) == house.run("test", DLT_PYTHON=named)[:2]


# reproduce.sh with a real Python


def test_named_python_that_lacks_something_is_an_error(house):
    (house.root / "pyproject.toml").write_text(
        f'[project]\ndependencies = ["pytest>={pytest.__version__}", "pytest>=9999", "no-such-package>=1"]'
    )
    code, out, err = house.run(DLT_PYTHON=sys.executable)
    assert (code, out) == (2, [])
    assert err == [f"reproduce.sh: DLT_PYTHON={sys.executable} lacks pytest>=9999, no-such-package>=1"]

    code, _, err = house.run(DLT_PYTHON="/no/such/python")
    assert (code, err) == (2, ["reproduce.sh: DLT_PYTHON=/no/such/python lacks a working Python >= 3.11"])


def test_each_command_needs_what_it_uses(house):
    """Tables need no notebook and notebooks no linter, so an environment of the user's own may lack them."""
    (house.root / "pyproject.toml").write_text(
        '[project]\ndependencies = ["pytest>=8.2"]\n'
        '[project.optional-dependencies]\nartifact = ["no-notebook>=1"]\ntest = ["no-linter>=1"]\n'
    )
    (house.root / "dlt").mkdir()
    (house.root / "dlt/__main__.py").write_text("print('runs')")
    lacks = f"reproduce.sh: DLT_PYTHON={sys.executable} lacks"
    for arguments, answer in [
        (["test"], (2, [], [f"{lacks} no-notebook>=1, no-linter>=1"])),
        (["notebooks"], (2, [], [f"{lacks} no-notebook>=1"])),
        (["table1"], (0, ["runs"], [])),
        ([], (0, ["runs"], [])),
    ]:
        assert house.run(*arguments, DLT_PYTHON=sys.executable) == answer


def test_our_package_wins_and_the_user_stays_where_they_are(house):
    (house.root / "pyproject.toml").write_text('[project]\ndependencies = ["pytest>=8.2"]')
    library = house.elsewhere / "library"
    ours = "import json, os, sys; print(json.dumps([sys.argv[1:], os.getcwd()])); import beside_them, on_path"
    for folder, program in [(house.root, ours), (house.elsewhere, "another dlt"), (library, "another dlt")]:
        (folder / "dlt").mkdir(parents=True)
        (folder / "dlt/__main__.py").write_text(program)
    (house.elsewhere / "beside_them.py").touch()
    (library / "on_path.py").touch()
    options = {"cwd": house.elsewhere, "DLT_PYTHON": sys.executable, "PYTHONPATH": library}
    code, (line,), err = house.run("--data-dir", "my data", **options)
    assert (code, err) == (0, [])
    assert json.loads(line) == [["--data-dir", "my data"], str(house.elsewhere)]
