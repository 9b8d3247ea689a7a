"""Figure 7: the losses of hard samples lie near those of the clean ones; and what DLT keeps of them."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dlt.artifact import printing
from dlt.artifact.exhibits.common import HALF, KINDS, cifar10, found, hard_runs, setting_line
from dlt.artifact.exhibits.loss_panels import METHODS, write_loss_panels
from dlt.artifact.printing import Text, command_note, fixed
from dlt.artifact.verdicts import FAILS, HOLDS, Claim, summarise
from dlt.harness.config import RunConfig
from dlt.harness.measures import LAST_EPOCHS
from dlt.harness.records import Record

if TYPE_CHECKING:
    import pandas

TITLE = "losses of noisy, hard and clean samples"
EPSILONS = (2, 4, 8, 16, 32)  # of 255


def runs(profile: str, seed: int) -> dict[str, RunConfig]:
    """Of the panels, and of the table beside them."""
    table = kept_runs(profile, seed)
    return hard_runs(profile, seed) | {f"kept {kind} {levels}": run for (kind, levels), run in table.items()}


def write(profile: str, seeds: list[int], stores: list[Path], folder: Path) -> tuple[str, list[Path]]:
    """Losses of noisy, hard and original clean samples, two kinds of hard ones, under CE and under DLT."""
    titles = {f"{m} {k}": f"{METHODS[m]}; {KINDS[k]}" for k in KINDS for m in METHODS}
    words = (
        "Loss when a hard copy of each clean sample is added, symmetric noise 0.5: mean (bold), 90% of the samples, "
        "all (shaded)"
    )
    drawn = write_loss_panels("figure7", profile, seeds, stores, folder, hard_runs, titles, words)
    frame = collect_kept(profile, seeds, stores)
    text = kept_text(profile, frame)
    return printing.to_markdown(text), drawn + printing.write(text, profile, frame, folder)


def kept_runs(profile: str, seed: int) -> dict[tuple[str, int], RunConfig]:
    """The numbers beside Figure 7: DLT without hard samples, with each kind, and for several epsilons (of 255)."""
    runs = {("none", 0): cifar10(profile, "dlt-window", HALF, seed)}
    runs["incomplete", 0] = cifar10(profile, "dlt-window", HALF, seed, hard="incomplete")
    for levels in EPSILONS:
        more = {"hard": "adversarial", "epsilon": levels / 255}
        runs["adversarial", levels] = cifar10(profile, "dlt-window", HALF, seed, **more)
    return runs


def collect_kept(profile: str, seeds: list[int], stores: list[Path]) -> "pandas.DataFrame":
    """What DLT keeps of clean, hard and noisy rows in the last epochs, in percent; a row a kind and epsilon."""
    import pandas

    rows = []
    for kind, levels in kept_runs(profile, seeds[0]):
        records = found({s: kept_runs(profile, s)[kind, levels] for s in seeds}, stores)
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


def kept_text(profile: str, frame: "pandas.DataFrame") -> Text:
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
        command_note("figure7", profile, seeds, int(frame["n"].sum()), seeds * len(frame)),
    ]
    title = "what DLT keeps when hard samples are added"
    return Text("figure7_kept", title, setting_line(profile, seeds), head, lines, notes)


# ---------------------------------------------------------------------- claims
def _like_clean(method: str):
    def check(profile, seeds, stores):
        verdicts, texts = [], []
        for kind in KINDS:
            records = found({s: hard_runs(profile, s)[f"{method} {kind}"] for s in seeds}, stores).values()
            if records:
                names = [f"loss_{p}_mean" for p in ("clean", "hard", "noisy")]
                clean, hard, noisy = np.mean([r.epochs()[names].iloc[-1] for r in records], axis=0)
                verdicts.append(HOLDS if hard - clean < noisy - hard else FAILS)
                texts.append(f"{kind}: clean {clean:.2f}, hard {hard:.2f}, noisy {noisy:.2f}")
        return (summarise(verdicts), "mean loss at the end, " + "; ".join(texts)) if verdicts else None

    return check


def _kept_as_clean(profile, seeds, stores):
    frame = collect_kept(profile, seeds, stores)
    frame = frame[(frame["n"] > 0) & (frame["kind"] != "none")]
    if frame.empty:
        return None
    texts = []
    for row in frame.itertuples():
        strength = f" {255 * row.epsilon:.0f}/255" if row.epsilon else ""
        texts.append(f"{row.kind}{strength} {row.hard_kept:.1f}%")
    verdicts = [HOLDS if kept > 75 else FAILS for kept in frame["hard_kept"]]
    return summarise(verdicts), "hard samples kept: " + "; ".join(texts)


CLAIMS = (
    Claim(
        "4.2, Figure 7",
        "hard samples' losses under cross-entropy are nearer to the clean ones'",
        "figure7",
        _like_clean("ce"),
    ),
    Claim(
        "4.2, Figure 7",
        "hard samples' losses under DLT are nearer to the clean ones'",
        "figure7",
        _like_clean("dlt-window"),
    ),
    Claim("4.2, Figure 7", "DLT puts hard samples into the clean set (over 75% kept)", "figure7", _kept_as_clean),
)
