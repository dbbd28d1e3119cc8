"""The command line of train.py, checked and made ready for Hydra, and the resolvers that complete a config."""

import math
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig, OmegaConf

from lightsweep.config import loader, mistakes, permissions
from lightsweep.core import files, secrets
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import CONF, OUTPUTS, ROOT
from lightsweep.core.metrics import mode_of
from lightsweep.runs import run_folder, saved_config
from lightsweep.sweeper.references import search_path


def read_command_line(arguments: list[str]) -> list[str]:
    """Check what was typed, record it for this process and the ones that it starts, and return what Hydra gets.

    Raises:
        ConfigError: an argument cannot be read, or may not be typed.
    """
    loader.install(saved_config.read_config)
    _share_search_path()
    mistakes.check_arguments(arguments)
    prepared = prepare_arguments(arguments)
    permissions.declare_typed(typed := permissions.read_typed(prepared))
    _check_folders(typed)
    return prepared


def _share_search_path() -> None:
    """Let the jobs of a launcher find the modules that this process finds."""
    folders = [*search_path(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(folders))
    os.environ["PYTHONSAFEPATH"] = "1"  # and none of the working directory, which may be somebody else's


def prepare_arguments(arguments: list[str]) -> list[str]:
    """Arguments as Hydra needs them: a resumed run works in its own folder, no run overwrites another one, and
    ``sweep=NAME`` sweeps.

    Raises:
        ConfigError: `resume` names no run, or `hydra.run.dir` one that is already there.
    """
    _refuse_no_choice(arguments)
    if any(argument.startswith("--e") for argument in arguments):  # Hydra's parser accepts abbreviations
        # Hydra's rerun of a folder would treat what was typed then as typed now.
        raise ConfigError("--experimental-rerun is not supported: resume=FOLDER continues a run")
    arguments = secrets.move_to_environment(arguments)
    multirun = bool({"-m", "--multirun"} & set(arguments))
    swept = multirun or _last_value(arguments, "sweep") is not None
    if swept and str(_last_value(arguments, "lr_find")).lower() == "true":
        raise ConfigError("lr_find=true tests one setting, it cannot be swept (drop -m and sweep=)")
    resumed = _last_value(arguments, "resume")
    if resumed is None:
        if not multirun:
            _refuse_used_folder(_last_value(arguments, "hydra.run.dir"))
        # A sweep file cannot set the mode itself: Hydra needs it before it composes.
        return [*arguments, "hydra.mode=MULTIRUN"] if swept and not multirun else arguments
    if swept:
        raise ConfigError("resume continues one run, it cannot be swept (drop -m)")
    folder = run_folder.find_resumable(resumed.strip("'\""))
    quoted = QuotedString(str(folder), Quote.single).with_quotes()
    own = saved_config.read_config(folder)
    others = [argument for argument in arguments if _key(argument) not in ("resume", "hydra.run.dir")]
    return [*(_with_force_add(argument, own) for argument in others), f"resume={quoted}", f"hydra.run.dir={quoted}"]


def _with_force_add(argument: str, own: DictConfig) -> str:
    """An argument with ``++`` where the run's own config has its key: Hydra composes the defaults, which may lack it:
    ``scheduler.patience=5`` of a run with ``scheduler=plateau``."""
    key, is_value, _ = argument.partition("=")
    is_group = (CONF / key).is_dir()
    is_own = key != saved_config.OVERRIDES and saved_config.has_key(own, key)
    return f"++{argument}" if is_value and not is_group and is_own else argument


def _last_value(arguments: list[str], key: str) -> str | None:
    """The value that counts; None where there is none, or null."""
    values = [argument.partition("=")[2] for argument in arguments if _key(argument) == key]
    return values[-1] if values and values[-1] != "null" else None


def _key(argument: str) -> str:
    return argument.partition("=")[0].lstrip("+")


def _refuse_no_choice(arguments: list[str]) -> None:
    """Refuse GROUP=null: Hydra's error does not name the group."""
    for argument in arguments:
        group, _, choice = argument.partition("=")
        folder = CONF / group
        if choice == "null" and group and folder.is_dir():
            options = sorted(file.stem for file in folder.glob("*.yaml") if not file.name.startswith("_"))
            raise ConfigError(
                f"{argument}: there is no such choice; there is {', '.join(options) or 'none'} ('~{group}': without)"
            )


def _check_folders(typed: permissions.Typed) -> None:
    """Hydra writes into a typed folder, perhaps somebody else's, before a run or a grid starts."""
    for key in ("hydra.run.dir", "hydra.sweep.dir"):
        for value in typed.values.get(key, ()):
            if isinstance(value, str) and "${" not in value:
                files.check_links(Path(value), within=Path(value))
    if {"sweep", "hydra/sweeper"} & typed.values.keys():  # the folders of its jobs are unpredictable
        return
    for value in typed.values.get("hydra.sweep.dir", ()):
        if (Path(str(value)) / ".submitit").exists():
            raise ConfigError(f"hydra.sweep.dir: {value} holds jobs of submitit, which could run: take a new folder")


def _refuse_used_folder(typed: str | None) -> None:
    """Refuse a ``hydra.run.dir`` with a run in it, or with any other files."""
    if typed is None or run_folder.is_follower():
        return
    folder = Path(typed.strip("'\""))
    if run_folder.is_run(folder):
        raise ConfigError(
            f"hydra.run.dir must be a folder without a run, got {typed}; resume={shlex.quote(typed)} continues that run"
        )
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"hydra.run.dir must be a new or an empty folder, got {typed!r}")


