"""Tables of runs: which runs can be compared, in which keys of their configs they differ, and who comes first.

Runs are ranked by the validation metric that they monitored, never by test scores: a test score that runs were chosen
by overestimates how good the choice is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lightsweep.core.checks import is_number
from lightsweep.core.errors import ConfigError
from lightsweep.core.metrics import DIFFERENCE_COLUMNS, METRICS, PARETO, mode_of
from lightsweep.reports.finding import pool_runs
from lightsweep.reports.runs import Row, Run, is_metric

Selection = Sequence[tuple["Table", Sequence[Run]]]  # tables, each with the rows to show, in order

STATUSES = ("completed", "infeasible", "unfinished", "pruned", "interrupted", "diverged", "failed")
# train/acc, val/acc and test/acc
SCORES = tuple(f"{part}/{each.name}" for each in METRICS if each.is_main and each.is_share for part in each.compared)
_NO_DIFFERENCE = (
    *("seed", "data", "data.seed", "data_dir", "data.data_dir"),
    *("threads", "test", "logger", "report", "sweep"),
)
_NO_DIFFERENCE_BELOW = (
    *("versions.", "logger.", "hydra.", "lr_find_range."),
    *("callbacks.progress", "callbacks.lr_monitor", "callbacks.figures", "callbacks.histograms", "callbacks.graph"),
    *("trainer.accelerator", "trainer.devices", "trainer.strategy"),
)
_NO_DIFFERENCE_AT_END = ("dirpath", "save_dir")
_ROOT_KEYS = {".monitor": "monitor.metric", ".mode": "monitor.mode"}  # by default they are the root's


@dataclass(frozen=True)
class Table:
    """Runs that can be compared.

    Args:
        runs: in order.
        data: the data set of all; with its root where there are tables of others of its kind. Of trials their study.
        differing: keys of the config in which they differ.
        columns: what is shown of each.
    """

    runs: tuple[Run, ...]
    data: str | None
    monitor: str
    maximises: bool
    differing: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def ranks(self) -> dict[str, int]:
        """The rank of each completed run by validation, by its name, in whatever order the table is.

        A confirmation has none: it is a trial's configuration once more.
        """
        if self.has_front:
            return {run.name: run.row[PARETO] for run in self.runs if is_number(run.row.get(PARETO))}
        ranked = [run for run in self.runs if run.is_complete and run.value is not None and not run.is_confirmation]
        ranked.sort(key=lambda run: -_goodness(run.value, self.maximises))
        return {run.name: rank for rank, run in enumerate(ranked, start=1)}

    @property
    def has_front(self) -> bool:
        """Whether it holds trials of one sweep with several objectives: their ranks are Pareto ranks."""
        return _has_front(self.runs)

    @property
    def is_confirmation(self) -> bool:
        """Whether it holds confirmations. They are never in a table with other runs."""
        return any(run.is_confirmation for run in self.runs)

    @property
    def rank_name(self) -> str:
        return PARETO if self.has_front else "rank"

    @property
    def front(self) -> list[Run]:
        """The runs on the Pareto front; none where there is one objective."""
        return [run for run in self.runs if run.row.get(PARETO) == 1] if self.has_front else []

    @property
    def best(self) -> Run | None:
        """None of several objectives."""
        if self.has_front:
            return None
        ranks = self.ranks
        return min((run for run in self.runs if run.name in ranks), key=lambda run: ranks[run.name], default=None)

    @property
    def is_study(self) -> bool:
        """Whether it holds trials that are known from their study alone."""
        return any(run.sweep is not None for run in self.runs)

    @property
    def ranking(self) -> str:
        first = "Pareto rank, then " * self.has_front
        return f"{first}{self.monitor} ({'higher' if self.maximises else 'lower'} is better)"


def build_tables(runs: Sequence[Run], *, group_by: Sequence[str] | None = None) -> list[Table]:
    """A table for each data set (an image folder by its root) and monitored metric, the largest first; confirmations
    have tables of their own, which come last.

    Args:
        group_by: columns whose equal values make one row; empty: every key in which runs differ; None: a row a run.
    """
    runs_by_key: dict[tuple, list[Run]] = {}
    for run in sorted(runs, key=lambda run: "monitor" not in run.row):  # those that know least come last
        runs_by_key.setdefault(_find_key(run, runs_by_key), []).append(run)
    in_order = sorted(runs_by_key.items(), key=lambda part: (part[0][-1], -len(part[1])))
    roots = {data: {root for name, root, *_ in runs_by_key if name == data} for data, *_ in runs_by_key}
    return [
        _build_table(members, root if len(roots[data]) > 1 else None, monitor, maximises, group_by)
        for (data, root, monitor, maximises, _), members in in_order
    ]


def _find_key(run: Run, runs_by_key: Mapping[tuple, list[Run]]) -> tuple:
    """What the runs of one table share. A run that failed before it knew joins the largest table that it may fit."""
    # A run that was refused has what was typed, image_folder, and not the class, ImageFolder.
    data = str(run.row["data"]).replace("_", "").casefold() if run.row.get("data") is not None else None
    root = run.row.get("data.root")
    if "monitor" not in run.row:
        fitting = [key for key in runs_by_key if data in (None, key[0]) and key[-1] == run.is_confirmation]
        if fitting:
            return max(fitting, key=lambda key: len(runs_by_key[key]))
    return (data, None if root is None else str(root), run.monitor, run.maximises, run.is_confirmation)


def _build_table(
    runs: Sequence[Run], root: str | None, monitor: str, maximises: bool, group_by: Sequence[str] | None
) -> Table:
    data = next((str(run.row["data"]) for run in runs if run.row.get("data") is not None), None)
    data = data if root is None else f"{data} in {root}"
    differing = find_differences(runs)
    if group_by is not None:
        differing = tuple(group_by) or differing
        runs = _group(runs, differing)

    has_front = _has_front(runs)

    def rank(run: Run) -> tuple[int, float, float, str]:
        status = STATUSES.index(run.status) if run.status in STATUSES else len(STATUSES)
        pareto = run.row.get(PARETO) if has_front else None
        last = math.inf if has_front else 0.0
        return status, last if pareto is None else pareto, -_goodness(run.row.get(monitor), maximises), run.name

    in_order = sorted(runs, key=rank)
    columns = _choose_columns(in_order, differing, monitor, grouped=group_by is not None)
    return Table(tuple(in_order), data, monitor, maximises, differing, columns)


def _has_front(runs: Sequence[Run]) -> bool:
    trials = [run for run in runs if run.is_complete and not run.is_confirmation]
    is_ranked = bool(trials) and all(is_number(run.row.get(PARETO)) for run in trials)
    return is_ranked and len({run.folder.parent for run in trials}) == 1


def _group(runs: Sequence[Run], keys: Sequence[str]) -> list[Run]:
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(comparable(run.at(key)) for key in keys), []).append(run)
    pooled = []
    for first, *others in groups.values():
        single = tuple(seed for run in (first, *others) for seed in run.members)
        row = pool_runs(single) | {key: first.row.get(key) for key in keys}
        name = f"{first.name} +{len(others)}" if others else first.name
        pooled.append(Run(first.folder, name, row, first.overrides, single, first.settings))
    return pooled


def _choose_columns(runs: Sequence[Run], differing: Sequence[str], monitor: str, *, grouped: bool) -> tuple[str, ...]:
    several_kinds = len({str(run.kind) for run in runs}) > 1
    folded = any(run.seeds for run in runs)
    wanted = [
        "run",
        *(["kind"] if several_kinds else []),
        *differing,
        *("hidden", "params"),
        *([monitor] if monitor not in SCORES else []),
        *SCORES,
        *dict.fromkeys(name for run in runs for name in run.recorded),
        *(name for name in DIFFERENCE_COLUMNS if any(name in run.row for run in runs)),
        "gap",
        *(["n"] if grouped or folded else []),
        *("best_epoch", "seconds", "status"),
    ]
    optional = {"hidden", "params", *SCORES, "gap", "best_epoch", "seconds"}
    empty = {column for column in optional if all(run.row.get(column) is None for run in runs)}
    return tuple(column for column in dict.fromkeys(wanted) if column not in empty)


def sort_runs(table: Table, column: str, *, reverse: bool) -> list[Run]:
    """A table's runs by another column, of a metric the best first, those without a value last.

    Raises:
        ConfigError: the column is a test score.
    """
    if column.startswith("test/"):
        raise ConfigError(
            f"--sort must not be a test score, got {column}: runs chosen by their test score look better than they are;"
            f" sort by {table.monitor}"
        )
    present = [run for run in table.runs if run.at(column) is not None]
    missing = [run for run in table.runs if run.at(column) is None]
    falling = is_metric(column) and mode_of(column) == "max"
    return sorted(present, key=lambda run: _sortable(run.at(column)), reverse=falling != reverse) + missing


def _sortable(value: object) -> tuple[int, float, str]:
    return (0, value, "") if is_number(value) else (1, 0.0, str(value))


def _goodness(value: float | None, maximises: bool) -> float:
    if not is_number(value):
        return float("-inf")
    return value if maximises else -value


def list_rows(table: Table, runs: Sequence[Run]) -> list[Row]:
    """Those of the table's runs as plain rows, with every metric and key, for files."""
    metrics = dict.fromkeys(key for run in table.runs for key in run.row if is_metric(key))
    more = ["data", "monitor", *metrics, "last_lr", "epochs", "error", "folder"]
    if table.is_study:
        more = [*metrics, "steps", "error", "folder"]
    columns = dict.fromkeys([table.rank_name, *table.columns, *more])
    ranks = table.ranks
    return [
        {column: run.at(column) for column in columns}
        | {table.rank_name: ranks.get(run.name), "folder": str(run.folder), "monitor": table.monitor}
        for run in runs
    ]


