"""Networks that make features of pictures: pretrained ones by name, through timm, or that of a finished run."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from dlt.harness.datasets import load
from dlt.harness.errors import InputError
from dlt.harness.networks import TIMM, build_network, evaluating, load_weights, without_head
from dlt.harness.records import read_record

AUTO = "vit_small_patch14_dinov2.lvd142m"
SIDES = {AUTO: 224}  # pixels, where they are not the model's own: 518 would take seven times as long
WEIGHTS = "model.safetensors"  # of a model's repository
PATIENCE = 5  # seconds for an answer


@dataclass(frozen=True, eq=False)
class Start:
    """With what fine-tuning begins: a network of the harness by name, and the weights of all its layers but the last.

    `shape` is (C, H, W) of its pictures, with `mean` and `std` of each channel of pixels in [0, 1].
    """

    network: str
    weights: dict[str, Tensor]
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Backbone:
    """`network` makes features (B, D) of a batch of what `plain` makes of a Pillow RGB image, (C, H, W) each.

    `key` is a text that differs where features would.
    """

    name: str
    network: nn.Module
    plain: Callable[..., Tensor]
    key: str
    start: Start

    @torch.no_grad()
    def features(self, batch: Tensor) -> Tensor:
        """(B, D), on the CPU."""
        device = next(self.network.parameters()).device
        with evaluating(self.network):
            return self.network(batch.to(device)).float().cpu()


def load_backbone(name: str, weights: Path | None, device: torch.device, data_dir: Path | None = None) -> Backbone:
    """A timm model by name, its weights from the file or fetched, or that of the finished run in the folder `name`.

    Raises InputError where there is no such model, run or file, and where weights can neither be found nor fetched.
    """
    if Path(name).is_dir():
        if weights is not None:
            raise InputError(f"weights: the run in {name} has its own")
        return _of_a_run(Path(name), device, data_dir)
    return _of_timm(name, weights, device)


def _of_timm(name: str, weights: Path | None, device: torch.device) -> Backbone:
    import timm
    from timm.data import create_transform, resolve_model_data_config

    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name.partition('.')[0]}*")[:5])
        raise InputError(f"backbone: {name!r} is no model of timm and no folder{f'; like it are {near}' * bool(near)}")
    file = Path(weights) if weights is not None else _fetched(name)
    if not file.is_file():
        raise InputError(f"weights: there is no file {file}")
    size = {"img_size": SIDES[name]} if name in SIDES else {}
    try:
        network = _seeded(name, pretrained=True, pretrained_cfg_overlay={"file": str(file)}, **size)
    except Exception as error:  # whatever a strange file may do to torch, safetensors and timm
        raise InputError(f"weights: {file} has no weights of {name} ({_sentence(error)})") from None
    if lacking := _as_drawn(network, _seeded(name, **size)):
        raise InputError(f"weights: {file} lacks {len(lacking)} weights of {name}, the first is {lacking[0]}")
    about = resolve_model_data_config(network)
    if size:
        about["input_size"] = (3, SIDES[name], SIDES[name])
    full_name = f"{TIMM}{name}" + (f"@{SIDES[name]}" if size else "")
    weights = nn.Sequential(network).state_dict()
    start = Start(full_name, weights, about["input_size"], about["mean"], about["std"])
    return Backbone(name, network.to(device), create_transform(**about), _key(file, about), start)


def _seeded(name: str, **options) -> nn.Module:
    """timm's model without its last layer; what is not read from a file is drawn, always the same."""
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return timm.create_model(name, num_classes=0, **options)


def _as_drawn(network: nn.Module, drawn: nn.Module) -> list[str]:
    """The matrices that were not read: timm takes a file that lacks some, and leaves random numbers there."""
    pairs = zip(network.named_parameters(), drawn.parameters(), strict=True)
    return [name for (name, weight), other in pairs if weight.dim() > 1 and torch.equal(weight, other)]


def _sentence(error: Exception) -> str:
    """The first; what follows may be advice to load the file all the same."""
    return str(error).splitlines()[0].partition(". ")[0]


def _fetched(name: str) -> Path:
    """The file of the pretrained weights: that of an earlier time, or fetched now."""
    import timm
    from huggingface_hub import constants, get_session, hf_hub_download

    about = timm.get_pretrained_cfg(name)
    if about is None or not about.hf_hub_id:
        raise InputError(f"backbone: there are no weights of {name} to be fetched; give them with --weights FILE")
    file = about.hf_hub_filename or WEIGHTS
    try:
        return Path(hf_hub_download(about.hf_hub_id, file, local_files_only=True))
    except Exception:  # it is not there yet
        pass
    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)  # the download itself would try for most of a minute
        return Path(hf_hub_download(about.hf_hub_id, file))
    except Exception as error:  # of the network, of the library, of the disk
        raise InputError(
            f"backbone: the weights of {name} cannot be fetched ({str(error).splitlines()[0]}); put the file {file} of "
            f"{about.hf_hub_id} on this machine and give it with --weights FILE"
        ) from None


def _of_a_run(folder: Path, device: torch.device, data_dir: Path | None) -> Backbone:
    """The first network of a finished run on pictures, or of the folder that `export` or `clean` wrote."""
    from torchvision.transforms import Compose, Grayscale, InterpolationMode, Normalize, Resize, ToTensor

    file, setting, classes, (height, width, channels), mean, std = _trained(folder, data_dir)
    network = build_network(setting, channels, classes, seed=0)
    load_weights(file, [network])
    grey = [Grayscale()] if channels == 1 else []
    resize = Resize((height, width), InterpolationMode.BICUBIC)
    plain = Compose([resize, *grey, ToTensor(), Normalize(mean, std)])
    with without_head(network):
        start = Start(setting, network.state_dict(), (channels, height, width), mean, std)
    return Backbone(folder.name, _Headless(network).to(device), plain, _key(file, {"mean": mean, "std": std}), start)


class _Headless(nn.Module):
    """A network of ours up to its last linear layer."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, batch: Tensor) -> Tensor:
        with without_head(self.network):
            return self.network(batch)


def _trained(folder: Path, data_dir: Path | None) -> tuple:
    """(file of weights, name of the network, classes, (H, W, C) of its pictures, mean, std)."""
    if (folder / "config.json").is_file() and (folder / WEIGHTS).is_file():
        config = json.loads((folder / "config.json").read_text())
        if about := config.get("data"):
            shape, classes = about["image_shape"], len(about["class_names"])
            return folder / WEIGHTS, config["setting"]["network"], classes, shape, about["mean"], about["std"]
    record, file = read_record(folder), folder / "weights.safetensors"
    if record is None or not file.is_file():
        raise InputError(f"backbone: {folder} holds no finished run with weights.safetensors")
    config = record.config
    if config.data_sha256:
        raise InputError(
            f"backbone: the run in {folder} was trained on a file; give the folder that `export {folder} model/ "
            "--dataset FILE` writes"
        )
    data = load(config.dataset, config.profile, data_dir)  # for its normalisation
    if isinstance(data.train.images, list) or data.train.images.ndim != 4:
        raise InputError(f"backbone: the network of {folder} is not for pictures of one size")
    return file, config.setting.network, data.num_classes, data.train.images.shape[1:], data.mean, data.std


def _key(file: Path, about: dict) -> str:
    with open(file, "rb") as opened:
        weights = hashlib.file_digest(opened, "sha256").hexdigest()
    return f"{weights} {sorted(about.items())}"
