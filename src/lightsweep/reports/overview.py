"""The page of many runs: from tables, study and records to what the template shows."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from lightsweep.reports import (
    cells,
    class_figures,
    confirmed,
    figures,
    names,
    page,
    records,
    repeating,
    searched,
    setting,
    terminal,
)
from lightsweep.reports.drawing import Drawing
from lightsweep.reports.figures import Figure
from lightsweep.reports.finding import Found
from lightsweep.reports.runs import Run
from lightsweep.reports.study import Study, escaped, find
from lightsweep.reports.study_figures import StudyFigures
from lightsweep.reports.table import Table
from lightsweep.reports.text import cell, is_number, plain
from lightsweep.sweeper import statistics, verdict
from lightsweep.sweeper.confirmation import read_confirmation
from lightsweep.sweeper.trials import number_of

Parts = Sequence[tuple[Table, Sequence[Run]]]


def write(path: Path, found: Found, parts: Parts, paths: Sequence[Path], *, storage: str | None) -> None:
    """Write the report of what was found below `paths`."""
    study = find(paths[0], storage) if len(paths) == 1 else None
    page.write(path, "report.html.j2", *content(found, parts, paths, study))


def content(
    found: Found, parts: Parts, paths: Sequence[Path], study: Study | None
) -> tuple[dict[str, Any], dict[str, Figure]]:
    """What the template shows, and the figures' data."""
    runs = [run for table, _ in parts for run in table.runs]
    main = parts[0][0] if parts else None
    best = main.best if main else None
    drawn = _drawn(study, main, best)
    confirmation = confirmed.of([table for table, _ in parts])
    judged = _verdict(study, main, paths)
    return {
        "title": plain(f"Sweep {study.name}" if study else f"Runs in {', '.join(map(str, paths))}"),
        "subtitle": plain(", ".join(str(path.resolve()) for path in paths)),
        "written": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "summary": _summary(runs, main, best),
        "notes": _notes(found, parts, study, drawn),
        "verdict": judged,
        "best": _best_section(best, main, study) if best and main else None,
        "tables": [cells.leaderboard(table, wanted) for table, wanted in parts if not table.is_confirmation],
        "errors": [(plain(run.name), plain(run.row["error"])) for run in _failed(runs)],
        "figures": drawn.shown,
        "confirmation": confirmation,
        "setting": setting.of(runs, study),
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
    return [plain(line) for line in verdict.judge(found, read_confirmation(paths[0])).lines]


def _drawn(study: Study | None, table: Table | None, best: Run | None) -> Drawing:
    drawn = Drawing()
    trials = table.runs if table else ()
    if study is not None:
        _draw_study(drawn, study, table.monitor if table else "value")
    if table is not None:
        drawn.section("curves", "Learning curves")
        note = "A run that was pruned or cut off ends where it ended, at its mark. The best one is the thick line."
        drawn.add("Learning curves", lambda: figures.learning_curves(trials, table.monitor, best), note)
        drawn.section("time", "Time spent")
        drawn.add("Time by status", lambda: _time(trials), size="short")
    if study is not None:
        drawn.add("Timeline of the trials", StudyFigures(study, "").timeline, "When each trial ran.")
    if best is not None:
        _draw_best(drawn, best)
    return drawn


def _draw_study(drawn: Drawing, study: Study, metric: str) -> None:
    optuna = StudyFigures(study, escaped(metric))
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
    drawn.section("best-run", f"The best run, {plain(best.name)}")
    for name, figure in figures.one_run(best).items():
        drawn.add(
            f"{name} of the best run",
            partial(dict, figure),
            _about(best, figure) * (name == "acc"),
        )
    part = "val" if records.confusion(best) else "test"
    counts = records.confusion(best, part)
    if counts is not None:
        note = f"Images of the {part} set; the colour is the share of the true class."
        drawn.add("Confusion matrix of the best run", lambda: class_figures.confusion(*counts), note, "tall")


def _about(best: Run, figure: Figure) -> str:
    marked = "The dashed line is its best epoch." if "shapes" in figure["layout"] else ""
    return f"The curves are of its first seed. {marked}".strip() if best.seeds else marked


def _unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _time(runs: Sequence[Run]) -> Figure | None:
    seconds: dict[str, float] = {}
    for run in runs:
        seconds[run.status] = seconds.get(run.status, 0.0) + _seconds(run)
    return figures.time_by_status(seconds, Counter(run.status for run in runs)) if any(seconds.values()) else None


def _summary(runs: Sequence[Run], main: Table | None, best: Run | None) -> list[tuple[str, str]]:
    counts = Counter(run.status for run in runs if run.row.get("kind") != "confirmation")
    seconds = sum(map(_seconds, runs))
    tiles = [("runs", str(sum(counts.values()))), *((status, str(count)) for status, count in counts.most_common())]
    if best is not None and main is not None:
        tiles.insert(0, (f"best {main.monitor}", f"{best.value:.4f}"))
    return [(plain(label), value) for label, value in tiles] + [("training", _duration(seconds))]


def _seconds(run: Run) -> float:
    seconds: Any = run.row.get("seconds")
    return seconds if is_number(seconds) else 0.0


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _notes(found: Found, parts: Parts, study: Study | None, drawn: Drawing) -> list[str]:
    notes = [*terminal.problems(found), *drawn.remarks]
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
    labels = names.short(list(shown))
    command, note = repeating.command(best)
    return {
        "title": f"Best: {plain(best.name)}",
        "metric": table.monitor + (f", mean and sd of {best.row['n']} seeds" if best.seeds else ""),
        "score": cell(table.monitor, best.value, best.row.get(f"{table.monitor} sd")),
        "facts": [(labels[key], cell(key, best.row[key])) for key in shown if best.row.get(key) is not None],
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
    ranges = searched.dimensions(trials)
    return [_unescaped(line) for trial in mine for line in searched.at_edges(trial.params, ranges)]
