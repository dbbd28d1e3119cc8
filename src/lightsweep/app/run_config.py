"""A run's config as plain values, which is what the code below src/train.py gets."""

from dataclasses import dataclass, fields
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightsweep.runs import saved_config
from lightsweep.runs.metrics import Monitor

_NOT_SAVED = {"overrides", "run_dir", "resume"}  # in result.json


@dataclass(frozen=True)
class RunConfig:
    """A checked config as plain values: the keys of conf/train.yaml that a run uses, each node a dict.

    Args:
        saved: the whole config as result.json has it.
    """

    name: str | None
    seed: int
    monitor: Monitor
    data: dict[str, Any]
    model: dict[str, Any]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    loss: dict[str, Any]
    callbacks: dict[str, Any]
    logger: dict[str, Any]
    trainer: dict[str, Any]
    lr_find_range: dict[str, Any]
    lr_find: bool
    score_with: str
    test: bool
    report: bool
    compile: bool
    decay_all: bool
    allow_changed_data: bool
    init_from: str | None
    threads: int | None
    saved: dict[str, Any]


def plain_config(cfg: DictConfig) -> RunConfig:
    """A config as plain values, unchecked."""
    values = {field.name: _plain(cfg[field.name]) for field in fields(RunConfig) if field.name != "saved"}
    own = _plain(saved_config.own_config(cfg))
    saved = {key: value for key, value in own.items() if key not in _NOT_SAVED}
    return RunConfig(**{**values, "monitor": Monitor(**values["monitor"]), "saved": saved})


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