def find_differences(runs: Sequence[Run]) -> tuple[str, ...]:
    """The keys of the config in which runs differ; not the seed, nor the folder or the hardware.

    A key that some runs lack (momentum, of Adam) counts only where those that have it differ; another class counts.
    """
    rows = [run.row for run in runs]
    runs_by_keys = {run.settings: run for run in runs}
    keys = dict.fromkeys(key for run in runs_by_keys.values() for key in run.row if key in run.settings)
    return tuple(
        key for key in keys if _is_compared(key) and _differ([_setting(row, key) for row in rows if key in row])
    )


def _is_compared(key: str) -> bool:
    """Whether two runs with different values of this key of the config are different runs."""
    is_excluded = key in _NO_DIFFERENCE or key.startswith(_NO_DIFFERENCE_BELOW) or key.endswith(_NO_DIFFERENCE_AT_END)
    return not is_excluded


def _setting(row: Row, key: str) -> object:
    """A run's value of a key. A part's metric and mode that follow the root's are no setting of the part."""
    root = next((name for end, name in _ROOT_KEYS.items() if key.endswith(end)), key)
    return "the root's" if root != key and row[key] == row.get(root) else row[key]


def _differ(values: Sequence[object]) -> bool:
    is_same = all(value == values[0] and type(value) is type(values[0]) for value in values)  # the quick way
    return not is_same and len(set(map(comparable, values))) > 1


def comparable(value: object) -> str:
    """Equal texts for values that mean the same."""
    return str(float(value)) if is_number(value) else str(value).casefold()
