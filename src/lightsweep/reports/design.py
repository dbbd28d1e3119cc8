"""The design of an experiment, for effects: which keys of the config are factors, their levels, and each run's levels.

A key is a factor where runs share its levels. Keys that always change together are one factor. A key that only some
runs have is nested in another one, and no factor: at the other one's other levels it has no value to compare.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

from lightsweep.core.checks import is_number
from lightsweep.core.errors import ConfigError
from lightsweep.core.text import printable_line, shorten
from lightsweep.reports.columns import format_value, short_labels
from lightsweep.reports.runs import Run
from lightsweep.reports.table import Table, comparable, find_differences

_MAX_LEVELS = 12  # of a factor: a key with more was searched, not compared
_MAX_LETTERS = 32  # of a level's text
_MAX_FACTORS = 20
_MAX_NAMED = 4  # keys, or empty combinations, in a sentence
_SCORED = ("completed", "infeasible")
_OF_SEARCH = ("trial", "seed")  # kinds of runs whose values a sampler chose
_SEARCH = "effects need a grid, as -m model.bn=true,false seed=1,2; for a search see What mattered on its page (--html)"

Levels = dict[str, list[int]]  # of each key the index of each run's level; -1 where the run lacks the key


@dataclass(frozen=True)
class Factor:
    """Keys of the config that change together.

    Args:
        keys: the first determines the others.
        label: the shortest name that tells the first key from others.
        levels: as text; the first is the reference.
    """

    keys: tuple[str, ...]
    label: str
    levels: tuple[str, ...]


@dataclass(frozen=True)
class Design:
    """Runs by the levels of their factors.

    Args:
        cells: of each run the index of its level in each factor.
        scores: of each run.
        data: the data set.
        notes: what was left out, and why.
    """

    factors: tuple[Factor, ...]
    cells: tuple[tuple[int, ...], ...]
    scores: tuple[float, ...]
    metric: str = "val/acc"
    maximises: bool = True
    data: str | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def combinations(self) -> int:
        """Different cells that have a run."""
        return len(set(self.cells))

    @property
    def is_replicated(self) -> bool:
        """Whether some cell has two runs, which tell how large noise is."""
        return self.combinations < len(self.cells)


def read_design(table: Table) -> Design:
    """The design of a table's runs.

    Raises:
        ConfigError: there are no two runs with a score, or no factor. It says what is missing.
    """
    every = sorted((member for run in table.runs for member in run.members), key=lambda run: _natural(run.name))
    scored = [run for run in every if run.status in _SCORED and is_number(run.row.get(table.monitor))]
    names = {run.name for run in scored}
    failed = [run for run in every if run.name not in names]
    notes = [_count_failed(failed)] if failed else []
    if len(scored) < 2:
        raise ConfigError(
            f"effects need two completed runs at least: of {len(every)} run{'s' * (len(every) != 1)},"
            f" {len(scored) or 'none'} with a {printable_line(table.monitor)}"
        )
    kept = _drop_repeated(scored, find_differences(scored))
    if len(kept) < len(scored):
        notes.append(f"left out, with the settings and the seed of another run: {len(scored) - len(kept)}")
    is_search = any(run.kind in _OF_SEARCH for run in kept)
    before = len(kept)
    kept = _drop_unshared(kept, find_differences(kept)) if is_search else kept
    if len(kept) < before:
        notes.append(f"left out, trials with a value that no other run has: {before - len(kept)}")
    is_search = is_search and any(run.kind in _OF_SEARCH for run in kept)
    keys = find_differences(kept)
    if not keys:
        raise ConfigError(
            f"effects need runs that differ in a key: {len(kept)} runs differ in nothing but their seed and what does"
            " not change a run"
        )
    values = {key: _order_levels(kept, key) for key in keys}
    levels = {key: _index_levels(kept, key, values[key]) for key in keys}
    unshared = _find_unshared(kept, keys) if is_search else []
    groups, left_out = _group_keys(levels, values, unshared)
    labels = short_labels(find_differences(every))
    if not groups:
        raise ConfigError(_explain_no_factor(levels))
    for reason in dict.fromkeys(left_out.values()):
        unused = [key for key in left_out if left_out[key] == reason]
        notes.append(f"left out, as {reason}: {_join(unused, labels)}")
    if left_out:
        notes.append("what the keys that are left out change counts as noise")
    if is_search:
        notes.append("a sampler chose the values of trials: what it favoured together is not told apart well")
    factors = tuple(
        Factor(tuple(group), labels[group[0]], tuple(_name_levels(group[0], values[group[0]].values())))
        for group in groups
    )
    notes += [f"{_join(factor.keys, labels)} change together: one factor" for factor in factors if len(factor.keys) > 1]
    cells = tuple(zip(*(levels[factor.keys[0]] for factor in factors), strict=True))
    notes += [*([] if is_search else _name_lost_levels(kept, failed, labels)), *_name_empty(factors, cells)]
    scores = tuple(float(run.row[table.monitor]) for run in kept)
    return Design(factors, cells, scores, table.monitor, table.maximises, table.data, tuple(notes))


def _natural(name: str) -> list[tuple[int, str]]:
    """Job 2 comes before job 10."""
    parts = re.split(r"(\d+)", name)
    return [(int(part[:18]), "") if index % 2 else (0, part) for index, part in enumerate(parts)]


def _count_failed(failed: Sequence[Run]) -> str:
    counts = Counter(run.status for run in failed).most_common()
    listed = ", ".join(f"{count} {printable_line(status)}" for status, count in counts)
    return f"{len(failed)} run{'s' * (len(failed) != 1)} without a final score left out: {listed}"


def _drop_repeated(runs: Sequence[Run], keys: Sequence[str]) -> list[Run]:
    """Without runs that repeat another one's settings and seed: their scores say nothing about noise."""
    kept: dict[Any, Run] = {}
    for index, run in enumerate(runs):
        seeds = [run.row.get(key) for key in ("seed", "data.seed")]
        unknown = index if seeds[0] is None else None
        kept.setdefault((unknown, *(_level(run, key) for key in keys), *map(str, seeds)), run)
    return list(kept.values())


