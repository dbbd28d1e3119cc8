"""docs/reference/records.jsonl: what RESULTS.md needs of each run, one run a line."""

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from filelock import FileLock

from lightsweep.core.files import ROOT, write_atomic
from lightsweep.runs.results import read as read_metrics

from .experiments import Experiment

FILE = ROOT / "docs" / "reference" / "records.jsonl"
_FINISHED = ("completed", "diverged")  # a loss that became NaN is a result too
_PARTS = ("train/", "val/", "test/")  # all scores of a part are kept
_KEPT = (
    *("status", "error", "seed", "params", "params_keras", "best_epoch", "epochs", "seconds", "last_lr"),
    *("device", "versions", "git_commit"),
)
_BY_EPOCH = ("val/acc", "val/objective", "lr")

Record = dict[str, Any]


def is_finished(record: Record) -> bool:
    return record["status"] in _FINISHED


def make_record(experiment: Experiment, seed: int, folder: Path, log: Path, jobs: int) -> Record:
    """The record of a run that has ended. `jobs` runs shared the machine."""
    record: Record = {"row": experiment.name, "seed": seed}
    if not (folder / "result.json").is_file():  # it was refused or killed
        return record | {"status": "failed", "error": _last_line(log)}
    result = json.loads((folder / "result.json").read_text())
    record |= {key: value for key, value in result.items() if key in _KEPT or key.startswith(_PARTS)}
    record |= {"cores": os.cpu_count(), "jobs": jobs}
    if (folder / "metrics.csv").is_file():
        epochs = read_metrics(folder / "metrics.csv")
        record["by epoch"] = {name: [_short(epoch.get(name)) for epoch in epochs] for name in _BY_EPOCH}
    return record


def write_record(record: Record, file: Path) -> None:
    """Add a record, in place of an earlier one of the same run. Two commands may write into one file."""
    with FileLock(file.with_name(f".{file.name}.lock")):
        others = [each for each in _read_lines(file) if _key(each) != _key(record)]
        lines = [json.dumps(each, allow_nan=False) + "\n" for each in sorted([*others, record], key=_key)]
        write_atomic(file, "".join(lines))


def read_records(experiments: Iterable[Experiment], file: Path) -> dict[str, list[Record]]:
    """The records of each experiment, by seed."""
    every = sorted(_read_lines(file), key=_key)
    return {each.name: [record for record in every if record["row"] == each.name] for each in experiments}


def _read_lines(file: Path) -> list[Record]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def _key(record: Record) -> tuple[str, int]:
    return record["row"], record["seed"]


def _short(value: float | None) -> float | None:
    """Four digits; JSON has no NaN."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n") if log.is_file() else []
    return next((line for line in reversed(lines) if line.strip()), "no output")
