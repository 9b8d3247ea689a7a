"""The command line: `python -m dlt`, and what `./reproduce.sh` hands on to."""

import argparse
import json
import os
import sys
from pathlib import Path

from dlt.harness.errors import InputError

# Their names alone, so that `train` need not import what draws them.
TARGETS = (*(f"table{i}" for i in range(1, 6)), *(f"figure{i}" for i in range(1, 8)), "ablations", "all")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 done, 1 a run failed, 2 bad input (one line says what), 130 stopped by Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except FloatingPointError as error:
        print(f"error: {error}; the checkpoint before it is kept", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `... | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dlt", description="Dynamic Loss Thresholding, reproduced.")
    parser.set_defaults(run=_overview)
    commands = parser.add_subparsers(metavar="COMMAND")

    for target in TARGETS:
        help_ = "every target" if target == "all" else f"train what {target} needs, then print and write it"
        command = commands.add_parser(target, help=help_)
        command.set_defaults(run=_reproduce, target=target)
        _reproduce_arguments(command)

    command = commands.add_parser("train", help="train one run")
    command.set_defaults(run=_train)
    _train_arguments(command)

    command = commands.add_parser("estimate", help="noise rate of a data set, from the losses of plain training")
    command.set_defaults(run=_estimate)
    command.add_argument("--theta", type=float, default=0.5, help="a label less likely right than this is noisy (0.5)")
    _data_arguments(command, noise="none")
    _machine_arguments(command)

    command = commands.add_parser("evaluate", help="test accuracy of a finished run's weights")
    command.set_defaults(run=_evaluate)
    command.add_argument("folder", type=Path, help="the folder of the run, with weights.safetensors")
    command.add_argument("--dataset", help="the .npz file, where the run was trained on one")
    _machine_arguments(command)

    command = commands.add_parser("status", help="which runs are done, running, stopped or missing")
    command.set_defaults(run=_status)
    command.add_argument("--profile", default="auto")
    command.add_argument("--seeds", type=int, default=1, help="seeds 1 to N")

    command = commands.add_parser("notebooks", help="execute the notebooks in place, write figures/report.html")
    command.set_defaults(run=_notebooks)

    command = commands.add_parser("verify", help="check every shipped record against its sha256")
    command.set_defaults(run=_verify)

    command = commands.add_parser("ship", help="copy finished records from runs/ into checkpoints/")
    command.set_defaults(run=_ship)
    command.add_argument("--profile", required=True)
    return parser


def _machine_arguments(command) -> None:
    command.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")
    command.add_argument("--data-dir", help="folder with the CIFAR files (default: $DLT_DATA, else data/)")


def _reproduce_arguments(command) -> None:
    command.add_argument("--profile", default="auto", help="digits, mini, short, paper or auto (default)")
    mode = command.add_mutually_exclusive_group()
    mode.add_argument("--cached", action="store_true", help="train nothing: read the shipped records")
    mode.add_argument("--fresh", action="store_true", help="move finished runs aside and train again")
    command.add_argument("--seeds", type=int, help="seeds 1 to N (default 1; with --cached 3)")
    command.add_argument("--workers", type=int, help="runs at a time (default: one a core, one on a GPU)")
    command.add_argument("--methods", help="train only these rows, comma-separated")
    command.add_argument("--noise", help="train only these columns, for example symmetric0.4,asymmetric0.2")
    command.add_argument("--dry-run", action="store_true", help="say what would run, and stop")
    _machine_arguments(command)


def _data_arguments(command, noise: str) -> None:
    """What is trained on, and where the run is kept."""
    command.add_argument("--profile", default="auto")
    command.add_argument(
        "--dataset", help="digits, cifar10, cifar100, clothing1m or an .npz file (default: by profile)"
    )
    command.add_argument("--noise", default=noise, help=f"the label noise that is put in (default: {noise})")
    command.add_argument("--noise-rate", type=float)
    command.add_argument("--seed", type=int, default=1)
    command.add_argument(
        "--setting",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a field of Setting (dlt/harness/config.py)",
    )
    command.add_argument("--checkpoint-seconds", type=float, default=10, help="save at most this often (10)")
    command.add_argument("--output", type=Path, help="the store (default: runs/)")


def _train_arguments(command) -> None:
    command.add_argument("--method", required=True, help="a method id, or package.module:Class")
    _data_arguments(command, noise="symmetric")
    command.add_argument(
        "--assumed-rate", type=_rate, default="nominal",
        help="the w of Eq. 7: nominal, realised, estimated (trains CE first), 0.38",
    )
    command.add_argument("--hard", default="none", help="add hard copies of the clean samples: incomplete, adversarial")
    command.add_argument("--epsilon", type=float, default=8 / 255, help="of adversarial copies, in [0, 1] (8/255)")
    command.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a field of the method's Config; a wrong name lists them",
    )
    command.add_argument("--loss-epochs", help="keep un-augmented losses at these epochs, 5,10")
    _machine_arguments(command)


def _rate(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


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


def _overview(options) -> None:
    from dlt.artifact.reproduce import overview

    print(overview())


def _reproduce(options) -> int:
    from dlt.artifact.reproduce import reproduce

    return reproduce(options)


def _profile_and_dataset(options) -> tuple[str, str]:
    from dlt.artifact.reproduce import resolve_profile
    from dlt.harness.config import SETTINGS

    profile = resolve_profile(options.profile)
    return profile, options.dataset or next((d for p, d in SETTINGS if p == profile), "")


def _estimate(options) -> int:
    from dlt.artifact.estimate import estimate
    from dlt.harness import records
    from dlt.harness.config import make_config
    from dlt.harness.datasets import load
    from dlt.harness.run import noisy_labels

    profile, dataset = _profile_and_dataset(options)
    config = make_config(
        profile, dataset, "ce", options.noise, options.noise_rate or 0.0, options.seed,
        **_pairs("setting", options.setting),
    )  # fmt: skip
    _train_one(config, options)
    record = records.read_record(records.folder_of(options.output or records.RUNS, config))
    labels = noisy_labels(load(dataset, profile, options.data_dir), config, options.data_dir).labels
    print(estimate(record, labels, options.theta))
    return 0


def _train(options) -> int:
    from dlt.harness.config import make_config

    profile, dataset = _profile_and_dataset(options)
    try:
        loss_epochs = options.loss_epochs and tuple(int(epoch) for epoch in options.loss_epochs.split(","))
    except ValueError:
        raise InputError(f"loss-epochs: {options.loss_epochs!r} is not a list like 5,10") from None
    config = make_config(
        profile, dataset, options.method, options.noise, options.noise_rate or 0.0, options.seed,
        options.assumed_rate, _pairs("option", options.option), loss_epochs, options.hard, options.epsilon,
        **_pairs("setting", options.setting),
    )  # fmt: skip
    for run in [*config.required, config]:
        _train_one(run, options)
    return 0


def _train_one(config, options) -> None:
    from tqdm import tqdm

    from dlt.harness import records
    from dlt.harness.training import train

    if options.noise_rate is None and config.noise in ("symmetric", "asymmetric", "asymmetric-block5"):
        raise InputError(f"noise-rate: give one with --noise {config.noise}, or --noise none")
    store = options.output or records.RUNS
    folder = records.folder_of(store, config)
    print(f"{config.name}: {config.setting.epochs} epochs of {config.setting.network}, {config.cost:.0f} CE-epochs")
    bar = None
    for row in train(config, store, options.device, options.data_dir, options.checkpoint_seconds):
        bar = bar or tqdm(total=config.setting.epochs, initial=row["epoch"] - 1, unit="epoch")
        bar.set_postfix(test=f"{row['test_accuracy']:.1f}", loss=f"{row['train_loss']:.3f}", refresh=False)
        bar.update()
    if bar:
        bar.close()
    accuracy = records.read_record(folder).result["test_accuracy"]
    print(f"Last {accuracy['last']:.2f}, Best (oracle) {accuracy['best']:.2f}: {folder}")


def _evaluate(options) -> None:
    from dlt.harness.training import evaluate

    for name, accuracy in evaluate(options.folder, options.device, options.data_dir, options.dataset).items():
        print(f"{name} {accuracy:.2f}")


def _status(options) -> None:
    from dlt.artifact.reproduce import status

    print(status(options.profile, options.seeds))


def _notebooks(options) -> None:
    from dlt.artifact.report import NOTEBOOKS, REPORT, execute_all

    print(f"{len(execute_all(NOTEBOOKS, REPORT))} notebooks executed; all their tables and figures: {REPORT}")


def _verify(options) -> int:
    from dlt.artifact.shipping import manifest, verify
    from dlt.harness.records import CHECKPOINTS

    problems = verify(CHECKPOINTS)
    print("\n".join(problems) or f"{len(manifest(CHECKPOINTS))} files of shipped records, all as they should be")
    return 1 if problems else 0


def _ship(options) -> None:
    from dlt.artifact.shipping import ship
    from dlt.harness.records import CHECKPOINTS, RUNS

    print(f"{ship(RUNS, CHECKPOINTS, options.profile)} new records in {CHECKPOINTS}")


if __name__ == "__main__":
    sys.exit(main())
