"""Where the code lies, and where a user's runs and data go."""

from pathlib import Path

from dlt.harness.errors import InputError

SOURCE = Path(__file__).resolve().parents[2]  # the folder of the packages dlt and baselines
IS_CHECKOUT = (SOURCE / "pyproject.toml").is_file()
COMMAND = "./reproduce.sh" if IS_CHECKOUT else "noisy-labels"
# In a checkout all is in it, wherever the command is given; of an installed package it is where the user stands.
ROOT = SOURCE if IS_CHECKOUT else Path.cwd()


def require_checkout(command: str) -> None:
    """InputError for a `command` that reads or writes what only the repository holds, where there is none."""
    if not IS_CHECKOUT:
        raise InputError(
            f"{command}: needs a checkout of the repository, with its records, notebooks and figures; "
            f"dlt is installed as a package, in {SOURCE}"
        )


def shown(path: Path) -> str:
    """A path as short as it can be given where the user stands."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
