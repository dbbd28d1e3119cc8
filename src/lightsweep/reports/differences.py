"""In which keys of their configs runs differ."""

from collections.abc import Iterable, Sequence

from lightsweep.reports.runs import Row, Run
from lightsweep.reports.text import is_number

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


def differences(runs: Sequence[Run]) -> tuple[str, ...]:
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
    return str(float(value)) if is_number(value) else str(value).casefold()  # type: ignore[arg-type]
