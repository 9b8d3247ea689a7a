"""Which finished runs a user means: a run's folder, a folder of runs, a glob, or a method's name."""

import fnmatch
import glob
from pathlib import Path

from dlt.harness.config import RunConfig, make_config
from dlt.harness.errors import InputError
from dlt.harness.method import METHODS, load_method
from dlt.harness.own_code import is_own
from dlt.harness.places import shown
from dlt.harness.records import Record, read_record

RUN = "run.json"


def find_runs(texts: list[str], stores: list[Path]) -> list[Record]:
    """The finished runs that each of the `texts` means, in their order, each once; InputError where it means none.

    Of a method's name these are the runs in the `stores` as tables have them: with nothing changed from its defaults.
    """
    found: dict[str, Record] = {}
    for text in texts:
        records = [record for folder in _folders(text, stores) if (record := read_record(folder)) is not None]
        if not Path(text).exists() and _is_method(text):
            records = [record for record in records if record.config.method == text and _is_plain(record.config)]
        if not records:
            places = " and ".join(shown(store) for store in stores)
            raise InputError(f"run: {text!r} is no finished run, folder or glob of runs, nor a method run in {places}")
        for record in records:
            found.setdefault(record.folder.name, record)
    return [*found.values()]


def _is_method(text: str) -> bool:
    if is_own(text):
        load_method(text)  # InputError, if its file is not there
    return text in METHODS or is_own(text)


def _folders(text: str, stores: list[Path]) -> list[Path]:
    """Folders that may hold a run; a text that is no path is a glob of the names in the stores, or a method's name."""
    paths = [Path(text)] if Path(text).exists() else [Path(path) for path in sorted(glob.glob(text))]
    if paths:
        return [run.parent for path in paths for depth in ("", "*/", "*/*/") for run in sorted(path.glob(depth + RUN))]
    names = f"*-{text.replace(':', '.')}-s*" if text in METHODS or is_own(text) else text
    runs = (run.parent for store in stores for run in sorted(store.glob(f"*/*/{RUN}")))
    return [folder for folder in runs if fnmatch.fnmatch(folder.name, names)]


def _is_plain(config: RunConfig) -> bool:
    """Whether nothing was changed from the defaults of today; of data that are not at hand it is not asked."""
    noise = (config.noise, config.noise_rate)
    try:
        plain = make_config(config.profile, config.dataset, config.method, *noise, seed=config.seed, hard=config.hard)
    except InputError:
        return True
    return plain.name == config.name
