"""``hydra.sweeper.warm_start``: what earlier studies and tables know, for the sampler alone.

Their trials are in the sampler's view of the study (`ViewSampler.earlier_trials`), never in the study itself. Where
values do not compare, because the data or the metric is another, and where a sampler learns from its own study only,
the best points are enqueued instead.
"""

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.samplers import GridSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from lightsweep.core import secrets
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import JOURNAL, read_regular
from lightsweep.core.moved import with_new_names
from lightsweep.core.text import plain_text, printable_line
from lightsweep.sweeper import read_only
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.space import Params, applies, is_same_value, key_of
from lightsweep.sweeper.status import read_sweep
from lightsweep.sweeper.storage import with_full_path
from lightsweep.sweeper.study_view import ViewSampler, inside
from lightsweep.sweeper.trials import check_attributes, without_repeats

_KEY = "hydra.sweeper.warm_start"
_MOST_KNOWN = 200  # trials: a GP that knows more is slow
_STATES = {TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
_MOST_ENQUEUED = 3  # points of a study whose values do not compare


@dataclass(frozen=True)
class Earlier:
    """A study or a table of earlier trials.

    Args:
        name: as it was typed.
        trials: values of parameters by key, and the objectives' values, of each completed trial.
        left_out: why further trials cannot be used, each with their number.
        directions: of the objectives; None where they are not known.
        metrics: names of the objectives.
        config: what was not searched, by key.
        data: the digest of the data; None where it is unknown.
    """

    name: str
    trials: Sequence[tuple[Mapping[str, Any], Sequence[float]]]
    left_out: Counter[str] = field(default_factory=Counter)
    directions: Sequence[StudyDirection] | None = None
    metrics: Sequence[str] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None


def read_earlier(plan: Plan) -> list[Earlier]:
    """What ``hydra.sweeper.warm_start`` names.

    Raises:
        ConfigError: one cannot be read, or has no parameter in common with the sweep.
    """
    found = []
    for where in plan.settings.warm_start:
        if secrets.redact(where) != where:
            raise ConfigError(
                f"{_KEY} must hold no password: set {secrets.VARIABLE}, and write '${secrets.VARIABLE}#STUDY'"
            )
        earlier = _read_table(where, plan) if where.endswith(".csv") else _read_study(where, plan)
        searched = {parameter.key.lstrip("+") for parameter in plan.space.parameters}
        known = {key for values, _ in earlier.trials for key in values}
        if earlier.trials and not known & searched and plan.space.extend is None:
            listed = ", ".join(sorted(map(printable_line, known))[:10])
            raise ConfigError(f"{_KEY}: {where} has no parameter in common with this sweep, it has {listed}")
        found.append(earlier)
    return found


def begin(plan: Plan, study: optuna.Study, found: Sequence[Earlier], config: Mapping[str, Any]) -> list[str]:
    """Give the sampler what earlier trials know, or queue the best points; returns a line on each of `found`.

    Args:
        study: that was opened; one sweeper at a time.
        config: what this sweep holds fixed, by key.
    """
    known, lines, sampler = list[FrozenTrial](), list[str](), study.sampler
    for earlier in found:
        points, left_out = _fitting(earlier, plan, config)
        reason = _why_other(earlier, plan, study, config)
        if reason is None and not isinstance(sampler, ViewSampler):
            reason = f"{type(sampler).__name__} learns from its own study only"
        total = len(earlier.trials) + sum(earlier.left_out.values())
        reasons = sorted((earlier.left_out + left_out).items(), key=lambda each: (-each[1], each[0]))
        rest = "; ".join(f"{count} {why}" for why, count in reasons)
        tail = f" (left out: {rest})" if rest else ""
        if reason is None:
            trials = [_trial(plan, point, values, earlier.data) for point, values in points]
            known += trials
            lines.append(f"warm start: the sampler knows {len(trials)} of {total} trials of {earlier.name}{tail}")
            continue
        best = [] if isinstance(sampler, GridSampler) else _best(points, earlier.directions or study.directions)
        for point, _ in best:
            note = {"note": f"from {earlier.name}"}
            study.enqueue_trial(point, user_attrs=note, skip_if_exists=True)
        what = f"the best {len(best)} of {total} points of {earlier.name} are enqueued"
        lines.append(f"warm start: {reason}: {what}{tail}")
    if isinstance(sampler, ViewSampler):
        sampler.earlier_trials = _selected(known, study.directions)
    return lines


def _read_study(where: str, plan: Plan) -> Earlier:
    place, _, name = where.partition("#") if not Path(where).exists() else (where, "", "")
    place = secrets.resolve_storage(place)
    try:
        if "://" in place:
            storage, likely = read_only.open_database(place), plan.address.study
        else:
            path = Path(place)
            file = path / JOURNAL if path.is_dir() else path
            if not file.is_file():
                raise ConfigError(f"{_KEY} must name a sweep's folder, an Optuna URL or a CSV file, got {where!r}")
            storage, likely = read_only.open_journal(file), file.parent.name
            place = str(file)
        study = read_only.load_study(storage, name or likely, option=f"{place}#STUDY" * (not name), typed=name or None)
        if (with_full_path(place), study.study_name) == (plan.address.url, plan.address.study):
            raise ConfigError(f"{_KEY} must name other studies than the sweep's own, got {where!r}")
        check_attributes(study, _KEY)
        metric = read_sweep(study).metric
    except ConfigError as error:
        raise error if str(error).startswith(_KEY) else ConfigError(f"{_KEY}: {where}: {error}") from error
    except Exception as error:  # each storage raises its own
        reason = secrets.redact(" ".join(str(error).split())[:200])
        raise ConfigError(f"{_KEY}: {where} cannot be read ({type(error).__name__}: {reason})") from error
    since, trials, left_out = study.user_attrs.get("changed_at", 0), [], Counter[str]()
    for trial in without_repeats(study.get_trials(deepcopy=False)):
        if trial.state != TrialState.COMPLETE:
            left_out[_STATES.get(trial.state, "not ended")] += 1
        elif trial.number < since:
            left_out["from before its data or settings changed"] += 1
        elif not all(map(math.isfinite, trial.values)):
            left_out["without a finite value"] += 1
        else:
            trials.append(({key_of(key).lstrip("+"): value for key, value in trial.params.items()}, trial.values))
    config = with_new_names(study.user_attrs.get("config") or {})
    metrics = study.metric_names or [metric]
    return Earlier(where, trials, left_out, study.directions, metrics, config, study.user_attrs.get("data"))


def _read_table(where: str, plan: Plan) -> Earlier:
    """A table with a column for each parameter, and the value in one named as the metric, or ``value``."""
    try:
        rows = list(csv.DictReader(read_regular(Path(where)).splitlines()))
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"{_KEY}: {where} cannot be read ({error})") from error
    columns = [plain_text(column) for column in (rows[0] if rows else ()) if column]
    if hidden := [column for column in columns if column.lstrip("+~ \t").startswith("hydra")]:
        raise ConfigError(f"{_KEY}: {where} must have no column of Hydra's, got {printable_line(hidden[0])}")
    measured = next((name for name in (plan.metric, "value") if name in columns), None)
    if measured is None:
        raise ConfigError(f"{_KEY}: {where} must have rows and a column {plan.metric} or value")
    trials, left_out = [], Counter[str]()
    for row in rows:
        cells = {plain_text(key): plain_text(cell) for key, cell in row.items() if key and isinstance(cell, str)}
        state, value = cells.pop("state", "complete").lower(), _number(cells.pop(measured, ""))
        if state not in ("complete", "completed"):
            left_out[state if state in _STATES.values() else "not completed"] += 1
        elif value is None or not math.isfinite(value):
            left_out["without a finite value"] += 1
        else:
            trials.append(({key.lstrip("+"): cell for key, cell in cells.items() if cell != ""}, [value]))
    return Earlier(where, trials, left_out, metrics=[plan.metric])


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def _why_other(earlier: Earlier, plan: Plan, study: optuna.Study, config: Mapping[str, Any]) -> str | None:
    """Why its values do not compare with those of the study; None where they do."""
    names = study.metric_names or [plan.metric]
    if list(earlier.metrics) != list(names):
        return f"its metric is {', '.join(map(printable_line, earlier.metrics))}"
    if earlier.directions is not None and list(earlier.directions) != list(study.directions):
        return f"{', '.join(names)} was {', '.join(each.name.lower() for each in earlier.directions)}d"
    data = study.user_attrs.get("data")
    if earlier.data is not None and data is not None and earlier.data != data:
        return "its data are others"
    return None if plan.application.same_data(earlier.config, config) else "its data are others"


