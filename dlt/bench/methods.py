"""The stopwatch: what training costs here, and how far each method is above its cost model.

Each thing is timed for whole epochs, in turn with all others, several times; given are the median, the
smallest and the largest. Evaluation on the test set is counted apart.

bare loop    forward, backward and SGD on one augmented batch that lies on the device
a method     an epoch of the harness after warm-up; its ratio is to its cost model, in epochs of CE in the harness
a part       of an epoch of DLT (Slide Window), timed by itself for as many calls as an epoch has
"""

import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional as F

from dlt.harness.config import RunConfig, make_config
from dlt.harness.devices import device_name
from dlt.harness.errors import InputError
from dlt.harness.measures import epoch_measures, peak_mib
from dlt.harness.run import Run
from dlt.harness.settings import first_dataset
from dlt.harness.training import test_accuracies, train_epoch
from dlt.threshold import SlideWindow

NOISE = ("symmetric", 0.4)
MAIN = ("ce", "sce", "apl", "m-correction", "dividemix", "dlt-last-epoch", "dlt-window")


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds per epoch of one thing, over the repeats, and what each of them costs by the model, in CE-epochs.

    A thing without a cost model has no `models`.
    """

    name: str
    seconds: list[float]
    images: int
    models: list[float] = dataclasses.field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def model(self) -> float:
        return statistics.median(self.models) if self.models else float("nan")

    def over_model(self, unit: float) -> float:
        """Median of the repeats' seconds over their model, where an epoch of CE takes `unit` seconds."""
        pairs = zip(self.seconds, self.models, strict=True)
        return statistics.median(s / (m * unit) for s, m in pairs) if self.models else float("nan")


