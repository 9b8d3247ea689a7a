"""Section 3.3: hard samples, clean but easily mistaken for another class. Eq. 9.

incomplete     a part of the information is removed: erased, cropped, rotated, resized or sheared
adversarial    a small perturbation raises the loss of a trained network (FGSM, Eq. 9)

The paper gives neither strengths nor proportions. Ours: each image gets one of the five transformations at
random; the perturbation is at most 8/255 of a pixel's range. Images are uint8 (N, H, W, C), arrays or
tensors, as everywhere below the networks, and come back in kind.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

BATCH = 256


def incomplete(images, generator: torch.Generator):
    """Each of `images` erased, cropped, rotated, resized or affinely transformed, drawn from `generator` (CPU)."""
    from torchvision.transforms.v2 import functional as transforms  # here, because it takes a second

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=generator).item()

    def rectangle(low: float, high: float) -> tuple[int, int, int, int]:
        """Top, left, height and width of a random part whose sides are `low` to `high` of the image's."""
        height, width = (max(1, round(uniform(low, high) * side)) for side in (rows, columns))
        top, left = (int(uniform(0, free + 1)) for free in (rows - height, columns - width))
        return min(top, rows - height), min(left, columns - width), height, width

    def erase(image):
        return transforms.erase(image, *rectangle(0.4, 0.6), v=torch.zeros((), dtype=image.dtype))

    def crop(image):
        return transforms.resized_crop(image, *rectangle(0.5, 0.75), [rows, columns], antialias=True)

    def rotate(image):
        return transforms.rotate(image, uniform(20, 60) * (1 if uniform(-1, 1) > 0 else -1))

    def resize(image):
        """Down to about half of its sides, and up again: fine detail is gone."""
        share = uniform(0.4, 0.6)
        small = [max(2, round(share * side)) for side in (rows, columns)]
        return transforms.resize(transforms.resize(image, small, antialias=True), [rows, columns], antialias=True)

    def affine(image):
        shift = [round(uniform(-0.2, 0.2) * side) for side in (columns, rows)]
        return transforms.affine(image, 0.0, shift, uniform(0.6, 0.9), [uniform(-30, 30), 0.0])

    transformations = (erase, crop, rotate, resize, affine)
    tensor = _tensor(images).permute(0, 3, 1, 2)
    rows, columns = tensor.shape[2:]
    choices = torch.randint(len(transformations), (len(tensor),), generator=generator).tolist()
    hard = [transformations[choice](image) for choice, image in zip(choices, tensor, strict=True)]
    return _in_kind(torch.stack(hard) if hard else tensor, images)


def adversarial(network: nn.Module, images, labels, epsilon: float = 8 / 255):
    """Eq. 9, FGSM: x + epsilon sign(grad_x loss), clipped to the pixels' range and rounded to bytes.

    `network` maps float images (B, C, H, W) in [0, 1] to logits and is used as it is, in its present mode;
    `labels` (N,) are the true ones; `epsilon` is in units of the pixels' range. An epsilon that is not a
    whole number of 255ths is rounded down, so that no pixel moves further.
    """
    if not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon: {epsilon} is outside [0, 1]")
    step = int(epsilon * 255 + 1e-6)
    tensor, labels = _tensor(images), torch.as_tensor(labels)
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    hard = []
    for bytes_, label in zip(tensor.split(BATCH), labels.split(BATCH), strict=True):
        pixels = (bytes_.to(device).permute(0, 3, 1, 2).float() / 255).requires_grad_()
        loss = F.cross_entropy(network(pixels), label.to(device).long(), reduction="sum")
        (gradient,) = torch.autograd.grad(loss, pixels)
        hard.append((bytes_.permute(0, 3, 1, 2) + step * gradient.sign().cpu()).clamp(0, 255).byte())
    return _in_kind(torch.cat(hard) if hard else tensor.permute(0, 3, 1, 2), images)


def _tensor(images) -> Tensor:
    tensor = torch.as_tensor(images).cpu()
    if tensor.dtype != torch.uint8 or tensor.ndim != 4:
        raise ValueError(f"images: {tensor.dtype} {tuple(tensor.shape)} are not uint8 (N, H, W, C)")
    return tensor


def _in_kind(hard: Tensor, images):
    """(N, C, H, W) bytes as (N, H, W, C), an array where `images` is one."""
    hard = hard.permute(0, 2, 3, 1).contiguous()
    return hard.numpy() if isinstance(images, np.ndarray) else hard.to(images.device)
