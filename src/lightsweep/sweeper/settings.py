"""What is typed for a sweep: ``hydra.sweeper.*``, checked."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from lightsweep.core import checks
from lightsweep.core.errors import ConfigError
from lightsweep.core.text import did_you_mean
from lightsweep.sweeper.ablation import LEAVE_ONE_OUT, MOST_SEEDS, PATH
from lightsweep.sweeper.constraints import read_bounds
from lightsweep.sweeper.objectives import check_settings
from lightsweep.sweeper.samplers import SAMPLERS, check_packages, named_node, pruner_node

_MOST_JOBS = 1000  # each has a process or a thread of the sweeper
_MOST_PLACES = 1000  # of a worker
_MOST_CONFIRMED = 1000  # fresh seeds; the means of 1000 runs differ by a thirtieth of the runs' spread

_KEY = re.compile(r"\+{0,2}\w[\w.-]*")
# Keys of Hydra's own Optuna sweeper that mean nothing here, and what does.
_OFFICIAL = {"max_failure_rate": "max_failures is how many failures in a row end a sweep"}
_TEXTS = {  # settings that may be null
    "storage": "a path or an Optuna URL",
    "metric": "a name",
    "custom_search_space": "a function's name",
    "validate": "a function's name",
    "batch_function": "a function's name",
    "seed_key": "a key of the config",
    "confirm_metric": "a name",
    "prune_on": "the name of an objective",
}
_ABLATION = ("from", "to", "by", "score_test", "names", "depends", "seconds")
_LISTS = {
    "changeable_keys": "keys",
    "trial_overrides": "overrides KEY=VALUE",
    "confirm_overrides": "overrides KEY=VALUE",
    "not_in_best": "keys and config groups",
    "warm_start": "sweep folders, Optuna URLs and CSV files",
}


@dataclass(frozen=True)
class Settings:
    """``hydra.sweeper.*``, explained in hydra_plugins/lightsweep_sweeper/conf/hydra/sweeper/_lightsweep_settings.yaml.

    `sampler` and `pruner` are nodes with a ``_target_``; the rest are plain values.
    """

    sampler: DictConfig
    pruner: DictConfig
    study_name: str
    storage: str | None
    metric: str | None
    direction: str | list[str] | None
    objectives: dict[str, str] | None
    prune_on: str | None
    n_trials: int
    timeout: float | None
    retries: int
    max_failures: int
    trial_timeout: float | None
    target: float | None
    patience: int | None
    min_delta: float
    constraints: dict[str, str] | None
    foresee: dict[str, str | None] | None
    allow_changed_space: bool
    changeable_keys: list[str]
    params: dict[str, Any] | None
    when: dict[str, dict[str, Any]] | None
    custom_search_space: str | None
    enqueue: list[dict[str, Any]] | None
    warm_start: list[str]
    max_steps: int | None
    validate: str | None
    n_jobs: int
    population: int | str
    batch_function: str | None
    preload: list[str]
    executor: str | None
    ray: dict[str, Any]
    batch: int
    on_interrupt: str
    trial_overrides: list[str]
    seed_key: str | None
    seeds: list[int] | None
    confirm: int
    confirm_points: list[int] | None
    confirm_overrides: list[str]
    confirm_metric: str | None
    ablate: int
    ablation: dict[str, Any]
    not_in_best: list[str]

    @property
    def may_change(self) -> tuple[str, ...]:
        """Keys that a study does not keep: Hydra's own never, they may hold the address of its database."""
        return ("hydra", *self.changeable_keys)

    @property
    def is_ablation_alone(self) -> bool:
        """Whether both ends of an ablation were named as overrides, so that no trial is run, and no study opened."""
        return bool(self.ablate) and all(isinstance(self.ablation[name], list) for name in ("from", "to"))

    def __post_init__(self) -> None:
        checks.integer("hydra.sweeper.n_trials", self.n_trials, "[1, inf)")
        checks.integer("hydra.sweeper.n_jobs", self.n_jobs, f"[0, {_MOST_JOBS}]")
        is_places = type(self.population) is int and 1 <= self.population <= _MOST_PLACES
        rule = f"be auto or an integer in [1, {_MOST_PLACES}]"
        checks.require(self.population == "auto" or is_places, "hydra.sweeper.population", rule, self.population)
        checks.require(self.executor in (None, "ray"), "hydra.sweeper.executor", "be null or ray", self.executor)
        checks.integer("hydra.sweeper.batch", self.batch, f"[1, {_MOST_JOBS}]")
        checks.choice("hydra.sweeper.on_interrupt", self.on_interrupt, ("cancel", "leave"))
        checks.integer("hydra.sweeper.retries", self.retries, "[0, inf)")
        checks.integer("hydra.sweeper.max_failures", self.max_failures, "[1, inf)")
        checks.integer("hydra.sweeper.confirm", self.confirm, f"[0, {_MOST_CONFIRMED}]")
        checks.integer("hydra.sweeper.ablate", self.ablate, f"[0, {MOST_SEEDS}]")
        checks.flag("hydra.sweeper.allow_changed_space", self.allow_changed_space)
        for name in ("timeout", "trial_timeout"):
            if getattr(self, name) is not None:
                checks.number(f"hydra.sweeper.{name}", getattr(self, name), "(0, inf)")
        fine = self.target is None or checks.is_number(self.target)
        checks.require(fine, "hydra.sweeper.target", "be null or a number", self.target)
        if self.patience is not None:
            checks.integer("hydra.sweeper.patience", self.patience, "[1, inf)")
        checks.number("hydra.sweeper.min_delta", self.min_delta, "[0, inf)")
        read_bounds(self.constraints)
        known = {} if self.foresee is None else self.foresee
        named = _is_keyed(known) and all(each is None or _is_text(each) for each in known.values())
        rule = "be a mapping of recorded names to functions, {params: app.count_parameters}"
        checks.require(named, "hydra.sweeper.foresee", rule, self.foresee)
        if self.max_steps is not None:
            checks.integer("hydra.sweeper.max_steps", self.max_steps, "[1, inf)")
        checks.require(_is_text(self.study_name), "hydra.sweeper.study_name", "be a name", self.study_name)
        for name, rule in _TEXTS.items():
            value = getattr(self, name)
            checks.require(value is None or _is_text(value), f"hydra.sweeper.{name}", f"be null or {rule}", value)
        for name, rule in _LISTS.items():
            value = getattr(self, name)
            listed = isinstance(value, list) and all(map(_is_text, value))
            fine = listed and (not name.endswith("_overrides") or all(map(_is_fixed, value)))
            checks.require(fine, f"hydra.sweeper.{name}", f"be a list of {rule}, [] for none", value)
        keyed = self.params is None or _is_keyed(self.params)
        checks.require(keyed, "hydra.sweeper.params", "be a mapping of keys to values", self.params)
        points = [] if self.enqueue is None else self.enqueue
        keyed = isinstance(points, list) and all(_is_keyed(point) for point in points)
        rule = "be a list of points, [{optimizer.lr: 0.01}, …]"
        checks.require(keyed, "hydra.sweeper.enqueue", rule, self.enqueue)
        check_settings(self)
        _check_resources(self.ray)
        _check_seeds(self.seeds)
        _check_ablation(self.ablation)
        _check_seed_key(self)
        _check_preload(self.preload)
        _check_when(self.when)


