"""The keys that configs have: an unknown key is an error, with a proposal.

Hydra accepts any key after a ``+``; one that nothing reads would have no effect, silently. Here ``+`` may add arguments
of a class (compared with its signature in `build`), nodes with a ``_target_``, config groups, and Hydra's own keys.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override, Sweep
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import split_key

from lightsweep.config.permissions import TARGET, find_value, walk
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import ROOT
from lightsweep.core.text import did_you_mean

Parts = tuple[str, ...]
# Of Hydra's keys those that are proposed.
_PROPOSED = re.compile(r"hydra\.(sweeper(?!\.(params|when)\.)|launcher|run\.dir|sweep\.dir)")
SWEEPER = "hydra/sweeper/_lightsweep_settings"
_PRIMARY = "train"
_BEST = "best"  # a sweep's best.yaml; one of an earlier version may hold keys without effect
_GLOBAL = ("experiment", "sweep")  # groups whose files set keys at the root
_OBJECTS = ("callbacks", "logger")  # groups whose nodes are objects by any name


class UnknownKey(ConfigError):
    """No config has this key."""


@dataclass(frozen=True)
class Files:
    """The composed config files, and where other choices are found.

    Args:
        config: plain dicts with their interpolations.
        repository: Hydra's, of config files; None where only the config is known.
    """

    config: Mapping[str, Any]
    repository: Any

    def has_group(self, name: str) -> bool:
        return self.repository is not None and self.repository.group_exists(name)

    def has_file(self, path: str) -> bool:
        return self.repository is not None and self.repository.config_exists(path)

    def every_key(self) -> list[str]:
        """All keys that may be meant, those of the sweeper also without a sweep."""
        every = [*_flat(self.config), *(f"hydra.sweeper.{key}" for key in _flat(self.load(SWEEPER)))]
        kept = [key for key in dict.fromkeys(every) if not key.startswith("hydra") or _PROPOSED.match(key)]
        return [*kept, *_groups()]

    def load(self, path: str) -> Mapping[str, Any]:
        """A config file as written; {} where there is none."""
        found = None if self.repository is None else self.repository.load_config(path)
        config = None if found is None else found.config
        plain: Any = OmegaConf.to_container(config, resolve=False) if isinstance(config, DictConfig) else {}
        return plain

    def choices_with(self, parts: Parts) -> list[str]:
        """The choices of a group that have a key which the chosen one lacks, ``scheduler=plateau``."""
        found = []
        for depth in range(len(parts) - 1, 0, -1):
            group, below = "/".join(parts[:depth]), parts[depth:]
            found += [f"{group}={name}" for name in self.choices(group) if has_key(self.load(f"{group}/{name}"), below)]
        return found

    def choices(self, group: str) -> list[str]:
        if not self.has_group(group):
            return []
        return [name for name in self.repository.get_group_options(group, ObjectType.CONFIG) if name[0] != "_"]


def check_files(files: Files, defaults: Sequence[Any]) -> None:
    """See that no config file has an unknown key at the root, or an unknown callback or logger.

    Args:
        defaults: Hydra's list of the files, in the order in which they were merged.

    Raises:
        UnknownKey: names the key and its file.
    """
    if not any(each.primary and each.config_path == _BEST for each in defaults):
        for key, value in files.config.items():
            if isinstance(value, Mapping) and TARGET in value:
                continue  # refused by `check_targets`
            if key not in root_keys() and not is_read(str(key), files.config, ()):
                others = [each for each in files.every_key() if each.partition(".")[0] != str(key)]
                hint = did_you_mean(str(key), others)
                raise UnknownKey(f"{_origin(key, files, defaults)}{key}: no config has this key{hint}")
    for group in _GLOBAL:
        if isinstance(files.config.get(group), Mapping) and not is_read(group, files.config, ()):
            raise UnknownKey(_without_package(group, defaults))
    for group in _OBJECTS:
        nodes = files.config.get(group) if files.has_group(group) else None  # not of a saved config alone
        for name, node in nodes.items() if isinstance(nodes, Mapping) else ():
            _check_object(group, str(name), node, files)


def _check_object(group: str, name: str, node: Any, files: Files) -> None:
    """A node without ``_target_`` has no effect: its name is misspelled, or of a choice that was replaced."""
    if not isinstance(node, Mapping) or TARGET in node or files.choices_with((group, name)):
        return
    known = {f"{group}.{each}" for choice in files.choices(group) for each in files.load(f"{group}/{choice}")}
    raise UnknownKey(f"{group}.{name}: no config has this key{did_you_mean(f'{group}.{name}', sorted(known))}")


def _without_package(group: str, defaults: Sequence[Any]) -> str:
    paths = [path for each in defaults if (path := each.config_path) and path.startswith(f"{group}/")]
    file = paths[-1] if paths else f"{group}/…"
    return (
        f"{file}.yaml must begin with the line '# @package _global_': without it, its keys are below {group}, where"
        " nothing reads them"
    )


def _origin(key: Any, files: Files, defaults: Sequence[Any]) -> str:
    """The last file that has the key."""
    paths = [path for each in defaults if (path := each.config_path) and key in files.load(path)]
    return f"{paths[-1]}.yaml: " if paths else ""


def has_key(config: Any, parts: Parts) -> bool:
    """Does the config have this key? Any key counts below an interpolation."""
    node = config
    for part in parts:
        if isinstance(node, str) and "${" in node:
            return True
        if isinstance(node, list) and part.lstrip("-").isdecimal() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, Mapping) and part in node:
            node = node[part]
        else:
            return False
    return True


def merge_keys(one: Mapping[str, Any], other: Mapping[str, Any]) -> Mapping[str, Any]:
    """The keys of both configs, at any depth; where both have a value, that of the other."""
    nodes = [key for key in one if isinstance(one[key], Mapping) and isinstance(other.get(key), Mapping)]
    return {**one, **other, **{key: merge_keys(one[key], other[key]) for key in nodes}}


def is_read(root: str, config: Mapping[str, Any], typed: Sequence[str]) -> bool:
    """Does an interpolation read this key at the root, ``${mine}`` or ``${mine.width}``?"""
    pattern = re.compile(rf"\$\{{{re.escape(root)}[.\[}}]")
    texts = (value for _, value in walk(config) if isinstance(value, str))
    return any(pattern.search(text) for text in (*typed, *texts))


def _flat(node: Any, prefix: str = "") -> Iterator[str]:
    """The keys of a mapping, at any depth, without ``_target_`` and other keys of Hydra."""
    for name, value in node.items() if isinstance(node, Mapping) else ():
        if not str(name).startswith("_"):
            yield f"{prefix}{name}"
            yield from _flat(value, f"{prefix}{name}.")


@cache
def _groups() -> tuple[str, ...]:
    """The groups inside groups, ``hydra/sweeper/pruner``; those at the root are keys of the config too."""
    folders = (folder.relative_to(ROOT / "conf").as_posix() for folder in (ROOT / "conf").rglob("*") if folder.is_dir())
    return (*sorted(name for name in folders if "/" in name), "hydra/launcher", "hydra/sweeper/sampler")


@cache
def root_keys() -> frozenset[str]:
    """The keys at the root of a run's config: those of conf/train.yaml and the groups in its defaults."""
    primary: Any = OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / f"{_PRIMARY}.yaml"), resolve=False)
    groups = {str(name) for entry in primary["defaults"] if isinstance(entry, dict) for name in entry}
    return frozenset({*primary, *groups, "hydra"} - {"defaults"})


