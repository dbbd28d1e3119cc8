"""The address of a study's database may hold a password: it is kept in the environment, never in a file.

It is the value of ``LIGHTSWEEP_STORAGE``. An address that is typed is moved there, and workers inherit it. The config
has ``${lightsweep.storage:}`` instead, which resolves to the name of the variable; only the code that connects to the
database reads the address.
"""

import os
import re
from collections.abc import Iterator, Sequence
from urllib.parse import parse_qsl, unquote, urlsplit

from lightsweep.core.errors import ConfigError

VARIABLE = "LIGHTSWEEP_STORAGE"
INTERPOLATION = "${lightsweep.storage:}"
_KEY = "hydra.sweeper.storage"
_REFERENCE = f"${VARIABLE}"
_USER = re.compile(r"(:/{1,2}[^\s:/@'\"]*):[^\s'\"]*(?=@)")
_SECRET = r"password|passwd|pwd|sslpassword|token|secret|apikey|api_key"
_QUERY = re.compile(rf"(?i)\b({_SECRET})(=|%3D)[^\s&'\"]*")


def storage_reference() -> str | None:
    """What ``${lightsweep.storage:}`` resolves to: a reference to the environment; None where it has no address."""
    return _REFERENCE if storage_address() else None


def storage_address() -> str | None:
    """The address in the environment."""
    return os.environ.get(VARIABLE) or None


def resolve_storage(storage: str) -> str:
    """The address of a study: a path or URL itself, or what it refers to.

    Raises:
        ConfigError: it refers to the environment, which does not have it.
    """
    if storage != _REFERENCE:
        return storage
    if (found := storage_address()) is None:
        raise ConfigError(f"{VARIABLE} must be set: it holds the address of the study")
    return found


def move_to_environment(arguments: Sequence[str]) -> list[str]:
    """The arguments without the address of a database server, which is moved to the environment.

    Raises:
        ConfigError: it is typed inside a mapping.
    """
    return [_without_address(argument) for argument in arguments]


def _without_address(argument: str) -> str:
    if "hydra" not in argument or "://" not in argument or argument.startswith("-"):
        return argument
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(argument)
    except HydraException:  # Hydra reports it
        return argument
    key, value = override.key_or_group, override.value()
    if isinstance(value, dict) and _KEY.startswith(key) and "storage" in argument:
        raise ConfigError(f"{_KEY} must be typed by itself: {_KEY}=URL")
    if key != _KEY or not isinstance(value, str) or value.startswith("sqlite:///"):
        return argument
    os.environ[VARIABLE] = value
    return f"{argument.partition('=')[0]}={INTERPOLATION}"


def redact(text: str) -> str:
    """The text without passwords: neither those of the address in the environment, nor what looks like one."""
    for secret in _secrets_of(storage_address() or ""):
        text = text.replace(secret, "***")
    return _QUERY.sub(r"\1\2***", _USER.sub(r"\1:***", text))


def _secrets_of(url: str) -> Iterator[str]:
    """The passwords in an address, as written and decoded."""
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query)
        found = [parts.password, *(value for name, value in query if re.fullmatch(_SECRET, name, re.I))]
    except ValueError:
        found = [url]
    for secret in found:
        if secret:
            yield secret
            yield unquote(secret)