def read_settings(values: Mapping[str, Any]) -> tuple[Settings, list[str]]:
    """The settings of a sweep, and a remark on each that means nothing here.

    Args:
        values: those of the node ``hydra.sweeper``.

    Raises:
        ConfigError: a key that no config has, or a value that makes no sense.
    """
    names = [field.name for field in fields(Settings)]
    remarks = []
    for name in sorted(values.keys() - set(names)):
        key = f"hydra.sweeper.{name}"
        if name not in _OFFICIAL:
            proposal = did_you_mean(key, [f"hydra.sweeper.{each}" for each in names])
            raise ConfigError(f"{key}: no config has this key{proposal}")
        if values[name] is not None:
            remarks.append(f"{key} is not used: {_OFFICIAL[name]}")
    plain: dict[str, Any] = {
        name: OmegaConf.to_container(values[name], resolve=True) if OmegaConf.is_config(values[name]) else values[name]
        for name in names
        if name in values
    }
    plain["sampler"] = named_node("sampler", values.get("sampler"), SAMPLERS)
    plain["pruner"] = pruner_node(values.get("pruner"), plain.get("max_steps"))
    plain["study_name"] = "default" if plain.get("study_name") is None else plain["study_name"]
    plain["direction"] = _direction(plain.get("direction"))
    if missing := sorted(set(names) - plain.keys()):
        raise ConfigError(
            f"hydra.sweeper has no {', '.join(missing)}: its defaults list must name _lightsweep_settings"
        )
    return Settings(**plain), remarks


