"""From folders to runs: read every result.json, fold the seeds of a trial into one run, mark a sweep's baseline."""

import csv
import gc
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from lightsweep.core.checks import is_number
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import is_set_aside, read_regular
from lightsweep.core.metrics import PARETO, difference_column, difference_to_baseline
from lightsweep.core.text import printable_line
from lightsweep.reports.columns import SD
from lightsweep.reports.runs import RESULT_FILE, Row, Run, is_metric, read_run
from lightsweep.runs.run_folder import ENSEMBLE, LR_FIND

BASELINE = "baseline"
_INFEASIBLE = re.compile(r"(^|; )infeasible: ")  # in a note of a leaderboard
_NOT_RUNS = {"checkpoints", "figures", "lightning_logs", "tensorboard", "mlruns", "wandb", "__pycache__"}
_TELLING = (RESULT_FILE, "config.yaml", "metrics.csv", LR_FIND, ENSEMBLE)  # files, of what a folder is
_CSV_LOGGER = "csv"  # its folder in a run's; elsewhere a name like any other
_MEANS = ("best_value", "best_epoch", "epochs", "gap")
_PER_SEED = ("seed", "data.seed", "error", "std", "best_value")
_RANK = re.compile(r"[0-9]{1,9}")
_SEEDED = re.compile(r"(.+)-seed-\d+$")


@dataclass
class Found:
    """What is below some paths.

    Args:
        broken: why a result.json could not be read, by its path.
        unfinished: folders of runs that have none: running, or killed.
    """

    runs: list[Run] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)


