"""A run from its result.json: one flat row of facts and config."""

import csv
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from sys import intern
from typing import Any

import numpy as np
import yaml

from lightsweep.core.checks import is_number
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import read_regular
from lightsweep.core.metrics import mode_of
from lightsweep.core.paths import CONF
from lightsweep.core.text import plain_text
from lightsweep.runs import metrics

RESULT_FILE = "result.json"
_LARGEST = 32_000_000  # bytes; a result.json has some thousand
_NESTED = ("config", "overrides", "versions")
_NO_SETTINGS = {"name"}  # what does not change what a run does

Row = dict[str, Any]


def is_metric(column: str) -> bool:
    """``val/acc`` and its like; keys of a config have no slash."""
    return "/" in column


@dataclass(frozen=True)
class Run:
    """One run.

    Args:
        folder: where its files lie.
        name: its path below what was asked for.
        row: its facts and its config in one: ``val/acc``, ``status``, ``optimizer.lr``, ``optimizer`` (AdamW).
        overrides: what was typed for it.
        seeds: the runs that were folded into it.
        settings: those keys of `row` that are the config's.
    """

    folder: Path
    name: str
    row: Row
    overrides: tuple[str, ...] = ()
    seeds: tuple["Run", ...] = ()
    settings: frozenset[str] = frozenset()

    @property
    def status(self) -> str:
        return str(self.row.get("status", "unknown"))

    @property
    def is_complete(self) -> bool:
        return self.status == "completed"

    @property
    def monitor(self) -> str:
        """The validation metric that it is ranked by; never one of test."""
        monitor = self.row.get("monitor")
        return monitor if isinstance(monitor, str) and monitor.startswith("val/") else "val/acc"

    @property
    def maximises(self) -> bool:
        mode = self.row.get("monitor.mode")
        if mode in ("min", "max") and self.row.get("monitor.metric", self.monitor) == self.monitor:
            return mode == "max"
        return mode_of(self.monitor) == "max"

    def at(self, column: str) -> Any:
        """What a table shows in a column; None where the run has nothing there."""
        return self.name if column == "run" else self.row.get(column)

    @property
    def ending(self) -> str:
        """The status in words: of one that was pruned also after how much, as its score is no final one."""
        if self.status != "pruned":
            return self.status
        seeds, epochs = self.row.get("seeds"), self.row.get("epochs")
        count, what = (len(seeds), "seed") if isinstance(seeds, list) else (epochs, "epoch")
        if not is_number(count):
            return self.status
        return f"pruned after {count:g} {what}{'s' * (count != 1)}"

    @property
    def value(self) -> float | None:
        """Of `monitor`."""
        value = self.row.get(self.monitor)
        return value if is_number(value) else None


def read_run(folder: Path, name: str) -> Run:
    """One run.

    Raises:
        ValueError: the file is no JSON object of a run.
        OSError: it cannot be read.
    """
    with open(f"{folder}/{RESULT_FILE}", "rb") as file:  # noqa: PTH123  # twice as fast as Path.open, and there are thousands
        text = file.read(_LARGEST)
    if len(text) == _LARGEST:
        raise ValueError("larger than a result.json can be")
    result = json.loads(text)
    if not isinstance(result, dict) or not isinstance(result.get("status"), str):
        raise ValueError("no JSON object with a status")
    typed = result.get("overrides")
    overrides = [str(entry) for entry in typed] if isinstance(typed, list) else []
    if not isinstance(result.get("config"), dict):
        overrides = overrides or _hydras_overrides(folder)
    row = _config(result, overrides)
    settings = _one_of_each(frozenset(row.keys() - _NO_SETTINGS))
    row = _completed(_with_facts(row, result), folder)
    return Run(folder, name, row, tuple(overrides), settings=settings)


def _config(result: Mapping[str, Any], overrides: Sequence[str]) -> Row:
    config = result.get("config")
    row: Row = {}
    if isinstance(config, dict):
        _flatten("", config, row)
        for key in [key for key, value in config.items() if type(value) is not dict and key not in _roots()]:
            if any(other.endswith(f".{key}") for other in row):
                row.pop(key, None)  # of an earlier version: +lr=0.1 did nothing, and lr means optimizer.lr
        return row
    # Refused before it began: what was typed is all that is known.
    pairs = ((key.lstrip("+"), value) for key, _, value in (line.partition("=") for line in overrides))
    return {key: _typed(value) for key, value in pairs if "." in key or "/" in key or key in _roots()}


@cache
def _roots() -> frozenset[str]:
    """The keys at the root of a run's config, and the groups."""

    primary = load_yaml(CONF / "train.yaml")
    groups = [name for entry in primary.pop("defaults") if isinstance(entry, dict) for name in entry]
    return frozenset((*primary, *groups))