def bench(
    profile: str, device: torch.device, data_dir: str | None, repeats: int, methods: tuple[str, ...], **overrides
) -> dict:
    """Time everything; {"timings": [Timing], "parts": [Timing], "about": {...}}."""
    dataset = first_dataset(profile)
    configs = [make_config(profile, dataset, method, *NOISE, seed=1, **overrides) for method in methods]
    if needy := [config.method for config in configs if config.required]:
        raise InputError(f"methods: {', '.join(needy)} cannot be timed alone: another run must be trained first")
    runs = {config.method: _warmed(config, device, data_dir) for config in configs}
    first = next(iter(runs.values()))
    things: dict[str, Callable[[], None]] = {"bare loop": _bare_loop(first)}
    for method, run in runs.items():
        things[method] = lambda run=run: train_epoch(run, run.epoch + 1)
    if "dlt-window" in runs:
        things |= {f"part: {name}": part for name, part in _parts(runs["dlt-window"]).items()}
    seconds, models = {name: [] for name in things}, {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, thing in things.items():
            taken = _timed(thing, device)
            if repeat == 0:  # warms caches up
                continue
            seconds[name].append(taken)
            if name in runs:
                models[name].append(_model_cost(runs[name]))
    images = len(first.rows)
    timings = [Timing("bare loop", seconds["bare loop"], images, [1.0] * repeats)]
    timings += [Timing(method, seconds[method], images, models[method]) for method in runs]
    parts = [
        Timing(name.removeprefix("part: "), values, images)
        for name, values in seconds.items()
        if name.startswith("part: ")
    ]
    about = {
        "profile": profile,
        "network": first.setting.network,
        "batch": first.setting.batch_size,
        "precision": first.precision,
        "threads": torch.get_num_threads(),
        "device": device_name(device),
        "torch": torch.__version__,
        "repeats": repeats,
        "peak_memory_mib": _peak_memory(device),
    }
    return {"timings": timings, "parts": parts, "about": about}


def _warmed(config: RunConfig, device: torch.device, data_dir: str | None) -> Run:
    """A run that stands after its last warm-up epoch, whose last one it trained, so that thresholds are there."""
    if config.setting.threads:
        torch.set_num_threads(config.setting.threads)
    run = Run(config, device, data_dir)
    train_epoch(run, config.method_config.get("warmup_epochs", 1))
    start = config.method_config.get("bootstrap_epoch")  # M-correction: its dearer phase
    run.epoch = max(run.epoch, start or 0)
    return run


def _model_cost(run: Run) -> float:
    """Of the epoch timed last; DivideMix's for the labelled share that the epoch really had."""
    share = run.method.metrics().get("labelled_share")
    return 12 * float(share) + 2 / 3 if share is not None else run.method.epoch_cost(run.epoch, run.config)


def _bare_loop(run: Run) -> Callable[[], None]:
    index = torch.arange(run.setting.batch_size, device=run.device)
    run.begin_epoch(1)
    images, labels = run.augmented(index), run.labels[index]
    network, optimizer = run.networks[0], run.optimizers[0]
    steps = len(run.rows) / run.setting.batch_size  # of full batches: as many images as an epoch has

    def epoch() -> None:
        network.train()
        for _ in range(round(steps)):
            loss = F.cross_entropy(run.forward(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def _parts(run: Run) -> dict[str, Callable[[], None]]:
    """Parts of an epoch of DLT, each for all its calls."""
    batches = run.rows.split(run.setting.batch_size)
    window = SlideWindow(run.config.method_config["window"])
    losses = torch.rand(run.setting.batch_size, device=run.device)

    def threshold() -> None:
        for _ in batches:
            window.threshold(0.6)
            window.record(losses)

    def detection() -> None:
        for index in batches:
            run.method._detection_losses(run.plain(index), run.labels[index])

    def augmentation() -> None:
        for index in batches:
            torch.cat([run.augmented(index) for _ in range(2)])

    def recording() -> None:
        for index in batches:
            run.record(index, losses[: len(index)], losses[: len(index)] > 0.5, run.labels[index])
        epoch_measures(run.observed, run.noisy_labels)

    return {
        "augmentation (2 views)": augmentation,
        "detection": detection,
        "threshold": threshold,
        "recording": recording,
        "evaluation": lambda: test_accuracies(run),
    }


def _timed(thing: Callable[[], None], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    thing()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _peak_memory(device: torch.device) -> float:
    """MiB: of the device's memory, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return peak_mib()


# ---------------------------------------------------------------------- words
def frame(result: dict):
    """A row a thing: seconds, images per second, and the ratio to its cost model, as a pandas DataFrame."""
    import pandas

    by_name = {timing.name: timing for timing in result["timings"]}
    ce, dlt = by_name.get("ce"), by_name.get("dlt-window")
    rows = []
    for timing in [*result["timings"], *result["parts"]]:
        part = timing in result["parts"]
        unit = by_name["bare loop"] if timing.name in ("bare loop", "ce") else ce
        ratio = timing.over_model(unit.median) if unit else float("nan")
        share = 100 * timing.median / dlt.median if part and dlt else float("nan")
        rows.append(
            {
                "what": timing.name,
                "seconds": timing.median,
                "least": min(timing.seconds),
                "most": max(timing.seconds),
                "images_per_s": timing.images / timing.median,
                "model": timing.model,
                "ratio": ratio,
                "share": share,
            }
        )
    return pandas.DataFrame(rows).assign(**result["about"])


def write(result: dict, folder: Path) -> str:
    """bench.csv and bench.md in `folder`; the latter's text."""
    from dlt.harness.records import write_atomic

    table, about = frame(result), result["about"]
    lines = [
        "| an epoch of | seconds | range | images/s | cost model | over the model | share of a DLT epoch |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in table.itertuples():
        cells = [
            row.what,
            f"{row.seconds:.3f}",
            f"{row.least:.3f}-{row.most:.3f}",
            f"{row.images_per_s:,.0f}",
            *(
                "" if value != value else text.format(value)
                for value, text in ((row.model, "{:.2f}"), (row.ratio, "{:.2f}"), (row.share, "{:.1f}%"))
            ),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    head = (
        f"Profile {about['profile']}, {about['network']}, batch {about['batch']}, {about['precision']}, "
        f"{about['threads']} threads, {about['device']}, torch {about['torch']}; medians of {about['repeats']} repeats "
        f"in turn; peak memory {about['peak_memory_mib']:,.0f} MiB. CE's ratio is to the bare loop, the others' to CE."
    )
    text = "\n".join([head, "", *lines, ""])
    write_atomic(Path(folder) / "bench.md", text)
    write_atomic(Path(folder) / "bench.csv", table.to_csv(index=False, float_format="%.6g"))
    return text
