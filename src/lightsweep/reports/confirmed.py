"""A confirmation: the best configuration against the baseline, over fresh seeds."""

from collections.abc import Sequence
from typing import Any

from lightsweep.core import gaps
from lightsweep.reports import cells
from lightsweep.reports.runs import Run
from lightsweep.reports.table import Table
from lightsweep.sweeper import statistics

_SCORES = ("val/acc", "test/acc", "val/loss", "test/loss")


def of(tables: Sequence[Table]) -> dict[str, Any] | None:
    """Columns, rows and sentences; None where nothing was confirmed."""
    runs = [run for table in tables if table.is_confirmation for run in table.runs]
    if not runs:
        return None
    scores = dict.fromkeys([*(run.monitor for run in runs), *_SCORES])
    shown = [key for key in (*scores, *gaps.COLUMNS, "n") if any(key in run.row for run in runs)]
    columns = [cells.column("configuration", numeric=False), *(cells.column(key) for key in shown)]
    ordered = sorted(runs, key=lambda run: (run.folder.parent, run.folder.name != "best"))
    several = len({run.folder.parent for run in runs}) > 1
    rows = [
        [cells.text_cell(run.name if several else run.folder.name), *(cells.cell_of(run, key) for key in shown)]
        for run in ordered
    ]
    by_name = {run.folder.name: run for run in runs}
    lines = []
    if {"best", "baseline"} <= by_name.keys() and not several:
        for score in ("val/acc", "test/acc"):
            lines += _tested(score, by_name["best"], by_name["baseline"])
    return {"columns": columns, "rows": rows, "lines": lines}


def _tested(score: str, best: Run, baseline: Run) -> list[str]:
    samples = [[seed.row[score] for seed in run.seeds if seed.row.get(score) is not None] for run in (best, baseline)]
    if not all(samples):
        return []
    result = statistics.welch_test(*samples)
    return [f"{score}, best less baseline: {statistics.describe_test(result, (len(samples[0]), len(samples[1])))}."]