@cache
def _one_of_each(keys: frozenset[str]) -> frozenset[str]:
    """Thousands of runs have the same keys."""
    return keys


def _with_facts(row: Row, result: Mapping[str, Any]) -> Row:
    if isinstance(result.get("versions"), dict):
        _flatten("versions.", result["versions"], row)
    for key, value in result.items():
        if key not in _NESTED:
            row[key] = _finite(value) if is_metric(key) else value
    return row


def _completed(row: Row, folder: Path) -> Row:
    """With what follows from the rest."""
    monitor = row.get("monitor")
    if isinstance(monitor, str) and monitor.startswith("val/") and row.get(monitor) is None:  # it was never scored
        last = _last(folder, monitor) if row.get("status") == "pruned" else None
        row[monitor] = _finite(row.get("best_value")) if last is None else last
    train: Any = row.get("train/acc")
    val: Any = row.get("val/acc")
    row["gap"] = train - val if is_number(train) and is_number(val) else None
    row["hidden"] = hidden_layers(row)
    name = row.get("data")
    row["data"] = name.removesuffix("DataModule") if isinstance(name, str) else None
    return row


def _last(folder: Path, metric: str) -> float | None:
    """What a run measured last: the value of a trial that was pruned, as its study has it."""
    try:
        rows = metrics.read(folder / "metrics.csv")
    except (ConfigError, OSError, ValueError):
        return None
    return next((row[metric] for row in reversed(rows) if is_number(row.get(metric))), None)


def _flatten(prefix: str, node: Mapping[str, Any], row: Row) -> None:
    for key, value in node.items():
        kind = type(value)
        if kind is dict:
            _flatten(f"{prefix}{key}.", value, row)
        elif key == "_target_":
            row[prefix[:-1]] = str(value).rpartition(".")[2]  # optimizer: AdamW
        elif key != "_partial_":
            row[intern(prefix + key)] = str(value) if kind is list else value


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


def _hydras_overrides(folder: Path) -> list[str]:

    typed = load_yaml(folder / ".hydra" / "overrides.yaml")
    return [str(entry) for entry in typed] if isinstance(typed, list) else []


def _typed(text: str) -> Any:
    """The value of an override that is a number, true, false or null; else its text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, dict | list) else value


def _finite(value: Any) -> float | None:
    return value if is_number(value) else None


class _PlainLoader(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def load_yaml(path: Path) -> Any:
    """Its content; None where it is missing or damaged."""
    try:
        return yaml.load(read_regular(path), _PlainLoader)  # a SafeLoader
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return None


_MOST_CLASSES = 1000


def read_epochs(folder: Path) -> list[dict[str, float]]:
    """The rows of metrics.csv; none where it is missing or damaged."""
    try:
        rows = metrics.read(folder / "metrics.csv")
    except (ConfigError, OSError, ValueError, KeyError, OverflowError, csv.Error):
        return []
    return [{name: value for name, value in row.items() if math.isfinite(value)} for row in rows]


def read_curve(folder: Path, metric: str) -> tuple[list[float], list[float]]:
    """Epochs and values of one metric."""
    points = [(row["epoch"], row[metric]) for row in read_epochs(folder) if metric in row and "epoch" in row]
    return [epoch for epoch, _ in points], [value for _, value in points]


def find_best_epoch(run: Run) -> float | None:
    """The first epoch with the best value of what was monitored. (That of a `result.json` is the epoch that was scored,
    which may be the last.)"""
    epochs, values = read_curve(run.folder, run.monitor)
    return epochs[values.index((max if run.maximises else min)(values))] if values else None


def read_confusion(run: Run, part: str = "val") -> tuple[list[str], np.ndarray] | None:
    """Class names and counts ``[K, K]``, true class by row; summed over the run's seeds. None where there is none."""
    found = [counts for member in (run.seeds or (run,)) if (counts := _confusion(member.folder, part))]
    if not found or any(names != found[0][0] for names, _ in found):
        return None
    return found[0][0], np.sum([counts for _, counts in found], axis=0)


def _confusion(folder: Path, part: str) -> tuple[list[str], np.ndarray] | None:
    try:
        text = read_regular(folder / f"confusion_{part}.csv")
        head, *rows = csv.reader(StringIO(text, newline=""))
        counts = np.array([[int(cell) for cell in row[1:]] for row in rows], dtype=float)
    except (OSError, ValueError, OverflowError, csv.Error):
        return None
    names = [plain_text(name) for name in head[1:]]
    if not 0 < len(names) <= _MOST_CLASSES or counts.shape != (len(names), len(names)):
        return None
    return names, counts
