"""config.yaml of a run: written before the run starts, read, and changed when the run is resumed."""

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightsweep.config import keys, permissions
from lightsweep.config.build import default_arguments
from lightsweep.core.errors import ConfigError, Interrupted
from lightsweep.core.files import (
    create_folder_atomically,
    find_missing,
    remove_empty,
    remove_leftover_folders,
    remove_leftovers,
    write_atomic,
)
from lightsweep.core.moved import rename_moved
from lightsweep.runs.run_folder import CONFIG, discard_folder, is_follower, is_run, print_how_to_resume, was_trained

OVERRIDES = "overrides"  # its extra key: what was typed
_GRID = "multirun.yaml"
ONCE = ("resume", "allow_changed_data")  # these hold for one start, and are not the run's own


def write_config(config: DictConfig, folder: Path) -> None:
    """Write the config of a run that starts, as `own_config` gives it, with what was typed."""
    own = own_config(config)
    own.overrides = list(config.hydra.overrides.task)
    write_atomic(folder / CONFIG, OmegaConf.to_yaml(own))


def write_changes(config: DictConfig, folder: Path, threads: int | None = None) -> None:
    """Write what was typed when a run was resumed into its config, for the next time that it is resumed, and the keys
    that a later version of the program brought.

    Call it only when training starts: a value that is refused changes nothing.

    Args:
        config: of a resumed run, as `with_overrides` made it; that of any other run stays as it was first written but
            for the threads.
        threads: what ``threads=auto`` has come to mean. Only with so many a resumed run is the same.
    """
    if is_follower() or (OVERRIDES not in config and threads is None):
        return
    file = folder / CONFIG
    text = written = file.read_text(encoding="utf-8")
    if threads is not None:
        config.threads = threads
        text = re.sub("(?m)^threads: .*$", f"threads: {threads}", text)
    if OVERRIDES in config:
        text = OmegaConf.to_yaml(own_config(config))
    if text != written:
        before = file.stat()
        write_atomic(file, text)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # `newest_run` sorts by it


def read_threads(folder: Path) -> int | None:
    """The number that ``threads=auto`` has come to mean for the run in this folder; None before that."""
    with suppress(OSError, UnicodeError):
        if found := re.search(r"(?m)^threads: (\d+)$", (folder / CONFIG).read_text(encoding="utf-8")):
            return int(found[1])
    return None


def own_config(config: DictConfig) -> DictConfig:
    """The part of a composed config that is the run's own, with absolute paths."""
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key not in ("hydra", *ONCE)])
    OmegaConf.set_struct(own, False)
    for node, key, path in _paths(own):
        node[key] = _absolute(path)
    return own


def has_relative_paths(config: DictConfig) -> bool:
    """Whether `own_config` has other paths than the config."""
    return any(path != _absolute(path) for _, _, path in _paths(config))


def _paths(config: DictConfig) -> Iterator[tuple[DictConfig, str, str]]:
    """The nodes and keys of paths, and each path. To read one that is an interpolation takes a millisecond."""
    for node, key in ((config, "data_dir"), (config, "init_from"), (config.get("data"), "root")):
        if isinstance(node, DictConfig) and isinstance(path := node.get(key), str):
            yield node, key, path


def _absolute(path: str) -> str:
    return os.path.abspath(Path(path).expanduser())  # noqa: PTH100  # resolve() would leave symlinks


def read_config(folder: Path) -> DictConfig:
    """A run's own config, as it was started or last resumed; its extra key `overrides` lists what was typed.

    Raises:
        ConfigError: the file is damaged.
    """
    permissions.restrict_interpolations()
    try:
        config = OmegaConf.load(folder / CONFIG)
        if not isinstance(config, DictConfig):
            raise ValueError("no mapping")
        rename_moved(config)
        content: Any = OmegaConf.to_container(config, resolve=False)
        typed = content.get(OVERRIDES, [])
        if not (isinstance(typed, list) and all(isinstance(line, str) for line in typed)):
            raise ValueError(f"{OVERRIDES} must be a list of texts")
        permissions.check_targets(content)
    except ConfigError as error:
        raise ConfigError(f"{folder / CONFIG}: {error}") from error
    except Exception as error:  # YAML, Unicode, OmegaConf: each has its own
        raise ConfigError(f"{folder / CONFIG} cannot be read ({' '.join(str(error).split())})") from error
    return config


def with_overrides(own: DictConfig, composed: DictConfig, overrides: list[str], groups: set[str]) -> DictConfig:
    """A resumed run's own config with today's further keys, and with what was typed now on top.

    Args:
        own: the run's config.
        composed: the config as Hydra composed it from the defaults and `overrides`, which is where values come from.
        groups: names of the config groups, ``optimizer`` and so on: a choice replaces the node.
    """
    today: Any = OmegaConf.to_container(composed, resolve=False)
    add_missing_keys(own, {key: value for key, value in today.items() if key != "resume"})
    own["allow_changed_data"] = today["allow_changed_data"]
    typed: dict[str, str] = {}  # what Hydra got: what was typed
    parsed = OverridesParser.create().parse_overrides(overrides)
    for override in sorted(parsed, key=lambda each: each.key_or_group not in groups):  # choices first, as in Hydra
        key, line = override.key_or_group, str(override.input_line)
        if key in (*ONCE, "run_dir") or key.startswith("hydra"):
            continue
        if has_key(own, key):
            line = line.removeprefix("++")  # `app.arguments` may have added it
        _check_change(own, override, line, is_choice=key in groups)
        value = override.value()
        merge = isinstance(value, dict)  # loss={l2:0.1} leaves its other keys as they are, as in Hydra
        try:
            new = value if merge else OmegaConf.select(composed, key)
            OmegaConf.update(own, key, new, merge=merge, force_add=True)
        except OmegaConfBaseException as error:
            raise ConfigError(f"{line}: {' '.join(str(error).split())}") from error
        typed[str(override.input_line)] = line
    lines = [*own.get(OVERRIDES, []), *(typed[line] for line in overrides if line in typed)]
    own[OVERRIDES] = list(dict.fromkeys(reversed(lines)))[::-1]  # of equal lines the last
    return own