def find_runs(paths: Sequence[Path]) -> Found:
    """Read every result.json below these folders.

    Raises:
        ConfigError: a path is no folder, or there is no run at all.
    """
    for path in paths:
        if not path.is_dir():
            raise ConfigError(f"{path}: there is no such folder")
    found = Found()
    folders = {folder: has_result for path in paths for folder, has_result in _list_run_folders(str(path))}
    root = str(paths[0])
    gc.disable()  # searching millions of kept objects for garbage takes as long as reading them
    try:
        for folder, has_result in folders.items():
            name = folder if len(paths) > 1 or folder == root else folder[len(root) :].lstrip(os.sep)
            if not has_result:
                found.unfinished.append(name)
                continue
            try:
                found.runs.append(read_run(Path(folder), name))
            except (OSError, ValueError, RecursionError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                found.broken[str(Path(name, RESULT_FILE))] = printable_line(reason or type(error).__name__)
    finally:
        gc.enable()
    # Runs of an ablation are a sweep's trials with parts changed: they are looked at where they alone were asked for.
    found.runs = [run for run in found.runs if not run.is_ablation] or found.runs
    if not (found.runs or found.broken or found.unfinished):
        listed = ", ".join(map(str, paths))
        raise ConfigError(f"{listed}: no run found there (a run's folder holds {RESULT_FILE})")
    return found


def _list_run_folders(root: str) -> Iterator[tuple[str, bool]]:
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
                    elif entry.name in _TELLING and entry.is_file():
                        files.add(entry.name)  # no pipe, which would block the reader
        except OSError:  # not readable for us, or deleted meanwhile
            continue
        if ENSEMBLE in files:
            continue
        if files and _CSV_LOGGER in below:
            below.remove(_CSV_LOGGER)
        waiting += [os.path.join(folder, name) for name in sorted(below, reverse=True) if not is_set_aside(name)]  # noqa: PTH118  # 10,000 of them
        if files and (LR_FIND not in files or RESULT_FILE in files):  # a learning-rate range test is no run
            yield folder, RESULT_FILE in files


def fold_seeds(runs: Iterable[Run]) -> list[Run]:
    """Make one run of a trial's seed runs, and of those of a confirmation's or an ablation's configuration."""
    kept: dict[Path, Run] = {}
    seeds: dict[Path, list[Run]] = {}
    for run in runs:
        seeded = _SEEDED.match(run.folder.name)
        if run.kind == "seed":
            seeds.setdefault(run.folder.parent, []).append(run)
        elif (run.is_confirmation or run.is_ablation) and seeded:
            seeds.setdefault(run.folder.with_name(seeded[1]), []).append(run)
        else:
            kept[run.folder] = run
    for folder, members in seeds.items():
        kept[folder] = _fold_trial(kept.get(folder), folder, members)
    return list(kept.values())


def _fold_trial(trial: Run | None, folder: Path, members: Sequence[Run]) -> Run:
    """A trial of several seeds. Values of its own result replace what its seeds give."""
    parent = Path(members[0].name).parent
    overrides = tuple(line for line in members[0].overrides if not line.startswith("seed="))
    name, own = str(parent / folder.name), {}
    if trial is not None:
        name, own = trial.name, {key: value for key, value in trial.row.items() if value is not None}
    elif members[0].kind == "seed":  # its result is written when the last seed has ended
        name, own = str(parent), {"kind": "trial", "status": "unfinished"}
    row = pool_runs(members) | own
    monitor = row.get("monitor")
    if row["status"] == "pruned" and isinstance(monitor, str) and is_number(row.get("best_value")):
        row[monitor] = row["best_value"]  # the mean that it reported last
    return Run(folder, name, row, overrides, tuple(members), members[0].settings)


def pool_runs(members: Sequence[Run]) -> Row:
    """One row of several: means and standard deviations of scores, sums of seconds, and what is the same in all."""
    complete = [run for run in members if run.is_complete]
    row: Row = {
        key: value
        for key, value in members[0].row.items()
        if key not in _PER_SEED and not is_metric(key) and all(_is_equal(run.row.get(key), value) for run in members)
    }
    for key in dict.fromkeys(key for run in complete for key in run.row if is_metric(key) or key in _MEANS):
        values = _numbers(complete, key)
        row[key] = fmean(values) if values else None
        if len(values) > 1:
            row[key + SD] = stdev(values)
    return row | {
        "seconds": sum(_numbers(members, "seconds")),
        "status": "completed" if complete else members[0].status,
        "n": len(complete),
        "failed": len(members) - len(complete),
    }


def _numbers(runs: Iterable[Run], key: str) -> list[float]:
    return [run.row[key] for run in runs if is_number(run.row.get(key))]


def _is_equal(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def mark_baselines(runs: Sequence[Run]) -> Sequence[Run]:
    """Mark each sweep's baseline among runs from `fold_seeds`, and note the others' difference to it; of several
    objectives each trial's Pareto rank, too. Trials that violate a constraint get another status: they have no rank."""
    sweeps: dict[Path, list[Run]] = {}
    for run in runs:
        if run.kind in ("trial", "confirmation"):
            sweeps.setdefault(run.folder.parent, []).append(run)
    for folder, members in sweeps.items():
        board = _read_leaderboard(folder)
        infeasible = {row.get("folder") for row in board if _INFEASIBLE.search(row.get("note") or "")}
        ranks = {row.get("folder"): row.get(PARETO) or "" for row in board}
        for run in members:
            if run.kind == "trial" and run.is_complete and run.folder.name in infeasible:
                run.row["status"] = "infeasible"
            if run.kind == "trial" and _RANK.fullmatch(ranks.get(run.folder.name, "")):
                run.row[PARETO] = int(ranks[run.folder.name])
        name = BASELINE if any(run.is_confirmation for run in members) else _baseline_folder(board)
        for baseline in [run for run in members if run.folder.name == name]:
            for each in (baseline, *baseline.seeds):
                each.row[BASELINE] = True
            note_differences(members, baseline)
    return runs


def _read_leaderboard(sweep: Path) -> list[dict[str, str]]:
    """The rows of a sweep's leaderboard; none where it cannot be read."""
    try:
        return list(csv.DictReader(read_regular(sweep / "leaderboard.csv").splitlines()))
    except (OSError, ValueError, csv.Error):
        return []


def _baseline_folder(rows: Sequence[Mapping[str, str]]) -> str | None:
    """The name of the baseline's folder, as the leaderboard notes it."""
    marked = [row for row in rows if (row.get("note") or "").partition(";")[0] == BASELINE]
    marked.sort(key=lambda row: row.get("state") != "complete")  # it may have been tried several times
    return marked[0].get("folder") if marked else None


def note_differences(runs: Iterable[Run], baseline: Run) -> None:
    """Note in each completed run its difference to the baseline."""
    if baseline.value is None or not baseline.is_complete:
        return
    for run in runs:
        if run is not baseline and run.is_complete and run.value is not None and run.monitor == baseline.monitor:
            run.row[difference_column(run.monitor)] = difference_to_baseline(run.monitor, run.value, baseline.value)
