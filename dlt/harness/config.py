"""What a run is: one frozen configuration, and the one table of settings that all methods share."""

import dataclasses
import hashlib
import inspect
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from dlt.harness.arrays import sha256_of
from dlt.harness.errors import InputError
from dlt.harness.label_noise import HUMAN_NOISES, NOISES
from dlt.harness.method import HARD_SAMPLES, load_method, preset_options
from dlt.harness.networks import check_network

# Raised by hand whenever a change alters what a run computes: old records then count as not run.
RESULTS_VERSION = 1

NUM_CLASSES = {"digits": 10, "cifar10": 10, "cifar100": 100, "clothing1m": 14}
# Data sets whose labels are noisy as they come, and their published noise rate: none is put in.
REAL_NOISE = {"clothing1m": 0.38}
ASSUMED_RATES = ("nominal", "realised", "estimated")
EPSILON = 8 / 255  # of the adversarial perturbation, in units of a pixel's range


@dataclass(frozen=True)
class Setting:
    """How every method alike is trained in one profile on one data set (Section 4.1 for `paper`)."""

    network: str
    epochs: int
    drop_after: int  # the learning rate is divided by 10 after this epoch
    batch_size: int  # b
    learning_rate: float
    warmup_epochs: int  # T_warm
    decay_epochs: int  # T_grad
    window: int  # s, in batches
    ramp_epochs: int  # the weight of the noisy loss grows linearly over these epochs after warm-up
    early_epoch: int  # whose losses Section 3.2 compares with those of the last epoch: 30 of 300
    compile: bool = False  # whether DLT's and DivideMix's steps are compiled to one graph
    precision: str = "fp32"  # of convolutions and matrix products; losses and thresholds are always fp32
    threads: int | None = None  # CPU threads of a run; they decide the last bits, so they are part of it
    momentum: float = 0.9
    weight_decay: float = 5e-4
    processes: int = 1  # that share the run (torchrun); batch norm sees a process's rows, so they are part of it
    epoch_samples: int = 0  # rows of an epoch, drawn anew with the noisy labels in balance; 0: all rows, always

    @property
    def estimation_epochs(self) -> tuple[int, ...]:
        """Early epochs at which plain CE runs keep their losses, for every estimate of Section 3.2."""
        shares = (0.02, 0.04, 0.06, 0.08, 0.15, 0.2, 0.3, 0.4)
        early = min(self.early_epoch, self.epochs)
        return tuple(sorted({early, *(max(1, round(share * self.epochs)) for share in shares)}))


_DIGITS = Setting("preact-digits", 60, 30, 64, 0.02, 10, 12, 10, 8, 6, threads=1)
_MINI = Setting("preact-mini", 100, 50, 128, 0.05, 16, 16, 20, 16, 10, threads=1)
_SHORT = Setting("preact-resnet18", 40, 20, 128, 0.02, 5, 5, 200, 8, 5, precision="bf16")
_PAPER = Setting("preact-resnet18", 300, 150, 128, 0.02, 10, 10, 200, 16, 30, precision="bf16")
# DivideMix's recipe; its batch is 32 labelled and 32 unlabelled images, its epoch 1,000 batches of 32.
_CLOTHING = Setting(
    "resnet50", 80, 40, 64, 0.002, 1, 10, 200, 16, 8, precision="bf16", weight_decay=1e-3, epoch_samples=32000
)

# Fields that say nothing about a run beyond its `method_config` and `loss_epochs`.
THROUGH_METHOD = {"warmup_epochs", "decay_epochs", "window", "ramp_epochs", "early_epoch"}

# One row a (profile, data set). What stands here holds for all methods.
SETTINGS = {
    ("digits", "digits"): _DIGITS,
    ("mini", "cifar10"): _MINI,
    ("short", "cifar10"): _SHORT,
    ("short", "cifar100"): dataclasses.replace(_SHORT, warmup_epochs=10),
    ("paper", "cifar10"): _PAPER,
    ("paper", "cifar100"): dataclasses.replace(_PAPER, warmup_epochs=30),
    ("paper", "clothing1m"): _CLOTHING,
}
PROFILES = tuple(dict.fromkeys(profile for profile, _ in SETTINGS))
# The user's own arrays (.npz) are trained as the profile's first data set is.
_ARRAYS = {profile: next(v for (p, _), v in SETTINGS.items() if p == profile) for profile in PROFILES}


