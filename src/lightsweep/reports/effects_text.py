"""Effects of settings in words: what matters, by how much, which settings depend on each other, and what is open."""

import math
import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from statistics import fmean, stdev

from rich.console import Console

from lightsweep.core.text import printable_line
from lightsweep.reports.effects import Effect, Effects, Interaction
from lightsweep.reports.least_squares import Estimate
from lightsweep.reports.table import Table
from lightsweep.reports.table_text import markdown_table, open_console, print_grid, print_line
from lightsweep.sweeper.statistics import format_p

Measured = Sequence[tuple[Table, Effects | str]]  # of each table its effects, or why it has none

_WIDEST = 100  # characters of a line; a terminal may have fewer
_NOISE = "not distinguishable from noise"


def print_effects(measured: Measured, problems: Sequence[str]) -> None:
    """Print the effects in words, the levels, the interactions, and what is open.

    Args:
        problems: of the folders that were read.
    """
    console = open_console()
    if len(measured) > 1:
        print_line(console, "scores of different data sets or metrics cannot be compared: effects for each")
    for index, (table, found) in enumerate(measured):
        if index:
            console.print()
        if isinstance(found, str):
            _print(console, f"{printable_line(table.data or 'unknown data')}, {printable_line(table.monitor)}: {found}")
        else:
            _print_table(console, found)
    for line in problems:
        _print(console, line)


def _print(console: Console, line: str, style: str = "") -> None:
    width = min(_WIDEST, console.width) if console.is_terminal else console.width
    kept = re.sub(r" ([±<=]) ", "\N{NO-BREAK SPACE}\\1\N{NO-BREAK SPACE}", line)
    for each in textwrap.wrap(kept, width, subsequent_indent="    ", break_on_hyphens=False):
        print_line(console, each.replace("\N{NO-BREAK SPACE}", " "), style)


def _print_table(console: Console, found: Effects) -> None:
    _print(console, describe_runs(found), "bold")
    for each in found.effects:
        if each.estimate is not None:
            _print(console, describe_effect(found, each))
    untold = [name_effect(found, each) for each in found.effects if each.estimate is None]
    if untold:
        _print(console, f"not told apart from the effects of other keys by these runs: {'; '.join(untold)}")
    console.print()
    for line in describe_model(found):
        _print(console, line)
    console.print()
    columns = [("key", True), ("level", True), ("mean ± sd", False), ("n", False)]
    print_grid(console, columns, _list_levels(found))
    for title, lines in (("interactions", describe_interactions(found)), ("open", describe_open(found))):
        if lines:
            console.print()
            _print(console, title, "bold")
        for line in lines:
            _print(console, line)
    if found.design.notes:
        console.print()
    for note in found.design.notes:
        _print(console, note)


def describe_runs(found: Effects) -> str:
    """What was measured, on how many runs."""
    design, cells = found.design, found.design.combinations
    metric, data = printable_line(design.metric), printable_line(design.data or "unknown data")
    return (
        f"effects on {metric} ({'higher' if design.maximises else 'lower'} is better), {data}:"
        f" {len(design.cells):,} runs, {cells:,} combination{'s' * (cells != 1)} of {len(design.factors)}"
        f" key{'s' * (len(design.factors) != 1)}"
    )


def describe_model(found: Effects) -> list[str]:
    """How it was computed."""
    if found.is_paired:
        how = "mean differences of runs that are equal in the other keys (cell means)"
    else:
        how = "too many combinations are missing to compare runs in pairs: an additive linear model"
    if found.noise is None and not found.design.is_replicated:
        noise = "one run a combination: noise is not known, so there are no intervals; seed=1,2,3 would give them"
    elif found.noise is None:
        noise = "runs of a combination do not differ: noise is not known, so there are no intervals"
    else:
        noise = f"± is half a 95 % interval; noise: sd {found.noise:.4f}, {found.freedom:,} degrees of freedom"
        noise += f"; p is adjusted for {found.tests} tests (Holm)" * (found.tests > 1)
    return [how, noise]


def describe_effect(found: Effects, effect: Effect) -> str:
    """A sentence."""
    head = f"{name_effect(found, effect)}: "
    if effect.estimate is None:
        return f"{head}not told apart from the effects of other keys by these runs"
    one, other = effect.runs
    is_even = found.is_paired and one == other and len(set(Counter(found.design.cells).values())) == 1
    counts = f"n = {one} pair{'s' * (one != 1)}" if is_even else f"n = {one}, {other}"
    both, either = effect.pairs
    counts += f", at {both} of {either} combinations" * (found.is_paired and both < either)
    text = f"{head}{_format(effect.estimate)} ({counts})"
    if effect.p is None:
        return text
    others = [printable_line(found.design.factors[other].label) for other in _find_partners(found, effect)]
    depends = f"; depends on {', '.join(others)}" if others else ""
    return f"{text}, p {format_p(effect.p)}: {judge(found, effect)}{depends}"


def _find_partners(found: Effects, effect: Effect) -> list[int]:
    """The factors whose interaction with an effect's factor matters."""
    pairs = [each.factors for each in found.interactions if each.matters and effect.factor in each.factors]
    return [one if other == effect.factor else other for one, other in pairs]


def judge(found: Effects, effect: Effect) -> str:
    """Whether an effect is more than noise, and which way it goes."""
    if effect.estimate is None or effect.p is None:
        return "noise is not known"
    if effect.matters:
        return f"{_direction(found, effect.estimate)}, more than noise"
    return (
        f"more than noise if tested alone, not among {found.tests} tests" if effect.estimate.excludes_zero else _NOISE
    )


