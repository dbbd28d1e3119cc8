"""The command line of train.py, checked and made ready for Hydra, and the resolvers that complete a config."""

import math
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex

from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig, OmegaConf

from lightsweep.config import loader, mistakes, permissions
from lightsweep.core import files, secrets
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import OUTPUTS, ROOT
from lightsweep.core.metrics import mode_of
from lightsweep.core.secrets import storage_reference
from lightsweep.runs import run_folder, saved_config
from lightsweep.runs.run_folder import split_name
from lightsweep.sweeper.application import search_path


def read_command_line(arguments: list[str]) -> list[str]:
    """Check what was typed, note it for this process and the ones that it starts, and return what Hydra gets.

    Raises:
        ConfigError: an argument cannot be read, or may not be typed.
    """
    loader.install(saved_config.read_config)
    _share_search_path()
    mistakes.check_arguments(arguments)
    prepared = prepare_arguments(arguments)
    permissions.declare_typed(read := permissions.read_typed(prepared))
    _check_folders(read)
    return prepared


def _share_search_path() -> None:
    """Let the jobs of a launcher find the modules that this process finds."""
    folders = [*search_path(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(folders))
    os.environ["PYTHONSAFEPATH"] = "1"  # and none of the working directory, which may be somebody else's


def prepare_arguments(arguments: list[str]) -> list[str]:
    """Arguments as Hydra needs them: a resumed run works in its own folder, nothing runs over another run, and
    ``sweep=NAME`` sweeps.

    Raises:
        ConfigError: `resume` names no run, or `hydra.run.dir` one that is already there.
    """
    _refuse_no_choice(arguments)
    _refuse_rerun(arguments)
    arguments = secrets.move_to_environment(arguments)
    resumed = _last_value(arguments, "resume")
    sweep = _last_value(arguments, "sweep")
    multirun = bool({"-m", "--multirun"} & set(arguments))
    if (multirun or sweep not in (None, "null")) and str(_last_value(arguments, "lr_find")).lower() == "true":
        raise ConfigError("lr_find=true tests one setting, it cannot be swept (drop -m and sweep=)")
    if resumed in (None, "null"):
        _refuse_to_run_over(arguments)
        # A sweep file cannot set the mode itself: Hydra wants it before it composes.
        return arguments if multirun or sweep in (None, "null") else [*arguments, "hydra.mode=MULTIRUN"]
    if multirun or sweep not in (None, "null"):
        raise ConfigError("resume goes on with one run, it cannot be swept (drop -m)")
    folder = run_folder.find_resumable(resumed.strip("'\""))
    quoted = QuotedString(str(folder), Quote.single).with_quotes()
    own = saved_config.read_config(folder)
    others = [argument for argument in arguments if _key(argument) not in ("resume", "hydra.run.dir")]
    return [*(_with_force_add(argument, own) for argument in others), f"resume={quoted}", f"hydra.run.dir={quoted}"]


def _with_force_add(argument: str, own: DictConfig) -> str:
    """An argument with ``++`` where the run's own config has its key: Hydra composes the defaults, which may lack it:
    ``scheduler.patience=5`` of a run with ``scheduler=plateau``."""
    key, is_value, _ = argument.partition("=")
    is_group = (ROOT / "conf" / key).is_dir()
    of_the_run = key != saved_config.OVERRIDES and saved_config.has_key(own, key)
    return f"++{argument}" if is_value and not is_group and of_the_run else argument


def _last_value(arguments: list[str], key: str) -> str | None:
    values = [argument.partition("=")[2] for argument in arguments if _key(argument) == key]
    return values[-1] if values else None


def _key(argument: str) -> str:
    return argument.partition("=")[0].lstrip("+")


def _refuse_no_choice(arguments: list[str]) -> None:
    """Refuse GROUP=null: Hydra's error does not name the group."""
    for argument in arguments:
        group, _, choice = argument.partition("=")
        folder = ROOT / "conf" / group
        if choice == "null" and group and folder.is_dir():
            options = sorted(file.stem for file in folder.glob("*.yaml") if not file.name.startswith("_"))
            raise ConfigError(
                f"{argument}: there is no such choice; there is {', '.join(options) or 'none'} ('~{group}': without)"
            )


def _check_folders(given: permissions.Typed) -> None:
    """Hydra writes into a typed folder, perhaps somebody else's, before a run or a grid begins."""
    for key in ("hydra.run.dir", "hydra.sweep.dir"):
        for value in given.values.get(key, ()):
            if isinstance(value, str) and "${" not in value:
                files.check_links(Path(value), within=Path(value))
    for value in given.values.get("hydra.sweep.dir", ()):
        ours = {"sweep", "hydra/sweeper"} & given.values.keys()  # whose jobs have unpredictable folders
        if not ours and (Path(str(value)) / ".submitit").exists():
            raise ConfigError(f"hydra.sweep.dir: {value} holds jobs of submitit, which could run: take a new folder")


def _refuse_rerun(arguments: list[str]) -> None:
    """Hydra's rerun of a folder would treat what was typed then as typed now."""
    if any(argument.startswith("--e") for argument in arguments):  # the parser takes abbreviations
        raise ConfigError("--experimental-rerun is not supported: resume=FOLDER goes on with a run")


def _refuse_to_run_over(arguments: list[str]) -> None:
    typed = _last_value(arguments, "hydra.run.dir")
    if typed is None or {"-m", "--multirun"} & set(arguments) or run_folder.is_follower():
        return
    folder = Path(typed.strip("'\""))
    if run_folder.is_run(folder):
        raise ConfigError(
            f"hydra.run.dir must be a folder without a run, got {typed};"
            f" resume={shlex.quote(typed)} goes on with that run"
        )
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"hydra.run.dir must be a new or an empty folder, got {typed!r}")


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
    OmegaConf.register_resolver("lightsweep.run_id", lambda: token_hex(2), use_cache=True, replace=True)
    OmegaConf.register_resolver(
        "lightsweep.folder_name", run_folder.folder_suffix, replace=True, annotation_validation="off"
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
