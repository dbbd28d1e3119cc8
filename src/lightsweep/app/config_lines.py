"""A whole config of train.py, as a run has saved it or a file describes it, as the overrides that give it again."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightsweep.app import arguments
from lightsweep.config import loader, permissions
from lightsweep.core.checks import is_number
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import CONF, read_json
from lightsweep.core.overrides import format_value, is_below
from lightsweep.reports.runs import RESULT_FILE, load_yaml
from lightsweep.runs import run_folder, saved_config
from lightsweep.sweeper.config_differences import flatten

_GROUPS = ("data", "model", "optimizer", "scheduler", "trainer")
_LOCAL = ("seed", "overrides", "experiment", "sweep")  # of a run, and not of what it does
_OVERRIDE = "override "

Content = Mapping[str, Any]


def read_run(folder: Path) -> Content:
    """A run's own config.

    Raises:
        ConfigError: it cannot be read, or names what may not be called.
    """
    return _plain(saved_config.read_config(folder))


def read_seconds(folder: Path) -> float | None:
    """How long a run took; None where it does not say."""
    try:
        seconds = read_json(folder / RESULT_FILE)["seconds"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return seconds if is_number(seconds) and seconds >= 0 else None


def read_file(path: Path) -> Content:
    """The config that a file describes: a run's config.yaml, or one that ``--config-name`` takes, such as best.yaml.

    Raises:
        ConfigError: it is neither.
    """
    content = load_yaml(path)
    if not isinstance(content, dict) or not content:
        raise ConfigError(f"{path}: it cannot be read as a config")
    if "defaults" not in content:
        if path.name == run_folder.CONFIG:
            return read_run(path.parent)
        raise ConfigError(f"{path}: it must be a run's {run_folder.CONFIG}, or have a defaults list as best.yaml has")
    permissions.check_targets({key: value for key, value in content.items() if key not in ("defaults", "hydra")})
    return compose(list(_lines_of_file(content, path)))


def _lines_of_file(content: Content, path: Path) -> Iterator[str]:
    entries = content["defaults"]
    for entry in entries if isinstance(entries, list) else [None]:
        if isinstance(entry, str):
            continue  # train, _self_
        if not isinstance(entry, dict) or len(entry) != 1:
            raise ConfigError(f"{path}: its defaults list must name config groups")
        group, choice = next(iter(entry.items()))
        name = str(group).removeprefix(_OVERRIDE).lstrip("/")
        if not name.startswith("hydra"):
            yield f"~{name}" if choice is None else f"{name}={format_value(choice)}"
    for key, value in flatten("", {name: each for name, each in content.items() if name not in ("defaults", "hydra")}):
        yield f"++{key}={format_value(value)}"


def compose(lines: Sequence[str]) -> Content:
    """The run's own part of the config that train.py composes from these overrides.

    Raises:
        ConfigError: they do not compose.
    """
    arguments.register_resolvers()
    loader.install(saved_config.read_config)
    try:
        with hydra.initialize_config_dir(str(CONF)):
            return _plain(saved_config.own_config(hydra.compose("train", list(lines))))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(" ".join(str(error).split())) from error


def lines_of(content: Content) -> list[str]:
    """The overrides of train.py that give this config, but for what is local to a run."""
    choices = [f"{group}={choice}" for group in _GROUPS if (choice := _find_choice(group, content.get(group)))]
    known = dict(flatten("", compose(choices)))
    left_out = (*_changeable(), *_LOCAL)
    wanted = {key: value for key, value in flatten("", dict(content)) if not is_below(key, left_out)}
    nodes = {key for key in known if any(other.startswith(f"{key}.") for other in wanted)}
    lines = [
        f"++{key}={format_value(value)}" for key, value in wanted.items() if key not in known or known[key] != value
    ]
    gone = [key for key in known if key not in wanted and key not in nodes and not is_below(key, left_out)]
    return [*choices, *(f"~{key}" for key in gone), *lines]


def _find_choice(group: str, node: Any) -> str | None:
    """The choice of a config group that is most like a node; None where no choice has its class."""
    if not isinstance(node, dict) or "_target_" not in node:
        return None
    leaves = set(map(str, flatten("", node)))
    found: dict[str, int] = {}
    for file in sorted((CONF / group).glob("[!_]*.yaml")):
        choice = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        if isinstance(choice, dict) and choice.get("_target_") == node["_target_"]:
            choice.pop("defaults", None)
            found[file.stem] = len(leaves & set(map(str, flatten("", choice))))
    return max(found, key=found.__getitem__) if found else None


def _changeable() -> list[str]:
    """Keys that say where a run is and what it shows, by the sweeper's settings; not where the data are."""
    settings: Any = OmegaConf.to_container(OmegaConf.load(CONF / "hydra" / "sweeper" / "lightsweep.yaml"))
    return [key for key in settings["changeable_keys"] if key != "data_dir"]


def _plain(config: Any) -> Content:
    content: Any = OmegaConf.to_container(config, resolve=False)
    return content
