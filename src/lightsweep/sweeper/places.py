"""How many trials a worker trains at once, ``hydra.sweeper.population``: what goes with more than one, and how many
`auto` means."""

from optuna.pruners import HyperbandPruner, NopPruner, SuccessiveHalvingPruner, WilcoxonPruner

from lightsweep.core.errors import ConfigError
from lightsweep.sweeper import batch
from lightsweep.sweeper.plan import Plan

KEY = "hydra.sweeper.population"
AUTO = "auto"
_OF_A_TRAINING = ("seconds", "score_seconds", "images_per_second")  # members of a population have none of their own
# Pruners that compare with trials that still run, or do not prune by the steps of a training.
_NEED_NO_COMPLETED = (NopPruner, SuccessiveHalvingPruner, HyperbandPruner, WilcoxonPruner)
_OF_AUTO = 5  # trials for each place of `auto`: the sampler learns from those that ended before


def check_places(plan: Plan, kind: str) -> None:
    """See that a worker can have as many places as ``hydra.sweeper.population`` says.

    Args:
        kind: of the executor.

    Raises:
        ConfigError: something is set that does not go with more than one.
    """
    population, name = plan.settings.population, plan.settings.batch_function
    if population == 1:
        return
    if name is not None:
        plan.application.find_function(name, batch.KEY)
    why = _why_one(plan, kind)
    if population != AUTO:
        if why is not None:
            raise ConfigError(f"{KEY} must be 1 {why}, got {population}")
        plan.application.check_population(plan)


def count_places(plan: Plan, kind: str, n_trials: int) -> int:
    """The places of each worker.

    Args:
        kind: of the executor.
        n_trials: of the sweep.
    """
    population, workers = plan.settings.population, max(1, min(plan.settings.n_jobs, n_trials))
    if population == 1 or _why_one(plan, kind) is not None:
        return 1
    if population == AUTO:
        return max(1, min(plan.application.places(plan), n_trials // _OF_AUTO // workers))
    return min(int(population), -(-n_trials // workers))


def is_staggered(plan: Plan) -> bool:
    """Whether trials are better started spread over time: the pruner compares them with trials that have completed. A
    sampler gains nothing, since all first members are drawn before one of them has completed."""
    return plan.objectives.reported is not None and not isinstance(plan.pruner, _NEED_NO_COMPLETED)


def _why_one(plan: Plan, kind: str) -> str | None:
    """What a worker with more than one place does not go with; None where there is nothing."""
    settings = plan.settings
    if kind == "inline":
        return "with hydra.sweeper.n_jobs=0, as a population trains in a worker"
    if kind != "workers":
        launcher = plan.config.hydra.runtime.choices.get("hydra/launcher")
        named = "hydra.sweeper.executor=ray" if settings.executor == "ray" else f"hydra/launcher={launcher}"
        return f"with {named}, as a population trains in a worker of this machine"
    if settings.batch_function is None:
        return f"without {batch.KEY}, which names the function that trains several trials at once"
    if settings.trial_timeout is not None:
        return (
            f"with hydra.sweeper.trial_timeout={settings.trial_timeout:g}, as trials of a population share their time"
        )
    for key, names in (("objectives", plan.objectives.names), ("constraints", settings.constraints or ())):
        for name in names:
            if name in _OF_A_TRAINING:
                return f"with {name} in hydra.sweeper.{key}, as trials of a population share their time"
    return None
