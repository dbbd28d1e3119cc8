"""A run's config: the resolvers that complete it, and its plain values, which the code below src/train.py gets."""

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightsweep.config import permissions
from lightsweep.core.files import OUTPUTS, ROOT
from lightsweep.core.metrics import mode_of
from lightsweep.core.secrets import storage_reference
from lightsweep.runs import saved_config
from lightsweep.runs.results import Monitor
from lightsweep.runs.run_folder import split_name


def register_resolvers() -> None:
    """Make the resolvers known; again does nothing new.

    ``root:NAME`` is a path in the project's root; its first part ``outputs`` is `OUTPUTS`, wherever that is.
    ``run_id:`` is a few random letters, ``folder_name:NAME,OVERRIDES`` a run's name as a part of its folder's.
    ``steps:EPOCHS,SEEDS`` is how many steps a trial has for its pruner, ``warmup_steps:EPOCHS,SEEDS`` how many of them
    it is safe from the pruner. ``mode:METRIC`` is max or min, whichever is better, and ``direction:METRIC`` the same in
    Optuna's words. ``group:FOLDER`` and ``name:FOLDER`` are what a tracker calls a run. ``storage:`` stands
    for the address in LIGHTSWEEP_STORAGE, if there is one. OmegaConf's own resolvers are restricted.
    """
    permissions.restrict_interpolations()
    OmegaConf.register_resolver("lightsweep.storage", storage_reference, replace=True)
    OmegaConf.register_resolver("lightsweep.root", _in_root, replace=True)
    OmegaConf.register_resolver("lightsweep.run_id", lambda: secrets.token_hex(2), use_cache=True, replace=True)
    OmegaConf.register_resolver(
        "lightsweep.folder_name", saved_config.folder_suffix, replace=True, annotation_validation="off"
    )
    OmegaConf.register_resolver("lightsweep.mode", lambda metric: mode_of(str(metric)), replace=True)
    OmegaConf.register_resolver("lightsweep.direction", direction, replace=True)
    OmegaConf.register_resolver("lightsweep.group", lambda folder: split_name(folder)[0], replace=True)
    OmegaConf.register_resolver("lightsweep.name", lambda folder: split_name(folder)[1], replace=True)
    OmegaConf.register_resolver("lightsweep.steps", steps, replace=True, annotation_validation="off")
    OmegaConf.register_resolver("lightsweep.warmup_steps", warmup_steps, replace=True, annotation_validation="off")


def _in_root(name: str) -> str:
    first, *rest = Path(name).parts
    return str(OUTPUTS.joinpath(*rest) if first == "outputs" else ROOT / name)


def direction(metric: str) -> str:
    """maximize or minimize: what a search does with the metric."""
    return f"{mode_of(str(metric))}imize"


def steps(epochs: int, seeds: Sequence[int] | None) -> int:
    """A trial's steps are its seeds, where it has several, and else its epochs."""
    return len(seeds) if seeds and len(seeds) > 1 else epochs


def warmup_steps(epochs: int, seeds: Sequence[int] | None) -> int:
    """One seed, or a quarter of the epochs: dropout and weight decay cost accuracy at first and pay later."""
    if seeds and len(seeds) > 1:
        return 1
    return max(1, math.ceil(epochs / 4)) if isinstance(epochs, int) else 1


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