def _fitting(
    earlier: Earlier, plan: Plan, config: Mapping[str, Any]
) -> tuple[list[tuple[Params, Sequence[float]]], Counter[str]]:
    """The points that lie in today's space, with their values, and why others do not."""
    points, left_out = [], Counter[str]()
    for values, measured in earlier.trials:
        point = _point({**earlier.config, **values}, values, plan, config)
        if isinstance(point, str):
            left_out[point] += 1
        else:
            points.append((point, measured))
    return points, left_out


def _point(
    known: Mapping[str, Any], searched: Mapping[str, Any], plan: Plan, config: Mapping[str, Any]
) -> Params | str:
    """Today's parameters of a trial, or why it has none."""
    point, chosen = Params(), Params()
    for parameter in plan.space.parameters:
        key = parameter.key.lstrip("+")
        if not applies(parameter, chosen):
            continue
        if key not in known:
            return f"without {key}"
        value: Any = known[key]
        if isinstance(value, str) and not isinstance(parameter.distribution, CategoricalDistribution):
            value = _number(value)
        value = inside(parameter.distribution, value)
        if value is ...:
            return f"with {key} outside the space"
        point[parameter.name] = chosen[parameter.key] = value
    own = {key.lstrip("+") for key in chosen} | {plan.settings.seed_key}
    for key in searched.keys() - own:
        if key in config and not is_same_value(config[key], searched[key]):
            return f"with another {key}"
    return point


