"""The confirmation of a sweep: which trials it runs with fresh seeds, its file, and its table."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any

from optuna.trial import FrozenTrial

from lightsweep.core.checks import is_number
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import is_set_aside, read_json, set_aside, write_atomic
from lightsweep.sweeper.application import Application
from lightsweep.sweeper.job import Job
from lightsweep.sweeper.objectives import Objectives, format_gap, format_value
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.statistics import Confirmed, format_mean, spread
from lightsweep.sweeper.trials import baseline_of
from lightsweep.sweeper.verdict import MOST_CONFIRMED, Verdict

CONFIRMATION_FILE = "confirmation.json"
FIRST_SEED = 101  # of its runs
_CONFIGURATION = re.compile(r"best|baseline|best-\d{1,9}")
_LARGEST = 1e50
_SHOWN = 2  # scores that are shown besides those that it is about: the application's first


def choose_points(
    trials: Sequence[FrozenTrial], objectives: Objectives, named: Sequence[int] | None
) -> list[FrozenTrial]:
    """The trials of several objectives that are confirmed: those that were named, else some of the front that are far
    from each other; without the baseline, which is confirmed anyway.

    Raises:
        ConfigError: one that was named is not completed.
    """
    complete = {trial.number: trial for trial in objectives.ranked_complete(trials)}
    if missing := [str(number) for number in named or () if number not in complete]:
        raise ConfigError(f"hydra.sweeper.confirm_points must be completed trials, got {', '.join(missing)}")
    if named is not None:
        chosen = [complete[number] for number in named]
    else:
        chosen = objectives.spread(objectives.front(trials), MOST_CONFIRMED)
    baseline = baseline_of(trials)
    if baseline is None or baseline.user_attrs.get("note"):  # a note: it is only near the config
        return chosen
    return [trial for trial in chosen if trial.number != baseline.number]


def fresh_seeds(count: int, used: Sequence[Any], *, first: int = FIRST_SEED) -> list[int]:
    """Seeds that no trial has had."""
    return [seed for seed in range(first, first + count + len(used)) if seed not in used][:count]


def confirmation_jobs(
    plan: Plan, configurations: Mapping[str, Sequence[str]], seeds: Sequence[int]
) -> tuple[list[Job], list[Job]]:
    """The confirmation's jobs: those that are finished, and those to run.

    Args:
        configurations: overrides by name, best and baseline; baseline alone where that is the best.
    """
    finished, missing = list[Job](), list[Job]()
    for name, overrides in configurations.items():
        for seed in seeds:
            wanted = (*overrides, *plan.settings.confirm_overrides, f"{plan.settings.seed_key}={seed}")
            folder, number = f"confirm/{name}-seed-{seed}", len(finished) + len(missing)
            job = Job("confirmation", wanted, folder, number, None, None, *plan.named_results)
            result = read_run_result(plan.folder / job.folder / plan.application.result_file)
            is_done = result.get("status") == "completed" and set(wanted) <= set(result.get("overrides", []))
            (finished if is_done else missing).append(job)
    return finished, missing


def set_aside_earlier(plan: Plan, best: Sequence[str] | None, jobs: Sequence[Job]) -> None:
    """Set aside the runs of an earlier best trial, in folders that none of the jobs uses.

    Args:
        best: the best trial's overrides; None where it is the baseline.
    """
    used = {job.folder for job in jobs}
    for run in sorted((plan.folder / "confirm").glob("best-seed-*")):
        if f"confirm/{run.name}" in used or is_set_aside(run.name):
            continue
        result = read_run_result(run / plan.application.result_file)
        if best is None or not set(best) <= set(result.get("overrides", [])):
            set_aside(run)


def write_confirmation(
    folder: Path,
    configurations: Sequence[str],
    seeds: Sequence[int],
    application: Application,
    compared_by: str | None,
    judge: Callable[[Confirmed | None], Verdict | None],
    *,
    best: int | None,
    objectives: Sequence[str] = (),
) -> Verdict | None:
    """Write confirmation.json: mean and standard deviation of each score of each configuration, n, and the verdict.

    Args:
        folder: the sweep's.
        configurations: their names: best and baseline, or best-NUMBER of several objectives.
        application: whose results they are.
        compared_by: the score that decides; None for the searched metric.
        judge: gives the verdict.
        best: the trial; None of several objectives.
        objectives: the names of several, which are kept beside the application's scores.
    """
    points = [int(name.removeprefix("best-")) for name in configurations if best is None and name != "baseline"]
    summary: dict[str, Any] = {"points": points} if best is None else {"best_trial": best}
    summary |= {"seeds": list(seeds), "compared_by": compared_by}
    summary |= _summarise_runs(folder, configurations, seeds, application, objectives)
    judged = judge(_parse(summary))
    content = {**({"verdict": judged.content} if judged else {}), **summary}
    write_atomic(folder / CONFIRMATION_FILE, json.dumps(content, indent=1) + "\n")
    return judged


def _summarise_runs(
    folder: Path,
    configurations: Iterable[str],
    seeds: Sequence[int],
    application: Application,
    further: Sequence[str] = (),
) -> dict[str, Any]:
    """Of each configuration how many runs were completed, and mean, standard deviation and values of each score, and of
    these further ones."""
    summary: dict[str, Any] = {}
    for name in configurations:
        runs = [folder / f"confirm/{name}-seed-{seed}" for seed in seeds]
        results = [read_run_result(run / application.result_file) for run in runs]
        done = [result for result in results if result.get("status") == "completed"]
        compared = {}
        for score in dict.fromkeys((*(application.scores or _numbers(done)), *further)):
            values = [result[score] for result in done if score in result]
            if values:
                compared[score] = {"mean": fmean(values), "std": spread(values), "values": values}
        summary[name] = {"n": len(done), "failed": len(results) - len(done), **compared}
    return summary


def read_confirmation(folder: Path) -> Confirmed | None:
    """A sweep's confirmation; None where there is none that can be read, or no scipy to judge it by."""
    if find_spec("scipy") is None:
        return None
    try:
        return _parse(read_json(folder / CONFIRMATION_FILE))
    except (OSError, ValueError):
        return None


