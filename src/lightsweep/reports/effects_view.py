"""Effects of settings for `report.py`: measured in each table, as rows for files, and as a figure of the page."""

import json
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from lightsweep.core.errors import ConfigError
from lightsweep.reports import effects
from lightsweep.reports.columns import escape_tags
from lightsweep.reports.design import read_design
from lightsweep.reports.effects import Effect, Effects
from lightsweep.reports.effects_text import (
    COLUMNS,
    Measured,
    describe_effect,
    describe_interactions,
    describe_model,
    describe_open,
    describe_runs,
    name_effect,
    scores_at,
    tabulate,
)
from lightsweep.reports.figures import COLOURS, GREY, Figure, label_axes, scatter
from lightsweep.reports.least_squares import Estimate
from lightsweep.reports.runs import Row
from lightsweep.reports.table import Table
from lightsweep.reports.table_text import csv_text, make_finite

if TYPE_CHECKING:
    from lightsweep.reports.page.drawing import Drawing

_MAX_RUNS = 1000  # whose effects a page has unasked: those of ten thousand take half a minute
_SURE, _ALONE, _WITHIN, _UNKNOWN = (
    "more than noise",
    "more than noise if tested alone",
    "within noise",
    "without an interval",
)
_COLOURS = {_SURE: COLOURS["completed"], _ALONE: COLOURS["pruned"], _WITHIN: GREY, _UNKNOWN: COLOURS["infeasible"]}


def measure_tables(tables: Sequence[Table]) -> Measured:
    """The effects in each table but those of confirmations, whose runs differ in everything at once.

    Raises:
        ConfigError: no table has any, or statsmodels is missing.
    """
    tables = [table for table in tables if not table.is_confirmation] or list(tables)
    measured: list[tuple[Table, Effects | str]] = []
    for table in tables:
        try:
            measured.append((table, effects.measure(read_design(table))))
        except ConfigError as error:
            measured.append((table, str(error)))
    reasons = [each for _, each in measured if isinstance(each, str)]
    if len(reasons) == len(measured):
        raise ConfigError(reasons[0] if reasons else "effects need runs: there are none")
    return measured


def list_rows(measured: Measured) -> list[Row]:
    """A row for each level, with its effect against the reference, and for each interaction."""
    return [row for _, found in measured if isinstance(found, Effects) for row in _list_rows(found)]


def _list_rows(found: Effects) -> list[Row]:
    design = found.design
    shared = {
        "data": design.data,
        "monitor": design.metric,
        "mode": "max" if design.maximises else "min",
        "model": "cell means" if found.is_paired else "additive",
    }
    by_level = {(each.factor, each.level): each for each in found.effects}
    rows = []
    for factor in dict.fromkeys(each.factor for each in found.effects):
        for level, name in enumerate(design.factors[factor].levels):
            scores, effect = scores_at(found, factor, level), by_level.get((factor, level))
            estimate = effect.estimate if effect else None
            rows.append(
                {
                    "kind": "effect" if effect else "reference",
                    "key": " ".join(design.factors[factor].keys),
                    "level": name,
                    "against": design.factors[factor].levels[0] if effect else None,
                    "at": None,
                    "n": len(scores),
                    "mean": fmean(scores) if scores else None,
                    "sd": stdev(scores) if len(scores) > 1 else None,
                    **_estimate_row(estimate),
                    "p_adjusted": effect.p if effect else None,
                    "more_than_noise": effect.matters if effect and effect.p is not None else None,
                    "seeds_needed": effect.seeds if effect else None,
                }
            )
    for each in found.interactions:
        subject, other = (design.factors[factor] for factor in each.factors)
        row = dict.fromkeys(rows[0]) | {"kind": "interaction", "key": " ".join(subject.keys), "at": other.keys[0]}
        row |= {"p_adjusted": each.p, "more_than_noise": each.matters}
        named = {"level": subject.levels[each.level], "against": subject.levels[0]}
        for at, estimate in each.effects:
            rows.append(row | named | {"at": f"{other.keys[0]}={other.levels[at]}"} | _estimate_row(estimate))
        rows += [] if each.effects else [row]
    return [shared | row for row in rows]


