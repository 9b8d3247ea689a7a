"""One run over several processes, as torchrun starts them: each computes its share of the rows of every batch.

All processes (ranks) make the same keyed draws, see the same batches and, from the logits gathered from all ranks,
compute the same losses, thresholds and decisions: neither a method nor a record knows how many there are. Only batch
norm does: its statistics are those of a rank's own rows.
"""

import gc
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dlt.harness.errors import InputError, ProcessLost
from dlt.harness.networks import evaluating


def size() -> int:
    """The number of processes of this run."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0; rank 0 alone speaks and writes."""
    return dist.get_rank() if dist.is_initialized() else 0


@contextmanager
def process_group() -> Iterator[None]:
    """Inside, the processes that torchrun started know of each other; without torchrun there is one.

    Raises ProcessLost when another process has ended.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    import torch.distributed.nn  # before the group is: what DDP imports later would hold it as a default

    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    except FloatingPointError as error:  # every rank raises it
        _end(error)
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):  # gloo's errors have no class of their own
            raise ProcessLost(f"process {rank()} lost another process of this run") from error
        raise
    gc.collect()  # the run, which holds the group: its threads end with it, and one that outlives it may abort the exit
    dist.destroy_process_group()  # not after an error of one rank, when others may never answer


def _end(error: Exception) -> None:
    """End all ranks, which have all come here: rank 0 raises `error`, the others just exit.

    With code 0: at the first failure torchrun stops all processes, and rank 0 must speak before.
    """
    ending = error if rank() == 0 else SystemExit(0)
    dist.destroy_process_group()
    raise ending from None


@contextmanager
def together() -> Iterator[None]:
    """All ranks leave when all are done. An InputError of any rank ends all: rank 0 raises it, the others exit."""
    if size() == 1:
        yield
        return
    message = None
    try:
        yield
    except InputError as error:
        message = str(error)
    messages = [None] * size()
    dist.all_gather_object(messages, message)
    if message := next(filter(None, messages), None):
        _end(InputError(message))


def own_gpu() -> torch.device:
    """The GPU of this rank, one for each process of a machine; InputError when there are too few."""
    index = int(os.environ["LOCAL_RANK"])
    if index >= torch.cuda.device_count():
        raise InputError(f"device: process {index} of this machine has no GPU of its own; start as many as there are")
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def share(rows: Tensor) -> Tensor:
    """This rank's part of `rows` (B, ...): every one in turn, as a batch may hold several kinds of rows in a row."""
    return rows[rank() :: size()]


def gathered(own: Tensor, count: int) -> Tensor:
    """The `count` rows of which each rank has `own`, its `share`; these alone carry a gradient."""
    if size() == 1:
        return own
    length = math.ceil(count / size())
    padding = own.new_zeros((length - len(own), *own.shape[1:]))  # collectives want equal shapes
    padded = torch.cat([own, padding])
    everyone = own.new_empty((size() * length, *own.shape[1:]))
    dist.all_gather_into_tensor(everyone, padded.detach())
    parts = [*everyone.chunk(size())]
    parts[rank()] = padded
    return torch.stack(parts, 1).flatten(0, 1)[:count]


class Parallel:
    """The networks of a run, each rank's copy of them equal at the end of every epoch."""

    def __init__(self, networks: list[nn.Module], images: Tensor):
        """`images` (B, ...) are any that the networks take."""
        self._networks = networks
        learning = [network for network in networks if any(p.requires_grad for p in network.parameters())]
        self._wrapped = {network: DistributedDataParallel(network) for network in learning}
        for network, wrapped in self._wrapped.items():
            # Broadcasting batch norm's buffers before a forward would overwrite what an earlier one keeps for backward.
            wrapped.broadcast_buffers = False
            # After its first step DDP adds up gradients in another order. That step must not be one of the run, or
            # a resumed one would differ in the last bits.
            with evaluating(network):
                wrapped(images).sum().backward()
            network.zero_grad()

    def forward(self, forward: Callable[[nn.Module, Tensor], Tensor], network: nn.Module, images: Tensor) -> Tensor:
        """(B, C) logits `forward(network, images)` of the (B, ...) images of all ranks, computed by rows.

        The loss that every rank computes from them gives every rank the gradient of its own rows. DDP averages
        over ranks what should be a sum, hence the factor.
        """
        module = self._wrapped.get(network, network) if torch.is_grad_enabled() else network
        own = share(images)
        # A rank without rows takes part all the same, as DDP waits for all: its logits are dropped.
        logits = forward(module, own if len(own) else images[:1])[: len(own)]
        if logits.requires_grad:
            logits.register_hook(lambda gradient: gradient * size())
        return gathered(logits, len(images))

    def merge_statistics(self) -> None:
        """Batch norm's running statistics become those of the rows of all ranks, so that one checkpoint resumes all.

        The variance of them all is the mean of the ranks' variances and the variance of their means.
        """
        for network in self._networks:
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    mean = _averaged(module.running_mean)
                    spread = _averaged((module.running_mean - mean).square())
                    module.running_var.copy_(_averaged(module.running_var) + spread)
                    module.running_mean.copy_(mean)


def _averaged(values: Tensor) -> Tensor:
    """The mean over ranks."""
    total = values.clone()
    dist.all_reduce(total)
    return total / size()
