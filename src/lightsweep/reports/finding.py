"""Every result.json below some folders."""

import csv
import gc
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from lightsweep.core.checks import is_number
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import is_set_aside, read_regular
from lightsweep.core.text import difference_column, difference_to_baseline, printable_line
from lightsweep.reports.columns import SD
from lightsweep.reports.runs import RESULT_FILE, Row, Run, is_metric, read_run
from lightsweep.runs.run_folder import LR_FIND

_NOT_RUNS = {"checkpoints", "figures", "lightning_logs", "tensorboard", "mlruns", "wandb", "__pycache__"}
_OF_A_RUN = "csv"  # below a run what a logger wrote, elsewhere a name like any other


@dataclass
class Found:
    """What lies below some paths.

    Args:
        broken: why a result.json could not be read, by its path.
        unfinished: folders of runs that have none: still running, or killed.
    """

    runs: list[Run] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)


def find_runs(paths: Sequence[Path]) -> Found:
    """Read every result.json below these folders.

    Raises:
        ConfigError: a path is no folder, or there is no run at all.
    """
    with _without_collector():
        return _find(paths)


def _find(paths: Sequence[Path]) -> Found:
    found = Found()
    seen: set[str] = set()
    for root in paths:
        if not root.is_dir():
            raise ConfigError(f"{root}: there is no such folder")
        for folder, has_result in _folders(str(root)):
            if folder in seen:
                continue
            seen.add(folder)
            name = _name(folder, str(root), several=len(paths) > 1)
            if has_result:
                _read(Path(folder), name, found)
            else:
                found.unfinished.append(name)
    if not (found.runs or found.broken or found.unfinished):
        named = ", ".join(str(path) for path in paths)
        raise ConfigError(f"{named}: no run lies there (a run's folder holds {RESULT_FILE})")
    return found


@contextmanager
def _without_collector() -> Iterator[None]:
    """Millions of small objects are made and kept; looking for garbage among them takes as long as reading them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _folders(root: str) -> Iterator[tuple[str, bool]]:
    """Folders of runs and whether each has its result.json, in the order of their names."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        below, files = [], set()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name not in _NOT_RUNS and not entry.name.startswith("."):
                            below.append(entry.name)
                    elif entry.name in (RESULT_FILE, "config.yaml", "metrics.csv", LR_FIND) and entry.is_file():
                        files.add(entry.name)  # a pipe would be waited for
        except OSError:  # not ours to read, or gone meanwhile
            continue
        if files and _OF_A_RUN in below:
            below.remove(_OF_A_RUN)
        waiting += [os.path.join(folder, name) for name in sorted(below, reverse=True) if not is_set_aside(name)]  # noqa: PTH118  # 10,000 of them
        if files and (LR_FIND not in files or RESULT_FILE in files):  # a learning-rate range test is no run
            yield folder, RESULT_FILE in files


def _name(folder: str, root: str, *, several: bool) -> str:
    return folder if several or folder == root else folder[len(root) :].lstrip(os.sep)


def _read(folder: Path, name: str, found: Found) -> None:
    try:
        found.runs.append(read_run(folder, name))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        found.broken[os.path.join(name, RESULT_FILE)] = printable_line(reason or type(error).__name__)  # noqa: PTH118


_MEANS = ("best_value", "best_epoch", "epochs", "gap")
_OWN = ("seed", "data.seed", "error", "std", "best_value")
_SEEDED = re.compile(r"(.+)-seed-\d+$")


def fold_seeds(runs: Iterable[Run]) -> list[Run]:
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
    row = pool_runs(members) | own
    monitor = row.get("monitor")
    if row["status"] == "pruned" and isinstance(monitor, str) and is_number(row.get("best_value")):
        row[monitor] = row["best_value"]  # the mean that it reported last
    return Run(folder, name, row, overrides, tuple(members), members[0].settings)


def pool_runs(members: Sequence[Run]) -> Row:
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


BASELINE = "baseline"


def mark_baselines(runs: Iterable[Run]) -> list[Run]:
    """The same runs, folded over their seeds; the baseline's have the mark, the completed others the difference."""
    runs = list(runs)
    sweeps: dict[Path, list[Run]] = {}
    for run in runs:
        if run.row.get("kind") in ("trial", "confirmation"):
            sweeps.setdefault(run.folder.parent, []).append(run)
    for folder, members in sweeps.items():
        name = _name_baselines(folder, members)
        for baseline in [run for run in members if run.folder.name == name]:
            for each in (baseline, *baseline.seeds):
                each.row[BASELINE] = True
            _measure(members, baseline)
    return runs


def _name_baselines(folder: Path, members: Iterable[Run]) -> str | None:
    """The name of the baseline's folder, as the sweep's leaderboard notes it."""
    if any(run.row.get("kind") == "confirmation" for run in members):
        return BASELINE
    try:
        rows = list(csv.DictReader(read_regular(folder / "leaderboard.csv").splitlines()))
    except (OSError, ValueError, csv.Error):
        return None
    marked = [row for row in rows if (row.get("note") or "").partition(";")[0] == BASELINE]
    marked.sort(key=lambda row: row.get("state") != "complete")  # it may have been asked for several times
    return marked[0].get("folder") if marked else None


def _measure(runs: Iterable[Run], baseline: Run) -> None:
    if baseline.value is None or not baseline.is_complete:
        return
    for run in runs:
        if run is not baseline and run.is_complete and run.value is not None and run.monitor == baseline.monitor:
            run.row[difference_column(run.monitor)] = difference_to_baseline(run.monitor, run.value, baseline.value)