def _trial(plan: Plan, point: Params, values: Sequence[float], data: str | None) -> FrozenTrial:
    names = {parameter.name: parameter.distribution for parameter in plan.space.parameters}
    attributes = {} if data is None else {"data": data}
    distributions = {name: names[name] for name in point}
    return create_trial(values=list(values), params=point, distributions=distributions, user_attrs=attributes)


def _best(
    points: Sequence[tuple[Params, Sequence[float]]], directions: Sequence[StudyDirection]
) -> list[tuple[Params, Sequence[float]]]:
    """The best points, of several objectives those that are best in one."""
    orders = []
    for index, direction in enumerate(directions[: len(points[0][1])] if points else ()):  # a table has one value
        ranked = sorted(points, key=lambda each: each[1][index])  # called before the next turn
        orders.append(ranked[::-1] if direction == StudyDirection.MAXIMIZE else ranked)
    chosen = list[tuple[Params, Sequence[float]]]()
    for each in (each for row in zip(*orders, strict=True) for each in row):
        if all(each[0] != other[0] for other in chosen):
            chosen.append(each)
    return chosen[:_MOST_ENQUEUED]


def _selected(trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> list[FrozenTrial]:
    """At most so many that a GP stays fast: the best half, and others spread over the rest."""
    if len(trials) <= _MOST_KNOWN:
        return list(trials)
    sign = -1 if directions[0] == StudyDirection.MAXIMIZE else 1
    ranked = sorted(trials, key=lambda trial: sign * trial.values[0])
    half = _MOST_KNOWN // 2
    rest = ranked[half:]
    return [*ranked[:half], *(rest[index * len(rest) // half] for index in range(half))]
