"""metrics.csv, a row an epoch, and result.json: the state, scores and hardware of a run. Reports read both."""

import csv
import json
import math
import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from lightsweep.core import checks
from lightsweep.core.errors import ConfigError, Diverged, JobState
from lightsweep.core.files import ROOT, write_atomic
from lightsweep.core.metrics import BY_EPOCH_NAMES, FINAL_NAMES, mode_of
from lightsweep.core.signals import state_of
from lightsweep.core.text import spreadsheet_cell
from lightsweep.runs.run_folder import is_follower

if TYPE_CHECKING:  # report.py starts without numpy
    import numpy as np

COLUMNS = ("epoch", *BY_EPOCH_NAMES, "lr", "seconds", "images_per_second")
FILE = "result.json"
# What a sweep keeps of a result.
TRIAL_FACTS = (*FINAL_NAMES, "best_epoch", "epochs", "params", "seconds", "score_seconds")
_PACKAGES = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "optuna", "numpy")

Row = dict[str, float]


class Monitor(NamedTuple):
    """The metric by which an epoch, and a run, is the best; max or min."""

    metric: str
    mode: str


def check_monitor(key: str, metric: str, mode: str) -> None:
    """Refuse a metric that is never measured, and a mode that would keep the worst.

    Args:
        key: the config's node that holds metric and mode, as ``monitor`` or ``callbacks.early_stopping``.
    """
    checks.choice(f"{key}.metric" if key == "monitor" else f"{key}.monitor", metric, BY_EPOCH_NAMES)
    checks.choice(f"{key}.mode", mode, ("min", "max"))
    right = mode_of(metric)
    checks.require(mode == right, f"{key}.mode", f"be {right} for {metric}", mode)


