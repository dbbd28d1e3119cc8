"""What the page of many runs says in words and tables: the tiles, the best run, the confirmation, how it was made."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lightsweep.core.checks import is_number
from lightsweep.core.metrics import DIFFERENCE_COLUMNS
from lightsweep.core.text import printable_line
from lightsweep.reports import page, runs
from lightsweep.reports.columns import SD, format_value, short_labels
from lightsweep.reports.page.drawing import cell_of, describe_column, text_cell
from lightsweep.reports.runs import Run
from lightsweep.reports.study import Study
from lightsweep.reports.table import SCORES, Table
from lightsweep.sweeper import statistics

_CONFIRMED = tuple(f"{part}/{name}" for name in runs.MAIN for part in ("val", "test"))
_MAX_VALUES = 12  # of one fact, such as the seeds of all runs

Pairs = list[tuple[str, str]]  # labels and values


def summarise(runs: Sequence[Run], main: Table | None, best: Run | None) -> Pairs:
    counts = Counter(run.status for run in runs if not run.is_confirmation)
    return [
        *([(f"best {main.monitor}", f"{best.value:.4f}")] if best and main else []),
        *([("Pareto front", f"{len(main.front)} trials")] if main and main.front else []),
        ("runs", str(counts.total())),
        *((printable_line(status), str(count)) for status, count in counts.most_common()),
        ("run time", _format_duration(sum(map(seconds_of, runs)))),
    ]


def seconds_of(run: Run) -> float:
    seconds = run.row.get("seconds")
    return seconds if is_number(seconds) else 0.0


def _format_duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def describe_best(best: Run, table: Table) -> dict[str, Any]:
    keys = dict.fromkeys([*table.differing, "hidden", "params", *SCORES, "gap", "best_epoch", *best.recorded])
    labels = short_labels(list(keys))
    command, note = page.find_training_command(best)
    return {
        "title": f"Best: {printable_line(best.name)}",
        "metric": table.monitor + (f", mean and sd of {best.row['n']} seeds" if best.seeds else ""),
        "score": format_value(table.monitor, best.value, best.row.get(table.monitor + SD)),
        "facts": [(labels[key], format_value(key, best.row[key])) for key in keys if best.row.get(key) is not None],
        "command": command,
        "note": note,
    }


def build_confirmation(confirmed: Sequence[Run], further: Sequence[str]) -> dict[str, Any] | None:
    """Columns, rows and sentences on the best configuration against the baseline; None where nothing was confirmed.

    Args:
        further: columns: several objectives.
    """
    if not confirmed:
        return None
    scores = dict.fromkeys([*(run.monitor for run in confirmed), *_CONFIRMED, *further])
    keys = [key for key in (*scores, *DIFFERENCE_COLUMNS, "n") if any(key in run.row for run in confirmed)]
    several = len({run.folder.parent for run in confirmed}) > 1
    ordered = sorted(confirmed, key=lambda run: (run.folder.parent, run.folder.name != "best"))
    by_name = {run.folder.name: run for run in confirmed}
    is_pair = {"best", "baseline"} <= by_name.keys() and not several
    return {
        "columns": [describe_column("configuration", numeric=False), *map(describe_column, keys)],
        "rows": [
            [text_cell(run.name if several else run.folder.name), *(cell_of(run, key) for key in keys)]
            for run in ordered
        ],
        "lines": _describe_tests(by_name["best"], by_name["baseline"]) if is_pair else [],
    }


def _describe_tests(best: Run, baseline: Run) -> list[str]:
    lines = []
    for score in SCORES[1:]:  # not on the training images
        samples = [
            [seed.row[score] for seed in run.seeds if seed.row.get(score) is not None] for run in (best, baseline)
        ]
        if all(samples):
            result = statistics.describe_test(statistics.welch_test(*samples), (len(samples[0]), len(samples[1])))
            lines.append(f"{score}, best less baseline: {result}.")
    return lines


def describe_setting(runs: Sequence[Run], study: Study | None) -> list[tuple[str, Pairs]]:
    """How the runs were made: headings, and what is below each."""
    parts = []
    if study is not None:
        space = [(printable_line(key), _format_distribution(text)) for key, text in study.space.items()]
        parts = [("Search space", space)] * bool(space) + [("Search", _describe_search(study))]
    members = [seed for run in runs for seed in run.members]
    versions = sorted({key for run in members for key in run.row if key.startswith("versions.")})
    keys = {"seed": "seeds", "device": "device", "git_commit": "git commit"}
    keys |= {key: printable_line(key.removeprefix("versions.")) for key in versions}
    facts = [(label, _list_values(members, key)) for key, label in keys.items()]
    known = [(label, values) for label, values in facts if values]
    return [*parts, ("Seeds, machine and versions", known)] if known or study is None else parts


def _format_distribution(text: str) -> str:
    """``FloatDistribution(high=1.0, log=True, low=0.1, step=None)`` as ``0.1 to 1.0, logarithmic``."""
    bounds = dict(re.findall(r"(\w+)=([^,()]+)", text))
    if "Categorical" in text:
        return printable_line(text.partition("(choices=")[2].removesuffix(")").strip("()") or text)
    if not {"low", "high"} <= bounds.keys():
        return printable_line(text)
    step = bounds.get("step", "None")
    words = [f"{bounds['low']} to {bounds['high']}"]
    words += ["logarithmic"] * (bounds.get("log") == "True") + [f"in steps of {step}"] * (step not in ("None", "1"))
    return printable_line(", ".join(words))


def _describe_search(study: Study) -> Pairs:
    settings = study.settings
    objectives = study.objectives
    aim = ("objectives", objectives.aim) if objectives.several else ("direction", objectives.directions[0])
    pairs = [("study", study.name), aim]
    for part in ("sampler", "pruner"):
        node = settings.get(part)
        if isinstance(node, dict) and "_target_" in node:
            arguments = {key: value for key, value in node.items() if value is not None and "${" not in str(value)}
            name = str(arguments.pop("_target_")).rpartition(".")[2]
            pairs.append((part, f"{name} ({', '.join(f'{key}={value}' for key, value in arguments.items())})"))
        elif isinstance(node, str):
            pairs.append((part, node))
    labels = {"n_trials": "trials asked for", "seeds": "seeds of each trial"}
    keys = ("n_trials", "seeds", "confirm", "timeout")
    pairs += [(labels.get(key, key), settings[key]) for key in keys if settings.get(key) is not None]
    return [(label, printable_line(value)) for label, value in pairs]


def _list_values(runs: Sequence[Run], key: str) -> str:
    counts = Counter(printable_line(run.row[key]) for run in runs if run.row.get(key) is not None)
    if len(counts) == 1:
        return next(iter(counts))
    shown = [f"{value} ({count})" for value, count in counts.most_common(_MAX_VALUES)]
    return ", ".join(shown) + (" …" if len(counts) > _MAX_VALUES else "")
