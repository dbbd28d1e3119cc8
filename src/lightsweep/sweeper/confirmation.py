"""The best configuration against the baseline, with fresh seeds, on test data that no trial has touched."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from lightsweep.core.checks import is_number
from lightsweep.core.files import is_set_aside, read_json, set_aside, write_atomic
from lightsweep.core.metrics import format_difference
from lightsweep.sweeper.job import Job
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.statistics import Confirmed, Search, spread
from lightsweep.sweeper.verdict import Verdict, judge

_FIRST_SEED = 101


def fresh_seeds(count: int, used: Sequence[int]) -> list[int]:
    """Seeds that no trial has trained with."""
    candidates = (seed for seed in range(_FIRST_SEED, _FIRST_SEED + count + len(used)) if seed not in used)
    return [seed for seed, _ in zip(candidates, range(count), strict=False)]


def confirmation_jobs(
    plan: Plan, configurations: Mapping[str, Sequence[str]], seeds: Sequence[int]
) -> tuple[list[Job], list[Job]]:
    """The confirmation's jobs: those that are finished, and those to run.

    Args:
        configurations: overrides by name, best and baseline; baseline alone where that is the best.
    """
    finished: list[Job] = []
    missing: list[Job] = []
    for name, overrides in configurations.items():
        for seed in seeds:
            wanted = (*overrides, *plan.application.confirmation_overrides, f"seed={seed}")
            job = Job("confirmation", wanted, f"confirm/{name}-seed-{seed}", len(finished) + len(missing))
            (finished if _is_finished(plan.folder, job) else missing).append(job)
    return finished, missing


def set_aside_earlier(folder: Path, best: Sequence[str] | None, jobs: Sequence[Job]) -> None:
    """Set the runs of an earlier best aside, which no job of now takes the place of.

    Args:
        best: its overrides; None where it is the baseline.
    """
    now = {job.folder for job in jobs}
    for run in sorted((folder / "confirm").glob("best-seed-*")):
        if f"confirm/{run.name}" in now or is_set_aside(run.name):
            continue
        if best is None or not set(best) <= set(_result(run).get("overrides", [])):
            set_aside(run)


def summarise(
    plan: Plan, configurations: Mapping[str, Sequence[str]], seeds: Sequence[int], best: int, found: Search
) -> Verdict:
    """Write confirmation.json: mean and standard deviation of each score of each configuration, n, and the verdict.

    Args:
        best: number of the best trial.
        found: what the trials say.
    """
    summary: dict[str, Any] = {"best_trial": best, "seeds": list(seeds)}
    for name in configurations:
        results = [_result(plan.folder / f"confirm/{name}-seed-{seed}") for seed in seeds]
        done = [result for result in results if result.get("status") == "completed"]
        scores = {}
        for score in plan.application.scores:
            values = [result[score] for result in done if score in result]
            if values:
                scores[score] = {"mean": fmean(values), "std": spread(values), "values": values}
        summary[name] = {"n": len(done), "failed": len(results) - len(done), **scores}
    _write(plan.folder, summary)
    judged = judge(found, read_confirmation(plan.folder))
    _write(plan.folder, {"verdict": judged.content, **summary})
    return judged


def _write(folder: Path, summary: Mapping[str, Any]) -> None:
    write_atomic(folder / FILE, json.dumps(summary, indent=1) + "\n")


def confirmation_heading(confirmed: Confirmed) -> str:
    seeds = ", ".join(map(str, confirmed.seeds))
    both = " and the baseline" * ("best" in confirmed.scores)
    return f"Confirmation of trial {confirmed.trial}{both} on test data, seeds {seeds}:"


def confirmation_rows(confirmed: Confirmed, metric: str) -> list[dict[str, Any]]:
    """A row a configuration: runs, the metric that was searched for, accuracy, and what lies between the two."""
    test = f"test/{metric.partition('/')[2]}"
    shown = [
        name
        for name in dict.fromkeys((metric, test, "val/acc", "test/acc"))
        if any(name in scores for scores in confirmed.scores.values())
    ]
    compared = confirmed.score(metric)
    table = []
    for name, scores in confirmed.scores.items():
        row: dict[str, Any] = {"configuration": name, "n": max(map(len, scores.values()), default=0)}
        row |= {score: _mean(scores[score]) if score in scores else "" for score in shown}
        if compared is not None:
            gap = format_difference(compared, fmean(scores[compared]) - fmean(confirmed.values("baseline", compared)))
            row[f"{compared} to the baseline"] = "" if name == "baseline" else gap
        if confirmed.failed.get(name):
            row["failed"] = confirmed.failed[name]
        table.append(row)
    return table


def _mean(values: Sequence[float]) -> str:
    std = spread(values)
    return f"{fmean(values):.4f}" + ("" if std is None else f" ± {std:.4f}")


def _is_finished(folder: Path, job: Job) -> bool:
    result = _result(folder / job.folder)
    return result.get("status") == "completed" and set(job.overrides) <= set(result.get("overrides", []))


def _result(folder: Path) -> dict[str, Any]:
    return _read(folder / "result.json")


def _read(file: Path) -> dict[str, Any]:
    try:
        content = read_json(file)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


FILE = "confirmation.json"
_LARGEST = 1e50
CONFIGURATIONS = ("best", "baseline")


def read_confirmation(folder: Path) -> Confirmed | None:
    """A sweep's confirmation; None where there is none that can be read."""
    try:
        content = read_json(folder / FILE)
        entries = {name: content[name] for name in CONFIGURATIONS if name in content}
        return Confirmed(
            int(content["best_trial"]),
            tuple(int(seed) for seed in content["seeds"]),
            {name: _scores(entry) for name, entry in entries.items()},
            {name: int(entry["failed"]) for name, entry in entries.items()},
        )
    except (OSError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def _scores(entry: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    groups = {str(name): tuple(score["values"]) for name, score in entry.items() if isinstance(score, dict)}
    if not all(is_number(value) for values in groups.values() for value in values):
        raise ValueError("a score is no number")
    if any(abs(value) > _LARGEST for values in groups.values() for value in values):
        raise ValueError("a score is too large to be squared")
    return {name: values for name, values in groups.items() if values}