def _direction(value: Any) -> Any:
    """A text, or for several objectives a list of them; the official sweeper's configs hold enums."""
    if isinstance(value, list) and len(value) != 1:
        return [getattr(each, "name", each) for each in value]
    return getattr(value, "name", value[0] if isinstance(value, list) else value)


def _check_resources(resources: Any) -> None:
    names = ("num_cpus", "num_gpus")
    known = isinstance(resources, dict) and sorted(resources) == sorted(names)
    checks.require(known, "hydra.sweeper.ray", f"have the keys {' and '.join(names)}", resources)
    for name in names:
        checks.number(f"hydra.sweeper.ray.{name}", resources[name], "[0, inf)")


def _check_seeds(seeds: Any) -> None:
    if seeds is not None:
        listed = isinstance(seeds, list) and seeds and all(type(seed) is int and seed >= 0 for seed in seeds)
        unique = bool(listed) and len(set(seeds)) == len(seeds)
        checks.require(unique, "hydra.sweeper.seeds", "be a list of different integers >= 0", seeds)


def _check_seed_key(settings: Settings) -> None:
    key, name = settings.seed_key, "hydra.sweeper.seed_key"
    checks.require(key is None or _KEY.fullmatch(key) is not None, name, "be null or a key of the config", key)
    for needs in ("seeds", "confirm", "ablate"):
        if key is None and getattr(settings, needs):
            raise ConfigError(f"hydra.sweeper.{needs} needs {name}, the config's key of the random seed")
    for needs in ("confirm", "ablate"):
        if getattr(settings, needs):
            check_packages(f"hydra.sweeper.{needs}", "the t-test", ("scipy",), "scipy")


def _check_ablation(ablation: Any) -> None:
    key, known = "hydra.sweeper.ablation", isinstance(ablation, dict) and sorted(ablation) == sorted(_ABLATION)
    checks.require(known, key, f"have the keys {', '.join(_ABLATION)}", ablation)
    for name in ("from", "to"):
        end = ablation[name]
        named = end in ("baseline", "best") or (type(end) is int and end >= 0)
        listed = isinstance(end, list) and all(map(_is_text, end)) and all(map(_is_fixed, end))
        rule = "be baseline, best, a trial's number, or a list of overrides KEY=VALUE"
        checks.require(named or listed, f"{key}.{name}", rule, end)
    checks.choice(f"{key}.by", ablation["by"], ("auto", PATH, LEAVE_ONE_OUT))
    checks.flag(f"{key}.score_test", ablation["score_test"])
    names = ablation["names"]
    fine = names is None or (isinstance(names, list) and len(names) == 2 and all(map(_is_text, names)))
    checks.require(fine, f"{key}.names", "be null or two names", names)
    fine = _is_keyed(ablation["depends"]) and all(map(_is_text, ablation["depends"].values()))
    checks.require(fine, f"{key}.depends", "be a mapping of keys to keys", ablation["depends"])
    if ablation["seconds"] is not None:
        checks.number(f"{key}.seconds", ablation["seconds"], "[0, inf)")


def _check_preload(modules: Any) -> None:
    key = "hydra.sweeper.preload"
    named = isinstance(modules, list) and all(_is_text(name) and name.strip(".") == name for name in modules)
    checks.require(named, key, "be a list of modules, [] for none", modules)
    for name in modules:  # only the outermost package is looked for: a search for an inner one would import it
        checks.require(find_spec(name.partition(".")[0]) is not None, key, "name modules that can be imported", name)


def _check_when(when: Any) -> None:
    key = "hydra.sweeper.when"
    checks.require(when is None or _is_keyed(when), key, "be a mapping of conditions to params", when)
    for condition, params in (when or {}).items():
        chosen, _, choice = condition.partition("=")
        checks.require(bool(chosen and choice), key, "have conditions KEY=CHOICE", condition)
        checks.require(_is_keyed(params), f"{key}.{condition}", "be a mapping of keys to ranges or choices", params)


def _is_text(value: Any) -> bool:
    """Of one line: it goes into files and messages."""
    return isinstance(value, str) and value != "" and value.isprintable()


def _is_fixed(line: str) -> bool:
    """Whether it is an override with one value."""
    try:
        return not OverridesParser.create().parse_override(line).is_sweep_override()
    except HydraException:
        return False


def _is_keyed(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)
