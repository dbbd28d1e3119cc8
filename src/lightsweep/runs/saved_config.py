"""config.yaml of a run: written, read, changed when it is resumed; and the name that follows from what was typed."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightsweep.config import keys, permissions
from lightsweep.config.build import default_arguments
from lightsweep.config.permissions import TARGET
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import write_atomic
from lightsweep.core.moved import rename_moved
from lightsweep.runs.run_folder import CONFIG, is_follower

OVERRIDES = "overrides"  # its extra key: what was typed
_ONCE = ("resume", "allow_changed_data")  # what holds for one start, and is not the run's own


def write_config(config: DictConfig, folder: Path) -> None:
    """Write the run's config, with what depends on the shell it was typed in resolved."""
    own = own_config(config)
    own.overrides = list(config.hydra.overrides.task)
    write_atomic(folder / CONFIG, OmegaConf.to_yaml(own))


def write_changes(config: DictConfig, folder: Path) -> None:
    """Write what was typed when a run was resumed into its config, for the next time that it is resumed;
    also the keys that a later version of the program brought.

    Call it only when training starts: a value that is refused changes nothing.

    Args:
        config: of a resumed run, as `with_overrides` made it; any other's stays as it was first written.
    """
    if OVERRIDES not in config or is_follower():
        return
    file = folder / CONFIG
    text = OmegaConf.to_yaml(own_config(config))
    if text != file.read_text(encoding="utf-8"):
        before = file.stat()
        write_atomic(file, text)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # `newest_run` sorts by it


def own_config(config: DictConfig) -> DictConfig:
    """What of a composed config is the run's, with paths that hold wherever it is read."""
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key not in ("hydra", *_ONCE)])
    OmegaConf.set_struct(own, False)
    for node, key in ((own, "data_dir"), (own, "init_from"), (own.get("data"), "root")):
        if isinstance(node, DictConfig) and isinstance(node.get(key), str):
            node[key] = os.path.abspath(Path(node[key]).expanduser())  # noqa: PTH100  # resolve() would leave symlinks
    return own


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
    typed: dict[str, str] = {}  # as Hydra got it, as it was typed
    parsed = OverridesParser.create().parse_overrides(overrides)
    for override in sorted(parsed, key=lambda each: each.key_or_group not in groups):  # choices first, as in Hydra
        key, line = override.key_or_group, str(override.input_line)
        if key in (*_ONCE, "run_dir") or key.startswith("hydra"):
            continue
        if has_key(own, key):
            line = line.removeprefix("++")  # which `app.arguments` may have put there
        _check_change(own, override, line, is_choice=key in groups)
        value = override.value()
        partly = isinstance(value, dict)  # loss={l2:0.1} leaves the others of its keys as they are, as in Hydra
        try:
            new = value if partly else OmegaConf.select(composed, key)
            OmegaConf.update(own, key, new, merge=partly, force_add=True)
        except OmegaConfBaseException as error:
            raise ConfigError(f"{line}: {' '.join(str(error).split())}") from error
        typed[str(override.input_line)] = line
    every = [*own.get(OVERRIDES, []), *(typed[line] for line in overrides if line in typed)]
    own[OVERRIDES] = list(dict.fromkeys(reversed(every)))[::-1]  # of equal lines the last
    return own


def _check_change(own: DictConfig, override: Override, line: str, *, is_choice: bool) -> None:
    """Refuse what a resumed run cannot change, and a key that it does not have."""
    key = override.key_or_group
    if key in ("init_from", "lr_find"):
        raise ConfigError(f"{line}: a resumed run goes on with its own weights and rate")
    if override.is_delete() or key in ("experiment", "sweep"):
        raise ConfigError(f"{line}: a resumed run keeps its own; override single keys instead")
    if not is_choice and not has_key(own, key):
        content: Any = OmegaConf.to_container(own, resolve=False)
        keys.check_keys([override], keys.Files(content, None))


def has_key(config: DictConfig, key: str) -> bool:
    """Is there such a key, ``optimizer.lr``, whatever its value?"""
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
        target = str(node.get(TARGET))
        defaults = default_arguments().get(target, {}) if target.startswith("lightsweep.") else {}
    for name in defaults.keys() - node.keys():
        node[name] = defaults[name]
    plain: Any = OmegaConf.to_container(node, resolve=False)
    for name, value in plain.items():
        if isinstance(value, dict):  # an interpolation is a text
            add_missing_keys(node[name])


_MOST = 60  # letters, and bytes of a folder's name, which also has the time or the job's number
# What changes where and how a run computes, or what is kept of it, but not what it is.
_SILENT = ("hydra", "logger", "callbacks", "sweep")
_SILENT_KEYS = {
    *("name", "run_dir", "data_dir", "resume", "test", "report", "threads", "compile", "score_with", "data.root"),
    *("trainer", "trainer.accelerator", "trainer.devices", "trainer.strategy", "trainer.num_nodes"),
    "allow_changed_data",
}


def name_run(name: object, overrides: Sequence[str]) -> str:
    """The name that was given, or else one that says what was typed; an empty text where nothing was.

    Args:
        overrides: what was typed, ``key=value`` each.
    """
    return str(name) if name is not None else "-".join(_within(_parts(overrides)))


def folder_suffix(name: object, overrides: Sequence[str]) -> str:
    """The same as a part of a folder's name: a hyphen, then letters, digits and ``. _ - + =`` only."""
    plain = re.sub(r"[^\w.+=-]+", "-", name_run(name, overrides))
    plain = plain.strip("-.").encode()[:_MOST].decode(errors="ignore").strip("-.")
    return f"-{plain}" if plain else ""


def _within(parts: Iterable[str]) -> Iterator[str]:
    """As many parts as there is room for; none is cut."""
    length = 0
    for part in parts:
        length += len(part) + 1
        if length > _MOST + 1:
            return
        yield part


def _parts(overrides: Sequence[str]) -> Iterator[str]:
    for override in _last_of_each_key(overrides):
        key = override.key_or_group
        silent = key in _SILENT_KEYS or re.split(r"[./]", key)[0] in _SILENT
        if not (silent or override.is_delete() or override.is_sweep_override()):
            yield _part(key, override.value())


def _last_of_each_key(overrides: Sequence[str]) -> Iterable[Override]:
    """Of a key that was typed twice, as for a resumed run, the last value counts."""
    parser, found = OverridesParser.create(), dict[str, Override]()
    for line in overrides:
        with suppress(HydraException):  # it is refused where it matters
            override = parser.parse_override(line)
            found[override.key_or_group] = override
    return found.values()


def _part(key: str, value: Any) -> str:
    last = re.split(r"[./@]", key)[-1]
    if isinstance(value, bool):
        return last if value else f"no-{last}"
    if isinstance(value, int | float):
        return f"{last}{'-' if last[-1:].isdecimal() else ''}{_number(value)}"
    if isinstance(value, list):
        return f"{last}{'-'.join(map(_text, value))}"
    if isinstance(value, dict):
        return "-".join(_part(f"{key}.{name}", item) for name, item in value.items())
    return _text(value) if "." not in key else f"{last}-{_text(value)}"  # a choice of a group says what it is


def _text(value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return _number(value) if is_number else str(value).strip("'\"").replace("/", "-")


def _number(value: float) -> str:
    """The shorter of ``0.003`` and ``3e-3``."""
    plain = repr(value)
    digits, _, exponent = f"{value:e}".partition("e")
    if not exponent:  # inf, nan
        return plain
    short = f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"
    return min(plain, short, key=len) if float(short) == value else plain
