"""What the configs compute: ``${lightsweep.NAME:arguments}``. Imported at every start, so no torch."""

import math
import secrets
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from lightsweep.config import permissions
from lightsweep.core.metrics import mode_of
from lightsweep.core.paths import OUTPUTS, ROOT
from lightsweep.core.secrets import storage_reference
from lightsweep.runs import saved_config
from lightsweep.runs.run_folder import split_name


def register() -> None:
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
