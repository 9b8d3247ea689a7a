"""The one table of settings that all methods share: how long, how fast and on what network each profile trains."""

import dataclasses
import math
from dataclasses import dataclass
from typing import get_args

from dlt.harness.errors import InputError


@dataclass(frozen=True)
class Setting:
    """How every method alike is trained in one profile on one data set (Section 4.1 for `paper`)."""

    network: str
    epochs: int
    drop_after: int  # the learning rate is divided by 10 after this epoch
    batch_size: int  # b
    learning_rate: float
    early_epoch: int  # whose losses Section 3.2 compares with those of the last epoch: 30 of 300
    compile: bool = False  # whether DLT's and DivideMix's steps are compiled to one graph
    precision: str = "fp32"  # of convolutions and matrix products, "bf16" where the device has it; losses are fp32
    threads: int | None = None  # CPU threads of a run; they decide the last bits, so they are part of it
    momentum: float = 0.9
    weight_decay: float = 5e-4
    processes: int = 1  # that share the run (torchrun); batch norm sees a process's rows, so they are part of it
    epoch_samples: int = 0  # rows of an epoch, drawn anew with the noisy labels in balance; 0: all rows, always

    @property
    def estimation_epochs(self) -> tuple[int, ...]:
        """Early epochs at which plain CE runs keep their losses, for every estimate of Section 3.2."""
        shares = (0.02, 0.04, 0.06, 0.08, 0.15, 0.2, 0.3, 0.4)
        return tuple(sorted({self.early_epoch, *(max(1, round(share * self.epochs)) for share in shares)}))


@dataclass(frozen=True)
class Schedule:
    """The phases of a profile: defaults of the hyper-parameters of these names, in the methods that have them."""

    warmup_epochs: int  # T_warm
    decay_epochs: int  # T_grad of Eq. 7
    ramp_epochs: int  # the weight of the noisy loss grows linearly over these epochs after warm-up
    window: int  # s, in batches


_MINI = Setting("preact-mini", 100, 50, 128, 0.02, early_epoch=10, precision="bf16", threads=1)
_SHORT = Setting("preact-resnet18", 40, 20, 128, 0.02, early_epoch=5, precision="bf16")
_PAPER = Setting("preact-resnet18", 300, 150, 128, 0.02, early_epoch=30, precision="bf16")

# One row a (profile, data set). What stands here holds for all methods.
SETTINGS = {
    ("digits", "digits"): Setting("preact-digits", 60, 30, 64, 0.02, early_epoch=6, threads=1),
    ("mini", "cifar10"): _MINI,
    # Twice as long as CIFAR-10's: cross-entropy's Best minus Last is 5.3 points so, 1.6 in 100 epochs (seed 11).
    ("mini", "cifar100"): dataclasses.replace(_MINI, epochs=200, drop_after=100, early_epoch=20),
    ("short", "cifar10"): _SHORT,
    ("short", "cifar100"): _SHORT,
    ("paper", "cifar10"): _PAPER,
    ("paper", "cifar100"): _PAPER,
    # Vectors: embeddings, tables. The digits' 64 pixels stand for what counts, the user's own.
    ("features", "digits"): Setting("mlp", 60, 60, 100, 0.02, early_epoch=6, threads=1),
    # DivideMix's recipe; its batch is 32 labelled and 32 unlabelled images, its epoch 1,000 batches of 32.
    ("paper", "clothing1m"): Setting(
        "resnet50", 80, 40, 64, 0.002, early_epoch=8, precision="bf16", weight_decay=1e-3, epoch_samples=32000
    ),
}
SCHEDULES = {
    ("digits", "digits"): Schedule(warmup_epochs=10, decay_epochs=12, ramp_epochs=8, window=10),
    ("mini", "cifar10"): Schedule(warmup_epochs=16, decay_epochs=16, ramp_epochs=16, window=20),
    ("mini", "cifar100"): Schedule(warmup_epochs=32, decay_epochs=16, ramp_epochs=16, window=40),
    ("short", "cifar10"): Schedule(warmup_epochs=5, decay_epochs=5, ramp_epochs=8, window=200),
    ("short", "cifar100"): Schedule(warmup_epochs=10, decay_epochs=5, ramp_epochs=8, window=200),
    ("paper", "cifar10"): Schedule(warmup_epochs=10, decay_epochs=10, ramp_epochs=16, window=200),
    ("paper", "cifar100"): Schedule(warmup_epochs=30, decay_epochs=10, ramp_epochs=16, window=200),
    ("features", "digits"): Schedule(warmup_epochs=10, decay_epochs=10, ramp_epochs=0, window=10),
    ("paper", "clothing1m"): Schedule(warmup_epochs=1, decay_epochs=10, ramp_epochs=16, window=200),
}
OWN_FILES = (".npz", ".json")  # how names of data sets of the user's own end: arrays, listed pictures
PROFILES = tuple(dict.fromkeys(profile for profile, _ in SETTINGS))


