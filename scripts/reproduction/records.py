"""results/<row>-s<seed>.json: what the table needs of a run, small enough to be committed."""

import json
import math
import os
from pathlib import Path
from typing import Any

from lightsweep.core.files import write_whole
from lightsweep.runs.metrics import read as read_metrics
from lightsweep.runs.run_folder import ROOT

from .rows import Row

RESULTS = ROOT / "results"
FINISHED = ("completed", "diverged")  # a loss that became NaN is a result too
_PARTS = ("train/", "val/", "test/")  # every score of a part is kept
_KEPT = (
    *("status", "error", "seed", "params", "params_keras", "best_epoch", "epochs", "seconds", "last_lr"),
    *("device", "versions", "git_commit"),
)
_BY_EPOCH = ("val/acc", "val/objective", "lr")

Record = dict[str, Any]


def path(row: Row, seed: int, results: Path = RESULTS) -> Path:
    return results / f"{row.name}-s{seed}.json"


def finished(record: Record) -> bool:
    return record["status"] in FINISHED


def take(row: Row, seed: int, folder: Path, log: Path, jobs: int) -> Record:
    """What the table needs of a run that ended. `jobs` says how many runs shared the machine."""
    record: Record = {"row": row.name, "seed": seed}
    if not (folder / "result.json").is_file():  # it was refused, or killed
        return record | {"status": "failed", "error": _last_line(log)}
    result = json.loads((folder / "result.json").read_text())
    record |= {key: value for key, value in result.items() if key in _KEPT or key.startswith(_PARTS)}
    record |= {"cores": os.cpu_count(), "jobs": jobs}
    if (folder / "metrics.csv").is_file():
        epochs = read_metrics(folder / "metrics.csv")
        record["by epoch"] = {name: [_short(epoch.get(name)) for epoch in epochs] for name in _BY_EPOCH}
    return record


def write(record: Record, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(record, indent=1, allow_nan=False) + "\n")


def read_all(rows: list[Row], results: Path = RESULTS) -> dict[str, list[Record]]:
    """The records of each row, by seed."""
    found = {row.name: [json.loads(file.read_text()) for file in results.glob(f"{row.name}-s*.json")] for row in rows}
    return {name: sorted(records, key=lambda record: record["seed"]) for name, records in found.items()}


def _short(value: float | None) -> float | None:
    """Four digits; JSON knows no NaN."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n") if log.is_file() else []
    return next((line for line in reversed(lines) if line.strip()), "no word")