def _direction(found: Effects, estimate: Estimate) -> str:
    return "better" if (estimate.value > 0) == found.design.maximises else "worse"


def name_effect(found: Effects, effect: Effect) -> str:
    """``bn true against false``"""
    factor = found.design.factors[effect.factor]
    return printable_line(f"{factor.label} {factor.levels[effect.level]} against {factor.levels[0]}")


def _format(estimate: Estimate) -> str:
    return f"{estimate.value:+z.4f}" + ("" if estimate.reach is None else f" ± {estimate.reach:.4f}")


def _format_mean(scores: Sequence[float]) -> str:
    return f"{fmean(scores):.4f}" + (f" ± {stdev(scores):.4f}" if len(scores) > 1 else "")


def scores_at(found: Effects, factor: int, level: int) -> list[float]:
    """Of the runs with a level."""
    design = found.design
    return [score for cell, score in zip(design.cells, design.scores, strict=True) if cell[factor] == level]


def _list_levels(found: Effects) -> list[list[str]]:
    """Key, level, mean and n, in the order of the effects."""
    order = dict.fromkeys(each.factor for each in found.effects)
    return [
        [
            printable_line(found.design.factors[factor].label) if level == 0 else "",
            printable_line(name),
            _format_mean(scores),
            str(len(scores)),
        ]
        for factor in order
        for level, name in enumerate(found.design.factors[factor].levels)
        if (scores := scores_at(found, factor, level))
    ]


def describe_interactions(found: Effects) -> list[str]:
    """A sentence for each that matters, and one for the rest; none without tests."""
    lines = [_describe_interaction(found, each) for each in found.interactions if each.matters]
    rest, pairs = len(found.interactions) - len(lines), math.comb(len(found.design.factors), 2)
    if rest:
        which = "the other " if lines else "all " if rest > 1 else ""
        lines.append(f"{which}{rest} pair{'s' * (rest != 1)} of keys: {_NOISE}")
    if 0 < len(found.interactions) < pairs:
        lines.append(f"{pairs - len(found.interactions)} more cannot be tested: combinations are missing")
    return lines


def _describe_interaction(found: Effects, each: Interaction) -> str:
    subject, other = (found.design.factors[factor] for factor in each.factors)
    told = {other.levels[at]: _direction(found, estimate) for at, estimate in each.effects if estimate.excludes_zero}
    most = other.levels[max(each.effects, key=lambda effect: abs(effect[1].value))[0]]
    levels = {way: ", ".join(name for name, its in told.items() if its == way) for way in ("better", "worse")}
    if not told:
        words = "differs, though no effect alone is more than noise"
    elif all(levels.values()):
        words = f"better with {other.label} {levels['better']}, worse with {levels['worse']}"
    else:
        way = next(name for name, listed in levels.items() if listed)
        words = f"{way} only with {other.label} {levels[way]}"
        if len(told) == len(each.effects):
            words = f"{way} with each {other.label}, most with {most}"
    effects_ = ", ".join(f"{_format(estimate)} with {other.levels[at]}" for at, estimate in each.effects)
    name = f"{subject.label} {subject.levels[each.level]} against {subject.levels[0]}"
    return printable_line(f"{name}: {words} ({effects_}; p {format_p(each.p)})")


def _list_open(found: Effects) -> list[Effect]:
    """Effects that are not more than noise and depend on no other key."""
    tested = [each for each in found.effects if each.estimate and each.p is not None]
    return [each for each in tested if not each.matters and not _find_partners(found, each)]


def describe_open(found: Effects) -> list[str]:
    """For each effect that is open, how many seeds would show one of its size."""
    missing = _list_open(found)
    if not missing:
        return []
    cells, runs = found.design.combinations, len(found.design.cells)
    lines = ["seeds a combination that would show an effect of the size seen (80 % power, 5 % level):"]
    for each in missing:
        if each.seeds is None:
            lines.append(f"{name_effect(found, each)}: more than 1,000")
        else:
            more = each.seeds * cells - runs
            cost = f"{more:,} more runs" if more > 0 else "as many as here: with fresh seeds, not these again"
            lines.append(f"{name_effect(found, each)}: {each.seeds} ({cost})")
    return lines


COLUMNS = ("setting", "effect", "p", "verdict", "n", "mean ± sd", "seeds that would tell")


def tabulate(found: Effects) -> list[list[str]]:
    """The main effects as rows of texts, by `COLUMNS`."""
    rows = []
    for each in found.effects:
        scores = scores_at(found, each.factor, each.level), scores_at(found, each.factor, 0)
        is_open = each in _list_open(found)
        rows.append(
            [
                name_effect(found, each),
                _format(each.estimate) if each.estimate else "",
                format_p(each.p).removeprefix("= ") if each.p is not None else "",
                judge(found, each),
                ", ".join(str(len(part)) for part in scores),
                " against ".join(map(_format_mean, scores)),
                (str(each.seeds) if each.seeds else "> 1,000") if is_open else "",
            ]
        )
    return rows


def format_markdown(measured: Measured) -> str:
    """The main effects of each table."""
    tables = []
    for _, found in measured:
        if isinstance(found, str):
            tables.append(f"{printable_line(found)}\n")
        else:
            title = "; ".join([describe_runs(found), *describe_model(found)])
            tables.append(markdown_table(title, COLUMNS, tabulate(found)))
    return "\n".join(tables)
