"""Which run of a sweep is its baseline, and how far the others lie from it."""

import csv
from collections.abc import Iterable
from pathlib import Path

from lightsweep.core.files import read_regular
from lightsweep.core.gaps import column_of, to_baseline
from lightsweep.reports.runs import Run

MARK = "baseline"


def mark(runs: Iterable[Run]) -> list[Run]:
    """The same runs, folded over their seeds; the baseline's have the mark, the completed others the difference."""
    runs = list(runs)
    sweeps: dict[Path, list[Run]] = {}
    for run in runs:
        if run.row.get("kind") in ("trial", "confirmation"):
            sweeps.setdefault(run.folder.parent, []).append(run)
    for folder, members in sweeps.items():
        name = _name(folder, members)
        for baseline in [run for run in members if run.folder.name == name]:
            for each in (baseline, *baseline.seeds):
                each.row[MARK] = True
            _measure(members, baseline)
    return runs


def _name(folder: Path, members: Iterable[Run]) -> str | None:
    """The name of the baseline's folder, as the sweep's leaderboard notes it."""
    if any(run.row.get("kind") == "confirmation" for run in members):
        return MARK
    try:
        rows = list(csv.DictReader(read_regular(folder / "leaderboard.csv").splitlines()))
    except (OSError, ValueError, csv.Error):
        return None
    marked = [row for row in rows if (row.get("note") or "").partition(";")[0] == MARK]
    marked.sort(key=lambda row: row.get("state") != "complete")  # it may have been asked for several times
    return marked[0].get("folder") if marked else None


def _measure(runs: Iterable[Run], baseline: Run) -> None:
    if baseline.value is None or not baseline.is_complete:
        return
    for run in runs:
        if run is not baseline and run.is_complete and run.value is not None and run.monitor == baseline.monitor:
            run.row[column_of(run.monitor)] = to_baseline(run.monitor, run.value, baseline.value)
