"""`python -m dlt estimate`: the noise rate of a data set, and how likely each label is right."""

import warnings

import numpy as np

from dlt.harness.errors import InputError
from dlt.harness.places import shown
from dlt.harness.records import Record, early_losses, write_atomic
from dlt.noise_rate import estimate_from_margins, estimate_noise_rate


def estimate(record: Record, labels: np.ndarray, theta: float, rows: np.ndarray | None = None) -> str:
    """Both estimates of a CE run on `labels` (N,) in words; clean_probability.csv beside it holds all samples.

    `rows` (N,) are those of the whole set or archive, where the run was trained on a part of it.
    """
    import pandas

    setting = record.config.setting
    if setting.epoch_samples:
        raise InputError(f"record: {record.folder} kept no losses, from which the noise rate is estimated")
    early, late = record.early_and_late_losses
    if not (before_drop := early_losses(record)):
        raise InputError(f"record: {record.folder} kept no losses before its learning rate fell")
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            theirs = estimate_noise_rate(early, late, theta)
        ours = estimate_from_margins(before_drop, theta)
    except ValueError as error:
        raise InputError(str(error)) from error
    table = pandas.DataFrame(
        {
            "label": labels,
            "clean_probability": ours.clean_probability,
            "clean_probability_paper": theirs.clean_probability,
            "early_loss": early,
            "late_loss": late,
        }
    )
    table.index = np.arange(len(labels)) if rows is None else rows
    path = record.folder / "clean_probability.csv"
    write_atomic(path, table.round(6).rename_axis("row").to_csv())
    lines = []
    noise = record.run["label_noise"]
    if noise["realised_rate"] is not None:
        nominal, realised = 100 * noise["nominal_rate"], 100 * noise["realised_rate"]
        lines.append(f"put in: {nominal:.1f}% nominal, {realised:.1f}% of the labels are wrong")
    lines += [
        f"estimated noise rate: {100 * ours.rate:.1f}%   "
        f"(ours: log-odds of the labels, epochs {ours.epochs[0]} to {ours.epochs[-1]})",
        f"by the paper's rule:  {100 * theirs.rate:.1f}%   (Eq. 8: losses of epochs {setting.early_epoch} and "
        f"{setting.epochs}; needs a network that has learnt all labels)",
        *(f"warning: {warning.message}" for warning in warned),
        f"every training sample's probability to be labelled right: {shown(path)}",
    ]
    if rows is not None:
        lines[-1] += "   (row: that of the whole set; images that were not trained on are not in it)"
    return "\n".join(lines)
