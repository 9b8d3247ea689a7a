"""What each command of the command line does. What it needs is imported in it, so that each starts at once."""

import json
import os
import shlex

from dlt.harness.errors import InputError
from dlt.harness.own_code import is_own


def _pairs(field: str, texts: list[str]) -> dict:
    """NAME=VALUE texts as a dictionary; values are JSON where they can be, else text."""
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"{field}: {text!r} is not NAME=VALUE")
        try:
            pairs[name.replace("-", "_")] = json.loads(value)
        except ValueError:
            pairs[name.replace("-", "_")] = value
    return pairs


def overview(options) -> None:
    from dlt.artifact.status import overview

    print(overview())


def reproduce(options) -> int:
    from dlt.artifact.reproduce import reproduce

    return reproduce(options)


def _profile_and_dataset(options) -> tuple[str, str]:
    from dlt.harness.devices import resolve_device
    from dlt.harness.settings import first_dataset, resolve_profile

    profile = resolve_profile(options.profile, resolve_device(options.device).type)
    return profile, options.dataset or first_dataset(profile)


def _noise(options) -> tuple[str, float]:
    """The noise and its rate, 0.0 where none is needed."""
    noise = options.noise
    if noise == "human" or options.labels:
        if noise != "human" or not options.labels:
            raise InputError("labels: --noise human and --labels go together, for example --noise human --labels worse")
        noise = f"human-{options.labels}"
    needs_rate = noise in ("symmetric", "asymmetric", "asymmetric-block5", "instance") or is_own(noise)
    if options.noise_rate is None and needs_rate:
        raise InputError(f"noise-rate: give one with --noise {noise}, or --noise none")
    return noise, options.noise_rate or 0.0


def estimate(options) -> int:
    from dlt.artifact.estimate import estimate
    from dlt.harness import records
    from dlt.harness.config import make_config
    from dlt.harness.datasets import load
    from dlt.harness.run import noisy_labels

    if not 0 < options.theta < 1:
        raise InputError(f"theta: {options.theta} is outside (0, 1)")
    profile, dataset = _profile_and_dataset(options)
    config = make_config(
        profile,
        dataset,
        "ce",
        *_noise(options),
        seed=options.seed,
        **_pairs("setting", options.setting),
    )
    _train_one(config, options)
    record = records.read_record(records.folder_of(options.output or records.RUNS, config))
    data = load(dataset, profile, options.data_dir)
    labels = noisy_labels(data, config, options.data_dir).labels
    print(estimate(record, labels, options.theta, data.train.rows))
    return 0


def train(options) -> int:
    from dlt.harness.distributed import process_group, together

    with process_group():
        with together():
            config = _train_config(options)
        for run in [*config.required, config]:
            _train_one(run, options)
    return 0


def _train_config(options):
    from dlt.harness.config import make_config
    from dlt.harness.distributed import size

    profile, dataset = _profile_and_dataset(options)
    return make_config(
        profile,
        dataset,
        options.method,
        *_noise(options),
        seed=options.seed,
        assumed_rate=options.assumed_rate,
        options=_pairs("option", options.option),
        loss_epochs=_loss_epochs(options.loss_epochs),
        hard=options.hard,
        epsilon=options.epsilon,
        **{"processes": size()} | _pairs("setting", options.setting),
    )


def _loss_epochs(text: str | None) -> tuple[int, ...] | None:
    """(5, 10) of "5,10"; None, the method's own, where none are given."""
    if not text:
        return None
    try:
        return tuple(int(epoch) for epoch in text.split(","))
    except ValueError:
        raise InputError(f"loss-epochs: {text!r} is not a list like 5,10") from None


def _train_one(config, options) -> None:
    from tqdm import tqdm

    from dlt.harness import distributed, records
    from dlt.harness.training import train

    store = options.output or records.RUNS
    folder = records.folder_of(store, config)
    rows = train(config, store, options.device, options.data_dir, options.checkpoint_seconds)
    if distributed.rank() > 0:  # rank 0 speaks for all
        for _ in rows:
            pass
        return
    print(f"{config.name}: {config.setting.epochs} epochs of {config.setting.network}, {config.cost:.0f} CE-epochs")
    bar, row = None, {}
    for row in rows:
        bar = bar or tqdm(total=config.setting.epochs, initial=row["epoch"] - 1, unit="epoch")
        bar.set_postfix(test=f"{row['test_accuracy']:.1f}", loss=f"{row['train_loss']:.3f}", refresh=False)
        bar.update()
    if bar:
        bar.close()
    record = records.read_record(folder)
    accuracy = record.result["test_accuracy"]
    print(f"Last {accuracy['last']:.2f}, Best (oracle) {accuracy['best']:.2f}: {folder}")
    if "w" in row:
        wrong = record.run["label_noise"]["realised_rate"]
        truly = "" if wrong is None else f" (truly {100 * wrong:.1f}%)"
        print(f"w of Eq. 7, the share of wrong labels that it believes at the end: {100 * row['w']:.1f}%{truly}")


def clean(options) -> None:
    from pathlib import Path

    from dlt.cleaning import clean as cleaning
    from dlt.harness.places import COMMAND

    if options.workers is not None and options.workers < 1:
        raise InputError(f"workers: {options.workers} is not at least 1")
    path = Path(os.path.realpath(options.path))  # `resolve` fails on links that go round
    output = options.output or Path(f"{path.name if path.is_dir() else path.stem}-cleaned")
    request = cleaning.Request(
        options.path,
        output,
        options.profile,
        options.device,
        options.seed,
        options.folds,
        options.workers,
        ({} if options.epochs is None else {"epochs": options.epochs}) | _pairs("setting", options.setting),
        options.label,
        options.clean_label,
        options.id,
        options.picture_column,
        options.backbone,
        options.weights,
        options.views,
        options.finetune,
    )
    summary = cleaning.clean(request)
    print(cleaning.in_words(summary))
    others = "exports" if "samples" in summary else "index.html with galleries, model/"
    print(f"written: {output}/review.html (open it in a browser, and decide), suspects.csv, labels.csv, {others}")
    given = [word for name in ("label", "id") if (value := getattr(options, name)) for word in (f"--{name}", value)]
    if options.path.suffix != ".npy":
        print(f"then: {COMMAND} apply " + shlex.join([str(options.path), "decisions.csv", "corrected/", *given]))


