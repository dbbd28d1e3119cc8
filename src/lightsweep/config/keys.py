"""Keys that no config has are refused, with the key that was meant.

Hydra takes any key after a ``+``: what nothing reads would do nothing, silently. A ``+`` is for the nodes that are open
by nature: further arguments of a class, which `class_arguments` compares with what the class takes; a node
that brings its own ``_target_``; a group that is appended; and Hydra's own keys.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Override, Sweep
from omegaconf._utils import split_key

from lightsweep.config.config_files import SWEEPER, Files, Parts, UnknownKey, has, is_read
from lightsweep.config.targets import TARGET
from lightsweep.core.nearest import guess


def check(overrides: Sequence[Override], files: Files) -> None:
    """See that each key is one of the files', or one that ``+`` may add.

    Raises:
        UnknownKey: names it and the ones that may be meant.
    """
    texts = [str(each.input_line) for each in overrides]
    objects = _objects(overrides)
    added: set[Parts] = set()
    for override in overrides:
        if isinstance(override.value(), Sweep) or _is_choice(override, files):
            continue  # what is swept is looked at in each job
        for parts in _merged(tuple(split_key(override.key_or_group)), override.value(), files.config):
            if has(files.config, parts) or any(parts[:depth] in added for depth in range(1, len(parts) + 1)):
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
    return any(each in objects or has(config, (*each, TARGET)) for each in above)


def _is_choice(override: Override, files: Files) -> bool:
    """Does it choose a file of a group, or take one away?"""
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
    """The keys that a value sets: those of a mapping, which is merged into a node, one by one."""
    node = _at(parts, config)
    if isinstance(value, dict) and value and isinstance(node, Mapping):
        for name, item in value.items():
            yield from _merged((*parts, str(name)), item, config)
    else:
        yield parts


def _message(override: Override, parts: Parts, files: Files) -> str:
    prefix = "~" if override.is_delete() else "+" * (override.is_add() + 2 * override.is_force_add())
    key = ".".join(parts)
    said = f"{prefix}{key}: no config has this key"
    if parts[:2] == ("hydra", "sweeper") and files.load(SWEEPER).keys() & {parts[-1]}:
        return f"{said}; it comes with a sweep: sweep=NAME, or -m hydra/sweeper=lightsweep"
    if others := files.choices_with(parts):
        return f"{said}; it comes with {' or '.join(others)}"
    hint = guess(key, files.every_key())
    target = None if prefix else _foreign(_at(parts[:-1], files.config))
    adds = f" (+{key} adds an argument of {target})" if target else ""
    return f"{said}{hint}{adds}" if hint or adds else f"{said} (python src/train.py --cfg job shows all)"


def _foreign(node: Any) -> str | None:
    """The class of a node that may take more than our YAML says."""
    target = node.get(TARGET) if isinstance(node, Mapping) else None
    return target if isinstance(target, str) and not target.startswith(("lightsweep.", "hydra")) else None


def _at(parts: Parts, config: Mapping[str, Any]) -> Any:
    node: Any = config
    for part in parts:
        node = node.get(part) if isinstance(node, Mapping) else None
    return node