def check_keys(overrides: Sequence[Override], files: Files) -> None:
    """See that each typed key is in the config files, or is one that ``+`` may add.

    Raises:
        UnknownKey: names it, with proposals.
    """
    texts = [str(each.input_line) for each in overrides]
    objects = _objects(overrides)
    added: set[Parts] = set()
    for override in overrides:
        if isinstance(override.value(), Sweep) or _is_choice(override, files):
            continue  # checked in each job
        for parts in _merged(tuple(split_key(override.key_or_group)), override.value(), files.config):
            if has_key(files.config, parts) or any(parts[:depth] in added for depth in range(1, len(parts) + 1)):
                continue
            adds = override.is_add() or override.is_force_add()
            mine = parts[0] not in files.config and is_read(parts[0], files.config, texts)
            if not adds or not (mine or is_open(parts, files.config, objects)):
                raise UnknownKey(_message(override, parts, files))
            added.add(parts)


def is_open(parts: Parts, config: Mapping[str, Any], objects: Collection[Parts]) -> bool:
    """May ``+`` add this key?

    Args:
        objects: the nodes for which a ``_target_`` is typed.
    """
    if parts[0] == "hydra" or parts[-1] == TARGET:  # what may be called is compared elsewhere
        return True
    above = [parts[:depth] for depth in range(1, len(parts) + 1)]
    return any(each in objects or has_key(config, (*each, TARGET)) for each in above)


def _is_choice(override: Override, files: Files) -> bool:
    """Does it choose a file of a group, or remove one?"""
    if override.is_value_path or isinstance(override.value(), dict):
        return False
    return files.has_group(override.key_or_group) or (override.is_delete() and files.has_file(override.key_or_group))


def _objects(overrides: Sequence[Override]) -> set[Parts]:
    found: set[Parts] = set()
    for override in overrides:
        parts = tuple(split_key(override.key_or_group))
        if parts[-1:] == (TARGET,):
            found.add(parts[:-1])
        elif isinstance(value := override.value(), dict) and TARGET in value:
            found.add(parts)
    return found


def _merged(parts: Parts, value: Any, config: Mapping[str, Any]) -> Iterator[Parts]:
    """The keys that a value sets; a mapping is merged into a node."""
    node = find_value(config, parts)
    if isinstance(value, dict) and value and isinstance(node, Mapping):
        for name, item in value.items():
            yield from _merged((*parts, str(name)), item, config)
    else:
        yield parts


def _message(override: Override, parts: Parts, files: Files) -> str:
    prefix = "~" if override.is_delete() else "+" * (override.is_add() + 2 * override.is_force_add())
    key = ".".join(parts)
    line = f"{prefix}{key}: no config has this key"
    if parts[:2] == ("hydra", "sweeper") and files.load(SWEEPER).keys() & {parts[-1]}:
        return f"{line}; it comes with a sweep: sweep=NAME, or -m hydra/sweeper=lightsweep"
    if others := files.choices_with(parts):
        return f"{line}; it comes with {' or '.join(others)}"
    hint = did_you_mean(key, files.every_key())
    target = None if prefix else _library_class(find_value(files.config, parts[:-1]))
    adds = f" (+{key} adds an argument of {target})" if target else ""
    return f"{line}{hint}{adds}" if hint or adds else f"{line} (python src/train.py --cfg job shows all)"


def _library_class(node: Any) -> str | None:
    """The class of a node, if it is not ours: it may have more arguments than the YAML file."""
    target = node.get(TARGET) if isinstance(node, Mapping) else None
    return target if isinstance(target, str) and not target.startswith(("lightsweep.", "hydra")) else None
