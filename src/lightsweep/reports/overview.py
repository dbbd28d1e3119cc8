"""The page of many runs: from tables, study and records to what the template shows."""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from lightsweep.core.checks import is_number
from lightsweep.core.text import DIFFERENCE_COLUMNS, printable_line
from lightsweep.reports import columns, figures, page, terminal
from lightsweep.reports.columns import escape_tags, format_value
from lightsweep.reports.figures import Figure
from lightsweep.reports.finding import Found
from lightsweep.reports.page import Drawing
from lightsweep.reports.runs import Run, read_confusion
from lightsweep.reports.study import Study, describe_edges, find_ranges, find_study
from lightsweep.reports.study_figures import StudyFigures
from lightsweep.reports.table import Table
from lightsweep.sweeper import confirmation, statistics, verdict
from lightsweep.sweeper.trials import number_of

Parts = Sequence[tuple[Table, Sequence[Run]]]


def write_page(path: Path, found: Found, parts: Parts, paths: Sequence[Path], *, storage: str | None) -> None:
    """Write the report of what was found below `paths`."""
    study = find_study(paths[0], storage) if len(paths) == 1 else None
    page.write_page(path, "report.html.j2", *build_content(found, parts, paths, study))


def build_content(
    found: Found, parts: Parts, paths: Sequence[Path], study: Study | None
) -> tuple[dict[str, Any], dict[str, Figure]]:
    """What the template shows, and the figures' data."""
    runs = [run for table, _ in parts for run in table.runs]
    main = parts[0][0] if parts else None
    best = main.best if main else None
    drawn = _drawn(study, main, best)
    confirmation = build_confirmation([table for table, _ in parts])
    judged = _verdict(study, main, paths)
    return {
        "title": printable_line(f"Sweep {study.name}" if study else f"Runs in {', '.join(map(str, paths))}"),
        "subtitle": printable_line(", ".join(str(path.resolve()) for path in paths)),
        "written": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "summary": _summary(runs, main, best),
        "notes": _notes(found, parts, study, drawn),
        "verdict": judged,
        "best": _best_section(best, main, study) if best and main else None,
        "tables": [page.build_leaderboard(table, wanted) for table, wanted in parts if not table.is_confirmation],
        "errors": [(printable_line(run.name), printable_line(run.row["error"])) for run in _failed(runs)],
        "figures": drawn.shown,
        "confirmation": confirmation,
        "setting": describe_setting(runs, study),
        "sections": [
            *([("verdict", "Verdict")] if judged else []),
            *([("best", "Best")] if best else []),
            ("leaderboard", "Leaderboard"),
            *drawn.links,
            *([("confirmation", "Confirmation")] if confirmation else []),
            ("setting", "How this was made"),
        ],
    }, drawn.data


def _failed(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.status in ("failed", "diverged") and run.row.get("error")]


def _verdict(study: Study | None, table: Table | None, paths: Sequence[Path]) -> list[str]:
    """What the sweep has found, a line a sentence; nothing where it has found nothing yet."""
    if study is None or table is None:
        return []
    found = statistics.summarise_trials(
        study.trials,
        metric=table.monitor,
        maximises=study.maximises,
        seeds=study.seeds,
        changed_at=study.changed_at,
    )
    if found is None:
        return []
    return [printable_line(line) for line in verdict.judge(found, confirmation.read_confirmation(paths[0])).lines]


def _drawn(study: Study | None, table: Table | None, best: Run | None) -> Drawing:
    drawn = Drawing()
    trials = table.runs if table else ()
    if study is not None:
        _draw_study(drawn, study, table.monitor if table else "value")
    if table is not None:
        drawn.section("curves", "Learning curves")
        note = "A run that was pruned or cut off ends where it ended, at its mark. The best one is the thick line."
        drawn.add("Learning curves", lambda: figures.draw_learning_curves(trials, table.monitor, best), note)
        drawn.section("time", "Time spent")
        drawn.add("Time by status", lambda: _time(trials), size="short")
    if study is not None:
        drawn.add("Timeline of the trials", StudyFigures(study, "").timeline, "When each trial ran.")
    if best is not None:
        _draw_best(drawn, best)
    return drawn


