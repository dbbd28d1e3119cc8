"""What a person can set of a sweep, checked."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from omegaconf import DictConfig

from lightsweep.core import checks

_MOST_JOBS = 1000  # each has a process or a thread of the sweeper's
_MOST_CONFIRMED = 1000  # fresh seeds; the means of 1000 runs differ by a thirtieth of the runs' spread


@dataclass(frozen=True)
class Settings:
    """``hydra.sweeper.*``, explained in conf/hydra/sweeper/lightsweep.yaml."""

    sampler: DictConfig
    pruner: DictConfig
    direction: str | None
    storage: str | None
    study_name: str
    n_trials: int
    n_jobs: int
    executor: str | None
    ray: dict[str, Any]
    batch: int
    on_interrupt: str
    timeout: float | None
    retries: int
    max_failures: int
    seeds: list[int] | None
    confirm: int
    enqueue: list[dict[str, Any]] | None
    allow_changed_space: bool
    custom_search_space: str | None
    preload: list[str]
    params: dict[str, Any] | None
    when: dict[str, dict[str, Any]] | None

    def __post_init__(self) -> None:
        checks.whole("hydra.sweeper.n_trials", self.n_trials, "[1, inf)")
        checks.whole("hydra.sweeper.n_jobs", self.n_jobs, f"[0, {_MOST_JOBS}]")
        checks.require(self.executor in (None, "ray"), "hydra.sweeper.executor", "be null or ray", self.executor)
        checks.whole("hydra.sweeper.batch", self.batch, f"[1, {_MOST_JOBS}]")
        checks.choice("hydra.sweeper.on_interrupt", self.on_interrupt, ("cancel", "leave"))
        _check_resources(self.ray)
        checks.whole("hydra.sweeper.retries", self.retries, "[0, inf)")
        checks.whole("hydra.sweeper.max_failures", self.max_failures, "[1, inf)")
        checks.whole("hydra.sweeper.confirm", self.confirm, f"[0, {_MOST_CONFIRMED}]")
        checks.flag("hydra.sweeper.allow_changed_space", self.allow_changed_space)
        if self.timeout is not None:
            checks.number("hydra.sweeper.timeout", self.timeout, "(0, inf)")
        if self.direction is not None:
            checks.choice("hydra.sweeper.direction", self.direction, ("minimize", "maximize"))
        name = self.study_name
        checks.require(isinstance(name, str) and bool(name), "hydra.sweeper.study_name", "be a name", name)
        seeds = [] if self.seeds is None else self.seeds
        whole = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
        unique = whole and len(set(seeds)) == len(seeds) and (self.seeds is None or len(seeds) > 0)
        checks.require(unique, "hydra.sweeper.seeds", "be a list of different whole numbers >= 0", self.seeds)
        _check_chosen("sampler", self.sampler)
        _check_chosen("pruner", self.pruner)
        _check_text("storage", self.storage, "be null, a path or an Optuna URL")
        _check_text("custom_search_space", self.custom_search_space, "be null or a function's name")
        _check_preload(self.preload)
        _check_enqueue(self.enqueue)
        _check_params(self.params)
        _check_when(self.when)


def _check_chosen(name: str, node: Any) -> None:
    chosen = isinstance(node, DictConfig) and "_target_" in node
    checks.require(chosen, f"hydra.sweeper.{name}", f"be chosen by hydra/sweeper/{name}=NAME", node)


def _check_text(name: str, value: Any, rule: str) -> None:
    checks.require(value is None or (isinstance(value, str) and value != ""), f"hydra.sweeper.{name}", rule, value)


def _check_resources(resources: Any) -> None:
    names = ("num_cpus", "num_gpus")
    known = isinstance(resources, dict) and sorted(resources) == sorted(names)
    checks.require(known, "hydra.sweeper.ray", f"have the keys {' and '.join(names)}", resources)
    for name in names:
        checks.number(f"hydra.sweeper.ray.{name}", resources[name], "[0, inf)")


def _check_preload(modules: Any) -> None:
    key = "hydra.sweeper.preload"
    named = isinstance(modules, list) and all(isinstance(name, str) and name.strip(".") == name for name in modules)
    checks.require(named and all(modules), key, "be a list of modules, [] for none", modules)
    for name in modules:  # only the outermost package is looked for: the search would import the outer ones
        checks.require(find_spec(name.partition(".")[0]) is not None, key, "name modules that can be imported", name)


def _check_enqueue(points: Any) -> None:
    listed = points is None or (isinstance(points, list) and all(_by_key(point) for point in points))
    checks.require(listed, "hydra.sweeper.enqueue", "be a list of points, [{optimizer.lr: 0.01}, …]", points)


def _check_params(params: Any) -> None:
    checks.require(params is None or _by_key(params), "hydra.sweeper.params", "be a mapping of keys to values", params)


def _check_when(when: Any) -> None:
    key = "hydra.sweeper.when"
    checks.require(when is None or _by_key(when), key, "be a mapping of conditions to params", when)
    for condition, params in (when or {}).items():
        chosen, _, choice = condition.partition("=")
        checks.require(bool(chosen and choice), key, "have conditions KEY=CHOICE", condition)
        checks.require(_by_key(params), f"{key}.{condition}", "be a mapping of keys to ranges or choices", params)


def _by_key(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)
