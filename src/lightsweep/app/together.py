"""Which trials of a search can train together, and how many of them a worker is best given at once.

Imported by the sweeper: torch only where `choose_places` needs it.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from lightsweep.app.validation import RunConfig, plain_config
from lightsweep.core.errors import ConfigError
from lightsweep.population import kinds

if TYPE_CHECKING:
    from lightsweep.sweeper.plan import Plan

_DRAWN = 8  # trials of a search that are looked at
# On a CPU a population is faster where a step is short: 1.6 times at 11 to 13 million weights times batch size, 1.1
# times at 53 million, not at all from 105 million on (docs/benchmarks.md).
_SHORT = 2**24
_ON_CPU = 16  # places
_ON_GPU = 64
_BYTES_PER_PARAMETER = 24  # weights, the best ones, gradient, average and two moments
_FOLDER = Path("run")  # of a trial that has none
_MEMORY = 4e9  # bytes of a GPU that a population may take


def why_alone(config: RunConfig, folder: Path) -> str | None:
    """Why the run in this folder trains by itself, in one line; None where a population can hold it."""
    if (why := kinds.why_alone(config)) is not None:
        return why
    kept = [name for name, node in config.callbacks.items() if str(node.get("_target_")).endswith(".BestCheckpoint")]
    if config.score_with != "best":
        return f"score_with={config.score_with} needs last.ckpt, which a population does not write"
    if len(kept) != 1:
        return f"callbacks: a population needs one BestCheckpoint, got {len(kept)}"
    where = Path(config.callbacks[kept[0]]["dirpath"])
    if where != folder / "checkpoints":
        return f"callbacks.{kept[0]}.dirpath must be the run's checkpoints in a population, got {where}"
    return None


def check_population(plan: "Plan") -> None:
    """Refuse a search none of whose trials can train with others.

    Raises:
        ConfigError: says why the first of them cannot.
    """
    reasons = []
    for config in _configs(plan):
        if (why := _why_alone(config)) is None:
            return
        reasons.append(why)
    if reasons:
        raise ConfigError(
            f"hydra.sweeper.population must be 1, as each trial trains by itself, got"
            f" {plan.settings.population} ({reasons[0]})"
        )


def choose_places(plan: "Plan") -> int:
    """What ``hydra.sweeper.population=auto`` means, by the size of the networks and the device."""
    held = [config for config in _configs(plan) if _why_alone(config) is None]
    if not held:
        return 1
    from lightsweep.app.foreseen import count_trainable

    sizes = [count_trainable(config) for config in held]
    if _is_on_gpu(held[0]):
        populations = len({kinds.kind_of(_plain(config)) for config in held})  # each takes memory for all places
        return max(1, min(_ON_GPU, int(_MEMORY / (populations * _BYTES_PER_PARAMETER * max(sizes)))))
    steps = [size * config.data.batch_size for size, config in zip(sizes, held, strict=True)]
    return _ON_CPU if median(steps) <= _SHORT else 1


def _is_on_gpu(config: DictConfig) -> bool:
    if config.trainer.accelerator == "auto":
        from torch.cuda import is_available

        return is_available()
    return config.trainer.accelerator in ("gpu", "cuda")


def _why_alone(config: DictConfig) -> str | None:
    return why_alone(_plain(config), _FOLDER)


def _plain(config: DictConfig) -> RunConfig:
    """A config that has no folder yet."""
    config = config.copy()
    OmegaConf.set_readonly(config, False)
    with open_dict(config):
        config.run_dir = str(_FOLDER)
    return plain_config(config)


def _configs(plan: "Plan") -> Iterator[DictConfig]:
    """The baseline, and some drawn trials where they may be of other kinds."""
    yield plan.compose(plan.space.fixed)
    import optuna

    choices = optuna.distributions.CategoricalDistribution
    searched = plan.space.parameters
    if not any(isinstance(each.distribution, choices) or "model" in each.key for each in searched):
        return
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space = replace(plan.space, extend=None)  # the user's own function is for real trials
    for _ in range(_DRAWN):
        try:
            yield plan.compose((*space.fixed, *space.suggest(study.ask())))
        except (HydraException, ConfigError):  # it costs its own trial
            continue