def setting_for(profile: str, dataset: str) -> Setting:
    """The row of SETTINGS; InputError for a combination that is not there."""
    if profile not in PROFILES:
        raise InputError(f"profile: {profile!r} is not one of {', '.join(PROFILES)}")
    if dataset.endswith(".npz"):
        return _ARRAYS[profile]
    if (profile, dataset) not in SETTINGS:
        allowed = ", ".join(f"{d} ({p})" for p, d in SETTINGS)
        raise InputError(f"dataset: {dataset!r} is not run in profile {profile!r}; allowed: {allowed}, or a .npz file")
    return SETTINGS[profile, dataset]


def resolve_profile(name: str, device: str) -> str:
    """`auto` is short on a GPU (`device` "cuda") and digits on a CPU; InputError for an unknown profile."""
    if name == "auto":
        return "short" if device == "cuda" else "digits"
    if name not in PROFILES:
        raise InputError(f"profile: {name!r} is not one of auto, {', '.join(PROFILES)}")
    return name


@dataclass(frozen=True)
class RunConfig:
    """One run, whole: equal configurations give equal results on the same machine.

    `assumed_rate` is the w of Eq. 7 that a method believes (one of ASSUMED_RATES or a number); `noise_rate` is
    what is put into the labels. `method_config` holds every hyper-parameter of the method. `hard` adds one hard
    copy of every clean row (Section 3.3). Un-augmented losses of all training samples are kept at `loss_epochs`,
    but none where an epoch has `epoch_samples`: Clothing1M's million would fill the record.
    """

    profile: str
    dataset: str
    method: str
    noise: str
    noise_rate: float
    seed: int
    assumed_rate: str | float
    setting: Setting
    method_config: dict
    loss_epochs: tuple = ()
    hard: str = "none"
    epsilon: float = EPSILON
    data_sha256: str = ""  # of the user's own arrays: another file under the same name is another run
    method_sha256: str = ""  # of the file of the user's own class: an edited method is another run
    results_version: int = RESULTS_VERSION

    @property
    def hash(self) -> str:
        """Ten hex digits of the sorted configuration. Neither device, workers nor folders take part.

        Fields that stand at their default are left out, so that a field added later renames no old run,
        and so are those of the setting that act through `method_config` or `loss_epochs` alone.
        """
        setting = _without_defaults(self.setting)
        values = _without_defaults(self) | {"setting": {k: v for k, v in setting.items() if k not in THROUGH_METHOD}}
        values |= {"dataset": self.dataset_name, "results_version": self.results_version}
        text = json.dumps(values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    @property
    def dataset_name(self) -> str:
        return Path(self.dataset).stem if self.dataset.endswith(".npz") else self.dataset

    @property
    def noise_name(self) -> str:
        """symmetric0.4, human-worse."""
        return self.noise + ("" if self.noise in ("none", *HUMAN_NOISES) else f"{self.noise_rate:g}")

    @property
    def name(self) -> str:
        """The folder of the run: readable first, then the hash."""
        noise = self.noise_name + ("" if self.hard == "none" else f"-{self.hard}")
        method = self.method.replace(":", ".")
        return f"{self.dataset_name}-{noise}-{method}-s{self.seed}-{self.hash}"

    @property
    def num_classes(self) -> int:
        if self.dataset not in NUM_CLASSES:
            from dlt.harness.datasets import load

            return load(self.dataset, self.profile).num_classes
        return NUM_CLASSES[self.dataset]

    @property
    def believed_rate(self) -> float:
        """The assumed rate as far as it is known before the labels are: for tables of hyper-parameters."""
        return self.noise_rate if isinstance(self.assumed_rate, str) else self.assumed_rate

    @property
    def required(self) -> list["RunConfig"]:
        """The runs that must be finished in the same store before this one, in the order to train them."""
        runs = [
            clean_ce_config(self) if self.hard == "adversarial" else None,
            ce_config(self) if self.assumed_rate == "estimated" else None,
            load_method(self.method).requires(self),
        ]
        return list({r.name: r for run in runs if run is not None for r in [*run.required, run]}.values())

    @property
    def cost(self) -> float:
        """Work in epochs of plain CE training, by the method's cost model."""
        method = load_method(self.method)
        rows = 1 if self.hard == "none" else 2 - self.noise_rate  # with a copy of every clean one
        return rows * sum(method.epoch_cost(epoch, self) for epoch in range(1, self.setting.epochs + 1))


def _without_defaults(config) -> dict:
    fields = {field.name: field.default for field in dataclasses.fields(config)}
    return {name: value for name, value in vars(config).items() if value != fields[name]}


def make_config(
    profile: str,
    dataset: str,
    method: str,
    noise: str = "symmetric",
    noise_rate: float = 0.0,
    *,
    seed: int = 1,
    assumed_rate: str | float = "nominal",
    options: dict | None = None,
    loss_epochs: tuple | None = None,
    hard: str = "none",
    epsilon: float = EPSILON,
    **overrides,
) -> RunConfig:
    """Check every field and fill in what is not given. Raises InputError naming field and value.

    `options` are hyper-parameters of the method; `overrides` are fields of `Setting`; `loss_epochs` None are
    those of the method.
    """
    setting = setting_for(profile, dataset)
    _check_fields("setting", Setting, overrides)
    setting = dataclasses.replace(setting, **overrides)
    _check_setting(setting)
    if dataset in REAL_NOISE:
        if noise != "none":
            raise InputError(f"noise: {noise!r}; the labels of {dataset} are noisy as they come: give none")
        assumed_rate = REAL_NOISE[dataset] if assumed_rate == "nominal" else assumed_rate
    if noise not in NOISES:
        raise InputError(f"noise: {noise!r} is not one of {', '.join(NOISES)}")
    if noise in HUMAN_NOISES:
        of_dataset, _, published = HUMAN_NOISES[noise]
        if dataset != of_dataset:
            raise InputError(f"noise: {noise!r} are labels of {of_dataset}, not of {dataset}")
        noise_rate = noise_rate or published
    if not 0 <= noise_rate < 1:
        raise InputError(f"noise-rate: {noise_rate} is outside [0, 1)")
    if noise == "none" and noise_rate:
        raise InputError(f"noise-rate: {noise_rate} with --noise none; give a noise, or 0")
    if isinstance(assumed_rate, str) and assumed_rate not in ASSUMED_RATES:
        raise InputError(f"assumed-rate: {assumed_rate!r} is not {', '.join(ASSUMED_RATES)} or a number in [0, 1)")
    if assumed_rate == "estimated" and setting.epoch_samples:
        raise InputError(f"assumed-rate: 'estimated' needs the losses of all rows, which runs on {dataset} do not keep")
    if hard not in ("none", *HARD_SAMPLES):
        raise InputError(f"hard: {hard!r} is not one of none, {', '.join(HARD_SAMPLES)}")
    if hard != "none" and setting.epoch_samples:
        raise InputError(f"hard: {hard!r} needs all images at once, and {dataset} is read from files")
    if not 0 < epsilon <= 1:
        raise InputError(f"epsilon: {epsilon} is outside (0, 1]")
    if noise == "none" and assumed_rate == "realised":
        raise InputError("assumed-rate: 'realised' with noise none, where it is not known; give a number, or nominal")
    if not isinstance(assumed_rate, str) and not 0 <= assumed_rate < 1:
        raise InputError(f"assumed-rate: {assumed_rate} is outside [0, 1)")
    if not 0 <= seed < 2**32:
        raise InputError(f"seed: {seed} is outside [0, 2^32)")
    method_class = load_method(method)
    check_network(setting.network)
    if loss_epochs is None:
        loss_epochs = setting.estimation_epochs if method_class.keeps_losses else ()
    if any(not 1 <= e <= setting.epochs for e in loss_epochs):
        raise InputError(f"loss-epochs: {list(loss_epochs)} are not all in 1..{setting.epochs}")
    epochs = tuple(sorted({*loss_epochs, setting.epochs}))
    if dataset.endswith(".npz") and not Path(dataset).is_file():
        raise InputError(f"dataset: {dataset} is not a file")
    digest = sha256_of(dataset) if dataset.endswith(".npz") else ""
    source = sha256_of(inspect.getfile(method_class)) if ":" in method else ""
    config = RunConfig(
        profile,
        dataset,
        method,
        noise,
        float(noise_rate),
        seed,
        assumed_rate,
        setting,
        {},
        epochs,
        hard,
        epsilon if hard == "adversarial" else EPSILON,
        digest,
        source,
    )
    return dataclasses.replace(config, method_config=_method_config(config, options or {}))


def _check_fields(owner: str, cls, values: dict) -> None:
    """Names and types of `values` as fields of the dataclass `cls`."""
    fields = {field.name: field.type for field in dataclasses.fields(cls)}
    for name, value in values.items():
        if name not in fields:
            raise InputError(f"{owner}: no {name!r}; there is {', '.join(fields) or 'nothing to set'}")
        kind = fields[name]
        if not isinstance(kind, str) and float in (kind, *get_args(kind)):
            kind = int | kind
        if not isinstance(kind, str) and (not isinstance(value, kind) or isinstance(value, bool) != (kind is bool)):
            raise InputError(f"{owner}: {name}: {value!r} is not {getattr(kind, '__name__', kind)}")


def _check_setting(setting: Setting) -> None:
    for name in ("epochs", "batch_size", "window", "threads", "processes"):
        if (value := getattr(setting, name)) is not None and value < 1:
            raise InputError(f"setting: {name}: {value} is not at least 1")
    for name in (
        "drop_after",
        "warmup_epochs",
        "decay_epochs",
        "ramp_epochs",
        "learning_rate",
        "momentum",
        "weight_decay",
        "epoch_samples",
    ):
        if not 0 <= getattr(setting, name) < math.inf:
            raise InputError(f"setting: {name}: {getattr(setting, name)} is not at least 0 and finite")
    if setting.precision not in ("fp32", "bf16"):
        raise InputError(f"setting: precision: {setting.precision!r} is not fp32 or bf16")


def ce_config(config: RunConfig) -> RunConfig:
    """Plain CE training on the same data, noise, seed and setting: the very run of the tables' CE row."""
    return make_config(
        config.profile,
        config.dataset,
        "ce",
        config.noise,
        config.noise_rate,
        seed=config.seed,
        hard=config.hard,
        epsilon=config.epsilon,
        **vars(config.setting),
    )


def clean_ce_config(config: RunConfig) -> RunConfig:
    """Plain CE training on the same data without label noise: the network that adversarial copies are made to fool."""
    return make_config(config.profile, config.dataset, "ce", "none", seed=config.seed, **vars(config.setting))


def config_from_dict(values: dict) -> RunConfig:
    """The configuration that a run.json holds."""
    setting = Setting(**values["setting"])
    return RunConfig(**values | {"setting": setting, "loss_epochs": tuple(values["loss_epochs"])})


def _method_config(config: RunConfig, options: dict) -> dict:
    """The method's hyper-parameters: its class's defaults, then this setting's, then the user's."""
    method, preset = load_method(config.method), preset_options(config.method)
    _check_fields(config.method, method.Config, options)
    method_config = method.Config(**method.setting_defaults(config) | preset | options)
    try:
        method.check(config, method_config)
    except ValueError as error:
        raise InputError(f"{config.method}: {error}") from error
    return dataclasses.asdict(method_config)
