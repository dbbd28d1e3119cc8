"""Choices that are numbers, as a GP should see them: in order. Of categories no two are nearer than others."""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import create_trial

from lightsweep.sweeper.space import Params


def order_of(distribution: BaseDistribution) -> list[Any] | None:
    """The choices from the lowest to the highest; None where they are no numbers, or fewer than three."""
    if not isinstance(distribution, CategoricalDistribution) or len(distribution.choices) < 3:
        return None
    are_numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in distribution.choices)
    return sorted(distribution.choices) if are_numbers else None


def with_positions(distributions: Mapping[str, BaseDistribution]) -> dict[str, BaseDistribution]:
    """The distributions with the positions of such choices in place of the choices."""
    orders = {name: (order_of(each), each) for name, each in distributions.items()}
    return {name: IntDistribution(0, len(order) - 1) if order else each for name, (order, each) in orders.items()}


def positions(params: Params, distributions: Mapping[str, BaseDistribution]) -> Params:
    """The parameters with positions in place of such choices."""
    orders = {name: order_of(distributions[name]) for name in params}
    return {name: order.index(value) if (order := orders[name]) else value for name, value in params.items()}


def choices(params: Params, distributions: Mapping[str, BaseDistribution]) -> Params:
    """The parameters with such choices in place of positions.

    Args:
        distributions: those of the choices.
    """
    orders = {name: order_of(distributions[name]) for name in params}
    return {name: order[value] if (order := orders[name]) else value for name, value in params.items()}


def study_of_positions(study: optuna.Study) -> optuna.Study:
    """A copy in memory in which the trials have positions in place of such choices."""
    copy = optuna.create_study(directions=study.directions)
    for trial in study.get_trials(deepcopy=False):
        ended = trial.state.is_finished()
        copy.add_trial(
            create_trial(
                state=trial.state,
                params=positions(trial.params, trial.distributions),
                distributions=with_positions(trial.distributions),
                values=trial.values if ended else None,
                constraints=trial.constraints if ended else None,
            )
        )
    return copy