def _level(run: Run, key: str) -> str:
    return comparable(run.row[key]) if key in run.row else "\0"  # which no text of a config is


def _count_settings(runs: Sequence[Run], keys: Sequence[str]) -> dict[str, Counter[str]]:
    """Of each key and level, the different settings of all keys that have it."""
    settings = {tuple(_level(run, key) for key in keys) for run in runs}
    return {key: Counter(each[place] for each in settings) for place, key in enumerate(keys)}


def _drop_unshared(runs: list[Run], keys: Sequence[str]) -> list[Run]:
    """Without the trials with a value of a key that no other run has, where most runs do share theirs: a search beside
    a grid."""
    for key in keys:
        counts = _count_settings(runs, keys)[key]
        shared = [run for run in runs if counts[_level(run, key)] > 1 or run.kind not in _OF_SEARCH]
        runs = shared if 2 * len(shared) >= len(runs) else runs
    return runs


def _find_unshared(runs: Sequence[Run], keys: Sequence[str]) -> list[str]:
    """The keys that were searched, not compared: most of their levels are in one setting of the other keys only."""
    counts = _count_settings(runs, keys)
    return [key for key in keys if len(keys) > 1 and 2 * sum(n > 1 for n in counts[key].values()) < len(counts[key])]


def _order_levels(runs: Sequence[Run], key: str) -> dict[str, Any]:
    """The values of a key by `comparable`, the reference first: the baseline's where there is one, else false, null or
    the smallest number, and of texts the one of the first run."""
    values: dict[str, Any] = {}
    for run in runs:
        if key in run.row:
            values.setdefault(comparable(run.row[key]), run.row[key])
    plain = all(value is None or isinstance(value, bool) or is_number(value) for value in values.values())
    ordered = sorted(values, key=lambda name: _rank(values[name], plain=plain))
    baseline = next(
        (comparable(run.row[key]) for run in runs if run.row.get("baseline") is True and key in run.row), ""
    )
    return {name: values[name] for name in sorted(ordered, key=lambda name: name != baseline)}


def _rank(value: Any, *, plain: bool) -> tuple[bool, float]:
    return value is not None and value is not False, float(value) if plain and value is not None else 0.0


def _index_levels(runs: Sequence[Run], key: str, values: Mapping[str, Any]) -> list[int]:
    places = {name: place for place, name in enumerate(values)}
    return [places[comparable(run.row[key])] if key in run.row else -1 for run in runs]