def register_resolvers() -> None:
    """Register the resolvers of conf/, ``lightsweep.NAME``; a second call changes nothing.

    ``root:NAME`` is a path in the project's root; its first part ``outputs`` is `OUTPUTS`, wherever that is.
    ``run_id:`` is a few random letters, ``folder_name:NAME,OVERRIDES`` a run's name as a part of its folder's.
    ``steps:EPOCHS,SEEDS`` is how many steps a trial has for its pruner, ``warmup_steps:EPOCHS,SEEDS`` how many of them
    it is safe from the pruner. ``mode:METRIC`` is max or min, whichever is better, and ``direction:METRIC`` the same in
    Optuna's words; ``on_test:METRIC`` is the same metric of the test images. ``group:FOLDER`` and ``name:FOLDER`` are
    what a tracker calls a run. ``storage:`` stands for the address in LIGHTSWEEP_STORAGE, if there is one.
    OmegaConf's own resolvers are restricted.
    """
    permissions.restrict_interpolations()
    resolvers: dict[str, Callable[..., Any]] = {
        "storage": secrets.storage_reference,
        "root": _in_root,
        "run_id": lambda: token_hex(2),
        "folder_name": run_folder.folder_suffix,
        "mode": lambda metric: mode_of(str(metric)),
        "direction": lambda metric: f"{mode_of(str(metric))}imize",
        "on_test": lambda metric: f"test/{str(metric).partition('/')[2]}",
        "group": lambda folder: run_folder.split_name(folder)[0],
        "name": lambda folder: run_folder.split_name(folder)[1],
        "steps": _steps,
        "warmup_steps": _warmup_steps,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_resolver(
            f"lightsweep.{name}", resolver, replace=True, use_cache=name == "run_id", annotation_validation="off"
        )


def _in_root(name: str) -> str:
    first, *rest = Path(name).parts
    return str(OUTPUTS.joinpath(*rest) if first == "outputs" else ROOT / name)


def _steps(epochs: int, seeds: Sequence[int] | None) -> int:
    """A trial's steps are its seeds, where it has several, and else its epochs."""
    return len(seeds) if seeds and len(seeds) > 1 else epochs


def _warmup_steps(epochs: int, seeds: Sequence[int] | None) -> int:
    """One seed, or half of the epochs: until then accuracy says little of what it will be (docs/benchmarks.md)."""
    several_seeds = seeds and len(seeds) > 1
    return 1 if several_seeds or not isinstance(epochs, int) else max(1, math.ceil(epochs / 2))
