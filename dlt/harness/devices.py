"""What a run is computed on: the device, its name, and whether it has bf16."""

import platform
import re

import torch

from dlt.harness import distributed
from dlt.harness.errors import InputError


def resolve_device(name: str) -> torch.device:
    """The device for "auto", "cpu", "cuda" or "cuda:1"; InputError when the one asked for is not there."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise InputError(f"device: {name!r} is not auto, cpu, cuda, or one GPU of several, cuda:1")
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise InputError(f"device: {name} was asked for, and torch sees no CUDA device here; use cpu or auto")
    if distributed.size() > 1:
        return distributed.own_gpu()
    device = torch.device("cuda" if name == "auto" else name)
    if device.index is not None and device.index >= torch.cuda.device_count():
        raise InputError(f"device: {name}; the GPUs here are cuda:0 to cuda:{torch.cuda.device_count() - 1}")
    return device


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo") as file:
            model = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"cpu: {model}"


def has_bf16(device: torch.device) -> bool:
    """Whether bf16 saves time on `device`: on a GPU, and on a CPU that multiplies it (AMX, AVX-512 BF16).

    Other CPUs emulate it, slower than their fp32.
    """
    able = torch.cpu.get_capabilities()
    return device.type == "cuda" or any(able.get(name, False) for name in ("amx_bf16", "avx512_bf16"))
