"""The address of a study's database, which may hold a password: kept in the environment, never in a file.

``LIGHTSWEEP_STORAGE`` gives it without typing. Where it is typed it is moved there, and workers inherit it. In a config
stands ``${lightsweep.storage:}`` in its place, which resolves to the name of the variable: only who connects to the
database looks the address up.
"""

import os
import re
from collections.abc import Iterator, Sequence
from urllib.parse import parse_qsl, unquote, urlsplit

from lightsweep.core.errors import ConfigError

VARIABLE = "LIGHTSWEEP_STORAGE"
INTERPOLATION = "${lightsweep.storage:}"
_KEY = "hydra.sweeper.storage"
_PLACE = f"${VARIABLE}"
_USER = re.compile(r"(:/{1,2}[^\s:/@'\"]*):[^\s'\"]*(?=@)")
_SECRET = r"password|passwd|pwd|sslpassword|token|secret|apikey|api_key"
_QUERY = re.compile(rf"(?i)\b({_SECRET})(=|%3D)[^\s&'\"]*")


def storage_reference() -> str | None:
    """What ``${lightsweep.storage:}`` resolves to: a reference to the environment, if there is an address in it."""
    return _PLACE if storage_address() else None


def storage_address() -> str | None:
    """The address in the environment."""
    return os.environ.get(VARIABLE) or None


def resolve_storage(place: str) -> str:
    """The address that a place stands for: a path or URL for itself.

    Raises:
        ConfigError: it is in the environment, and this process has another one.
    """
    if place != _PLACE:
        return place
    if (found := storage_address()) is None:
        raise ConfigError(f"{VARIABLE} must be set: it holds the address of the study")
    return found


def move_to_environment(arguments: Sequence[str]) -> list[str]:
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
    if key != _KEY or not isinstance(value, str) or value.startswith("sqlite:///"):
        return argument
    os.environ[VARIABLE] = value
    return f"{argument.partition('=')[0]}={INTERPOLATION}"


def redact(text: str) -> str:
    """A text in which addresses have no passwords: neither that of the environment, nor what looks like one."""
    for secret in _secrets_of(storage_address() or ""):
        text = text.replace(secret, "***")
    return _QUERY.sub(r"\1\2***", _USER.sub(r"\1:***", text))


def _secrets_of(url: str) -> Iterator[str]:
    """The passwords in an address, as they are written and as they are meant."""
    try:
        parts = urlsplit(url)
        found = [
            parts.password,
            *(value for name, value in parse_qsl(parts.query) if re.fullmatch(_SECRET, name, re.I)),
        ]
    except ValueError:
        found = [url]
    for secret in found:
        if secret:
            yield secret
            yield unquote(secret)
