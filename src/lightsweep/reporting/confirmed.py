"""A confirmation: the best configuration against the baseline, over fresh seeds."""

from typing import Any

from lightsweep.reporting import cells, welch
from lightsweep.reporting.runs import Run
from lightsweep.reporting.table import Table


def of(table: Table | None) -> dict[str, Any] | None:
    """Columns, rows and sentences; None where nothing was confirmed."""
    runs = [run for run in table.runs if run.row.get("kind") == "confirmation"] if table else []
    if not runs or table is None:
        return None
    scores = [key for key in ("val/acc", "test/acc", "val/loss", "test/loss") if any(key in run.row for run in runs)]
    columns = [cells.column("configuration", numeric=False), *(cells.column(key) for key in scores), cells.column("n")]
    ordered = sorted(runs, key=lambda run: run.folder.name != "best")
    rows = [
        [cells.text_cell(run.folder.name), *(cells.cell_of(run, key) for key in scores), cells.cell_of(run, "n")]
        for run in ordered
    ]
    by_name = {run.folder.name: run for run in runs}
    lines = []
    if {"best", "baseline"} <= by_name.keys():
        for score in ("val/acc", "test/acc"):
            lines += _tested(score, by_name["best"], by_name["baseline"])
    return {"columns": columns, "rows": rows, "lines": lines}


def _tested(score: str, best: Run, baseline: Run) -> list[str]:
    samples = [[seed.row[score] for seed in run.seeds if seed.row.get(score) is not None] for run in (best, baseline)]
    if not all(samples):
        return []
    result = welch.test(*samples)
    return [f"{score}, best less baseline: {welch.in_words(result, (len(samples[0]), len(samples[1])))}."]