def _group_keys(
    levels: Levels, values: Mapping[str, Mapping[str, Any]], unshared: Sequence[str]
) -> tuple[list[list[str]], dict[str, str]]:
    """The factors, each a list of keys, the first of which determines the others; and why other keys are left out."""
    left_out: dict[str, str] = {}
    whole = [key for key in levels if -1 not in levels[key]]
    shared = [key for key in whole if len(set(levels[key])) < len(levels[key])] or whole  # else one run a level
    shared = [key for key in shared if key not in unshared]
    for key in whole:
        if len(values[key]) > _MAX_LEVELS:
            left_out[key] = f"it has more than {_MAX_LEVELS} levels"
        elif key not in shared:
            left_out[key] = "too few runs share a level"
    groups: dict[str, list[str]] = {}
    candidates = [key for key in shared if key not in left_out]
    for key in sorted(candidates, key=lambda key: (-len(values[key]), key.count("."))):
        owner = _find_owner(key, list(groups), levels)
        if owner is None and len(groups) == _MAX_FACTORS:
            left_out[key] = f"more than {_MAX_FACTORS} keys differ"
        else:
            groups.setdefault(owner or key, []).append(key)
    for key in (key for key in levels if key not in whole):
        owner = _find_owner(key, list(groups), levels)
        if owner is not None:
            groups[owner].append(key)
        else:
            left_out[key] = "only some of the runs have it (nested)"
    places = list(levels)
    return sorted(groups.values(), key=lambda group: places.index(group[0])), left_out


def _find_owner(key: str, owners: Iterable[str], levels: Levels) -> str | None:
    """The key among `owners` whose level determines the level of `key`: a group before another key."""
    fitting = [each for each in owners if len({*zip(levels[each], levels[key], strict=True)}) == len({*levels[each]})]
    return min(fitting, key=lambda each: (not key.startswith(f"{each}."), len(set(levels[each]))), default=None)


def _explain_no_factor(levels: Levels) -> str:
    listed = _join(list(levels), {key: key for key in levels})
    if all(-1 in each for each in levels.values()):
        return f"effects need a key that all runs have: the runs differ in {listed}, which only some of them have"
    return f"no level is shared by two runs ({listed}): {_SEARCH}"


def _name_levels(key: str, values: Iterable[Any]) -> list[str]:
    """Short texts of a key's levels, all different."""
    values = list(values)
    texts = ["null" if value is None else shorten(format_value(key, value), _MAX_LETTERS) for value in values]
    if len(set(texts)) < len(texts):
        texts = [shorten(str(value), _MAX_LETTERS) for value in values]
    return [text if texts.count(text) == 1 else f"{text} ({index})" for index, text in enumerate(texts, start=1)]


def _join(keys: Sequence[str], labels: Mapping[str, str]) -> str:
    names = [printable_line(labels[key]) for key in keys]
    if len(names) > _MAX_NAMED:
        names = [*names[: _MAX_NAMED - 1], f"{len(names) - _MAX_NAMED + 1} more"]
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _name_lost_levels(kept: Sequence[Run], failed: Sequence[Run], labels: Mapping[str, str]) -> list[str]:
    """The levels of which every run failed. (Of a run that was refused only what was typed is known: no level.)"""
    known = [run for run in failed if "monitor" in run.row]
    lines = []
    for key in find_differences([*kept, *known]) if known else ():
        there = {comparable(run.row[key]) for run in kept if key in run.row}
        lost = {comparable(run.row[key]): run.row[key] for run in known if key in run.row}
        lost = {name: value for name, value in lost.items() if name not in there}
        if lost and there and len(lost) <= _MAX_LEVELS:
            names = ", ".join(_name_levels(key, lost.values()))
            lines.append(f"{printable_line(labels[key])} {names}: no run has a score")
    return lines


def _name_empty(factors: Sequence[Factor], cells: Sequence[tuple[int, ...]]) -> list[str]:
    total, filled = prod(len(factor.levels) for factor in factors), set(cells)
    if len(filled) == total:
        return []
    line = f"{len(filled):,} of {total:,} combinations have a run with a score"
    if total - len(filled) > _MAX_NAMED:
        return [line]
    ranges = (range(len(factor.levels)) for factor in factors)
    empty = [
        " ".join(f"{factor.label}={factor.levels[level]}" for factor, level in zip(factors, cell, strict=True))
        for cell in product(*ranges)
        if cell not in filled
    ]
    return [f"{line}; none has {'; '.join(map(printable_line, empty))}"]
