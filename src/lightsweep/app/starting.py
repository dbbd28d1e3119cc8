"""Whether any trial of a study could start from `init_from`: else each would fail by itself."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import optuna
from omegaconf import DictConfig, OmegaConf

from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.plan import Plan

_DRAWN = 32  # trials that are looked at
_SHAPES = ("data.image_size", "data.grayscale", "data.shape")  # of an image
_OURS = "lightsweep.nets."


def check(plan: Plan) -> None:
    """Compare the weights with the networks of trials that are drawn, on torch's meta device.

    What depends on more is left to the trials: images of a searched size, a network of somebody else's.

    Raises:
        ConfigError: no file of weights can be read, or none of these networks has a weight like one of them.
    """
    baseline = plan.compose(plan.space.fixed)
    keys = {parameter.key.lstrip("+") for parameter in plan.space.parameters}
    if baseline.init_from is None and "init_from" not in keys:
        return
    traits = None if keys & set(_SHAPES) else _traits(baseline)
    refusal: ConfigError | None = None
    for config in _drawn(plan):
        try:
            if config.init_from is None or _fits(config, traits):
                return
        except ConfigError as error:  # of this one: another may start from another file
            refusal = refusal or error
    raise refusal or ConfigError(
        f"init_from: no weight in {baseline.init_from} has the name and the shape of one of a network of this search"
        f" space ({_DRAWN} were drawn)"
    )


def _drawn(plan: Plan) -> Iterator[DictConfig]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space = replace(plan.space, extend=None)  # the user's own function is for real trials
    for _ in range(_DRAWN):
        yield plan.compose((*space.fixed, *space.suggest(study.ask())))


def _traits(config: DictConfig) -> Any:
    """What the network follows from: the data module, or what it foresees where data must be fetched first."""
    from lightsweep.data import user_data

    data = user_data.build_data(config.data)
    if (traits := data.preview()) is not None:
        return traits
    data.setup()
    return data


def _fits(config: DictConfig, traits: Any) -> bool:
    """Whether this trial can start from its weights, or nobody can say."""
    import torch  # only here: a sweeper needs it for nothing else

    from lightsweep.nets.building import build_network
    from lightsweep.training import resuming

    saved = resuming.read_weights(config.init_from)
    model: Any = OmegaConf.to_container(config.model, resolve=True)
    if traits is None or not str(model.get("_target_")).startswith(_OURS):
        return True
    with torch.device("meta"):
        net = build_network(model, traits.input_shape, len(traits.class_names))
    return bool(resuming.fitting_weights(saved, net))