def _check_change(own: DictConfig, override: Override, line: str, *, is_choice: bool) -> None:
    """Refuse what a resumed run cannot change, and a key that it does not have."""
    key = override.key_or_group
    if key in ("init_from", "lr_find"):
        raise ConfigError(f"{line}: a resumed run keeps its own weights and learning rate")
    if override.is_delete() or key in ("experiment", "sweep"):
        raise ConfigError(f"{line}: a resumed run keeps its own; override single keys instead")
    if not is_choice and not has_key(own, key):
        content: Any = OmegaConf.to_container(own, resolve=False)
        keys.check_keys([override], keys.Files(content, None))


def has_key(config: DictConfig, key: str) -> bool:
    """Whether there is such a key, ``optimizer.lr``, whatever its value."""
    return keys.has_key(OmegaConf.to_container(config, resolve=False), tuple(key.split(".")))


def config_options(hydra: Any) -> list[str]:
    """``--config-dir`` and ``--config-name`` as they were typed, from Hydra's own config of a run.

    Raises:
        KeyError, TypeError: it is no such config.
    """
    sources, name = hydra["runtime"]["config_sources"], hydra["job"]["config_name"]
    folders = [str(source["path"]) for source in sources if source["provider"] == "command-line"]
    options = [part for folder in folders for part in ("--config-dir", folder)]
    return options if name == "train" else [*options, "--config-name", str(name)]


def add_missing_keys(node: DictConfig, defaults: Mapping[str, Any] | None = None) -> None:
    """Give a saved config, or a node of one, in place, the keys that came with a later version, as they are by default.

    Classes of torch and Lightning have defaults of their own: what a run left out there stays out.

    Args:
        defaults: the keys that the node has today, as plain values; by default those of the class that it names.
    """
    if defaults is None:
        target = str(node.get(permissions.TARGET))
        defaults = default_arguments().get(target, {}) if target.startswith("lightsweep.") else {}
    for name in defaults.keys() - node.keys():
        node[name] = defaults[name]
    plain: Any = OmegaConf.to_container(node, resolve=False)
    for name, value in plain.items():
        if isinstance(value, dict):  # an interpolation is a text
            add_missing_keys(node[name])


class ConfigFirst(Callback):
    """A Hydra callback: the run's own config.yaml is in its folder from the moment that the folder exists.

    So a run that is killed at any moment can be resumed. (Hydra's `.hydra/config.yaml` is overwritten when a run is
    resumed.)
    """

    def __init__(self) -> None:
        self.unused: Path | None = None  # the folder made here, until a job works in it
        self.before: set[str] = set()  # what lay in a grid's folder
        self.made: list[Path] = []  # the folders that a grid has to make
        self.jobs = self.trained = 0  # of a grid: started, and worth their folders

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.run.dir)
        if config.get("resume") is not None or is_follower() or folder.exists():
            return  # where the folder exists, `on_job_start` writes
        with suppress(OSError, OmegaConfBaseException):  # what is wrong comes up again, and is reported, in the run
            remove_leftover_folders(folder.parent)
            with create_folder_atomically(folder) as new:
                write_config(config, new)
            self.unused = folder.absolute()

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        self.unused = None
        self.jobs += 1
        if is_follower():
            return
        folder = Path(config.hydra.runtime.output_dir)
        remove_leftovers(folder)
        if not is_run(folder):
            with suppress(OmegaConfBaseException):
                write_config(config, folder)

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        if self.unused is None:
            return
        if isinstance(sys.exception(), Interrupted):
            print_how_to_resume(self.unused)
        else:  # Hydra itself failed
            discard_folder(self.unused)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        self.trained += was_trained(Path(config.hydra.runtime.output_dir))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        self.made = find_missing(folder)
        self.before = {file.name for file in folder.glob("*")}

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Remove what a grid leaves if nothing was trained; fail where it had no job, which Hydra calls a success.

        The folders of jobs may lie elsewhere, as `hydra.sweep.subdir` says. Jobs of a launcher run in other processes,
        and are known by their folders only.
        """
        folder, choices = Path(config.hydra.sweep.dir), config.hydra.runtime.choices
        if is_follower():
            if self.made and not self.trained:  # its name has the time in it: the first process has another one
                shutil.rmtree(folder, ignore_errors=True)
            return
        left = {file.name for file in folder.glob("*")} - self.before
        sweep: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
        below = Path(str(sweep["subdir"]))
        uncounted = choices.get("hydra/launcher") != "basic" and (below.is_absolute() or ".." in below.parts)
        if self.trained or not left <= {_GRID} or uncounted:
            return
        for name in left:
            (folder / name).unlink()
        remove_empty(self.made)
        if not self.jobs and choices.get("hydra/sweeper") == "basic" and sys.exception() is None:
            reason = "a glob found no choice; it enters no folder, '+experiment/reference=glob(a*)' names one"
            print(f"no job was run: {reason}", file=sys.stderr)
            sys.exit(1)  # an exception in a callback would be no more than a warning
