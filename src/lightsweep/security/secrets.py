"""The address of a study's database, which may hold a password: kept in memory and the environment, never in a file.

``LIGHTSWEEP_STORAGE`` gives it without typing. Where it is typed it is moved there, so that the records which Hydra
writes of a command hold ``${lightsweep.storage:}`` in its place, and workers inherit it.
"""

import os
import re
from collections.abc import Sequence

from lightsweep.errors import ConfigError

VARIABLE = "LIGHTSWEEP_STORAGE"
_KEY = "hydra.sweeper.storage"
_INTERPOLATION = "${lightsweep.storage:}"
_PLACE = f"${VARIABLE}"  # stands for the address wherever it is handed on
_USER = re.compile(r"(:/{1,2}[^\s:/@'\"]*):[^\s'\"]*(?=@)")
_QUERY = re.compile(r"(?i)\b(password|passwd|pwd|sslpassword|token|secret|apikey|api_key)(=|%3D)[^\s&'\"]*")


def storage() -> str | None:
    """What ``${lightsweep.storage:}`` resolves to."""
    return os.environ.get(VARIABLE) or None


def place_of(url: str) -> str:
    """What may be written of an address: itself, or a reference to the environment."""
    return _PLACE if url == storage() else url


def url_of(place: str) -> str:
    """The address that a place stands for.

    Raises:
        ConfigError: it is in the environment, and this process has another one.
    """
    if place != _PLACE:
        return place
    if (url := storage()) is None:
        raise ConfigError(f"{VARIABLE} must be set: it holds the address of the study")
    return url


def take_out(arguments: Sequence[str]) -> list[str]:
    """Arguments without the address of a database server, which is in the environment from now on.

    Raises:
        ConfigError: it is typed inside of a mapping.
    """
    return [_taken_out(argument) for argument in arguments]


def _taken_out(argument: str) -> str:
    if "hydra" not in argument or "://" not in argument or argument.startswith("-"):
        return argument
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(argument)
    except HydraException:  # Hydra says so itself
        return argument
    key, value = override.key_or_group, override.value()
    if isinstance(value, dict) and _KEY.startswith(key) and "storage" in argument:
        raise ConfigError(f"{_KEY} must be typed by itself: {_KEY}=URL")
    if key != _KEY or not isinstance(value, str) or value.startswith("sqlite"):
        return argument
    os.environ[VARIABLE] = value
    return f"{argument.partition('=')[0]}={_INTERPOLATION}"


def redacted(text: str) -> str:
    """A text in which addresses have no passwords."""
    return _QUERY.sub(r"\1\2***", _USER.sub(r"\1:***", text))
