"""Table 5, the ablations and the numbers beside Figure 7: from records to tables."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dlt.artifact import paper, studies
from dlt.artifact.experiments import DATA_NAMES, DATA_OF_PROFILE
from dlt.artifact.printing import Text, fixed, signed, with_deviation
from dlt.harness.config import RunConfig
from dlt.harness.measures import LAST_EPOCHS
from dlt.harness.records import Record, early_losses, find_record
from dlt.harness.settings import setting_for
from dlt.noise_rate import NoiseRate, estimate_from_margins, estimate_noise_rate

if TYPE_CHECKING:
    import pandas

NOISE_WORDS = {
    "symmetric": "sym",
    "asymmetric": "asym",
    "human-aggre": "human, aggregate",
    "human-worse": "human, worse",
}


def setting_line(profile: str, seeds: int) -> str:
    """Profile, data, network and number of seeds, for a caption."""
    setting = setting_for(profile, studies.dataset_in(profile, "cifar10"))
    data = DATA_OF_PROFILE.get(profile, "CIFAR-10")
    numbers = ("not run yet", "1 seed")[seeds] if seeds < 2 else f"{seeds} seeds"
    return f"Profile {profile}: {data}; network {setting.network}, {setting.epochs} epochs, {numbers}."


def found(configs: dict[int, RunConfig], stores: list[Path]) -> dict[int, Record]:
    """The finished records among {seed: configuration}."""
    records = {seed: find_record(config, stores) for seed, config in configs.items()}
    return {seed: record for seed, record in records.items() if record is not None}


def command_note(name: str, profile: str, seeds: int) -> str:
    """How the reader gets the same."""
    command = f"./reproduce.sh {name} --profile {profile} --seeds {max(seeds, 1)}"
    return f"`{command}` makes this, training what runs/ lacks."


# ---------------------------------------------------------------------- Table 5
def estimates(record: Record) -> tuple[NoiseRate, NoiseRate]:
    """The paper's estimate from the losses of a CE run, and ours."""
    setting = record.config["setting"]
    losses = record.losses()
    early, late = (losses[f"loss_{setting[name]}"] for name in ("early_epoch", "epochs"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that one Gaussian fits as well: here all rates are known
        return estimate_noise_rate(early, late), estimate_from_margins(early_losses(record))


def collect_rates(profile: str, seeds: list[int], stores: list[Path]) -> "pandas.DataFrame":
    """A row for each data set, noise, rate and seed that was run: all rates in percent."""
    import pandas

    rows = []
    for seed in seeds:
        for (dataset, noise, rate), config in studies.rate_runs(profile, seed).items():
            if (record := find_record(config, stores)) is None:
                continue
            theirs, ours = estimates(record)
            rows.append(
                {
                    "profile": profile,
                    "paper_dataset": dataset,
                    "noise": noise,
                    "nominal": 100 * rate,
                    "seed": seed,
                    "realised": 100 * record.run["label_noise"]["realised_rate"],
                    "paper_rule": 100 * theirs.rate,
                    "our_rule": 100 * ours.rate,
                    "early_epoch": record.config["setting"]["early_epoch"],
                    "first_epoch": ours.epochs[0],
                    "last_epoch": ours.epochs[-1],
                }
            )
    names = [
        "profile",
        "paper_dataset",
        "noise",
        "nominal",
        "seed",
        "realised",
        "paper_rule",
        "our_rule",
        "early_epoch",
        "first_epoch",
        "last_epoch",
    ]
    return pandas.DataFrame(rows, columns=names)


def rates_text(profile: str, frame: "pandas.DataFrame") -> Text:
    """Table 5: nominal and realised rate, both estimates and their errors, and the paper's estimate of its data."""
    lines = []
    keys = ["paper_dataset", "noise", "nominal"]
    seeds = frame["seed"].nunique()
    for (dataset, noise, nominal), part in frame.groupby(keys, sort=False):
        errors = [part[rule] - part["realised"] for rule in ("paper_rule", "our_rule")]
        published = paper.TABLE5[dataset].get(round(nominal)) if noise == "symmetric" else None
        name = f"{DATA_NAMES[dataset]}, " if frame["paper_dataset"].nunique() > 1 else ""
        few = f" (n={len(part)})" if len(part) < seeds else ""
        lines.append(
            [
                f"{name}{NOISE_WORDS.get(noise, noise)} {nominal:.0f}{few}",
                fixed(part["realised"].mean()),
                *(
                    cell
                    for rule, error in zip(("paper_rule", "our_rule"), errors, strict=True)
                    for cell in (_mean_deviation(part[rule]), signed(error.mean()), fixed(error.abs().max()))
                ),
                "" if published is None else f"{published:.1f}",
            ]
        )
    notes = [
        "Rates in percent. Error: estimate minus realised rate, the mean over seeds and the largest of a seed. "
        "Symmetric noise may draw the true label again, so on ten classes 0.9 of the nominal rate is realised; "
        "asymmetric noise strikes half of the classes.",
        "Paper's rule (Eq. 8): a mixture of two Gaussians on the difference of one early and the last epoch's losses. "
        "Our rule: on the mean log-odds of the label over the early epochs from that on which separates them best, or, "
        "where no component is clearly disbelieved, the share of labels whose log-odds are below 0. Neither sees a "
        "true label; `dlt/noise_rate.py` holds both.",
        *_mean_errors(frame),
        "Right: the paper's estimate on its data, to be compared with the nominal rate, as the paper does.",
        command_note("table5", profile, seeds),
    ]
    head = ["Noise (nominal %)", "realised", "paper's rule", "error", "max", "our rule", "error", "max", "in the paper"]
    return Text("table5", "noise rate estimated from losses", setting_line(profile, seeds), head, lines, notes)


def _mean_errors(frame: "pandas.DataFrame") -> list[str]:
    notes = []
    kinds = frame["noise"].str.split("-").str[0]  # human-aggre and human-worse are one
    for words in ("symmetric", "asymmetric", "human"):
        if len(part := frame[kinds == words]):
            theirs, ours = ((part[rule] - part["realised"]).abs().mean() for rule in ("paper_rule", "our_rule"))
            notes.append(f"Mean absolute error, {words} rows, all seeds: paper's rule {theirs:.1f}, ours {ours:.1f}.")
    return notes


def _mean_deviation(values: "pandas.Series") -> str:
    return fixed(values.mean()) + (f" ± {fixed(values.std())}" if len(values) > 1 else "")


# ---------------------------------------------------------------------- ablations
def collect_ablations(profile: str, seeds: list[int], stores: list[Path]) -> "pandas.DataFrame":
    """A row for each variant and noise: Last, the split's precision and recall in the last epochs (percent)."""
    import pandas

    rows = []
    for noise in studies.ABLATION_COLUMNS:
        default = None
        for variant in studies.variants(profile):
            records = found({s: studies.ablation_run(profile, variant, noise, s) for s in seeds}, stores)
            last = pandas.Series({s: r.result["test_accuracy"]["last"] for s, r in records.items()}, dtype=float)
            default = last if default is None else default
            split = [r.epochs()[["precision", "recall"]].tail(LAST_EPOCHS).mean() for r in records.values()]
            precision, recall = 100 * np.mean(split, axis=0) if split else (np.nan, np.nan)
            difference = (last - default).dropna()
            rows.append(
                {
                    "profile": profile,
                    "noise": noise[0],
                    "rate": noise[1],
                    "choice": variant.choice,
                    "answer": variant.answer,
                    "mean": last.mean(),
                    "std": last.std(),
                    "n": len(last),
                    "difference": difference.mean(),
                    "difference_std": difference.std(),
                    "precision": precision,
                    "recall": recall,
                }
            )
    return pandas.DataFrame(rows)


def ablations_text(profile: str, frame: "pandas.DataFrame") -> Text:
    """One table: Last of every variant, and its difference from the defaults over the same seeds."""
    seeds = int(frame["n"].max())
    lines = []
    for (choice, answer), part in frame.groupby(["choice", "answer"], sort=False):
        cells = []
        for cell in part.itertuples():
            itself = choice == "our defaults"
            spread = f" ± {fixed(cell.difference_std)}" if cell.n > 1 else ""
            difference = "" if itself or not cell.n else signed(cell.difference) + spread
            last = with_deviation(cell.mean, cell.std, cell.n, seeds)
            cells += [last, difference, fixed(cell.precision), fixed(cell.recall)]
        lines.append([choice, answer, *cells])
    head = ["Choice", "answer"]
    for noise, rate in studies.ABLATION_COLUMNS:
        head += [f"{'sym' if noise == 'symmetric' else 'asym'} {rate:g}: Last", "difference", "precision", "recall"]
    notes = [
        f"DLT (Slide Window). Last: mean test accuracy of the last {LAST_EPOCHS} epochs, mean ± standard deviation of "
        "seeds. Difference: from our defaults, over the same seeds, in points. Precision and recall of the discarded "
        "labels in these epochs, in percent.",
        command_note("ablations", profile, seeds),
    ]
    title = "what the paper leaves open, tried"
    return Text("ablations", title, setting_line(profile, seeds), head, lines, notes, left=2)


# ---------------------------------------------------------------------- hard samples
def collect_hard(profile: str, seeds: list[int], stores: list[Path]) -> "pandas.DataFrame":
    """What DLT keeps of clean, hard and noisy rows in the last epochs, in percent; a row a kind and epsilon."""
    import pandas

    rows = []
    for kind, levels in studies.hard_table_runs(profile, seeds[0]):
        records = found({s: studies.hard_table_runs(profile, s)[kind, levels] for s in seeds}, stores)
        runs = pandas.DataFrame([_kept(record) for record in records.values()])
        rows.append({"profile": profile, "kind": kind, "epsilon": levels / 255, "n": len(runs)} | dict(runs.mean()))
    names = [
        "profile",
        "kind",
        "epsilon",
        "n",
        "clean_kept",
        "hard_kept",
        "noisy_kept",
        "precision",
        "recall",
        "precision_original",
        "auc",
        "last",
    ]
    return pandas.DataFrame(rows, columns=names)


def _kept(record: Record) -> dict[str, float]:
    """Means over the last epochs; `precision_original` counts no hard sample."""
    noise = record.run["label_noise"]
    hard = noise.get("hard_samples", 0)
    noisy = noise["realised_rate"] * noise["samples"]
    clean = noise["samples"] - noisy - hard
    last = record.epochs().tail(LAST_EPOCHS).mean()
    found_noisy = noisy - last["noisy_kept"]
    return {
        "clean_kept": 100 * last["clean_kept"] / clean,
        "hard_kept": 100 * last["hard_kept"] / hard if hard else np.nan,
        "noisy_kept": 100 * last["noisy_kept"] / noisy,
        "precision": 100 * last["precision"],
        "recall": 100 * last["recall"],
        "precision_original": 100 * found_noisy / (found_noisy + clean - last["clean_kept"]),
        "auc": last["auc"],
        "last": record.result["test_accuracy"]["last"],
    }


def hard_text(profile: str, frame: "pandas.DataFrame") -> Text:
    """The numbers that Section 4.2 puts into words: "our method can divide the hard samples into the clean set"."""
    words = {"none": "no hard samples", "incomplete": "incomplete information", "adversarial": "adversarial"}
    names = ["clean_kept", "hard_kept", "noisy_kept", "precision", "precision_original", "recall"]
    lines = []
    for cell in frame.itertuples():
        kind = words[cell.kind] + (f", epsilon {255 * cell.epsilon:.0f}/255" if cell.epsilon else "")
        lines.append(
            [
                kind,
                *(fixed(getattr(cell, n)) for n in names),
                "" if cell.auc != cell.auc else f"{cell.auc:.3f}",
                fixed(cell.last),
                str(cell.n),
            ]
        )
    head = [
        "Hard samples",
        "clean kept",
        "hard kept",
        "noisy kept",
        "precision",
        "without hard",
        "recall",
        "AUC",
        "Last",
        "n",
    ]
    seeds = int(frame["n"].max())
    notes = [
        f"DLT (Slide Window), symmetric noise 0.5, means of the last {LAST_EPOCHS} epochs, in percent. A hard copy of "
        "each clean sample, with its label, is added; w of Eq. 7 is then the share of noisy rows among all; without "
        "hard samples it is the nominal 0.5, which by itself discards a tenth of the clean ones.",
        "Precision and recall of the discarded labels; a discarded hard sample is an error, but not in `without hard`. "
        "AUC: of the losses, noisy against all others.",
        command_note("figure7", profile, seeds),
    ]
    title = "what DLT keeps when hard samples are added"
    return Text("figure7_kept", title, setting_line(profile, seeds), head, lines, notes)
