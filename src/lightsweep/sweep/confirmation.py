"""The best configuration against the baseline, with fresh seeds, on test data that no trial has touched."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from lightsweep.files import read_json, write_whole
from lightsweep.names import printable
from lightsweep.sweep.assignment import Assignment
from lightsweep.sweep.seeds import spread

FILE = "confirmation.json"
_FIRST_SEED = 101
_SCORES = (
    "val/acc",
    "test/acc",
    "val/f1",
    "test/f1",
    "val/balanced_acc",
    "test/balanced_acc",
    "val/loss",
    "test/loss",
)


def fresh_seeds(count: int, used: Sequence[int]) -> list[int]:
    """Seeds that no trial has trained with."""
    candidates = (seed for seed in range(_FIRST_SEED, _FIRST_SEED + count + len(used)) if seed not in used)
    return [seed for seed, _ in zip(candidates, range(count), strict=False)]


def jobs(
    folder: Path, configurations: Mapping[str, Sequence[str]], seeds: Sequence[int]
) -> tuple[list[Assignment], list[Assignment]]:
    """The confirmation's jobs: those that are finished, and those to run.

    Args:
        configurations: overrides by name, best and baseline.
    """
    finished: list[Assignment] = []
    missing: list[Assignment] = []
    for name, overrides in configurations.items():
        for seed in seeds:
            wanted = (*overrides, "test=true", f"seed={seed}")
            assignment = Assignment("confirmation", wanted, f"confirm/{name}-seed-{seed}", len(finished) + len(missing))
            (finished if _is_finished(folder, assignment) else missing).append(assignment)
    return finished, missing


def set_aside(path: Path) -> None:
    """Make room for a run in a folder's place: one that was cut off, or an earlier best's. Nothing is deleted.

    `run_folder.is_set_aside` knows the new name.
    """
    if not path.exists() and not path.is_symlink():
        return
    number = 1
    while (aside := path.with_name(f"{path.name}.earlier-{number}")).exists():
        number += 1
    path.rename(aside)


def summarise(folder: Path, configurations: Mapping[str, Sequence[str]], seeds: Sequence[int], best: int) -> dict:
    """Write confirmation.json: mean and standard deviation of each score of each configuration, and n.

    Args:
        best: number of the best trial.
    """
    summary: dict[str, Any] = {"best_trial": best, "seeds": list(seeds)}
    for name in configurations:
        results = [_result(folder / f"confirm/{name}-seed-{seed}") for seed in seeds]
        done = [result for result in results if result.get("status") == "completed"]
        scores = {}
        for score in _SCORES:
            values = [result[score] for result in done if score in result]
            if values:
                scores[score] = {"mean": fmean(values), "std": spread(values), "values": values}
        summary[name] = {"n": len(done), "failed": len(results) - len(done), **scores}
    write_whole(folder / FILE, json.dumps(summary, indent=1) + "\n")
    return summary


def told(folder: Path, metric: str) -> list[str]:
    """A study's confirmation in words, nothing where there is none yet."""
    summary = _read(folder / FILE)
    try:
        seeds = ", ".join(str(int(seed)) for seed in summary["seeds"])
        head = f"Confirmation of trial {int(summary['best_trial'])} and the baseline on test data, seeds {seeds}:"
        return [head, *lines(summary, metric)]
    except (KeyError, TypeError, ValueError):  # none of ours
        return []


def lines(summary: Mapping[str, Any], metric: str) -> list[str]:
    """The summary in words, a line a configuration: the metric that was searched for, and accuracy."""
    shown = dict.fromkeys((metric, f"test/{metric.partition('/')[2]}", "val/acc", "test/acc"))
    said = []
    for name, entry in summary.items():
        if not isinstance(entry, dict):
            continue
        scores = ", ".join(
            f"{score} {entry[score]['mean']:.4f}" + ("" if (std := entry[score]["std"]) is None else f" ± {std:.4f}")
            for score in shown
            if score in entry
        )
        failed = f", {int(entry['failed'])} failed" if entry["failed"] else ""
        said.append(f"{printable(name)}: {scores or 'no score'} (n = {int(entry['n'])}{failed})")
    return said


def _is_finished(folder: Path, assignment: Assignment) -> bool:
    result = _result(folder / assignment.folder)
    return result.get("status") == "completed" and set(assignment.overrides) <= set(result.get("overrides", []))


def _result(folder: Path) -> dict[str, Any]:
    return _read(folder / "result.json")


def _read(file: Path) -> dict[str, Any]:
    try:
        content = read_json(file)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