def _estimate_row(estimate: Estimate | None) -> Row:
    if estimate is None:
        return dict.fromkeys(("effect", "low", "high", "p"))
    low, high = (
        (None, None) if estimate.reach is None else (estimate.value - estimate.reach, estimate.value + estimate.reach)
    )
    return {"effect": estimate.value, "low": low, "high": high, "p": estimate.p}


def format_csv(measured: Measured) -> str:
    """`list_rows` as CSV."""
    return csv_text(list_rows(measured))


def format_json(measured: Measured, problems: Mapping[str, str]) -> str:
    """The tables with their rows, what they say in words, and the files that could not be read."""
    tables = [
        {"data": table.data, "monitor": table.monitor, "why_none": found}
        if isinstance(found, str)
        else {
            "data": table.data,
            "monitor": table.monitor,
            "mode": "max" if table.maximises else "min",
            "model": "cell means" if found.is_paired else "additive",
            "runs": len(found.design.cells),
            "combinations": found.design.combinations,
            "noise_sd": found.noise,
            "degrees_of_freedom": found.freedom,
            "tests": found.tests,
            "notes": list(found.design.notes),
            "interactions": describe_interactions(found),
            "open": describe_open(found),
            "rows": _list_rows(found),
        }
        for table, found in measured
    ]
    return json.dumps(make_finite({"tables": tables, "skipped": problems}), indent=1, allow_nan=False) + "\n"


def find_effects(table: Table) -> Effects | None:
    """Of a table of at most 1,000 runs and several seeds, without trials; None where it has none, or they cannot be
    measured."""
    if len(table.runs) > _MAX_RUNS or any(run.kind in ("trial", "confirmation") for run in table.runs):
        return None
    try:
        design = read_design(table)
        return effects.measure(design) if design.is_replicated else None
    except (ConfigError, ArithmeticError, ValueError):  # whatever the runs hold: the rest of the page matters more
        return None


def draw_section(drawing: "Drawing", found: Effects) -> None:
    """Add a section to the page: the effects in words and as a figure, what depends on what, and what is open."""
    drawing.section("effects", "What mattered: effects of settings")
    drawing.write([describe_effect(found, each) for each in found.effects if each.matters])
    drawing.write(describe_interactions(found))
    drawing.tabulate(describe_runs(found), COLUMNS, tabulate(found))
    lines = [*describe_model(found), *found.design.notes]
    note = f"{'. '.join(line[:1].upper() + line[1:] for line in lines)}."
    drawing.add("Effects of settings", lambda: draw_forest(found), note)


def draw_forest(found: Effects) -> Figure | None:
    """Each effect with its interval, the most important on top."""
    shown = [each for each in found.effects if each.estimate is not None]
    if not shown:
        return None
    traces = []
    for name, colour in _COLOURS.items():
        chosen = [each for each in shown if _class_of(each) == name]
        values = [each.estimate.value for each in chosen if each.estimate]
        reaches = [each.estimate.reach or 0.0 for each in chosen if each.estimate]
        error = {"type": "data", "array": reaches, "color": colour, "thickness": 2, "width": 5}
        traces.append(
            scatter(
                "markers",
                values,
                [escape_tags(name_effect(found, each)) for each in chosen],
                name=name,
                error_x=error,
                marker={"size": 9, "color": colour},
                text=[escape_tags(describe_effect(found, each)) for each in chosen],
                hovertemplate="%{text}<extra></extra>",
            )
        )
    names = [escape_tags(name_effect(found, each)) for each in shown]
    layout = label_axes(f"effect on {found.design.metric}", "")
    layout["yaxis"] |= {"type": "category", "categoryorder": "array", "categoryarray": names[::-1]}
    layout["xaxis"] |= {"zeroline": True, "zerolinewidth": 2, "zerolinecolor": GREY, "nticks": 6}
    return {"data": [trace for trace in traces if trace["x"]], "layout": layout}


def _class_of(effect: Effect) -> str:
    if effect.estimate is None or effect.p is None:
        return _UNKNOWN
    if effect.matters:
        return _SURE
    return _ALONE if effect.estimate.excludes_zero else _WITHIN
