#!/usr/bin/env bash
# Reproduces the paper's tables and figures, and sets up what they need the first time.
# Without arguments: what there is. `test`: linter, pytest (takes arguments) and, without any, the notebooks, and where
# Ray is installed the slow tests of several nodes and processes.
# All else goes to `python -m dlt`.
set -euo pipefail

root=$(dirname -- "$(readlink -f -- "$0")")
venv=$root/.venv
work=$root/.venv.building

say() { printf 'reproduce.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 2; }

# What this command needs of pyproject.toml and python $1 lacks: its dependencies, and those of the extras in $extras.
# Reads versions only: importing torch takes seconds.
missing() {
    # shellcheck disable=SC2086  # $extras is one word an extra; old bash takes an empty array for unset
    "$1" - "$root/pyproject.toml" $extras 2>/dev/null <<'EOF' || echo "a working Python >= 3.11"
import re, sys, tomllib
from importlib.metadata import PackageNotFoundError, version

def lacks(requirement):
    name, *bound = requirement.split(">=")
    try:
        have = version(name)
    except PackageNotFoundError:
        return True
    return any([int(n) for n in re.findall(r"\d+", have)] < [int(n) for n in b.split(".")] for b in bound)

_, path, *extras = sys.argv
with open(path, "rb") as file:
    project = tomllib.load(file)["project"]
needed = project["dependencies"] + [r for extra in extras for r in project["optional-dependencies"][extra]]
print(*filter(lacks, needed), sep=", ", end="")
EOF
}

built() { [[ -x $venv/bin/python ]] && cmp -s "$root/requirements.lock" "$venv/requirements.lock"; }

# Until file descriptor 9 is closed, by a kill as well. macOS has no flock command, but perl.
lock() {
    if ! command -v flock >/dev/null; then perl -e 'open LOCK, ">&=9" and flock LOCK, 2 or die "$!\n"'
    elif ! flock --nonblock 9; then say "waiting for another reproduce.sh, which is setting up .venv"; flock 9
    fi
}

find_uv() {
    if uv --version &>/dev/null; then command -v uv; return; fi
    python3 -c '' &>/dev/null || die "needs uv or Python 3.11 to 3.14 and found neither: install one" \
        "of them, or name a Python that has all of pyproject.toml with DLT_PYTHON"
    # A system Python may lack venv or pip (Debian), or close its own packages to pip: --target is allowed.
    { python3 -m venv "$work/uv" && "$work/uv/bin/python" -m pip install --quiet uv; } &>/dev/null ||
        python3 -m pip install --quiet --target "$work/uv" uv >&2 ||
        die "could not install uv with python3: it needs the network, and python3's venv or pip module"
    echo "$work/uv/bin/uv"
}

# Built beside its place and moved there when complete, so a killed build never looks like an environment;
# the next call starts it again, from the downloads that uv has cached.
build() {
    local uv size="3.2 GB to download, 6 GB on disk"
    [[ $(uname) == Linux ]] || size="0.3 GB to download, 1 GB on disk"  # Linux's torch brings CUDA along
    rm -rf "$work"
    mkdir "$work"
    uv=$(find_uv)
    # Python 3.15 has no wheels for some of the locked versions yet.
    "$uv" venv --quiet --no-project --relocatable --prompt dlt --python '>=3.11,<3.15' "$work/env" ||
        die "needs Python 3.11 to 3.14: none is here and uv could not fetch one"
    say "${1:+$1; }setting up $venv, once: $size" \
        "($(df -Pk "$root" | awk 'NR == 2 { print int($4 * 1024 / 1e9) }') GB are free)"
    "$uv" pip sync --python "$work/env" "$root/requirements.lock" ||
        die "could not set up .venv (see above); the same command again goes on from what is downloaded"
    cp "$root/requirements.lock" "$work/env"
    [[ ! -e $venv ]] || mv "$venv" "$work/old"
    mv "$work/env" "$venv"
    rm -rf "$work"
}

# Sets $python: the one named by the user, else of the active environment, else of .venv.
find_python() {
    local candidate lacks note=""
    if [[ -n ${DLT_PYTHON:-} ]]; then
        lacks=$(missing "$DLT_PYTHON")
        [[ -z $lacks ]] || die "DLT_PYTHON=$DLT_PYTHON lacks $lacks"
        python=$DLT_PYTHON
        return
    fi
    for candidate in "${VIRTUAL_ENV:-}" "${CONDA_PREFIX:-}"; do
        [[ -n $candidate ]] || continue
        python=$candidate/bin/python
        lacks=$(missing "$python")
        [[ -n $lacks ]] || return 0
        note="the active $candidate lacks $lacks"
    done
    python=$venv/bin/python
    if [[ -e $venv && ! -e $venv/requirements.lock ]]; then  # not built here: use it or leave it alone
        lacks=$(missing "$python")
        [[ -z $lacks ]] || die "$venv was made by other means and lacks $lacks: complete it or move it away"
    elif ! built; then
        (lock; built || build "$note") 9>"$root/.venv.lock"
    fi
}

case ${1:-} in
    test) extras="artifact test" ;;
    notebooks) extras="artifact" ;;
    *) extras="" ;;
esac
find_python
# Our dlt wins over an installed namesake (-P drops the current folder from the front); a method of the user's
# own is found where they stand.
export PYTHONPATH=$root:$PWD${PYTHONPATH:+:$PYTHONPATH}

if [[ ${1:-} == test ]]; then
    shift
    cd "$root"
    "$python" -m ruff check .
    "$python" -m ruff format --check --quiet .
    "$python" -m pytest --numprocesses auto --dist loadfile "$@"
    if [[ $# == 0 ]] && compgen -G 'notebooks/*.ipynb' >/dev/null; then
        "$python" -m pytest --numprocesses auto --dist loadfile --nbval --nbval-current-env notebooks
    fi
    if [[ $# == 0 ]] && "$python" -c 'import ray' 2>/dev/null; then  # the extra `cluster`: some minutes more
        "$python" -m pytest -m slow tests/test_cluster.py tests/test_distributed.py
    fi
else
    exec "$python" -P -m dlt "$@"
fi
