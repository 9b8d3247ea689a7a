"""The contract between the harness and a method.

A method says what to draw, what to minimise and what to remember. The harness (`training.py`) owns
device, precision, optimiser, schedule, augmentation, evaluation, records and checkpoints; a method
reaches what it needs through `self.run`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from dlt.harness.errors import InputError
from dlt.harness.own_code import is_own, resolve

# Names, not imports: the harness knows no method, and a user's "package.module:Class" works the same way.
METHODS = {
    "ce": ("baselines.robust_losses:CE", {}),
    "sce": ("baselines.robust_losses:SCE", {}),
    "apl": ("baselines.robust_losses:APL", {}),
    "mae": ("baselines.robust_losses:MAE", {}),
    "gce": ("baselines.robust_losses:GCE", {}),
    "eps-softmax": ("baselines.robust_losses:EpsilonSoftmax", {}),
    "m-correction": ("baselines.m_correction:MCorrection", {}),
    "f-correction": ("baselines.f_correction:FCorrection", {}),
    "dividemix": ("baselines.dividemix:DivideMix", {}),
    "dividemix-dlt": ("baselines.dividemix:DivideMixDLT", {}),
    "elr": ("baselines.early_learning:ELR", {}),
    "elr-plus": ("baselines.elr_plus:ELRPlus", {}),
    "sop": ("baselines.sop:SOP", {}),
    "sop-plus": ("baselines.sop:SOPPlus", {}),
    "cores2": ("baselines.sieves:CORES2", {}),
    "co-teaching": ("baselines.sieves:CoTeaching", {}),
    "pes": ("baselines.pes:PES", {}),
    "ssr": ("baselines.ssr:SSR", {}),
    "mlnt": ("baselines.mlnt:MLNT", {}),
    "dlt-last-epoch": ("dlt.algorithm:DLT", {"strategy": "last-epoch"}),
    "dlt-window": ("dlt.algorithm:DLT", {"strategy": "window"}),
    "dlt-auto": ("dlt.calibrated:CalibratedDLT", {"strategy": "window"}),
}


@dataclass
class Batch:
    """One step: the rows to draw and the network to train. A method may subclass it to add its own."""

    index: Tensor  # (B,) int64 rows of the training set
    network: int = 0


class Method:
    """Subclass this, override `loss`, and name the class `package.module:Class` on the command line."""

    networks = 1
    keeps_losses = False
    """Whether runs keep un-augmented losses for the estimates of Section 3.2 where nothing else is asked for."""

    @dataclass(frozen=True)
    class Config:
        """The method's own hyper-parameters; the defaults are the paper's."""

    def __init__(self, config, run):
        """`config` is this class's Config; `run` is the harness's `Run`: data, networks, keyed randomness."""
        self.config = config
        self.run = run

    @classmethod
    def setting_defaults(cls, run_config) -> dict:
        """Hyper-parameters that depend on profile, data set or noise: they replace Config's defaults."""
        return {}

    @classmethod
    def check(cls, run_config, config) -> None:
        """Raise ValueError when this method cannot be run so."""

    @classmethod
    def requires(cls, run_config):
        """The RunConfig of a run that must be finished before this one, or None; see `Run.required_network`."""
        return None

    @classmethod
    def epoch_cost(cls, epoch: int, run_config) -> float:
        """The work of an epoch in epochs of CE training (forward 1, backward 2, per image)."""
        return 1.0

    def start_epoch(self, epoch: int) -> None:
        """Called before the batches of `epoch`, which counts from 1."""

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The steps of an epoch: by default one shuffled pass, the short last batch included."""
        return self.run.shuffled_batches()

    def loss(self, batch: Batch) -> Tensor:
        """The scalar to minimise for `batch`. Pass per-sample losses to `self.run.record`."""
        raise NotImplementedError

    def predict(self, images: Tensor) -> Tensor:
        """(B, C) logits of normalised images, in evaluation mode."""
        return self.run.forward(images)

    def metrics(self) -> dict[str, float | Tensor]:
        """Numbers of the method's own for this epoch's row of epochs.csv."""
        return {}

    def state(self) -> dict:
        """Tensors and numbers that a resumed run needs."""
        return {}

    def load_state(self, state: dict) -> None:
        """Take back what `state` gave."""


def preset_options(name: str) -> dict:
    """The options that a method id stands for; none for a class of the user's own."""
    _, preset = METHODS.get(name, (name, {}))
    return preset


def load_method(name: str) -> type[Method]:
    """The class of a method id or of `package.module:Class`."""
    if name not in METHODS and not is_own(name):
        raise InputError(f"method: {name!r} is not one of {', '.join(METHODS)}, nor a package.module:Class")
    path, _ = METHODS.get(name, (name, {}))
    method = resolve("method", path)
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise InputError(f"method: {path!r} is not a subclass of dlt.Method")
    return method
