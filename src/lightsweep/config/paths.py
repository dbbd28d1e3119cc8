"""Where a config's files may lie: below the run's folder, unless the path was typed."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightsweep.config import table, typed
from lightsweep.config.targets import TARGET
from lightsweep.core.errors import ConfigError
from lightsweep.core.paths import OUTPUTS, is_inside

# Of a checkpoint's name: {epoch}, {val/acc:.3f}. Python's format would also reach attributes and items of a value.
_FIELD = re.compile(r"\{\w+(/\w+)?(:[0-9.]*[defg]?)?\}")


def check(values: Mapping[str, Any], key: str, folder: Path) -> None:
    """See that what a target is given leads nowhere outside the run's folder, and to no address.

    Args:
        values: the target's, resolved.
        key: where it stands in the config, ``logger.csv``.
        folder: the run's.

    Raises:
        ConfigError: names the key and the value.
    """
    name = values.get(TARGET)
    for place in table.PLACES.get(str(name), ()):
        _check_place(values, key, place, folder)
    for argument, only in table.FIXED.get(str(name), {}).items():
        if values.get(argument, only) != only and not typed.current().covers(f"{key}.{argument}"):
            raise ConfigError(f"{key}.{argument} must be {only!r} unless it is typed, got {values[argument]!r}")


def _check_place(values: Mapping[str, Any], key: str, place: table.Place, folder: Path) -> None:
    base, path = folder if place.own is None else OUTPUTS / place.own, Path.cwd()
    for argument in place.parts:
        value = values.get(argument)
        if value is None:
            path = path if argument != place.parts[0] else folder  # Lightning's default: below the run's folder
            continue
        path = path / str(value)
        if typed.current().covers(f"{key}.{argument}"):
            base = path
        elif _leads_elsewhere(str(value)) or not is_inside(path, base):
            raise ConfigError(
                f"{key}.{argument} must lie in {base} unless it is typed on the command line, got {value!r}"
            )


def _leads_elsewhere(text: str) -> bool:
    """Is it an address, or would a library make another path of it?"""
    rest = _FIELD.sub("", text)
    return "://" in text or "::" in text or text.startswith("~") or "$" in text or "{" in rest or "}" in rest
