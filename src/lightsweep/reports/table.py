"""Tables of runs: what belongs together, in which keys the runs differ, and who comes first.

Runs are ranked by the validation metric that they monitored, never by test scores: whoever chooses by those can no
longer say how good the choice is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lightsweep.core import text
from lightsweep.core.checks import is_number
from lightsweep.core.errors import ConfigError
from lightsweep.core.metrics import mode_of
from lightsweep.reports import finding
from lightsweep.reports.columns import known_columns
from lightsweep.reports.runs import Row, Run, is_metric

_STATUSES = ("completed", "unfinished", "pruned", "interrupted", "diverged", "failed")
_SCORES = ("train/acc", "val/acc", "test/acc")


@dataclass(frozen=True)
class Table:
    """Runs that can be compared.

    Args:
        runs: in order.
        data: the data set of all; with its root where there are tables of others of its kind.
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
        """The place of each completed run by validation, by its name, in whatever order the table is.

        A confirmation has none: it is a trial's configuration once more.
        """
        complete = [run for run in self.runs if run.is_complete and run.value is not None and not is_confirmation(run)]
        best_first = sorted(complete, key=lambda run: -_signed(run.value, self.maximises))
        return {run.name: rank for rank, run in enumerate(best_first, start=1)}

    @property
    def is_confirmation(self) -> bool:
        """Does it hold confirmations, and nothing else? They are never in a table with others."""
        return any(map(is_confirmation, self.runs))

    @property
    def best(self) -> Run | None:
        ranks = self.ranks
        return min((run for run in self.runs if run.name in ranks), key=lambda run: ranks[run.name], default=None)


def build_tables(runs: Sequence[Run], *, group_by: Sequence[str] | None = None) -> list[Table]:
    """A table for each data set, an image folder by its root, and monitored metric; the largest first, confirmations,
    which have tables of their own, last.

    Args:
        group_by: columns whose equal values make one row; empty: every key in which runs differ; None: a row a run.
    """
    parts: dict[tuple, list[Run]] = {}
    for run in sorted(runs, key=lambda run: "monitor" not in run.row):  # those that know least come last
        parts.setdefault(_part(run, parts), []).append(run)
    ordered = sorted(parts.items(), key=lambda part: (part[0][-1], -len(part[1])))
    roots = {data: {root for name, root, *_ in parts if name == data} for data, *_ in parts}
    return [
        _table(members, root if len(roots[data]) > 1 else None, monitor, maximises, group_by)
        for (data, root, monitor, maximises, _), members in ordered
    ]


def _part(run: Run, parts: Mapping[tuple, list[Run]]) -> tuple:
    """Which runs a run is compared with. One that failed before it knew goes to the most that it may belong to."""
    # One that was refused has what was typed, image_folder, and not the class, ImageFolder.
    data = str(run.row["data"]).replace("_", "").casefold() if run.row.get("data") is not None else None
    root = run.row.get("data.root")
    if "monitor" not in run.row:
        fitting = [key for key in parts if data in (None, key[0]) and key[-1] == is_confirmation(run)]
        if fitting:
            return max(fitting, key=lambda key: len(parts[key]))
    return (data, None if root is None else str(root), run.monitor, run.maximises, is_confirmation(run))


def is_confirmation(run: Run) -> bool:
    return run.row.get("kind") == "confirmation"


def _table(
    runs: Sequence[Run], root: str | None, monitor: str, maximises: bool, group_by: Sequence[str] | None
) -> Table:
    data = next((str(run.row["data"]) for run in runs if run.row.get("data") is not None), None)
    data = data if root is None else f"{data} in {root}"
    differing = find_differences(runs)
    if group_by is not None:
        keys = tuple(group_by) or differing
        runs = _grouped(runs, keys)
        differing = keys
    ordered = sorted(runs, key=lambda run: _place(run, monitor, maximises))
    columns = _columns(ordered, differing, monitor, grouped=group_by is not None)
    return Table(tuple(ordered), data, monitor, maximises, differing, columns)


def _grouped(runs: Sequence[Run], keys: Sequence[str]) -> list[Run]:
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(comparable(run.at(key)) for key in keys), []).append(run)
    pooled = []
    for members in groups.values():
        single = [seed for run in members for seed in (run.seeds or (run,))]
        row = finding.pool_runs(single) | {key: members[0].row.get(key) for key in keys}
        name = members[0].name if len(members) == 1 else f"{members[0].name} +{len(members) - 1}"
        pooled.append(Run(members[0].folder, name, row, members[0].overrides, tuple(single), members[0].settings))
    return pooled


