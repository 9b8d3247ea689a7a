"""Sections 3.1.1 and 3.1.3: dynamic loss thresholds and how they decrease. Eqs. 2, 3 and 7.

Use it in any training loop:

    window = SlideWindow(batches=200)
    ...
    clean = losses <= window.threshold(q)   # losses: this batch's, before it enters the window
    window.record(losses)
"""

import math

import torch
from torch import Tensor


def selection_proportion(epoch: int, noise_rate: float, warmup_epochs: int, decay_epochs: int) -> float:
    """Eq. 7: the share q of samples to keep at `epoch`, which counts from 1.

    All of them up to T_warm = `warmup_epochs`, then linearly down to 1 - w over T_grad = `decay_epochs`
    (0: at once).
    """
    if epoch <= warmup_epochs:
        return 1.0
    if epoch >= warmup_epochs + decay_epochs:
        return 1.0 - noise_rate
    return 1.0 - noise_rate * (epoch - warmup_epochs) / decay_epochs


def _quantile(sorted_losses: Tensor, q: float) -> Tensor:
    """Linear interpolation between order statistics, as NumPy's default; no wait for the device."""
    if not 0 <= q <= 1:
        raise ValueError(f"q: {q} is outside [0, 1]")
    position = q * (len(sorted_losses) - 1)
    low = math.floor(position)
    high = min(low + 1, len(sorted_losses) - 1)
    return torch.lerp(sorted_losses[low], sorted_losses[high], position - low)


class _Recorder:
    """Losses in and out: NumPy users get floats back, torch users tensors on their device."""

    _numpy = False

    def _tensor(self, losses) -> Tensor:
        self._numpy = not isinstance(losses, Tensor)
        losses = torch.as_tensor(losses).detach()
        return losses if losses.is_floating_point() else losses.float()

    def _answer(self, threshold: Tensor | float):
        return float(threshold) if self._numpy else threshold


class LastEpoch(_Recorder):
    """Eq. 2: tau is the q-quantile of all losses of the epoch before, the same for a whole epoch."""

    def __init__(self):
        self._current: list[Tensor] = []
        self._sorted: Tensor | None = None

    def record(self, losses) -> None:
        """Note the losses (B,) of a batch of the current epoch; a copy, as the caller may use its array again."""
        self._current.append(self._tensor(losses).clone())

    def end_epoch(self) -> None:
        """From now on thresholds come from the losses recorded since the last call."""
        if self._current:
            self._sorted = torch.cat(self._current).sort().values
            self._current = []

    def threshold(self, q: float):
        """tau_p^t of Eq. 2; infinite (everything is clean) while no epoch has been recorded."""
        return self._answer(math.inf if self._sorted is None else _quantile(self._sorted, q))

    def state(self) -> dict:
        return {"current": self._current, "sorted": self._sorted}

    def load_state(self, state: dict) -> None:
        self._current, self._sorted = list(state["current"]), state["sorted"]


class SlideWindow(_Recorder):
    """Eq. 3: tau is the q-quantile of the losses of the last s batches, without the current one.

    A fixed (s, b) buffer. Slots that hold no loss (a window not yet full, a short last batch) are
    +inf, so they sort behind the valid ones, whose number is known without asking the device.
    """

    def __init__(self, batches: int):
        """`batches` is s, the length of the window."""
        if batches < 1:
            raise ValueError(f"batches: {batches}, the window holds at least one")
        self._valid = [0] * batches
        self._next = 0
        self._buffer: Tensor | None = None

    def record(self, losses) -> None:
        """Push the losses (B,) of a batch, after its use; the oldest batch drops out when the window is full."""
        losses = self._tensor(losses)
        if self._buffer is None or len(losses) > self._buffer.shape[1]:
            self._widen(losses)
        row = self._buffer[self._next]
        row[: len(losses)] = losses
        row[len(losses) :] = math.inf
        self._valid[self._next] = len(losses)
        self._next = (self._next + 1) % len(self._valid)

    def _widen(self, losses: Tensor) -> None:
        buffer = losses.new_full((len(self._valid), len(losses)), math.inf)
        if self._buffer is not None:
            buffer[:, : self._buffer.shape[1]] = self._buffer
        self._buffer = buffer

    def end_epoch(self) -> None:
        """Nothing: the window slides across the borders of epochs."""

    def threshold(self, q: float):
        """tau_p^t of Eq. 3 over the valid losses; infinite (everything is clean) while there are none."""
        count = sum(self._valid)
        if not count:
            return self._answer(math.inf)
        return self._answer(_quantile(self._buffer.flatten().sort().values[:count], q))

    def state(self) -> dict:
        return {"buffer": self._buffer, "valid": list(self._valid), "next": self._next}

    def load_state(self, state: dict) -> None:
        self._buffer, self._valid, self._next = state["buffer"], list(state["valid"]), state["next"]