def _draw_study(drawn: Drawing, study: Study, metric: str) -> None:
    optuna = StudyFigures(study, escape_tags(metric))
    drawn.section("history", "Optimisation history")
    note = "Pruned trials stand at the last value that they reported, failed ones at the foot."
    drawn.add("Optimisation history", optuna.history, note)
    drawn.section("importances", "What mattered")
    if optuna.too_few is not None:
        drawn.say(optuna.too_few)
    else:
        note = f"Of {len(optuna.scored)} trials, completed or pruned; a pruned one takes part with its last value."
        drawn.add("Hyperparameter importances", optuna.importance, note, "short")
    drawn.section("parallel", "Parallel coordinates")
    note = "A line a trial, a pruned one dotted; the strongest colour is the best. Axes span what was searched."
    drawn.add("Parallel coordinates", optuna.parallel, note, "wide")
    drawn.section("slices", "Slices")
    note = "Axes span what was searched. The colour is the trial's number: late trials stand out. The star is the best."
    drawn.add("Slices", optuna.slices, note, "wide")
    contour = optuna.contour()
    if contour is not None:
        drawn.section("contour", f"Contour of {contour[0]}")
        drawn.sections[-1]["title"] = f"Contour of {_unescaped(contour[0])}"
        note = "Dots are completed trials, the star is the best. Axes span what was searched."
        drawn.add("Contour of the two most important", lambda: contour[1], note, "tall")


def _draw_best(drawn: Drawing, best: Run) -> None:
    drawn.section("best-run", f"The best run, {printable_line(best.name)}")
    for name, figure in figures.draw_run(best).items():
        drawn.add(
            f"{name} of the best run",
            partial(dict, figure),
            _about(best, figure) * (name == "acc"),
        )
    part = "val" if read_confusion(best) else "test"
    counts = read_confusion(best, part)
    if counts is not None:
        note = f"Images of the {part} set; the colour is the share of the true class."
        drawn.add("Confusion matrix of the best run", lambda: figures.draw_confusion(*counts), note, "tall")


def _about(best: Run, figure: Figure) -> str:
    marked = "The dashed line is its best epoch." if "shapes" in figure["layout"] else ""
    return f"The curves are of its first seed. {marked}".strip() if best.seeds else marked


def _unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _time(runs: Sequence[Run]) -> Figure | None:
    seconds: dict[str, float] = {}
    for run in runs:
        seconds[run.status] = seconds.get(run.status, 0.0) + _seconds(run)
    return figures.draw_time(seconds, Counter(run.status for run in runs)) if any(seconds.values()) else None


def _summary(runs: Sequence[Run], main: Table | None, best: Run | None) -> list[tuple[str, str]]:
    counts = Counter(run.status for run in runs if run.row.get("kind") != "confirmation")
    seconds = sum(map(_seconds, runs))
    tiles = [("runs", str(sum(counts.values()))), *((status, str(count)) for status, count in counts.most_common())]
    if best is not None and main is not None:
        tiles.insert(0, (f"best {main.monitor}", f"{best.value:.4f}"))
    return [(printable_line(label), value) for label, value in tiles] + [("training", _duration(seconds))]


def _seconds(run: Run) -> float:
    seconds: Any = run.row.get("seconds")
    return seconds if is_number(seconds) else 0.0


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _notes(found: Found, parts: Parts, study: Study | None, drawn: Drawing) -> list[str]:
    notes = [*terminal.describe_problems(found), *drawn.remarks]
    if not parts:
        notes.append("No run has a result yet.")
    if sum(not table.is_confirmation for table, _ in parts) > 1:
        notes.append(
            "Scores of different data sets or metrics cannot be compared: there is a table for each, and the figures"
            " are of the first."
        )
    hidden = sum(len(table.runs) - len(shown) for table, shown in parts)
    if hidden:
        notes.append(f"{hidden} more rows are not shown (--top).")
    if study is not None and not study.complete:
        notes.append("No trial is complete yet.")
    return notes


def _best_section(best: Run, table: Table, study: Study | None) -> dict[str, Any]:
    shown = dict.fromkeys(
        [*table.differing, "hidden", "params", "train/acc", "val/acc", "test/acc", "gap", "best_epoch"]
    )
    labels = columns.short_labels(list(shown))
    command, note = page.find_command(best)
    return {
        "title": f"Best: {printable_line(best.name)}",
        "metric": table.monitor + (f", mean and sd of {best.row['n']} seeds" if best.seeds else ""),
        "score": format_value(table.monitor, best.value, best.row.get(f"{table.monitor} sd")),
        "facts": [(labels[key], format_value(key, best.row[key])) for key in shown if best.row.get(key) is not None],
        "command": command,
        "note": note,
        "edges": _edges(best, study),
    }