def sort_runs(table: Table, column: str, *, reverse: bool) -> list[Run]:
    """A table's runs by another column, best first as far as that has a meaning, missing ones last.

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


def _place(run: Run, monitor: str, maximises: bool) -> tuple[int, float, str]:
    value = run.row.get(monitor)
    status = _STATUSES.index(run.status) if run.status in _STATUSES else len(_STATUSES)
    return (status, -_signed(value, maximises), run.name)


def _signed(value: float | None, maximises: bool) -> float:
    if not is_number(value):
        return float("-inf")
    return value if maximises else -value


def _columns(runs: Sequence[Run], differing: Sequence[str], monitor: str, *, grouped: bool) -> tuple[str, ...]:
    several_kinds = len({str(run.row.get("kind")) for run in runs}) > 1
    folded = any(run.seeds for run in runs)
    scores = list(dict.fromkeys([*([monitor] if monitor not in _SCORES else []), *_SCORES]))
    wanted = [
        "run",
        *(["kind"] if several_kinds else []),
        *differing,
        *(column for column in ("hidden", "params") if column not in differing),
        *scores,
        *(name for name in text.DIFFERENCE_COLUMNS if any(name in run.row for run in runs)),
        "gap",
        *(["n"] if grouped or folded else []),
        "best_epoch",
        "seconds",
        "status",
    ]
    optional = {"hidden", "params", *_SCORES, "gap", "best_epoch", "seconds"}
    empty = {column for column in optional if all(run.row.get(column) is None for run in runs)}
    return tuple(column for column in dict.fromkeys(wanted) if column not in empty)


def columns_of(runs: Iterable[Run]) -> list[str]:
    return ["run", *known_columns(runs)]


def list_rows(table: Table, runs: Sequence[Run]) -> list[Row]:
    """Those of the table's runs as plain rows, with every metric and key, for files."""
    metrics = dict.fromkeys(key for run in table.runs for key in run.row if is_metric(key))
    more = ["data", "monitor", *metrics, "last_lr", "epochs", "error", "folder"]
    columns = dict.fromkeys(["rank", *table.columns, *more])
    ranks = table.ranks
    return [
        {
            column: {"rank": ranks.get(run.name), "folder": str(run.folder), "monitor": table.monitor}.get(
                column, run.at(column)
            )
            for column in columns
        }
        for run in runs
    ]


def _sortable(value: object) -> tuple[int, float, str]:
    return (0, value, "") if is_number(value) else (1, 0.0, str(value))


_NO_DIFFERENCE = (
    "seed",
    "data",
    "data.seed",
    "data_dir",
    "data.data_dir",
    "threads",
    "test",
    "logger",
    "report",
    "sweep",
)
_NO_DIFFERENCE_BELOW = (
    "versions.",
    "logger.",
    "hydra.",
    "callbacks.progress",
    "callbacks.lr_monitor",
    "callbacks.figures",
    "callbacks.histograms",
    "callbacks.graph",
    "lr_find_range.",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.strategy",
)
_NO_DIFFERENCE_AT_END = ("dirpath", "save_dir")
_FOLLOWING = {".monitor": "monitor.metric", ".mode": "monitor.mode"}  # by default they are as the root has it


def find_differences(runs: Sequence[Run]) -> tuple[str, ...]:
    """The keys of the config in which runs differ. The seed is none, nor is where a run lies or what it runs on.

    A part that some runs lack (momentum, of Adam) counts only where those that have it differ; another class counts.
    """
    rows = [run.row for run in runs]
    keys = [key for key in _settings(runs) if is_difference(key)]
    return tuple(key for key in keys if _differs([_value(row, key) for row in rows if key in row]))


def _value(row: Row, key: str) -> object:
    """What a run has set; the root's metric and mode, where a part follows them, are no setting of the part."""
    root = next((name for end, name in _FOLLOWING.items() if key.endswith(end)), key)
    return "the root's" if root != key and row[key] == row.get(root) else row[key]


def _settings(runs: Iterable[Run]) -> list[str]:
    """The keys of the runs' configs, in their order."""
    some_of_each = {run.settings: run for run in runs}
    return list(dict.fromkeys(key for run in some_of_each.values() for key in run.row if key in run.settings))


def _differs(values: Sequence[object]) -> bool:
    if all(value == values[0] and type(value) is type(values[0]) for value in values):
        return False
    return len({comparable(value) for value in values}) > 1


def is_difference(key: str) -> bool:
    """Whether two runs with different values of this key of the config are different runs."""
    if key in _NO_DIFFERENCE or key.startswith(_NO_DIFFERENCE_BELOW):
        return False
    return not key.endswith(_NO_DIFFERENCE_AT_END)


def comparable(value: object) -> str:
    """Equal texts for values that mean the same."""
    return str(float(value)) if is_number(value) else str(value).casefold()
