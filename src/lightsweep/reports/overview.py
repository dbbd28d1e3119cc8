"""The page of many runs: from tables and a study to what the template shows."""

import html
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lightsweep.core.checks import is_number
from lightsweep.core.metrics import DIFFERENCE_COLUMNS
from lightsweep.core.text import printable_line
from lightsweep.reports import effects_view, figures, page, runs
from lightsweep.reports.columns import SD, format_value, short_labels
from lightsweep.reports.effects import Effects
from lightsweep.reports.figures import Figure
from lightsweep.reports.finding import Found
from lightsweep.reports.front_figures import draw_objectives
from lightsweep.reports.page import Drawing, cell_of, describe_column, text_cell
from lightsweep.reports.runs import Run
from lightsweep.reports.study import Study, judge
from lightsweep.reports.study_figures import StudyFigures
from lightsweep.reports.table import SCORES, Selection, Table
from lightsweep.reports.table_text import describe_problems
from lightsweep.reports.trials import ParameterRange, find_ranges, format_number
from lightsweep.sweeper import statistics
from lightsweep.sweeper.trials import number_of

_CONFIRMED = tuple(f"{part}/{name}" for name in runs.MAIN for part in ("val", "test"))
_MAX_VALUES = 12  # of one fact, such as the seeds of all runs

Pairs = list[tuple[str, str]]  # labels and values


def write_page(
    path: Path,
    found: Found,
    selection: Selection,
    places: Sequence[Path | str],
    study: Study | None,
    effects: Effects | None = None,
) -> None:
    """Write the report of what was found in some places, folders or a storage, where there may be a study.

    Args:
        effects: of the first table, where they are to be shown though it has trials.
    """
    every = [run for table, _ in selection for run in table.runs]
    main = selection[0][0] if selection else None
    best = main.best if main else None
    drawing = _draw(study, main, best, effects)
    further = study.objectives.names if study is not None and study.objectives.several else ()
    confirmation = _build_confirmation([run for run in every if run.is_confirmation], further)
    verdict_lines = judge(study, main.monitor) if study and main else []
    failed = [run for run in every if run.status in ("failed", "diverged") and run.row.get("error")]
    content = {
        "title": printable_line(f"Sweep {study.name}" if study else f"Runs in {', '.join(map(str, places))}"),
        "subtitle": printable_line(
            ", ".join(str(each.resolve() if isinstance(each, Path) else each) for each in places)
        ),
        "rule": "" if main and main.is_study else page.RULE,
        "summary": _summarise(every, main, best),
        "notes": _list_notes(found, selection, study, drawing),
        "verdict": verdict_lines,
        "best": _describe_best(best, main, study) if best and main else None,
        "tables": [page.build_leaderboard(table, rows) for table, rows in selection if not table.is_confirmation],
        "errors": [(printable_line(run.name), printable_line(run.row["error"])) for run in failed],
        "figures": drawing.shown,
        "confirmation": confirmation,
        "setting": _describe_setting(every, study),
        "sections": [
            *([("verdict", "Verdict")] if verdict_lines else []),
            *([("best", "Best")] if best else []),
            ("leaderboard", "Leaderboard"),
            *drawing.links,
            *([("confirmation", "Confirmation")] if confirmation else []),
            ("setting", "How this was made"),
        ],
    }
    page.write_page(path, "report.html.j2", content, drawing.data)


def _draw(study: Study | None, table: Table | None, best: Run | None, effects: Effects | None) -> Drawing:
    drawing = Drawing()
    if table is not None:
        effects_view.draw_section(drawing, effects or effects_view.find_effects(table))
    trials = None
    if study is not None and study.objectives.several:
        trials = draw_objectives(drawing, study)
    elif study is not None:
        trials = StudyFigures(study, table.monitor if table else "value")
        _draw_study(drawing, trials)
    if table is not None:
        title = "Intermediate values" if table.is_study else "Learning curves"
        drawing.section("curves", title)
        note = "The curve of a run that was pruned or cut off ends there, at its mark."
        note += " The thick line is the best run." * (best is not None)
        drawing.add(title, lambda: figures.draw_learning_curves(table.runs, table.monitor, best), note)
    drawing.section("time", "Time spent")
    if table is not None:
        drawing.add("Time by status", lambda: _draw_time(table.runs), size="short")
    if trials is not None:
        drawing.add("Timeline of the trials", trials.timeline, "When each trial ran.")
    if best is not None and best.sweep is None:
        _draw_best(drawing, best)
    return drawing


