"""results/<row>-s<seed>.json: what the table needs of a run, small enough to be committed."""

import json
import os
from pathlib import Path
from typing import Any

from lightsweep.files import write_whole
from lightsweep.metrics import read as read_metrics
from lightsweep.run_folder import ROOT

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


def write(row: Row, folder: Path, jobs: int, results: Path = RESULTS) -> Record:
    """Take from a run's folder what the table needs. `jobs` says how many runs shared the machine."""
    result = json.loads((folder / "result.json").read_text())
    record = {"row": row.name} | {key: value for key, value in result.items() if key in _KEPT or key.startswith(_PARTS)}
    record |= {"cores": os.cpu_count(), "jobs": jobs}
    if (folder / "metrics.csv").is_file():
        epochs = read_metrics(folder / "metrics.csv")
        record["by epoch"] = {name: [float(f"{epoch[name]:.4g}") for epoch in epochs] for name in _BY_EPOCH}
    results.mkdir(exist_ok=True)
    write_whole(path(row, result["seed"], results), json.dumps(record, indent=1) + "\n")
    return record


def read_all(rows: list[Row], results: Path = RESULTS) -> dict[str, list[Record]]:
    """The records of each row, by seed."""
    found = {row.name: [json.loads(file.read_text()) for file in results.glob(f"{row.name}-s*.json")] for row in rows}
    return {name: sorted(records, key=lambda record: record["seed"]) for name, records in found.items()}