def resolve_profile(name: str, device: str) -> str:
    """`auto` is short on a GPU (`device` "cuda") and digits on a CPU; InputError for an unknown profile."""
    if name == "auto":
        return "short" if device == "cuda" else "digits"
    if name not in PROFILES:
        raise InputError(f"profile: {name!r} is not one of auto, {', '.join(PROFILES)}")
    return name


def first_dataset(profile: str) -> str:
    """The data set that a profile trains on where none is named; InputError for an unknown profile."""
    if profile not in PROFILES:
        raise InputError(f"profile: {profile!r} is not one of {', '.join(PROFILES)}")
    return next(dataset for own, dataset in SETTINGS if own == profile)


def _row(profile: str, dataset: str) -> tuple[str, str]:
    """The key of the tables above; the user's own arrays (.npz) are trained as the profile's first data set is.

    Pictures that are listed (.json) are trained as Clothing1M is.
    """
    first = first_dataset(profile)
    if dataset.endswith(".json"):
        return _row(profile, "clothing1m")
    if dataset.endswith(".npz"):
        return profile, first
    if (profile, dataset) not in SETTINGS:
        allowed = ", ".join(f"{d} ({p})" for p, d in SETTINGS)
        raise InputError(f"dataset: {dataset!r} is not run in profile {profile!r}; allowed: {allowed}, or a .npz file")
    return profile, dataset


def _scaled(epochs: int, factor: float) -> int:
    """A part of a schedule when the whole has `factor` times its epochs; no part vanishes."""
    return max(1, round(epochs * factor)) if epochs else 0


def setting_for(profile: str, dataset: str, **overrides) -> Setting:
    """The row of SETTINGS with some fields replaced; InputError for a combination or a value that cannot be.

    Other `epochs` move `drop_after` and `early_epoch` in proportion, where these are not given.
    """
    row = SETTINGS[_row(profile, dataset)]
    check_fields("setting", Setting, overrides)
    factor = overrides.get("epochs", row.epochs) / row.epochs
    moved = {name: _scaled(getattr(row, name), factor) for name in ("drop_after", "early_epoch")}
    setting = dataclasses.replace(row, **moved | overrides)
    _check(setting)
    return setting


def schedule_for(profile: str, dataset: str, epochs: int | None = None) -> Schedule:
    """The row of SCHEDULES, its phases in proportion to the `epochs` of training (default: the profile's)."""
    row = _row(profile, dataset)
    factor = 1.0 if epochs is None else epochs / SETTINGS[row].epochs
    schedule = SCHEDULES[row]
    phases = ("warmup_epochs", "decay_epochs", "ramp_epochs")
    return dataclasses.replace(schedule, **{name: _scaled(getattr(schedule, name), factor) for name in phases})


def check_fields(owner: str, cls, values: dict) -> None:
    """InputError unless `values` have names and types of fields of the dataclass `cls`."""
    fields = {field.name: field.type for field in dataclasses.fields(cls)}
    for name, value in values.items():
        if name not in fields:
            phases = cls is Setting and name in {field.name for field in dataclasses.fields(Schedule)}
            there = f"there is {', '.join(fields)}" if fields else "there is nothing to set"
            option = f"it is an option of the methods that have it: --option {name}={value}"
            raise InputError(f"{owner}: no {name!r}; {option if phases else there}")
        _check_type(f"{owner}: {name}", fields[name], value)


def _check_type(what: str, kind, value) -> None:
    if isinstance(kind, str):  # a user's own class with annotations that were left as text
        return
    if float in (kind, *get_args(kind)):
        kind = int | kind
    if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
        raise InputError(f"{what}: {value!r} is not {getattr(kind, '__name__', kind)}")


def _check(setting: Setting) -> None:
    for name in ("epochs", "batch_size", "threads", "processes"):
        value = getattr(setting, name)
        if value is not None and value < 1:
            raise InputError(f"setting: {name}: {value} is not at least 1")
    for name in ("drop_after", "learning_rate", "momentum", "weight_decay", "epoch_samples"):
        if not 0 <= getattr(setting, name) < math.inf:
            raise InputError(f"setting: {name}: {getattr(setting, name)} is not at least 0 and finite")
    if setting.drop_after > setting.epochs:
        raise InputError(
            f"setting: drop_after: {setting.drop_after} is more than all of {setting.epochs} epochs; "
            "leave it out, and it follows epochs"
        )
    if not 1 <= setting.early_epoch <= setting.epochs:
        raise InputError(f"setting: early_epoch: {setting.early_epoch} is outside 1..{setting.epochs}")
    if setting.precision not in ("fp32", "bf16"):
        raise InputError(f"setting: precision: {setting.precision!r} is not fp32 or bf16")
