"""A run as reports see it: one flat row of its result and config, its epochs and its confusion counts.

The files may come from somebody else: sizes and types are checked, and YAML is read without tags and aliases.
"""

import csv
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from sys import intern
from typing import TYPE_CHECKING, Any

import yaml

from lightsweep.core.checks import is_number
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import CONF, read_regular
from lightsweep.core.metrics import FINAL, mode_of
from lightsweep.core.text import plain_text
from lightsweep.runs import results

if TYPE_CHECKING:
    from lightsweep.sweeper.status import Sweep

RESULT_FILE = "result.json"
_MAX_BYTES = 32_000_000  # bytes; a result.json has some thousand
_MAX_CLASSES = 1000
_NESTED = ("config", "overrides", "versions")
_NO_SETTINGS = {"name"}  # keys that do not change what a run does

MAIN = tuple(
    metric.name for metric in sorted(FINAL, key=lambda metric: not metric.is_share) if metric.is_main
)  # every report shows them: acc, loss

Row = dict[str, Any]
Matrix = list[list[float]]


def is_metric(column: str) -> bool:
    """``val/acc`` and its like; keys of a config have no slash."""
    return "/" in column


@dataclass(frozen=True)
class Run:
    """One run, or several that differ by their seed.

    Args:
        name: its path below the folder that was asked for.
        row: result and config in one: ``val/acc``, ``status``, ``optimizer.lr``, ``optimizer`` (AdamW).
        overrides: what was typed for it.
        seeds: the runs that it is the mean of.
        settings: the keys of `row` that come from the config.
        sweep: of a trial that is known from its study alone, what that says of its sweep.
        recorded: the keys of `row` that such a trial's app has recorded.
        curve: steps and values that it has reported.
    """

    folder: Path
    name: str
    row: Row
    overrides: tuple[str, ...] = ()
    seeds: tuple["Run", ...] = ()
    settings: frozenset[str] = frozenset()
    sweep: "Sweep | None" = None
    recorded: tuple[str, ...] = ()
    curve: tuple[list[float], list[float]] = ([], [])

    @property
    def members(self) -> tuple["Run", ...]:
        """Its seed runs; the run itself where it has none."""
        return self.seeds or (self,)

    @property
    def status(self) -> str:
        return str(self.row.get("status", "unknown"))

    @property
    def kind(self) -> Any:
        return self.row.get("kind")

    @property
    def unit(self) -> str:
        """What its curve goes by."""
        return "epoch" if self.sweep is None else "step"

    @property
    def is_complete(self) -> bool:
        return self.status == "completed"

    @property
    def is_confirmation(self) -> bool:
        return self.kind == "confirmation"

    @property
    def is_ablation(self) -> bool:
        return self.kind == "ablation"

    @property
    def monitor(self) -> str:
        """The validation metric that it is ranked by, never one of test; or what its study optimises."""
        if self.sweep is not None:
            return self.sweep.metric
        monitor = self.row.get("monitor")
        return monitor if isinstance(monitor, str) and monitor.startswith("val/") else "val/acc"

    @property
    def maximises(self) -> bool:
        mode = self.row.get("monitor.mode")
        if mode in ("min", "max") and self.row.get("monitor.metric", self.monitor) == self.monitor:
            return mode == "max"
        return mode_of(self.monitor) == "max"

    def at(self, column: str) -> Any:
        """The value in a table's column; None where the run has none."""
        return self.name if column == "run" else self.row.get(column)

    @property
    def status_text(self) -> str:
        """The status; of a pruned run also after how many epochs or seeds, as its score is not a final one."""
        seeds, unit = self.row.get("seeds"), self.unit
        count, unit = (len(seeds), "seed") if isinstance(seeds, list) else (self.row.get(f"{unit}s"), unit)
        if self.status != "pruned" or not is_number(count):
            return self.status
        return f"pruned after {count:g} {unit}{'s' * (count != 1)}"

    @property
    def value(self) -> float | None:
        """Of `monitor`."""
        return _finite(self.row.get(self.monitor))


def read_run(folder: Path, name: str) -> Run:
    """Read a run's result.json.

    Raises:
        ValueError: the file is no JSON object of a run.
        OSError: it cannot be read.
    """
    with open(f"{folder}/{RESULT_FILE}", "rb") as file:  # noqa: PTH123  # twice as fast as Path.open
        text = file.read(_MAX_BYTES)
    if len(text) == _MAX_BYTES:
        raise ValueError("larger than a result.json can be")
    result = json.loads(text)
    if not isinstance(result, dict) or not isinstance(result.get("status"), str):
        raise ValueError("no JSON object with a status")
    config, overrides = result.get("config"), _list_texts(result.get("overrides"))
    if isinstance(config, dict):
        row = _flatten_config(config)
    else:  # refused before it started: only what was typed is known
        overrides = overrides or _list_texts(load_yaml(folder / ".hydra" / "overrides.yaml"))
        row = _read_typed(overrides)
    settings = _intern_keys(frozenset(row.keys() - _NO_SETTINGS))
    if isinstance(result.get("versions"), dict):
        _flatten("versions.", result["versions"], row)
    row |= {key: _finite(value) if is_metric(key) else value for key, value in result.items() if key not in _NESTED}
    _add_derived(row, folder)
    return Run(folder, name, row, tuple(overrides), settings=settings)


def _list_texts(value: Any) -> list[str]:
    return [str(entry) for entry in value] if isinstance(value, list) else []


