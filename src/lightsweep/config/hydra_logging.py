"""What a config file may set of Hydra's logging: handlers of the console and of files in the run's folder, no others.

Python's logging calls what its config names: ``class``, ``()`` and ``ext://module.name``.
"""

from collections.abc import Callable, Mapping
from typing import Any

from lightsweep.config import allowlist
from lightsweep.config.permissions import Typed
from lightsweep.core.errors import ConfigError

_LOGGING = {
    "version",
    "formatters",
    "filters",
    "handlers",
    "loggers",
    "root",
    "disable_existing_loggers",
    "incremental",
}
_STREAMS = ("ext://sys.stdout", "ext://sys.stderr", None)
_CONSOLE, _FILE, _NONE = "logging.StreamHandler", "logging.FileHandler", "logging.NullHandler"
_HANDLER = {"class", "formatter", "level", "filters"}
_HANDLERS = {
    _CONSOLE: _HANDLER | {"stream"},
    _FILE: _HANDLER | {"filename", "mode", "delay", "encoding"},
    _NONE: _HANDLER,
}
_FORMATTER = {"format", "datefmt", "validate"}  # no style: that of str.format reaches every attribute of a record
_COLORLOG = _FORMATTER | {"()", "log_colors", "reset"}  # Hydra's own plugin for colours


def check_logging(
    key: str, node: Mapping[str, Any], typed: Typed, is_in_run_folder: Callable[[str, Any], bool]
) -> None:
    """See that a logging config names no handler, formatter or file that only the command line may name.

    Args:
        key: ``hydra.job_logging`` or ``hydra.hydra_logging``.
        node: in plain dicts with its interpolations.
        is_in_run_folder: takes the key and the value of a path.

    Raises:
        ConfigError: names the key.
    """
    _LoggingChecks(typed, is_in_run_folder).check(key, node)


class _LoggingChecks:
    def __init__(self, typed: Typed, is_in_run_folder: Callable[[str, Any], bool]) -> None:
        self.typed, self.is_in_run_folder = typed, is_in_run_folder

    def check(self, key: str, node: Mapping[str, Any]) -> None:
        _check_keys(key, node, _LOGGING)
        for part in ("formatters", "filters", "handlers", "loggers"):
            entries = node.get(part) or {}
            if not isinstance(entries, Mapping) or not all(
                isinstance(each, Mapping | None) for each in entries.values()
            ):
                raise ConfigError(f"{key}.{part} must be a mapping, got {entries!r}")
        for each, formatter in (node.get("formatters") or {}).items():
            _check_formatter(f"{key}.formatters.{each}", formatter or {})
        for each, filter_ in (node.get("filters") or {}).items():
            _check_keys(f"{key}.filters.{each}", filter_ or {}, {"name"})
        for each, handler in (node.get("handlers") or {}).items():
            self._check_handler(f"{key}.handlers.{each}", handler or {})
        self._check_references(key, {part: value for part, value in node.items() if part != "handlers"})

    def _check_handler(self, key: str, handler: Mapping[str, Any]) -> None:
        if self.typed.covers(f"{key}.class"):
            return
        kind = handler.get("class")
        if kind not in _HANDLERS:
            raise ConfigError(f"{key}.class must be one of {', '.join(_HANDLERS)} unless it is typed, got {kind!r}")
        _check_keys(key, handler, _HANDLERS[kind])
        self._check_references(key, {name: value for name, value in handler.items() if name != "stream"})
        if kind == _CONSOLE and handler.get("stream") not in _STREAMS:
            raise ConfigError(f"{key}.stream must be ext://sys.stdout or ext://sys.stderr, got {handler['stream']!r}")
        if kind != _FILE or self.typed.covers(f"{key}.filename"):
            return
        if not self.is_in_run_folder(f"{key}.filename", handler.get("filename")):
            raise ConfigError(
                f"{key}.filename must lie in the run's folder, ${{hydra.runtime.output_dir}}, unless it is typed,"
                f" got {handler.get('filename')!r}"
            )

    def _check_references(self, key: str, value: Any) -> None:
        """Logging would look up ``ext://module.name``."""
        if isinstance(value, Mapping):
            for name, item in value.items():
                self._check_references(f"{key}.{name}", item)
        elif isinstance(value, list):
            for item in value:
                self._check_references(key, item)
        elif isinstance(value, str) and value.startswith(("ext://", "cfg://")):
            raise ConfigError(f"{key} must not refer to an object, got {value!r}")


def _check_keys(key: str, node: Mapping[str, Any], allowed: set[str]) -> None:
    if strange := sorted(map(str, set(node) - allowed)):
        raise ConfigError(f"{key}.{strange[0]} must be left out: in a config file only {', '.join(sorted(allowed))}")


def _check_formatter(key: str, formatter: Mapping[str, Any]) -> None:
    """Texts only: ``()`` and ``class`` would call something with them."""
    factory = formatter.get("()")
    if factory is not None and factory != "colorlog.ColoredFormatter" and not allowlist.is_trusted(str(factory)):
        raise ConfigError(f"{key}.() must be left out, or be named by LIGHTSWEEP_TRUST, got {factory!r}")
    if factory is None or factory == "colorlog.ColoredFormatter":
        _check_keys(key, formatter, _FORMATTER if factory is None else _COLORLOG)
