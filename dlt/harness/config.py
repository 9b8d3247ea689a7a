"""What a run is: one frozen configuration, checked when it is made."""

import dataclasses
import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from dlt.harness.arrays import sha256_of
from dlt.harness.errors import InputError
from dlt.harness.label_noise import HUMAN_NOISES, NOISES
from dlt.harness.method import load_method, preset_options
from dlt.harness.networks import check_network
from dlt.harness.own_code import is_own, sha256_of_file
from dlt.harness.own_noise import load_noise
from dlt.harness.settings import OWN_FILES, Schedule, Setting, check_fields, schedule_for, setting_for

# Raised by hand whenever a change alters what a run computes: old records then count as not run.
RESULTS_VERSION = 1

NUM_CLASSES = {"digits": 10, "cifar10": 10, "cifar100": 100, "clothing1m": 14}
# Data sets whose labels are noisy as they come, and their published noise rate: none is put in.
REAL_NOISE = {"clothing1m": 0.38}
ASSUMED_RATES = ("nominal", "realised", "estimated")
HARD_SAMPLES = ("incomplete", "adversarial")  # Section 3.3
EPSILON = 8 / 255  # of the adversarial perturbation, in units of a pixel's range


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
    data_sha256: str = ""  # of the user's own arrays or list: another file under the same name is another run
    method_sha256: str = ""  # of the file of the user's own class: an edited method is another run
    noise_sha256: str = ""  # the same of the user's own noise
    results_version: int = RESULTS_VERSION

    @functools.cached_property
    def hash(self) -> str:
        """Ten hex digits of the sorted configuration. Neither device, workers nor folders take part.

        Fields that stand at their default are left out, so that a field added later renames no old run.
        """
        setting = _without_defaults(self.setting)
        del setting["early_epoch"]  # it acts through the losses that are kept, here or by a required run
        values = _without_defaults(self) | {
            "setting": setting,
            "dataset": self.dataset_name,
            "results_version": self.results_version,
        }
        if names := self._unforeseen_requirements():
            values["requires"] = names
        text = json.dumps(values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def _unforeseen_requirements(self) -> list[str]:
        """The names of the required runs of which the rest of the configuration does not tell everything."""
        early = setting_for(self.profile, self.dataset, epochs=self.setting.epochs).early_epoch
        usual = self.setting.early_epoch == early
        return [run.name for run in self.required if run.method_sha256 or not usual]

    @property
    def dataset_name(self) -> str:
        return Path(self.dataset).stem if self.dataset.endswith(OWN_FILES) else self.dataset

    @property
    def noise_name(self) -> str:
        """symmetric0.4, human-worse, my_noise:flip0.4."""
        return self.noise + ("" if self.noise in ("none", *HUMAN_NOISES) else f"{self.noise_rate:g}")

    @property
    def name(self) -> str:
        """The folder of the run: readable first, then the hash."""
        noise = self.noise_name + ("" if self.hard == "none" else f"-{self.hard}")
        readable = f"{self.dataset_name}-{noise}-{self.method}-s{self.seed}".replace(":", ".")
        return f"{readable}-{self.hash}"

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
    def schedule(self) -> Schedule:
        """What `setting_defaults` of a method with phases starts from."""
        return schedule_for(self.profile, self.dataset, self.setting.epochs)

    @functools.cached_property
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
    values = {field.name: (getattr(config, field.name), field.default) for field in dataclasses.fields(config)}
    return {name: value for name, (value, default) in values.items() if value != default}


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
    setting = setting_for(profile, dataset, **overrides)
    method_class = load_method(method)
    check_network(setting.network)  # after the user's own module, which may bring one
    if dataset in REAL_NOISE and assumed_rate == "nominal":
        assumed_rate = REAL_NOISE[dataset]
    if noise in HUMAN_NOISES:
        noise_rate = noise_rate or HUMAN_NOISES[noise][2]
    _check_noise(dataset, noise, noise_rate)
    _check_vectors(profile, noise, hard)
    _check_assumed_rate(assumed_rate, noise, dataset, setting)
    _check_hard(hard, epsilon, dataset, setting)
    if not 0 <= seed < 2**32:
        raise InputError(f"seed: {seed} is outside [0, 2^32)")
    if loss_epochs is None:
        loss_epochs = setting.estimation_epochs if method_class.keeps_losses else ()
    if any(not 1 <= epoch <= setting.epochs for epoch in loss_epochs):
        raise InputError(f"loss-epochs: {list(loss_epochs)} are not all in 1..{setting.epochs}")
    if dataset.endswith(OWN_FILES) and not Path(dataset).is_file():
        raise InputError(f"dataset: {dataset} is not a file")
    config = RunConfig(
        profile=profile,
        dataset=dataset,
        method=method,
        noise=noise,
        noise_rate=float(noise_rate),
        seed=seed,
        assumed_rate=assumed_rate,
        setting=setting,
        method_config={},
        loss_epochs=tuple(sorted({*loss_epochs, setting.epochs})),
        hard=hard,
        epsilon=epsilon if hard == "adversarial" else EPSILON,
        data_sha256=sha256_of(dataset) if dataset.endswith(OWN_FILES) else "",
        method_sha256=sha256_of_file(method_class) if is_own(method) else "",
        noise_sha256=sha256_of_file(load_noise(noise)) if is_own(noise) else "",
    )
    return dataclasses.replace(config, method_config=_method_config(config, options or {}))


def _check_noise(dataset: str, noise: str, noise_rate: float) -> None:
    if (dataset in REAL_NOISE or dataset.endswith(".json")) and noise != "none":
        raise InputError(f"noise: {noise!r}; the labels of {dataset} are noisy as they come: give none")
    if noise not in NOISES and not is_own(noise):
        raise InputError(f"noise: {noise!r} is not one of {', '.join(NOISES)}, nor a module:function")
    if noise in HUMAN_NOISES and dataset != HUMAN_NOISES[noise][0]:
        raise InputError(f"noise: {noise!r} are labels of {HUMAN_NOISES[noise][0]}, not of {dataset}")
    if not 0 <= noise_rate < 1:
        raise InputError(f"noise-rate: {noise_rate} is outside [0, 1)")
    if noise == "none" and noise_rate:
        raise InputError(f"noise-rate: {noise_rate} with --noise none; give a noise, or 0")


def _check_vectors(profile: str, noise: str, hard: str) -> None:
    if profile == "features" and noise == "instance":
        raise InputError("noise: 'instance' is made of pixels; profile features has none")
    if profile == "features" and noise in HUMAN_NOISES:
        raise InputError(f"noise: {noise!r} are labels of images; put them into the archive of features")
    if profile == "features" and hard != "none":
        raise InputError(f"hard: {hard!r} copies are made of pixels; profile features has none")


def _check_assumed_rate(rate: str | float, noise: str, dataset: str, setting: Setting) -> None:
    if not isinstance(rate, str):
        if not 0 <= rate < 1:
            raise InputError(f"assumed-rate: {rate} is outside [0, 1)")
        return
    if rate not in ASSUMED_RATES:
        raise InputError(f"assumed-rate: {rate!r} is not {', '.join(ASSUMED_RATES)} or a number in [0, 1)")
    if rate == "estimated" and setting.epoch_samples:
        raise InputError(f"assumed-rate: 'estimated' needs the losses of all rows, which runs on {dataset} do not keep")
    if rate == "realised" and noise == "none":
        raise InputError("assumed-rate: 'realised' with noise none, where it is not known; give a number, or nominal")


def _check_hard(hard: str, epsilon: float, dataset: str, setting: Setting) -> None:
    if hard not in ("none", *HARD_SAMPLES):
        raise InputError(f"hard: {hard!r} is not one of none, {', '.join(HARD_SAMPLES)}")
    if hard != "none" and (setting.epoch_samples or dataset.endswith(".json")):
        raise InputError(f"hard: {hard!r} needs all images at once, and {dataset} is read from files")
    if not 0 < epsilon <= 1:
        raise InputError(f"epsilon: {epsilon} is outside (0, 1]")


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
    """The configuration that a run.json holds; old ones also have the schedule in their setting."""
    names = {field.name for field in dataclasses.fields(Setting)}
    setting = Setting(**{name: value for name, value in values["setting"].items() if name in names})
    return RunConfig(**values | {"setting": setting, "loss_epochs": tuple(values["loss_epochs"])})


def _method_config(config: RunConfig, options: dict) -> dict:
    """The method's hyper-parameters: its class's defaults, then this setting's, then the user's."""
    method, preset = load_method(config.method), preset_options(config.method)
    check_fields(config.method, method.Config, options)
    method_config = method.Config(**method.setting_defaults(config) | preset | options)
    try:
        method.check(config, method_config)
    except ValueError as error:
        raise InputError(f"{config.method}: {error}") from error
    return dataclasses.asdict(method_config)
