"""The page of many runs: its sections in order, from tables and a study to what the template shows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from lightsweep.core.text import printable_line
from lightsweep.reports import ablation, effects_view, figures, front_figures, leaderboard, page, runs
from lightsweep.reports.effects import Effects
from lightsweep.reports.figures import Figure
from lightsweep.reports.finding import Found
from lightsweep.reports.landscape import draw_landscape
from lightsweep.reports.mattered import draw_importances
from lightsweep.reports.overview_text import (
    build_confirmation,
    describe_best,
    describe_setting,
    seconds_of,
    summarise,
)
from lightsweep.reports.page.drawing import Drawing
from lightsweep.reports.runs import Run
from lightsweep.reports.study import Study, judge
from lightsweep.reports.study_figures import MAX_DRAWN, StudyFigures
from lightsweep.reports.table import Selection, Table
from lightsweep.reports.table_text import describe_problems
from lightsweep.reports.what_next import find_advice, next_command


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
        effects: of settings, where they were asked for; else those of the first table are shown if it has no trials.
    """
    every = [run for table, _ in selection for run in table.runs]
    main = selection[0][0] if selection else None
    ranked = [(table, rows) for table, rows in selection if not table.is_confirmation]
    best = main.best if main else None
    views = _view(study, main)
    drawing = Drawing()
    _draw_mattered(drawing, selection, study, views, effects)
    mattered = drawing.shown
    _draw_rest(drawing, study, views, main, best)
    mattering = next(iter(views.values())).mattering if len(views) == 1 else {}
    advice = find_advice(study, main, mattering) if study and main else []
    further = study.objectives.names if study is not None and study.objectives.several else ()
    confirmation = build_confirmation([run for run in every if run.is_confirmation], further)
    verdict_lines = judge(study, main.monitor) if study and main else []
    failed = [run for run in every if run.status in ("failed", "diverged") and run.row.get("error")]
    content = {
        "title": printable_line(f"Sweep {study.name}" if study else f"Runs in {', '.join(map(str, places))}"),
        "subtitle": printable_line(
            ", ".join(str(each.resolve() if isinstance(each, Path) else each) for each in places)
        ),
        "rule": "" if main and main.is_study else page.RULE,
        "summary": summarise(every, main, best),
        "notes": _list_notes(found, selection, study, drawing),
        "verdict": verdict_lines,
        "next": {"advice": advice, "command": next_command(study, advice)} if study and advice else None,
        "best": describe_best(best, main) if best and main else None,
        "filter_example": leaderboard.filter_example(main) if main else "",
        "tables": [
            leaderboard.build_leaderboard(table, rows) for table, rows in selection if not table.is_confirmation
        ],
        "errors": [(printable_line(run.name), printable_line(run.row["error"])) for run in failed],
        "mattered": mattered,
        "figures": drawing.shown[len(mattered) :],
        "confirmation": confirmation,
        "setting": describe_setting(every, study),
        "sections": [
            *([("verdict", "Verdict")] if verdict_lines else []),
            *drawing.links[: len(mattered)],
            *([("next", "What next")] if advice else []),
            *([("best", "Best")] if best else []),
            ("leaderboard", "Leaderboard"),
            *drawing.links[len(mattered) :],
            *([("confirmation", "Confirmation")] if confirmation else []),
            ("setting", "How this was made"),
        ],
    }
    if study is not None and main is not None:
        for figure in drawing.data.values():
            leaderboard.name_axes(figure.get("axes", ()), study.names, main)
    page.write_page(path, "report.html.j2", content, drawing.data, leaderboard.open_rows(ranked, path))


def _view(study: Study | None, table: Table | None) -> dict[str, StudyFigures]:
    """The study once for each objective, by the objective's name; nothing without a study."""
    if study is None:
        return {}
    views = front_figures.views_of(study) if study.objectives.several else {table.monitor if table else "value": study}
    return {name: StudyFigures(view, name) for name, view in views.items()}


def _draw_mattered(
    drawing: Drawing,
    selection: Selection,
    study: Study | None,
    views: Mapping[str, StudyFigures],
    effects: Effects | None = None,
) -> None:
    """The sections that say which settings mattered, right after the verdict, the surest answer first.

    Args:
        selection: tables of all runs, with or without a study.
        views: the study once for each objective, by the objective's name.
    """
    ablation.add_section(drawing, study.folder if study else None)
    effects = effects or (effects_view.find_effects(selection[0][0]) if selection else None)
    if effects is not None:
        effects_view.draw_section(drawing, effects)
    draw_importances(drawing, views)


def _draw_rest(
    drawing: Drawing, study: Study | None, views: Mapping[str, StudyFigures], table: Table | None, best: Run | None
) -> None:
    """The sections below the leaderboard."""
    reported = None
    if study is not None:
        reported = list(views.values())[study.objectives.reported or 0]
        if study.objectives.several:
            front_figures.draw_objectives(drawing, study, views)
        else:
            _draw_study(drawing, reported)
    if table is not None:
        title = "Intermediate values" if table.is_study else "Learning curves"
        drawing.section("curves", title)
        note = "The curve of a run that was pruned or cut off ends there, at its mark."
        note += " The thick line is the best run." * (best is not None)
        drawing.add(title, lambda: figures.draw_learning_curves(table.runs, table.monitor, best), note)
    drawing.section("time", "Time spent")
    if table is not None:
        drawing.add("Time by status", lambda: _draw_time(table.runs), size="short")
    if reported is not None:
        drawing.add("Timeline of the trials", reported.timeline, "When each trial ran.")
    if best is not None and best.sweep is None:
        _draw_best(drawing, best)


def _draw_study(drawing: Drawing, study: StudyFigures) -> None:
    drawing.section("history", "Optimisation history")
    note = "Pruned trials are at the last value that they reported, failed ones beyond the worst one."
    drawing.add("Optimisation history", study.history, note)
    drawing.section("parallel", "Parallel coordinates")
    some = f" Of {len(study.scored)} trials {MAX_DRAWN} of all ranks are drawn." * (len(study.scored) > MAX_DRAWN)
    note = "A line per trial, dotted if pruned; the strongest colour is the best. Axes span what was searched. A drag"
    note += f" along an axis sets the filter, a click on it clears it.{some}"
    drawing.add("Parallel coordinates", study.parallel, note, "wide")
    drawing.section("slices", "Slices")
    note = "Axes span what was searched. The colour is the trial's number: late trials stand out. The star is the best."
    note += some
    drawing.add("Slices", study.slices, note, "wide")
    draw_landscape(drawing, study)


def _draw_time(runs: Sequence[Run]) -> Figure | None:
    seconds: Counter[str] = Counter()
    for run in runs:
        seconds[run.status] += seconds_of(run)  # type: ignore[assignment]
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
