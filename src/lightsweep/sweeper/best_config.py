"""A trial as a config that one command trains: what differs from the defaults, and nothing else."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from lightsweep.core.files import write_atomic
from lightsweep.core.text import printable
from lightsweep.sweeper.application import Application

FILE = "best.yaml"  # of a study, the best trial
REPEAT = "repeat.yaml"  # of a job of a sweep, itself


def write_best(
    folder: Path,
    loader: ConfigLoader,
    config: DictConfig,
    overrides: Sequence[str],
    application: Application,
    *,
    comment: str,
) -> None:
    """Write best.yaml of a study.

    Args:
        config: the sweep's composed config.
        overrides: of the best trial.
        comment: its first line.
    """
    best = loader.load_sweep_config(config, list(overrides))
    write_atomic(folder / FILE, f"# {comment}\n{_text(loader, config, best, application)}")


def write_repeat(
    folder: Path, loader: ConfigLoader, config: DictConfig, own: DictConfig, application: Application
) -> None:
    """Write repeat.yaml of a job.

    Args:
        config: the sweep's composed config.
        own: the job's.
    """
    comment = printable(f"{folder.name} of the sweep {config.hydra.sweeper.study_name}, to be trained again")
    write_atomic(folder / REPEAT, f"# {comment}\n{_text(loader, config, own, application)}")


def _text(loader: ConfigLoader, config: DictConfig, best: DictConfig, application: Application) -> str:
    name = str(config.hydra.job.config_name)
    choices: dict[str, str | None] = {
        str(group): choice
        for group, choice in best.hydra.runtime.choices.items()
        if choice
        and not str(group).startswith("hydra/")
        and "@" not in str(group)
        and group not in application.not_in_best
    }
    chosen = [f"{group}={choice}" for group, choice in choices.items()]
    if config.hydra.searchpath:
        chosen.append(f"hydra.searchpath={list(config.hydra.searchpath)}")
    plain = _plain(loader, name, tuple(chosen))
    mine, theirs = _contents(best, application), _contents(plain, application)
    for group in [group for group in plain.hydra.runtime.choices if group in theirs]:
        if _lacks(mine.get(group), theirs[group]):
            choices[group] = None  # a config can add to a choice, not take away from it: here comes the whole
            del theirs[group]
    body = _difference(mine, theirs)
    defaults: list[Any] = [name, *({f"override {group}": choice} for group, choice in choices.items()), "_self_"]
    return OmegaConf.to_yaml(OmegaConf.create({"defaults": defaults, **_elsewhere(config), **body}))


@lru_cache(maxsize=16)  # composing takes 0.1 s, and most trials make the same choices
def _plain(loader: ConfigLoader, name: str, chosen: tuple[str, ...]) -> DictConfig:
    """The defaults under these choices."""
    return loader.load_configuration(config_name=name, overrides=list(chosen), run_mode=RunMode.RUN)


def _elsewhere(config: DictConfig) -> dict[str, Any]:
    """Where else the sweep found its choices: folders that ``--config-dir`` or ``hydra.searchpath`` named."""
    sources = config.hydra.runtime.config_sources
    paths = [
        f"{source.schema}://{source.path}"
        for source in sources
        if source.provider == "command-line" or source.provider.startswith("hydra.searchpath")
    ]
    return {"hydra": {"searchpath": paths}} if paths else {}


def _lacks(one: Any, other: Any) -> bool:
    """Is there a key in the other that the one has not?"""
    if not isinstance(other, dict):
        return False
    if not isinstance(one, dict):
        return bool(other)
    return any(key not in one or _lacks(one[key], value) for key, value in other.items())


def _contents(config: DictConfig, application: Application) -> dict[str, Any]:
    contents = OmegaConf.to_container(
        application.own_config(config), resolve=False
    )  # with paths that hold in any folder
    assert isinstance(contents, dict)
    return {str(key): value for key, value in contents.items() if key not in application.not_in_best}


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    different: dict[str, Any] = {}
    for key, value in one.items():
        if isinstance(value, dict) and isinstance(other.get(key), dict):
            if nested := _difference(value, other[key]):
                different[key] = nested
        elif key not in other or value != other[key]:
            different[key] = value
    return different
