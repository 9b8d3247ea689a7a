"""`python -m dlt compare`: any finished runs, method by method, paired over the seeds that they share.

What data and labels two runs have in common makes a column; all else that differs makes them two contenders, of
which the first one named is compared with each of the others.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dlt.artifact.curves import Panel, curve_of, draw_panels, size_for
from dlt.artifact.drawing import caption, method_legend, new_figure, styles_of, write_figure
from dlt.artifact.printing import Text, counted, signed, to_markdown, with_deviation, write_into
from dlt.artifact.verdicts import FAILS, HOLDS, Difference, decide
from dlt.harness.config import RunConfig, make_config
from dlt.harness.errors import InputError
from dlt.harness.measures import LAST_EPOCHS
from dlt.harness.records import Record

if TYPE_CHECKING:
    import pandas

VERDICTS = {HOLDS: "higher", FAILS: "lower"}
ACCURACY = "test_accuracy"


@dataclass(frozen=True)
class Column:
    """What was trained on the same labels: each contender's runs by seed, the first one named first."""

    heading: str
    contenders: dict[str, dict[int, Record]]

    @property
    def first(self) -> str:
        return next(iter(self.contenders))

    def last(self, name: str) -> dict[int, float]:
        return {seed: record.result[ACCURACY]["last"] for seed, record in self.contenders[name].items()}

    def difference(self, other: str) -> Difference | None:
        """Last of the first contender minus that of another, a number a seed that both have."""
        ours, theirs = self.last(self.first), self.last(other)
        by_seed = {seed: ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())}
        return Difference(self.heading, by_seed) if by_seed else None


def compare(found: list[Record], folder: Path) -> tuple[str, list[Path]]:
    """Table and curves of what can be compared in these runs: what to print, and the files written to `folder`."""
    columns = columns_of(found)
    frame = collect(columns)
    text = _text(columns, frame)
    return to_markdown(text), write_into(Path(folder), text, "runs", frame) + _curves(columns, folder)


# ---------------------------------------------------------------------- what is compared
def columns_of(found: list[Record]) -> list[Column]:
    """The columns in which the first method named has a contender; InputError where there is none."""
    by_data: dict[tuple, list[Record]] = {}
    for record in found:
        by_data.setdefault(_data(record.config), []).append(record)
    method = found[0].config.method
    there: list[tuple[RunConfig, dict]] = []
    for _, records in sorted(by_data.items(), key=lambda item: item[0]):
        contenders = _contenders(sorted(records, key=lambda record: record.config.method != method))
        if len(contenders) > 1 and records[0].config.method == method:
            there.append((records[0].config, contenders))
    headings = [_heading(config) for config, _ in there]
    columns = [
        Column(heading if headings.count(heading) == 1 else f"{heading} {_versions(config)}", contenders)
        for heading, (config, contenders) in zip(headings, there, strict=True)
    ]
    if not columns:
        methods = ", ".join(sorted({record.config.method for record in found}))
        raise InputError(
            f"compare: {counted(len(found), 'run')} of {methods}, but on no data and noise is there both a run of "
            f"{method} and one to compare it with"
        )
    return columns


def _data(config: RunConfig) -> tuple:
    of_noise = (config.noise_name, config.noise_sha256, config.hard, config.epsilon)
    return (config.profile, config.dataset_name, config.data_sha256, *of_noise)


def _heading(config: RunConfig) -> str:
    hard = {"none": "", "adversarial": f" adversarial {config.epsilon:.3f}"}.get(config.hard, f" {config.hard}")
    profile = "" if config.profile == config.dataset_name else f"{config.profile}: "
    return f"{profile}{config.dataset_name} {config.noise_name}{hard}"


def _versions(config: RunConfig) -> str:
    """What tells data or a noise of the user's own from an edited one of the same name."""
    return f"({', '.join(sha[:6] for sha in (config.data_sha256, config.noise_sha256) if sha)})"


def _contenders(records: list[Record]) -> dict[str, dict[int, Record]]:
    """{name: {seed: run}}; a method in several versions is named with what differs among them."""
    versions: dict[str, list[dict]] = {}
    for record in records:
        own = versions.setdefault(record.config.method, [])
        if (about := _version(record.config)) not in own:
            own.append(about)
    contenders: dict[str, dict[int, Record]] = {}
    for record in records:
        name = _name(record.config.method, _version(record.config), versions[record.config.method])
        contenders.setdefault(name, {}).setdefault(record.config.seed, record)
    return contenders


def _version(config: RunConfig) -> dict:
    """All of a configuration that is neither data nor seed, nor a mere record of losses."""
    code = {"code": config.method_sha256[:6], "assumed_rate": config.assumed_rate}
    return asdict(config.setting) | code | config.method_config


def options(config: RunConfig) -> str:
    """What is not as the method and the profile have it by themselves: "precision=fp32, assumed_rate=estimated"."""
    own = _version(config) | {"hard": config.hard}
    try:
        usual = make_config(
            config.profile, config.dataset, config.method, config.noise, config.noise_rate, seed=config.seed
        )
    except InputError:  # the user's file is elsewhere
        return ""
    theirs = _version(usual) | {"hard": usual.hard}
    return ", ".join(f"{name}={value}" for name, value in own.items() if theirs.get(name) != value)