def _draw_study(drawing: Drawing, study: StudyFigures) -> None:
    drawing.section("history", "Optimisation history")
    note = "Pruned trials are at the last value that they reported, failed ones beyond the worst one."
    drawing.add("Optimisation history", study.history, note)
    drawing.section("importances", "What mattered", study.too_few)
    note = f"Of {len(study.scored)} trials, completed or pruned; a pruned one counts with its last value."
    drawing.add("Hyperparameter importances", study.importance, note, "short")
    drawing.section("parallel", "Parallel coordinates")
    note = "One line per trial, dotted if pruned; the strongest colour is the best. Axes span what was searched."
    drawing.add("Parallel coordinates", study.parallel, note, "wide")
    drawing.section("slices", "Slices")
    note = "Axes span what was searched. The colour is the trial's number: late trials stand out. The star is the best."
    drawing.add("Slices", study.slices, note, "wide")
    drawing.section("contour", f"Contour of {html.unescape(' and '.join(study.contour_pair or ()))}")
    note = "Dots are completed trials, the star is the best. Axes span what was searched."
    drawing.add("Contour of the two most important", study.contour, note, "tall")


def _draw_time(runs: Sequence[Run]) -> Figure | None:
    seconds: Counter[str] = Counter()
    for run in runs:
        seconds[run.status] += _seconds(run)  # type: ignore[assignment]
    return figures.draw_time(seconds, Counter(run.status for run in runs)) if any(seconds.values()) else None


def _draw_best(drawing: Drawing, best: Run) -> None:
    drawing.section("best-run", f"The best run, {printable_line(best.name)}")
    for name, figure in figures.draw_run(best).items():
        notes = ["The curves are of its first seed."] * bool(best.seeds)
        notes += ["The dashed line is its best epoch."] * ("shapes" in figure["layout"])
        drawing.add(f"{name} of the best run", partial(dict, figure), " ".join(notes) * (name == "acc"))
    part = "val" if runs.read_confusion(best) else "test"
    counts = runs.read_confusion(best, part)
    if counts is not None:
        note = f"Images of the {part} set; the colour is the share of the true class."
        drawing.add("Confusion matrix of the best run", lambda: figures.draw_confusion(*counts), note, "tall")


def _summarise(runs: Sequence[Run], main: Table | None, best: Run | None) -> Pairs:
    counts = Counter(run.status for run in runs if not run.is_confirmation)
    return [
        *([(f"best {main.monitor}", f"{best.value:.4f}")] if best and main else []),
        *([("Pareto front", f"{len(main.front)} trials")] if main and main.front else []),
        ("runs", str(counts.total())),
        *((printable_line(status), str(count)) for status, count in counts.most_common()),
        ("run time", _format_duration(sum(map(_seconds, runs)))),
    ]


def _seconds(run: Run) -> float:
    seconds = run.row.get("seconds")
    return seconds if is_number(seconds) else 0.0


def _format_duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _list_notes(found: Found, selection: Selection, study: Study | None, drawing: Drawing) -> list[str]:
    notes = [*describe_problems(found), *drawing.problems]
    if not selection:
        notes.append("No run has a result yet.")
    if sum(not table.is_confirmation for table, _ in selection) > 1:
        notes.append(
            "Scores of different data sets or metrics cannot be compared: there is a table for each, and the figures"
            " are of the first."
        )
    hidden = sum(len(table.runs) - len(shown) for table, shown in selection)
    if hidden:
        notes.append(f"{hidden} more rows are not shown (--top).")
    if study is not None and not study.complete:
        notes.append("No trial is complete yet.")
    return notes


def _describe_best(best: Run, table: Table, study: Study | None) -> dict[str, Any]:
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
        "edges": _list_edges(best, study),
    }


def _list_edges(best: Run, study: Study | None) -> list[str]:
    """Where the best trial is at an end of what was searched."""
    if study is None or best.kind != "trial":
        return []
    trials = study.study.get_trials(deepcopy=False)
    params = next((trial.params for trial in trials if trial.number == number_of(best.folder)), {})
    return [html.unescape(line) for line in describe_edges(params, find_ranges(trials))]


def describe_edges(params: Mapping[str, Any], ranges: Mapping[str, ParameterRange]) -> list[str]:
    """A sentence for each value that is at an end of its range."""
    return [
        f"{name} {format_number(value)} is at the {end} end of what was searched,"
        f" {format_number(ranges[name].low)} to {format_number(ranges[name].high)}."
        for name, value in params.items()
        if (end := ranges[name].edge(value)) is not None
    ]


def _build_confirmation(confirmed: Sequence[Run], further: Sequence[str]) -> dict[str, Any] | None:
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


def _describe_setting(runs: Sequence[Run], study: Study | None) -> list[tuple[str, Pairs]]:
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