class MetricsFile:
    """metrics.csv of a run: one row an epoch, written as the epoch ends; an epoch's number counts from 1."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = read(path) if path.exists() else []

    def reopen(self, epochs: int) -> None:
        """Keep the rows of the first `epochs` epochs, and drop what a stopped run wrote after its last checkpoint."""
        self.rows = [row for row in self.rows if row["epoch"] <= epochs]
        write_atomic(self.path, _format_csv([COLUMNS, *map(_cells, self.rows)]))

    def append(self, row: Row) -> None:
        self.rows.append(row)
        with self.path.open("r+", encoding="utf-8") as file:  # not "a", which would make a lost file without a header
            file.seek(0, os.SEEK_END)
            file.write(_format_csv([_cells(row)]))

    def best(self, metric: str, mode: str) -> Row | None:
        """The first row with the best value; None before the first value."""
        measured = [row for row in self.rows if metric in row]
        if not measured:
            return None
        return (max if mode == "max" else min)(measured, key=lambda row: row[metric])


def read(path: Path) -> list[Row]:
    """The rows of a metrics.csv, without cells that are empty.

    Raises:
        ConfigError: the file is missing, or no text.
    """
    if not path.is_file():
        raise ConfigError(f"{path} is missing: no epoch was finished, or it is no run's folder")
    rows = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for cells in csv.DictReader(file):
                row = {name: float(cell) for name, cell in cells.items() if cell != ""}
                rows.append({**row, "epoch": int(row["epoch"])})
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no table of metrics ({error.reason})") from error
    except (TypeError, ValueError, KeyError, OverflowError, csv.Error):
        pass  # a line cut off by a kill, or another file: what follows is dropped
    return rows


def _cells(row: Row) -> list[object]:
    return [row.get(column, "") for column in COLUMNS]


def _format_csv(lines: Iterable[Iterable[object]]) -> str:
    buffer = StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()


@dataclass(frozen=True)
class RunResult:
    """The content of a run's result.json.

    Args:
        facts: kind, name, seed, what was typed, versions, numbers of parameters, and the error of a run that failed.
        scores: the final metrics by name, ``val/acc``; none of a run that was not scored.
        best_value: of `monitor`; None where it was never measured.
        best_epoch: the one that was scored, or that had the best value; epochs count from 1.
        seconds: of all epochs, also those before the run was resumed.
        hardware: the device, and bytes of memory at most.
        config: without what belongs to one start of the run.
    """

    state: JobState
    facts: Mapping[str, Any]
    scores: Mapping[str, float]
    monitor: str
    best_value: float | None
    best_epoch: int | None
    epochs: int
    seconds: float
    last_lr: float | None
    hardware: Mapping[str, Any]
    config: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        names = ("monitor", "best_value", "best_epoch", "epochs", "seconds", "last_lr")
        named = {name: getattr(self, name) for name in names}
        content = {"status": self.state, **self.facts, **self.scores, **named, **self.hardware, "config": self.config}
        return _without_nan(content)


class ResultWriter:
    """Gathers the facts of a run while its block runs; writes them when it is complete, and when its block fails.

    Nothing is written where the run was refused (`ConfigError`): it never started.

    Args:
        folder: the run's.
        metrics: its epochs.
        monitor: the metric by which an epoch is the best.
        config: the run's own, as plain values.
        facts: what is known when it starts: kind, name, seed, overrides.
        publish: called with the `TRIAL_FACTS` that are known, whenever the result is written.
        hardware: called for the device and its memory, whenever the result is written.
    """

    def __init__(
        self,
        folder: Path,
        metrics: MetricsFile,
        *,
        monitor: Monitor,
        config: Mapping[str, Any],
        facts: Mapping[str, Any],
        publish: Callable[[Mapping[str, Any]], None],
        hardware: Callable[[], Mapping[str, Any]],
    ) -> None:
        self.folder, self.metrics, self.monitor, self.config = folder, metrics, monitor, config
        self.publish, self.hardware = publish, hardware
        self.scored_epoch: int | None = None  # where it is not the best one
        self.completed = False
        self.scores: dict[str, float] = {}
        self.facts: dict[str, Any] = {**facts, **_describe_program()}

    def add(self, **facts: Any) -> None:
        self.facts |= facts

    def add_score(
        self, part: str, metrics: Mapping[str, float], confusion: "np.ndarray", class_names: tuple[str, ...]
    ) -> None:
        """Keep a part's metrics, and for val and test the counts ``[K, K]`` as a CSV file."""
        self.scores |= {f"{part}/{name}": value for name, value in metrics.items()}
        if part != "train":
            write_atomic(self.folder / f"confusion_{part}.csv", confusion_csv(confusion, class_names))

    @property
    def best_value(self) -> float:
        """The best monitored value so far; NaN before the first."""
        best = self.metrics.best(*self.monitor)
        return best[self.monitor.metric] if best else math.nan

    def write(self, state: JobState) -> RunResult:
        """Write the result so far, of a run that ended in this state."""
        best, rows = self.metrics.best(*self.monitor), self.metrics.rows
        best_epoch = int(best["epoch"]) if best else None
        result = RunResult(
            state=state,
            facts=self.facts,
            scores=self.scores,
            monitor=self.monitor.metric,
            best_value=best[self.monitor.metric] if best else None,
            best_epoch=best_epoch if self.scored_epoch is None else self.scored_epoch,
            epochs=int(rows[-1]["epoch"]) if rows else 0,
            seconds=sum(row["seconds"] for row in rows),
            last_lr=rows[-1]["lr"] if rows else None,
            hardware=self.hardware(),
            config=self.config,
        )
        content = result.as_json()
        self.publish({name: content[name] for name in TRIAL_FACTS if name in content})
        write_atomic(self.folder / FILE, json.dumps(content, indent=1, allow_nan=False) + "\n")
        return result

    def complete(self) -> RunResult:
        """Write the result of a run that has all its scores. A later error does not change it."""
        result = self.write(JobState.COMPLETED)
        self.completed = True
        return result

    def __enter__(self) -> "ResultWriter":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None or self.completed or isinstance(error, ConfigError) or is_follower():
            return
        self.add(error=_last_line(error))
        with suppress(OSError):  # a full disk: the first error is reported
            self.write(state_of(error))


def confusion_csv(confusion: "np.ndarray", class_names: tuple[str, ...]) -> str:
    """Counts ``[K, K]``, true class by row, predicted by column, as CSV with the names quoted where needed."""
    names = [spreadsheet_cell(name) for name in class_names]
    rows = [[name, *counts] for name, counts in zip(names, confusion.tolist(), strict=True)]
    return _format_csv([["true \\ predicted", *names], *rows])


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1] if isinstance(error, Diverged) else f"{type(error).__name__}: {lines[-1]}"


def _without_nan(value: Any) -> Any:
    """JSON knows no NaN and no infinity: they become null."""
    if isinstance(value, dict):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@cache  # a process runs what it has imported, and its first run is soon after that
def _describe_program() -> dict[str, Any]:
    return {"versions": versions(), "git_commit": git_commit(ROOT)}


def versions() -> dict[str, str]:
    """Versions of Python, lightsweep and the packages that results depend on."""
    from lightsweep import __version__

    found = {"python": platform.python_version(), "lightsweep": __version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_commit(folder: Path) -> str | None:
    """The commit that is checked out, with "-dirty" where files differ from it that a result depends on (texts and
    records do not count); None outside a repository."""
    try:
        head = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!*.md", ":!docs")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}-dirty" if changed else head


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()
