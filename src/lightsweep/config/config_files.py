"""What Hydra's config files come to, and keys in them that nothing reads."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from hydra.core.object_type import ObjectType
from omegaconf import DictConfig, OmegaConf

from lightsweep.config.targets import TARGET
from lightsweep.core.errors import ConfigError
from lightsweep.core.nearest import guess
from lightsweep.core.paths import ROOT

Parts = tuple[str, ...]
# Of Hydra's own keys; what is searched is a key of the run.
_PROPOSED = re.compile(r"hydra\.(sweeper(?!\.(params|when)\.)|launcher|run\.dir|sweep\.dir)")
SWEEPER = "hydra/sweeper/lightsweep"
_PRIMARY = "train"
_BEST = "best"  # a sweep's best.yaml; one of an earlier version may hold keys that did nothing
_GLOBAL = ("experiment", "sweep")  # groups whose files set keys at the root
_OBJECTS = ("callbacks", "logger")  # groups whose nodes are objects by names of their own


class UnknownKey(ConfigError):
    """No config has this key."""


@dataclass(frozen=True)
class Files:
    """What the config files come to, and where further choices lie.

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
        """All that could be meant; the sweeper's also where no sweep is run."""
        every = [*_flat(self.config), *(f"hydra.sweeper.{key}" for key in _flat(self.load(SWEEPER)))]
        kept = [key for key in dict.fromkeys(every) if not key.startswith("hydra") or _PROPOSED.match(key)]
        return [*kept, *_groups()]

    def load(self, path: str) -> Mapping[str, Any]:
        """A config file as it is written; {} where there is none."""
        found = None if self.repository is None else self.repository.load_config(path)
        config = None if found is None else found.config
        plain: Any = OmegaConf.to_container(config, resolve=False) if isinstance(config, DictConfig) else {}
        return plain

    def choices_with(self, parts: Parts) -> list[str]:
        """The choices of a group whose own files have a key that the chosen one lacks, ``scheduler=plateau``."""
        found = []
        for depth in range(len(parts) - 1, 0, -1):
            group, below = "/".join(parts[:depth]), parts[depth:]
            found += [f"{group}={name}" for name in self.choices(group) if has(self.load(f"{group}/{name}"), below)]
        return found

    def choices(self, group: str) -> list[str]:
        if not self.has_group(group):
            return []
        return [name for name in self.repository.get_group_options(group, ObjectType.CONFIG) if name[0] != "_"]


def check(files: Files, defaults: Sequence[Any]) -> None:
    """See that no config file brings a key at the root, or a callback or logger, that nothing knows.

    Args:
        defaults: Hydra's list of the files, in the order in which they were merged.

    Raises:
        UnknownKey: names the key and its file.
    """
    if not any(each.primary and each.config_path == _BEST for each in defaults):
        for key, value in files.config.items():
            if isinstance(value, Mapping) and TARGET in value:
                continue  # which may not stand there: `targets` says so
            if key not in roots() and not is_read(str(key), files.config, ()):
                raise UnknownKey(f"{_origin(key, files, defaults)}{key}: no config has this key{_near(key, files)}")
    for group in _GLOBAL:
        if isinstance(files.config.get(group), Mapping) and not is_read(group, files.config, ()):
            raise UnknownKey(_without_package(group, defaults))
    for group in _OBJECTS:
        nodes = files.config.get(group) if files.has_group(group) else None  # not where a saved config is the whole
        for name, node in nodes.items() if isinstance(nodes, Mapping) else ():
            _check_object(group, str(name), node, files)


def _check_object(group: str, name: str, node: Any, files: Files) -> None:
    """Without a ``_target_`` it is left out: it is misspelled, unless it is of a choice that another replaced."""
    if not isinstance(node, Mapping) or TARGET in node or files.choices_with((group, name)):
        return
    known = {f"{group}.{each}" for choice in files.choices(group) for each in files.load(f"{group}/{choice}")}
    raise UnknownKey(f"{group}.{name}: no config has this key{guess(f'{group}.{name}', sorted(known))}")


def _without_package(group: str, defaults: Sequence[Any]) -> str:
    paths = [path for each in defaults if (path := each.config_path) and path.startswith(f"{group}/")]
    file = paths[-1] if paths else f"{group}/…"
    return (
        f"{file}.yaml must begin with the line '# @package _global_': without it, its keys are below {group}, where"
        " nothing reads them"
    )


def _near(key: Any, files: Files) -> str:
    return guess(str(key), [each for each in files.every_key() if each.partition(".")[0] != str(key)])


def _origin(key: Any, files: Files, defaults: Sequence[Any]) -> str:
    """The last of the files that has the key."""
    places = [path for each in defaults if (path := each.config_path) and key in files.load(path)]
    return f"{places[-1]}.yaml: " if places else ""


def has(config: Any, parts: Parts) -> bool:
    """Is there such a key, whatever its value? Below an interpolation is whatever it refers to."""
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


def beside(one: Mapping[str, Any], other: Mapping[str, Any]) -> Mapping[str, Any]:
    """The keys of both, those of inner nodes too; where both have a value, the other's."""
    both = {key: beside(one[key], other[key]) for key in one if _are_nodes(one[key], other.get(key))}
    return {**one, **other, **both}


def _are_nodes(*values: Any) -> bool:
    return all(isinstance(value, Mapping) for value in values)


def is_read(root: str, config: Mapping[str, Any], typed: Sequence[str]) -> bool:
    """Does some interpolation read a key at the root, ``${mine}`` or ``${mine.width}``?"""
    pattern = re.compile(rf"\$\{{{re.escape(root)}[.\[}}]")
    return any(pattern.search(text) for text in (*typed, *_texts(config)))


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from _texts(value)
    elif isinstance(node, str):
        yield node


def _flat(node: Any, prefix: str = "") -> Iterator[str]:
    """Every key of a mapping, those of inner nodes too; not Hydra's own ``_target_`` and its like."""
    for name, value in node.items() if isinstance(node, Mapping) else ():
        if not str(name).startswith("_"):
            yield f"{prefix}{name}"
            yield from _flat(value, f"{prefix}{name}.")


@cache
def _groups() -> tuple[str, ...]:
    """The groups below others, ``hydra/sweeper/pruner``; those at the root are keys of the config, too."""
    folders = (folder.relative_to(ROOT / "conf").as_posix() for folder in (ROOT / "conf").rglob("*") if folder.is_dir())
    return (*sorted(name for name in folders if "/" in name), "hydra/launcher", "hydra/sweeper/sampler")


@cache
def roots() -> frozenset[str]:
    """The keys at the root of a run's config: those of conf/train.yaml and the groups in its defaults."""
    primary: Any = OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / f"{_PRIMARY}.yaml"), resolve=False)
    groups = {str(name) for entry in primary["defaults"] if isinstance(entry, dict) for name in entry}
    return frozenset({*primary, *groups, "hydra"} - {"defaults"})