def _name(method: str, about: dict, versions: list[dict]) -> str:
    keys = dict.fromkeys(key for version in versions for key in version)
    differing = [key for key in keys if any(version.get(key) != versions[0].get(key) for version in versions)]
    words = ", ".join(f"{key}={about[key]}" for key in differing if key in about)
    return f"{method} ({words})" if words else method


# ---------------------------------------------------------------------- numbers
def collect(columns: list[Column]) -> "pandas.DataFrame":
    """A row for each contender of each column.

    last, std, best   mean of the test accuracy over its n seeds, in percent, and the deviation of Last
    work              epochs of CE training by the cost model; NaN where the method's file is not there
    shared            the number of seeds that it shares with the first contender
    difference        Last of the first one minus its own, mean over these seeds, in points; half_width is that of
                      the 95% interval (Student's t), p_value that of the paired t-test
    verdict           of the difference: higher, lower or undecided, by Holm's test over all rows at 5%
    """
    import pandas

    rows, differences = [], []
    for column in columns:
        for name, runs in column.contenders.items():
            last = pandas.Series(column.last(name))
            row = {"column": column.heading, "method": name, "n": len(last), "last": last.mean(), "std": last.std()}
            row["best"] = pandas.Series([run.result[ACCURACY]["best"] for run in runs.values()]).mean()
            row["work"] = _work(next(iter(runs.values())).config)
            if name != column.first and (difference := column.difference(name)):
                differences.append((row, difference))
            rows.append(row)
    for (row, difference), verdict in zip(differences, decide([d for _, d in differences]), strict=True):
        row |= {"shared": len(difference.values), "difference": difference.mean}
        row |= {"half_width": difference.half_width, "p_value": difference.p_value}
        row["verdict"] = VERDICTS.get(verdict, verdict)
    names = ["column", "method", "n", "last", "std", "best", "work"]
    return pandas.DataFrame(rows, columns=[*names, "shared", "difference", "half_width", "p_value", "verdict"])


def _work(config: RunConfig) -> float:
    try:
        return config.cost
    except InputError:  # the user's file is elsewhere
        return float("nan")


# ---------------------------------------------------------------------- words and pictures
def _text(columns: list[Column], frame: "pandas.DataFrame") -> Text:
    first = columns[0].first
    lines = []
    for column, rows in frame.groupby("column", sort=False):
        for i, row in enumerate(rows.itertuples()):
            work = "" if row.work != row.work else f"{row.work:.0f}"
            accuracy = with_deviation(row.last, row.std, row.n, row.n)
            lines.append([column if i == 0 else "", row.method, str(row.n), accuracy, work, *_compared(row, i == 0)])
    notes = [
        f"Last: mean test accuracy (%) of the last {LAST_EPOCHS} epochs, mean ± standard deviation over the seeds. "
        "Best (oracle) is in the CSV.",
        "Difference: of the first method of a block minus this one, in points of Last, seed by seed over the seeds "
        "that both have (the same labels), with the 95% interval of its mean (Student's t).",
        "Higher, lower: the first method, by paired t-tests at 5% for all comparisons here together (Holm), by which "
        "one may be undecided whose own interval excludes 0; one seed decides nothing.",
        "Work: epochs of cross-entropy training, by the cost model, not measured.",
    ]
    head = ["Data and noise", "Method", "seeds", "Last", "work", "shared seeds", "difference", "the first is"]
    setting = f"{counted(len(columns), 'setting')}, {counted(int(frame['n'].sum()), 'run')}."
    return Text("comparison", f"{first} beside other runs", setting, head, lines, notes, left=2)


def _compared(row, is_first: bool) -> list[str]:
    if is_first:
        return ["", "", ""]
    if row.shared != row.shared:
        return ["none", "", ""]
    spread = f" ± {row.half_width:.1f}" if row.shared > 1 else ""
    return [f"{row.shared:.0f}", f"{signed(row.difference)}{spread}", row.verdict]


def _curves(columns: list[Column], folder: Path) -> list[Path]:
    """Test error by epoch, a panel for each column: comparison_curves.png, .pdf and .csv."""
    import pandas

    panels = []
    for column in columns:
        runs = [
            curve_of(record, ACCURACY).assign(method=name, seed=seed)
            for name, records in column.contenders.items()
            for seed, record in records.items()
        ]
        drop = next(iter(column.contenders[column.first].values())).config.setting.drop_after
        panels.append(Panel(column.heading, pandas.concat(runs, ignore_index=True), drop))
    names = list(dict.fromkeys(name for column in columns for name in column.contenders))
    styles = styles_of(names)
    with new_figure(*size_for(len(panels))) as figure:
        draw_panels(figure, panels, styles)
        caption(figure, "Test error by epoch, on a log scale, mean and range of seeds; right of each curve its Last")
        method_legend(figure, {name: name for name in names})
        numbers = pandas.concat([panel.runs.assign(column=panel.heading) for panel in panels], ignore_index=True)
        colors = [color for color, _ in styles.values()]
        return write_figure(figure, numbers, Path(folder) / "comparison_curves", colors)