def _flatten_config(config: Mapping[str, Any]) -> Row:
    row: Row = {}
    _flatten("", config, row)
    for key in [key for key, value in config.items() if type(value) is not dict and key not in _root_keys()]:
        if any(other.endswith(f".{key}") for other in row):
            del row[key]  # an earlier version let +lr=0.1 pass, without effect; lr means optimizer.lr
    return row


def _flatten(prefix: str, node: Mapping[str, Any], row: Row) -> None:
    for key, value in node.items():
        kind = type(value)
        if kind is dict:
            _flatten(f"{prefix}{key}.", value, row)
        elif key == "_target_":
            row[prefix[:-1]] = str(value).rpartition(".")[2]  # optimizer: AdamW
        elif key != "_partial_":
            row[intern(prefix + key)] = str(value) if kind is list else value


def _read_typed(overrides: Sequence[str]) -> Row:
    pairs = ((key.lstrip("+"), value) for key, _, value in (line.partition("=") for line in overrides))
    return {key: _parse(value) for key, value in pairs if "." in key or "/" in key or key in _root_keys()}


def _parse(text: str) -> Any:
    """The value of an override that is a number, true, false or null; else its text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, dict | list) else value


@cache
def _root_keys() -> frozenset[str]:
    """The keys at the root of a run's config, and the groups."""
    primary = load_yaml(CONF / "train.yaml")
    groups = [name for entry in primary.pop("defaults") if isinstance(entry, dict) for name in entry]
    return frozenset((*primary, *groups))


_intern_keys: Callable[[frozenset[str]], frozenset[str]] = cache(frozenset)  # thousands of runs have the same keys


def _add_derived(row: Row, folder: Path) -> None:
    """Add what follows from the rest of a row."""
    monitor = row.get("monitor")
    if isinstance(monitor, str) and monitor.startswith("val/") and row.get(monitor) is None:  # it was never scored
        reported = read_curve(folder, monitor)[1] if row.get("status") == "pruned" else []
        row[monitor] = reported[-1] if reported else _finite(row.get("best_value"))
    train, val = row.get("train/acc"), row.get("val/acc")
    row["gap"] = train - val if is_number(train) and is_number(val) else None
    row["hidden"] = hidden_layers(row)
    name = row.get("data")
    row["data"] = name.removesuffix("DataModule") if isinstance(name, str) else None


def hidden_layers(row: Mapping[str, Any]) -> str | None:
    """The widths of an MLP's hidden layers, ``512-256-128``, as `lightsweep.nets` has them; None of other networks."""
    listed = row.get("model.hidden")
    if isinstance(listed, str) and re.fullmatch(r"\[[\d, ]+\]", listed):
        return "-".join(width.strip() for width in listed[1:-1].split(","))
    width, depth, taper = (row.get(f"model.{name}") for name in ("width", "depth", "taper"))
    if not (isinstance(width, int) and isinstance(depth, int) and is_number(taper) and 0 < depth < 100):
        return None
    try:
        return "-".join(str(max(1, round(width * taper**layer))) for layer in range(depth))
    except OverflowError:  # of a run that was refused for it
        return None


def _finite(value: Any) -> float | None:
    return value if is_number(value) else None


class _PlainLoader(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):  # a few lines of aliases can expand to gigabytes
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def load_yaml(path: Path) -> Any:
    """A YAML file's content; None where it is missing, damaged, or has tags or aliases."""
    try:
        return yaml.load(read_regular(path), _PlainLoader)  # a SafeLoader
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return None


def read_epochs(folder: Path) -> list[dict[str, float]]:
    """The rows of metrics.csv; none where it is missing or damaged."""
    try:
        rows = results.read(folder / "metrics.csv")
    except (ConfigError, OSError):
        return []
    return [{name: value for name, value in row.items() if math.isfinite(value)} for row in rows]


def curve_of(run: Run, metric: str) -> tuple[list[float], list[float]]:
    """Epochs and values of one metric of a run; steps and values of a trial's."""
    if run.sweep is not None:
        return run.curve if metric == run.monitor else ([], [])
    return read_curve(run.folder, metric)


def read_curve(folder: Path, metric: str) -> tuple[list[float], list[float]]:
    """Epochs and values of one metric."""
    rows = [row for row in read_epochs(folder) if metric in row]
    return [row["epoch"] for row in rows], [row[metric] for row in rows]


def read_confusion(run: Run, part: str = "val") -> tuple[list[str], Matrix] | None:
    """Class names and counts ``[K, K]``, true class by row; summed over the run's seeds. None where there is none."""
    found = [counts for member in run.members if (counts := _read_confusion(member.folder, part))]
    if not found or any(names != found[0][0] for names, _ in found):
        return None
    by_row = zip(*(counts for _, counts in found), strict=True)
    return found[0][0], [[sum(cells) for cells in zip(*rows, strict=True)] for rows in by_row]


def _read_confusion(folder: Path, part: str) -> tuple[list[str], Matrix] | None:
    try:
        text = read_regular(folder / f"confusion_{part}.csv")
        head, *rows = csv.reader(StringIO(text, newline=""))
        counts = [[float(int(cell)) for cell in row[1:]] for row in rows]
    except (OSError, ValueError, OverflowError, csv.Error):
        return None
    names = [plain_text(name) for name in head[1:]]
    if not 0 < len(names) <= _MAX_CLASSES or list(map(len, counts)) != [len(names)] * len(names):
        return None
    return names, counts
