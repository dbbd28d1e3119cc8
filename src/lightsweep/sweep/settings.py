"""What a person can set of a sweep, checked."""

from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from lightsweep import checks


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
        for key in ("sampler", "pruner"):
            node = getattr(self, key)
            checks.require(isinstance(node, DictConfig), f"hydra.sweeper.{key}", "have keys of its own", node)
        for key in ("storage", "custom_search_space"):
            text = getattr(self, key)
            rule = "be a text or null"
            checks.require(text is None or (isinstance(text, str) and text != ""), f"hydra.sweeper.{key}", rule, text)
        names = isinstance(self.preload, list) and all(isinstance(name, str) for name in self.preload)
        checks.require(names, "hydra.sweeper.preload", "be a list of modules", self.preload)
        checks.whole("hydra.sweeper.n_trials", self.n_trials, "[1, inf)")
        checks.whole("hydra.sweeper.n_jobs", self.n_jobs, "[0, inf)")
        checks.whole("hydra.sweeper.retries", self.retries, "[0, inf)")
        checks.whole("hydra.sweeper.max_failures", self.max_failures, "[1, inf)")
        checks.whole("hydra.sweeper.confirm", self.confirm, "[0, inf)")
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
