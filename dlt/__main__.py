"""The command line: `python -m dlt`, and what `./reproduce.sh` hands on to."""

import argparse
import os
import sys
from pathlib import Path

from dlt import commands
from dlt.harness.errors import InputError, ProcessLost, RunFailed

# Their names alone, so that `train` need not import what draws them.
TARGETS = (
    *(f"table{i}" for i in range(1, 6)),
    *(f"figure{i}" for i in range(1, 8)),
    *("ablations", "cost", "parts", "beyond", "all"),
)

# What becomes of a run that failed so.
FAILED = {
    FloatingPointError: "the checkpoint before it is kept",
    RunFailed: "the same command tries again",
    ProcessLost: "the same command goes on from the last checkpoint",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 done, 1 a run failed, 2 bad input (one line says what), 130 stopped by Ctrl-C."""
    if arguments is None:  # as a program: `noisy-labels` too finds a user's own method where they stand
        sys.path.append(os.getcwd())
    options = _parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except tuple(FAILED) as error:
        print(f"error: {error}; {FAILED[type(error)]}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `... | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    """One that takes no part of an option for the whole: --epoch is not --epochs."""

    def __init__(self, **arguments):
        super().__init__(**arguments, allow_abbrev=False)

    def parse_known_args(self, *arguments):
        """A command refuses by itself what it does not know, under its own usage, not that of all commands."""
        namespace, unknown = super().parse_known_args(*arguments)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return namespace, unknown


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m dlt", description="Dynamic Loss Thresholding, reproduced.")
    parser.set_defaults(run=commands.overview)
    subparsers = parser.add_subparsers(metavar="COMMAND")
    for add in (
        _add_targets,
        _add_train,
        _add_estimate,
        _add_clean,
        _add_apply,
        _add_undo,
        _add_evaluate,
        _add_export,
        _add_export_noise,
        _add_bench,
        _add_status,
        _add_compare,
        _add_records,
    ):
        add(subparsers)
    return parser


def _add_targets(subparsers) -> None:
    for target in TARGETS:
        help_ = "every target" if target == "all" else f"train what {target} needs, then print and write it"
        command = subparsers.add_parser(target, help=help_)
        command.set_defaults(run=commands.reproduce, target=target)
        _reproduce_arguments(command)


def _reproduce_arguments(command) -> None:
    command.add_argument("--profile", default="auto", help="digits, mini, short, paper or auto (default)")
    mode = command.add_mutually_exclusive_group()
    mode.add_argument("--cached", action="store_true", help="train nothing: read the shipped records")
    mode.add_argument("--fresh", action="store_true", help="move finished runs aside and train again")
    command.add_argument("--seeds", help="seeds 1 to N, or a list like 1,2,5 (default 1; with --cached all)")
    command.add_argument("--workers", type=int, help="runs at a time (default: one a core, one a GPU); ray: on a GPU")
    command.add_argument("--launcher", choices=("local", "ray"), default="local", help="this machine, or a Ray cluster")
    command.add_argument("--address", help="of the Ray cluster, HOST:PORT (default: auto, the one this machine is in)")
    command.add_argument("--time-budget", help="begin no epoch after 90s, 9m or 1.5h; the same command goes on")
    command.add_argument("--methods", help="only these rows, comma-separated; of a table also your own, module:Class")
    command.add_argument(
        "--noise", help="only these columns: symmetric0.4,asymmetric0.2; of a table also your own, module:function0.3"
    )
    command.add_argument("--no-shipped", action="store_true", help="with --methods, --noise: train what is shipped too")
    command.add_argument("--output", type=Path, help="where tables and figures go (default: in runs/, or figures/)")
    command.add_argument("--dry-run", action="store_true", help="say what would run, and stop")
    _machine_arguments(command)


def _add_train(subparsers) -> None:
    command = subparsers.add_parser("train", help="train one run")
    command.set_defaults(run=commands.train)
    command.add_argument("--method", required=True, help="a method id, or package.module:Class")
    _data_arguments(command, noise="symmetric")
    _training_arguments(command)
    command.add_argument(
        "--assumed-rate",
        type=_rate,
        default="nominal",
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


def _add_estimate(subparsers) -> None:
    command = subparsers.add_parser("estimate", help="noise rate of a data set, from the losses of plain training")
    command.set_defaults(run=commands.estimate)
    command.add_argument("--theta", type=float, default=0.5, help="a label less likely right than this is noisy (0.5)")
    _data_arguments(command, noise="none")
    _training_arguments(command)
    _machine_arguments(command)


def _add_clean(subparsers) -> None:
    command = subparsers.add_parser("clean", help="suspicious labels of your own images, and a network without them")
    command.set_defaults(run=commands.clean)
    command.add_argument(
        "path",
        type=Path,
        help="a folder with one folder of pictures a class, a list of pictures or numbers, an .npz or .npy file",
    )
    command.add_argument("--label", help="of a table the column of the labels; of features in a .npy file the labels'")
    command.add_argument("--clean-label", help="the true labels, where they are known, as --label: for measures")
    command.add_argument("--id", help="of a table the column of the rows' names (default: numbers from 0)")
    command.add_argument("--path", dest="picture_column", help="of a list the column of the pictures' paths")
    command.add_argument(
        "--backbone", default="auto", help="what makes features of pictures: a timm model, a run's folder, auto or none"
    )
    command.add_argument("--weights", type=Path, help="a file of the backbone's weights, where they cannot be fetched")
    command.add_argument("--views", type=int, default=0, help="augmented views to embed of each picture (default: 0)")
    command.add_argument("--finetune", action="store_true", help="train the backbone itself on the pictures: for a GPU")
    command.add_argument("--output", type=Path, help="the folder to write (default: NAME-cleaned where you stand)")
    command.add_argument("--profile", default="auto", help="short on a GPU; else mini, or digits for 8x8 pixels")
    command.add_argument("--epochs", type=int, help="the length of training; the whole schedule follows")
    command.add_argument("--folds", type=int, default=0, help="also labels.npy and pred_probs.npy, out of sample")
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--workers", type=int, help="runs at a time (default: one a core, one on a GPU)")
    command.add_argument("--setting", action="append", default=[], metavar="NAME=VALUE", help="epochs=50, threads=4")
    command.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")


def _add_apply(subparsers) -> None:
    command = subparsers.add_parser("apply", help="a corrected copy of your data, by the decisions of review.html")
    command.set_defaults(run=commands.apply)
    command.add_argument("path", type=Path, help="the data that `clean` was given")
    command.add_argument("decisions", type=Path, help="decisions.csv, from review.html")
    command.add_argument("output", type=Path, help="a new folder for the copy")
    command.add_argument("--dry-run", action="store_true", help="say what would change, write nothing")
    command.add_argument("--ambiguous", default="drop", help="drop (default) or keep what was called ambiguous")
    command.add_argument("--label", help="as for clean")
    command.add_argument("--id", help="as for clean")


def _add_undo(subparsers) -> None:
    command = subparsers.add_parser("undo", help="what a copy of `apply` was made of, as it was")
    command.set_defaults(run=commands.undo)
    command.add_argument("path", type=Path, help="the copy")
    command.add_argument("output", type=Path, help="a new folder for what it was made of")


def _add_evaluate(subparsers) -> None:
    command = subparsers.add_parser("evaluate", help="test accuracy of a finished run's weights")
    command.set_defaults(run=commands.evaluate)
    command.add_argument("folder", type=Path, help="the folder of the run, with weights.safetensors")
    command.add_argument("--dataset", help="the .npz file, where the run was trained on one")
    _machine_arguments(command)


def _add_export(subparsers) -> None:
    command = subparsers.add_parser("export", help="a finished run's weights as safetensors, with a model card")
    command.set_defaults(run=commands.export_model)
    command.add_argument("folder", type=Path, help="the folder of the run, with weights.safetensors")
    command.add_argument("target", type=Path, help="an empty folder")
    command.add_argument("--dataset", help="the .npz file of images, where the run was trained on one")


def _add_export_noise(subparsers) -> None:
    command = subparsers.add_parser("export-noise", help="the noisy labels of a setting, with their sha256")
    command.set_defaults(run=commands.export_noise)
    command.add_argument("target", type=Path, help="an empty folder")
    _data_arguments(command, noise="symmetric")
    _machine_arguments(command)


def _add_bench(subparsers) -> None:
    command = subparsers.add_parser("bench", help="seconds per epoch of every method against its cost model")
    command.set_defaults(run=commands.bench)
    command.add_argument("--profile", default="auto")
    command.add_argument("--methods", help="comma-separated (default: the rows of Table 1)")
    command.add_argument(
        "--what",
        choices=("methods", "augmentation", "growth", "cleaning"),
        default="methods",
        help="methods (default); augmentation beside torchvision's; growth with images and window; cleaning of vectors",
    )
    command.add_argument("--repeats", type=int, default=5, help="epochs of each, in turn (5)")
    command.add_argument("--setting", action="append", default=[], metavar="NAME=VALUE", help="precision=bf16, ...")
    command.add_argument("--output", type=Path, help="where bench.md and bench.csv go (default: runs/bench/<profile>)")
    _machine_arguments(command)


def _add_status(subparsers) -> None:
    command = subparsers.add_parser(
        "status", help="every run in runs/, done, running or stopped, and what targets miss"
    )
    command.set_defaults(run=commands.status)
    command.add_argument("--profile", default="auto", help="of the targets: digits, mini, short, paper or auto")
    command.add_argument("--seeds", help="of the targets: seeds 1 to N, or a list like 1,2,5")


def _add_compare(subparsers) -> None:
    command = subparsers.add_parser("compare", help="runs side by side: paired differences over seeds, curves, work")
    command.set_defaults(run=commands.compare)
    command.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="a method's name, a run's folder, a folder of runs or a glob; the first is compared with each other",
    )
    command.add_argument("--output", type=Path, help="the folder to write (default: runs/compared)")


def _add_records(subparsers) -> None:
    command = subparsers.add_parser("notebooks", help="execute the notebooks in place, write figures/report.html")
    command.set_defaults(run=commands.notebooks)

    command = subparsers.add_parser("claims", help="write CLAIMS.md: the paper's claims against the shipped records")
    command.set_defaults(run=commands.claims)

    command = subparsers.add_parser("verify", help="check every shipped record against its sha256")
    command.set_defaults(run=commands.verify)

    command = subparsers.add_parser("ship", help="copy finished records from runs/ into checkpoints/")
    command.set_defaults(run=commands.ship)
    command.add_argument("--profile", required=True)


def _machine_arguments(command) -> None:
    command.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")
    command.add_argument("--data-dir", help="folder with the CIFAR files (default: $DLT_DATA, else data/)")


def _data_arguments(command, noise: str) -> None:
    """What is trained on."""
    command.add_argument("--profile", default="auto")
    command.add_argument(
        "--dataset", help="digits, cifar10, cifar100, clothing1m or an .npz file (default: by profile)"
    )
    command.add_argument("--noise", default=noise, help=f"the label noise that is put in (default: {noise})")
    command.add_argument("--labels", help="of --noise human: aggre, random1 to 3, worse (CIFAR-10); noisy (CIFAR-100)")
    command.add_argument("--noise-rate", type=float)
    command.add_argument("--seed", type=int, default=1)


def _training_arguments(command) -> None:
    """How it is trained, and where the run is kept."""
    command.add_argument(
        "--setting",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a field of Setting (dlt/harness/config.py)",
    )
    command.add_argument("--checkpoint-seconds", type=float, default=10, help="save at most this often (10)")
    command.add_argument("--output", type=Path, help="the store (default: runs/)")


def _rate(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


if __name__ == "__main__":
    sys.exit(main())
