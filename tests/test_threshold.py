"""Eqs. 2, 3 and 7 against slow, obvious versions."""

import numpy as np
import pytest
import torch

import dlt


def slow_q(t, w, t_warm, t_grad):
    """Eq. 7, case by case as printed; with T_grad = 0 its middle interval is empty."""
    if 1 <= t <= t_warm:
        return 1.0
    if t_warm < t <= t_warm + t_grad:
        return 1 - w * (t - t_warm) / t_grad
    return 1 - w


@pytest.mark.parametrize("t_grad", [0, 1, 10])
@pytest.mark.parametrize("w", [0.0, 0.4, 0.95])
def test_selection_proportion_is_eq_7(w, t_grad):
    for epoch in range(1, 40):
        q = dlt.selection_proportion(epoch, w, warmup_epochs=10, decay_epochs=t_grad)
        assert q == pytest.approx(slow_q(epoch, w, 10, t_grad), abs=1e-12)


def test_selection_proportion_at_its_borders():
    def q(epoch, decay):
        return dlt.selection_proportion(epoch, 0.5, warmup_epochs=10, decay_epochs=decay)

    assert [q(10, 10), q(11, 10), q(15, 10), q(20, 10), q(21, 10)] == [1, 0.95, 0.75, 0.5, 0.5]
    assert [q(10, 0), q(11, 0)] == [1, 0.5]


def batches(seed, sizes):
    rng = np.random.default_rng(seed)
    return [rng.gamma(1.0, size=size).astype(np.float32) for size in sizes]


@pytest.mark.parametrize("q", [0.0, 0.3, 0.55, 0.999, 1.0])
def test_slide_window_is_the_quantile_of_the_last_s_batches(q):
    window = dlt.SlideWindow(batches=4)
    seen = []
    for losses in batches(0, [8, 8, 8, 8, 3, 8, 8, 8, 3, 8]):  # a short last batch in each pass
        expected = np.quantile(np.concatenate(seen[-4:]), q) if seen else np.inf
        assert window.threshold(q) == pytest.approx(expected, rel=1e-6)
        window.record(losses)
        seen.append(losses)


def test_slide_window_without_losses_keeps_everything():
    assert dlt.SlideWindow(3).threshold(0.5) == np.inf
    assert dlt.LastEpoch().threshold(0.5) == np.inf


@pytest.mark.parametrize("make", [lambda: dlt.SlideWindow(3), dlt.LastEpoch], ids=["window", "last-epoch"])
@pytest.mark.parametrize("array", [np.empty(1), torch.empty(1)], ids=["numpy", "torch"])
def test_the_callers_array_may_be_used_again(make, array):
    threshold = make()
    for value in (1.0, 2.0, 3.0):
        array[:] = value
        threshold.record(array)
    threshold.end_epoch()
    assert threshold.threshold(0.5) == 2.0


def test_slide_window_takes_a_first_batch_that_is_short():
    window = dlt.SlideWindow(batches=3)
    short, full = batches(1, [2, 8])
    window.record(short)
    window.record(full)
    assert window.threshold(0.4) == pytest.approx(np.quantile(np.concatenate([short, full]), 0.4), rel=1e-6)


def test_slide_window_of_one_batch_is_co_teachings_quantile():
    window = dlt.SlideWindow(batches=1)
    for losses in batches(2, [16] * 5):
        window.record(losses)
        assert window.threshold(0.7) == pytest.approx(np.quantile(losses, 0.7), rel=1e-6)


def test_slide_window_needs_a_length():
    with pytest.raises(ValueError, match="batches: 0"):
        dlt.SlideWindow(0)


@pytest.mark.parametrize("q", [0.0, 0.4, 1.0])
def test_last_epoch_is_the_quantile_of_the_epoch_before(q):
    threshold = dlt.LastEpoch()
    expected = np.inf
    for epoch in range(3):
        losses = batches(epoch, [8, 8, 3])
        for batch in losses:  # the same all through the epoch, whatever is recorded meanwhile
            assert threshold.threshold(q) == pytest.approx(expected, rel=1e-6)
            threshold.record(batch)
        threshold.end_epoch()
        expected = np.quantile(np.concatenate(losses), q)
    assert threshold.threshold(q) == pytest.approx(expected, rel=1e-6)


def test_last_epoch_keeps_its_losses_when_an_epoch_recorded_none():
    threshold = dlt.LastEpoch()
    threshold.record(np.array([1.0, 2.0, 3.0]))
    threshold.end_epoch()
    threshold.end_epoch()
    assert threshold.threshold(0.5) == 2.0


@pytest.mark.parametrize("make", [lambda: dlt.SlideWindow(2), dlt.LastEpoch], ids=["window", "last-epoch"])
def test_torch_in_gives_torch_out_and_state_round_trips(make):
    threshold, copy = make(), make()
    for losses in batches(3, [8, 8, 5]):
        threshold.record(torch.from_numpy(losses))
    threshold.end_epoch()
    copy.load_state(threshold.state())
    tau = copy.threshold(torch.tensor(0.5).item())
    assert isinstance(tau, torch.Tensor)
    assert tau.shape == ()
    assert tau == threshold.threshold(0.5)
    for losses in batches(4, [8]):
        for part in (threshold, copy):
            part.record(torch.from_numpy(losses))
            part.end_epoch()
    assert copy.threshold(0.25) == threshold.threshold(0.25)


def test_thresholds_do_not_hold_on_to_the_graph():
    window = dlt.SlideWindow(2)
    losses = torch.rand(4, requires_grad=True)
    window.record(losses * 2)
    assert not window.threshold(0.5).requires_grad


def test_whole_numbers_are_losses_too():
    window = dlt.SlideWindow(1)
    window.record(np.array([1, 2, 3]))
    assert window.threshold(0.25) == 1.5


@pytest.mark.parametrize("q", [-0.1, 1.1])
def test_q_is_a_proportion(q):
    window = dlt.SlideWindow(1)
    window.record(np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="outside"):
        window.threshold(q)
