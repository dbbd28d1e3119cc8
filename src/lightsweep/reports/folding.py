"""Runs that differ by their seed alone, as one: a trial's seeds, a confirmation's, and what --group-by asks for."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from lightsweep.reports.runs import Row, Run
from lightsweep.reports.text import cell, is_metric, is_number, plain

SD = " sd"  # row["val/acc sd"] is the standard deviation of row["val/acc"]
_MEANS = ("best_value", "best_epoch", "epochs", "gap")
_OWN = ("seed", "data.seed", "error", "std", "best_value")
_SEEDED = re.compile(r"(.+)-seed-\d+$")


def shown(run: Run, column: str) -> str:
    """A run's cell as text."""
    if column == "status":
        return plain(run.ending)
    text = cell(column, run.at(column), run.row.get(column + SD))
    return f"{text} (baseline)" if column == "run" and run.row.get("baseline") is True else text


def fold(runs: Iterable[Run]) -> list[Run]:
    """Each trial with its seeds, each configuration of a confirmation with its own."""
    kept: dict[Path, Run] = {}
    seeds: dict[Path, list[Run]] = {}
    for run in runs:
        kind, seeded = run.row.get("kind"), _SEEDED.match(run.folder.name)
        if kind == "seed":
            seeds.setdefault(run.folder.parent, []).append(run)
        elif kind == "confirmation" and seeded:
            seeds.setdefault(run.folder.with_name(seeded[1]), []).append(run)
        else:
            kept[run.folder] = run
    for folder, members in seeds.items():
        kept[folder] = _trial(kept.get(folder), folder, members)
    return list(kept.values())


def _trial(trial: Run | None, folder: Path, members: Sequence[Run]) -> Run:
    """A trial over its seeds: what its own record says wins over what its seeds add up to."""
    parent = Path(members[0].name).parent
    overrides = tuple(line for line in members[0].overrides if not line.startswith("seed="))
    name, own = str(parent / folder.name), {}
    if trial is not None:
        name, own = trial.name, {key: value for key, value in trial.row.items() if value is not None}
    elif members[0].row.get("kind") == "seed":  # its record is written when the last seed has ended
        name, own = str(parent), {"kind": "trial", "status": "unfinished"}
    row = pool(members) | own
    monitor = row.get("monitor")
    if row["status"] == "pruned" and isinstance(monitor, str) and is_number(row.get("best_value")):
        row[monitor] = row["best_value"]  # the mean that it reported last
    return Run(folder, name, row, overrides, tuple(members), members[0].settings)


def pool(members: Sequence[Run]) -> Row:
    """One row from several: means of what was measured, sums of time, and whatever is the same in all."""
    complete = [run for run in members if run.is_complete]
    row: Row = _shared(members)
    keys = dict.fromkeys(key for run in complete for key in run.row if is_metric(key) or key in _MEANS)
    for key in keys:
        values = [run.row[key] for run in complete if is_number(run.row.get(key))]
        row |= _mean(key, values)
    row["seconds"] = sum(run.row["seconds"] for run in members if is_number(run.row.get("seconds")))
    row["status"] = _status(members, complete)
    row["n"] = len(complete)
    row["failed"] = len(members) - len(complete)
    return row


def _mean(key: str, values: Sequence[float]) -> Row:
    if not values:
        return {key: None}
    return {key: fmean(values)} | ({key + SD: stdev(values)} if len(values) > 1 else {})


def _shared(members: Sequence[Run]) -> Row:
    first = members[0].row
    return {
        key: value
        for key, value in first.items()
        if key not in _OWN and not is_metric(key) and all(_same(run.row.get(key), value) for run in members)
    }


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def _status(members: Sequence[Run], complete: Sequence[Run]) -> str:
    if complete:
        return "completed"
    return members[0].status