def _numbers(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of all numbers in some results, but how long the jobs took."""
    names = dict.fromkeys(name for each in results for name, value in each.items() if is_number(value))
    return [name for name in names if name != "seconds"]


def _parse(content: Any) -> Confirmed | None:
    try:
        by = content.get(
            "compared_by", content.get("verdict", {}).get("score")
        )  # earlier versions kept only the latter
        entries = {str(name): entry for name, entry in content.items() if _CONFIGURATION.fullmatch(str(name))}
        best = content.get("best_trial")  # of several objectives there is none
        return Confirmed(
            None if best is None and "points" in content else int(best),
            tuple(int(seed) for seed in content["seeds"]),
            {name: _scores(entry) for name, entry in entries.items()},
            {name: int(entry["failed"]) for name, entry in entries.items()},
            by if isinstance(by, str) else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def _scores(entry: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    groups = {str(name): tuple(score["values"]) for name, score in entry.items() if isinstance(score, dict)}
    if not all(is_number(value) for values in groups.values() for value in values):
        raise ValueError("a score is no number")
    if any(abs(value) > _LARGEST for values in groups.values() for value in values):
        raise ValueError("a score is too large to be squared")
    return {name: values for name, values in groups.items() if values}


def read_run_result(file: Path) -> dict[str, Any]:
    """What a job has left of its result; empty where it cannot be read."""
    try:
        content = read_json(file)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def heading(confirmed: Confirmed) -> str:
    seeds = ", ".join(map(str, confirmed.seeds))
    both = " and the baseline" * (confirmed.trial is None or "best" in confirmed.scores)
    points = [name.removeprefix("best-") for name in confirmed.scores if name != "baseline"]
    which = f"trial {confirmed.trial}" if confirmed.trial is not None else f"trials {', '.join(points)}"
    return f"Confirmation of {which}{both}, seeds {seeds}:"


def table_rows(confirmed: Confirmed, objectives: Sequence[str]) -> list[dict[str, Any]]:
    """A row a configuration: runs, what was searched for, scores, and what lies between them and the baseline."""
    recorded = list(dict.fromkeys(name for scores in confirmed.scores.values() for name in scores))
    wanted = dict.fromkeys((*objectives, confirmed.compared_by, *recorded[:_SHOWN]))
    shown = [name for name in wanted if name in recorded]
    table = []
    for name, scores in confirmed.scores.items():
        row: dict[str, Any] = {"configuration": name, "n": max(map(len, scores.values()), default=0)}
        row |= {score: _format_cell(scores[score]) if score in scores else "" for score in shown}
        for compared in dict.fromkeys(confirmed.score(each) for each in objectives):
            if compared is not None:
                row[f"{compared} to the baseline"] = ""
                if name != "baseline" and compared in scores:
                    gap = fmean(scores[compared]) - fmean(confirmed.values("baseline", compared))
                    row[f"{compared} to the baseline"] = format_gap(compared, gap)
        if confirmed.failed.get(name):
            row["failed"] = confirmed.failed[name]
        table.append(row)
    return table


def _format_cell(values: Sequence[float]) -> str:
    """The mean and the standard deviation; a count, which is the same in all runs, as it is."""
    return format_value(values[0]) if len(set(values)) == 1 and values[0] == int(values[0]) else format_mean(values)