def apply(options) -> None:
    from dlt.cleaning.apply import apply_decisions

    arguments = (options.path, options.decisions, options.output, options.dry_run, options.ambiguous)
    print(apply_decisions(*arguments, options.label, options.id))


def undo(options) -> None:
    from dlt.cleaning.apply import undo as restore

    print(f"written: {restore(options.path, options.output)}")


def evaluate(options) -> None:
    from dlt.harness.training import evaluate

    for name, accuracy in evaluate(options.folder, options.device, options.data_dir, options.dataset).items():
        print(f"{name} {accuracy:.2f}")


def export_model(options) -> None:
    from dlt.artifact.export import export_model

    print("written: " + ", ".join(map(str, export_model(options.folder, options.target, options.dataset))))


def export_noise(options) -> None:
    from dlt.artifact.export import export_noise
    from dlt.harness.config import make_config
    from dlt.harness.datasets import load
    from dlt.harness.run import noisy_labels

    profile, dataset = _profile_and_dataset(options)
    config = make_config(profile, dataset, "ce", *_noise(options), seed=options.seed)
    data = load(dataset, profile, options.data_dir)
    noisy = noisy_labels(data, config, options.data_dir)
    print("written: " + ", ".join(map(str, export_noise(noisy, data, config, options.target))))


def bench(options) -> None:
    from dlt.bench import methods as stopwatch
    from dlt.harness.devices import resolve_device
    from dlt.harness.records import RUNS
    from dlt.harness.settings import resolve_profile

    if options.repeats < 1:
        raise InputError(f"repeats: {options.repeats} is not at least 1")
    if options.what != "methods":
        _bench_more(options)
        return
    device = resolve_device(options.device)
    profile = resolve_profile(options.profile, device.type)
    methods = tuple(options.methods.split(",")) if options.methods else stopwatch.MAIN
    settings = _pairs("setting", options.setting)
    result = stopwatch.bench(profile, device, options.data_dir, options.repeats, methods, **settings)
    folder = options.output or RUNS / "bench" / profile
    print(stopwatch.write(result, folder))
    print(f"written: {folder}/bench.md, bench.csv")


def _bench_more(options) -> None:
    import pandas

    from dlt.bench.augmentation import augmentation
    from dlt.bench.cleaning import cleaning
    from dlt.bench.growth import growth
    from dlt.harness.devices import device_name, resolve_device
    from dlt.harness.records import RUNS, write_atomic

    if options.device == "cuda" or options.methods or options.setting or options.profile != "auto":
        raise InputError(f"what: {options.what} is measured on the CPU, without --profile, --methods and --setting")
    measures = {"augmentation": augmentation, "growth": growth, "cleaning": cleaning}
    rows = measures[options.what](options.repeats)
    table = pandas.DataFrame(rows).assign(device=device_name(resolve_device("cpu")), repeats=options.repeats)
    path = (options.output or RUNS / "bench") / f"{options.what}.csv"
    write_atomic(path, table.to_csv(index=False, float_format="%.5g"))
    print(table.drop(columns="device").round(1).to_string(index=False))
    print(f"written: {path}")


def status(options) -> None:
    from dlt.artifact.selection import seeds_of
    from dlt.artifact.status import status

    print(status(options.profile, seeds_of(options.seeds)))


def compare(options) -> None:
    from dlt.artifact.compare import compare
    from dlt.artifact.finding import find_runs
    from dlt.harness.places import shown
    from dlt.harness.records import CHECKPOINTS, RUNS

    text, written = compare(find_runs(options.runs, [RUNS, CHECKPOINTS]), options.output or RUNS / "compared")
    print(f"{text}\nwritten: {', '.join(shown(path) for path in written)}")


def claims(options) -> None:
    from dlt.artifact.claims import to_markdown
    from dlt.harness.places import require_checkout
    from dlt.harness.records import CHECKPOINTS, ROOT, write_atomic

    require_checkout("claims")
    text = to_markdown([CHECKPOINTS])
    write_atomic(ROOT / "CLAIMS.md", text)
    print(text)


def notebooks(options) -> None:
    from dlt.harness.places import require_checkout

    require_checkout("notebooks")
    from dlt.artifact.report import NOTEBOOKS, REPORT, execute_all

    print(f"{len(execute_all(NOTEBOOKS, REPORT))} notebooks executed; all their tables and figures: {REPORT}")


def verify(options) -> int:
    from dlt.artifact.shipping import manifest, verify
    from dlt.harness.places import require_checkout
    from dlt.harness.records import CHECKPOINTS

    require_checkout("verify")
    problems = verify(CHECKPOINTS)
    print("\n".join(problems) or f"{len(manifest(CHECKPOINTS))} files of shipped records, all as they should be")
    return 1 if problems else 0


def ship(options) -> None:
    from dlt.artifact.shipping import ship
    from dlt.harness.places import require_checkout
    from dlt.harness.records import CHECKPOINTS, RUNS

    require_checkout("ship")
    print(f"{ship(RUNS, CHECKPOINTS, options.profile)} new records in {CHECKPOINTS}")
