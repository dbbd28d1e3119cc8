"""The first trials of a study: the config as it stands, and the points that the user named."""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.samplers import GridSampler

from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.repeats import same_point
from lightsweep.sweeper.space import Space, values_of


def enqueue(plan: Plan, study: optuna.Study) -> None:
    """The config as it stands is the first trial, then come the points that the user named, also for a study that is
    gone on with. None that is there already, in whatever state, is asked for again."""
    points = named(plan)  # before a word is written: a point that does not exist is refused
    # The baseline comes once, and to a grid never, which visits its own points and no others.
    if not study.user_attrs.get("enqueued") and not isinstance(study.sampler, GridSampler):
        point, remarks = baseline(plan)
        note = {"note": "; ".join(remarks)} if remarks else {}
        study.enqueue_trial(point, user_attrs={"baseline": True, **note}, skip_if_exists=True)
        study.set_user_attr("enqueued", True)
    for point in points:
        study.enqueue_trial(point, user_attrs={"note": "enqueued"}, skip_if_exists=True)


def named(plan: Plan) -> list[dict[str, Any]]:
    """``hydra.sweeper.enqueue`` as Optuna's parameters."""
    return [_wanted(plan.space, wanted) for wanted in plan.settings.enqueue or []]


def baseline(plan: Plan) -> tuple[dict[str, Any], list[str]]:
    """The point of the config as it stands, and what keeps it from being quite that."""
    config = plan.compose(plan.space.fixed)
    keys = list(dict.fromkeys(parameter.key for parameter in plan.space.parameters))
    values = values_of(config, keys, config.hydra.runtime.choices)
    point, remarks = plan.space.point(values)
    always = [parameter.key for parameter in plan.space.parameters if parameter.condition is None]
    return point, [*remarks, *(f"{key} is drawn, as the config has none" for key in always if key not in values)]


def _wanted(space: Space, wanted: Mapping[str, Any]) -> dict[str, Any]:
    unknown = set(wanted) - {parameter.key for parameter in space.parameters}
    if unknown:
        raise ConfigError(f"hydra.sweeper.enqueue must name searched keys, got {', '.join(sorted(unknown))}")
    point, remarks = space.point(wanted)
    if remarks:
        raise ConfigError(f"hydra.sweeper.enqueue must lie inside the space: {'; '.join(remarks)}")
    return point


def mark(trial: optuna.Trial, point: Mapping[str, Any], remarks: Sequence[str]) -> None:
    """Mark a trial as the baseline where its sampler has met that point, as a grid does."""
    if not remarks and same_point(trial.params, point):
        trial.set_user_attr("baseline", True)