def _edges(best: Run, study: Study | None) -> list[str]:
    """Where the best trial lies at an end of what was searched."""
    if study is None or best.row.get("kind") != "trial":
        return []
    trials = study.study.get_trials(deepcopy=False)
    mine = [trial for trial in trials if trial.number == number_of(best.folder)]
    ranges = find_ranges(trials)
    return [_unescaped(line) for trial in mine for line in describe_edges(trial.params, ranges)]


def describe_setting(runs: Sequence[Run], study: Study | None) -> list[tuple[str, list[tuple[str, str]]]]:
    """Headings, and what stands below each."""
    parts = []
    if study is not None:
        if study.space:
            parts.append(("Search space", [(printable_line(key), _range(said)) for key, said in study.space.items()]))
        parts.append(("Search", _search(study)))
    leaves = [seed for run in runs for seed in (run.seeds or (run,))]
    facts = [
        (label, _distinct(leaves, key))
        for label, key in (("seeds", "seed"), ("device", "device"), ("git commit", "git_commit"))
    ]
    versions = sorted({key for run in leaves for key in run.row if key.startswith("versions.")})
    facts += [(key.removeprefix("versions."), _distinct(leaves, key)) for key in versions]
    parts.append(("Seeds, machine and versions", [(printable_line(label), value) for label, value in facts if value]))
    return parts


def _range(distribution: str) -> str:
    """``FloatDistribution(high=1.0, log=True, low=0.1, step=None)`` as ``0.1 to 1.0, logarithmic``."""
    bounds = dict(re.findall(r"(\w+)=([^,()]+)", distribution))
    if "Categorical" in distribution:
        return printable_line(distribution.partition("(choices=")[2].removesuffix(")").strip("()") or distribution)
    if not {"low", "high"} <= bounds.keys():
        return printable_line(distribution)
    step = bounds.get("step", "None")
    words = [f"{bounds['low']} to {bounds['high']}"]
    words += ["logarithmic"] * (bounds.get("log") == "True") + [f"in steps of {step}"] * (step not in ("None", "1"))
    return printable_line(", ".join(words))


def _search(study: Study) -> list[tuple[str, str]]:
    settings = study.settings
    pairs = [("study", printable_line(study.name)), ("direction", study.study.direction.name.lower())]
    for part in ("sampler", "pruner"):
        node = settings.get(part)
        if isinstance(node, dict) and "_target_" in node:
            rest = ", ".join(f"{key}={value}" for key, value in node.items() if key != "_target_" and _is_said(value))
            pairs.append((part, printable_line(f"{str(node['_target_']).rpartition('.')[2]} ({rest})")))
    for key in ("n_trials", "seeds", "confirm", "timeout"):
        if settings.get(key) is not None:
            pairs.append(
                (
                    {"n_trials": "trials asked for", "seeds": "seeds of each trial"}.get(key, key),
                    printable_line(settings[key]),
                )
            )
    return pairs


def _is_said(value: Any) -> bool:
    return value is not None and "${" not in str(value)


def _distinct(runs: Sequence[Run], key: str) -> str:
    counts = Counter(printable_line(run.row[key]) for run in runs if run.row.get(key) is not None)
    if len(counts) == 1:
        return next(iter(counts))
    shown = [f"{value} ({count})" for value, count in counts.most_common(12)]
    return ", ".join(shown) + (" …" if len(counts) > 12 else "")


_SCORES = ("val/acc", "test/acc", "val/loss", "test/loss")


def build_confirmation(tables: Sequence[Table]) -> dict[str, Any] | None:
    """Columns, rows and sentences; None where nothing was confirmed."""
    runs = [run for table in tables if table.is_confirmation for run in table.runs]
    if not runs:
        return None
    scores = dict.fromkeys([*(run.monitor for run in runs), *_SCORES])
    shown = [key for key in (*scores, *DIFFERENCE_COLUMNS, "n") if any(key in run.row for run in runs)]
    columns = [page.column("configuration", numeric=False), *(page.column(key) for key in shown)]
    ordered = sorted(runs, key=lambda run: (run.folder.parent, run.folder.name != "best"))
    several = len({run.folder.parent for run in runs}) > 1
    rows = [
        [page.text_cell(run.name if several else run.folder.name), *(page.cell_of(run, key) for key in shown)]
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
