"""PreAct ResNets as the field's noisy-label code bases use them, and torchvision's ResNet-50.

He et al. 2016 with the peers' changes: a BN-ReLU after the stem, projections without BN on the
activated input, and neither BN nor ReLU before the average pooling.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlt.harness.errors import InputError


class PreActBlock(nn.Module):
    """BN-ReLU-conv-BN-ReLU-conv; the shortcut is a 1x1 convolution where the shape changes."""

    def __init__(self, width_in: int, width: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(width_in)
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.shortcut = None
        if stride != 1 or width_in != width:
            self.shortcut = nn.Conv2d(width_in, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        return self.conv2(F.relu(self.bn2(self.conv1(activated)))) + shortcut


class PreActResNet(nn.Module):
    """`widths` has one entry a stage, each of `blocks` blocks; all stages but the first halve the map."""

    def __init__(self, channels: int, classes: int, widths: tuple, blocks: int, stem_stride: int = 1):
        super().__init__()
        self.stem = nn.Conv2d(channels, widths[0], 3, stem_stride, 1, bias=False)
        self.bn = nn.BatchNorm2d(widths[0])
        layers, width_in = [], widths[0]
        for stage, width in enumerate(widths):
            for block in range(blocks):
                layers.append(PreActBlock(width_in, width, 2 if stage and not block else 1))
                width_in = width
        self.blocks = nn.Sequential(*layers)
        self.linear = nn.Linear(width_in, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.bn(self.stem(x))))
        return self.linear(x.mean((2, 3)))


def _resnet50(channels: int, classes: int) -> nn.Module:
    from torchvision.models import ResNet50_Weights, resnet50

    weights = ResNet50_Weights.IMAGENET1K_V1
    try:
        network = resnet50(weights=weights)
    except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: a wrong checksum
        raise InputError(
            f"network: the ImageNet weights of resnet50 could not be fetched ({error}); put the file of {weights.url} "
            f"into {torch.hub.get_dir()}/checkpoints"
        ) from error
    network.fc = nn.Linear(network.fc.in_features, classes)
    return network


def _linear(features: int, classes: int) -> nn.Module:
    """Zero at first: no class is likelier than another until the labels say so."""
    linear = nn.Linear(features, classes)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def _mlp(features: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.Linear(features, 128), nn.ReLU(), nn.Linear(128, classes))


NETWORKS = {
    "linear": _linear,
    "mlp": _mlp,
    "preact-digits": lambda channels, classes: PreActResNet(channels, classes, (16, 32, 64), 1),
    "preact-mini": lambda channels, classes: PreActResNet(channels, classes, (32, 64, 128), 1, stem_stride=2),
    "preact-resnet18": lambda channels, classes: PreActResNet(channels, classes, (64, 128, 256, 512), 2),
    "resnet50": _resnet50,
}
TIMM = "timm:"  # before the name of a model of timm; "@224" behind it are its pixels, where they are not its own


def _of_timm(name: str, channels: int, classes: int) -> nn.Module:
    """A linear layer on the model's features."""
    import timm

    name, _, size = name.removeprefix(TIMM).partition("@")
    model = timm.create_model(name, num_classes=0, in_chans=channels, **({"img_size": int(size)} if size else {}))
    return nn.Sequential(model, nn.Linear(model.head_hidden_size, classes))


def check_network(name: str) -> None:
    """InputError for a name that is not there."""
    if name.startswith(TIMM):
        import timm

        known = timm.is_model(name.removeprefix(TIMM).partition("@")[0])
    else:
        known = name in NETWORKS
    if not known:
        raise InputError(f"network: {name!r} is not one of {', '.join(NETWORKS)}, nor {TIMM} and a model of timm")


def build_network(name: str, channels: int, classes: int, seed: int) -> nn.Module:
    """A network with torch's default initialisation drawn from `seed` alone, on the CPU."""
    check_network(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NETWORKS[name](channels, classes) if name in NETWORKS else _of_timm(name, channels, classes)
    return network.to(memory_format=torch.channels_last)


def load_weights(path: Path, networks: list[nn.Module]) -> None:
    """Fill `networks` from the weights.safetensors of a finished run; InputError if it is missing or corrupt."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(path)
        for i, network in enumerate(networks, 1):
            prefix = f"network{i}."
            network.load_state_dict(
                {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
            )
    except FileNotFoundError:
        raise InputError(f"record: {path} is missing") from None
    except (SafetensorError, OSError, RuntimeError) as error:  # RuntimeError: the weights of another network
        raise InputError(f"record: {path} is corrupt ({str(error).splitlines()[0]})") from error


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, the mode before afterwards."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)


@contextmanager
def without_head(network: nn.Module) -> Iterator[nn.Linear]:
    """Inside, the network gives the features (B, D) that its last linear layer, yielded here, makes logits of."""
    name, head = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)][-1]
    network.set_submodule(name, nn.Identity())
    try:
        yield head
    finally:
        network.set_submodule(name, head)


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Training mode whose batch norms use the batch's statistics and leave the running ones alone."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
