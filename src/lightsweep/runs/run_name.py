"""The name of a run: what a person called it, or what differs from the defaults, as ``cnn-adamw-lr3e-3``."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

_MOST = 60  # letters, and bytes of a folder's name, which has time and job beside it
# What changes where and how a run computes, or what is kept of it, but not what it is.
_SILENT = ("hydra", "logger", "callbacks", "sweep")
_SILENT_KEYS = {
    *("name", "run_dir", "data_dir", "resume", "test", "report", "threads", "compile", "score_with", "data.root"),
    *("trainer", "trainer.accelerator", "trainer.devices", "trainer.strategy", "trainer.num_nodes"),
    "allow_changed_data",
}


def of(name: object, overrides: Sequence[str]) -> str:
    """The name that was given, or else one that says what was typed; an empty text where nothing was.

    Args:
        overrides: what was typed, ``key=value`` each.
    """
    return str(name) if name is not None else "-".join(_within(_parts(overrides)))


def for_folder(name: object, overrides: Sequence[str]) -> str:
    """The same as a part of a folder's name: a hyphen, then letters, digits and ``. _ - + =`` only."""
    plain = re.sub(r"[^\w.+=-]+", "-", of(name, overrides))
    plain = plain.strip("-.").encode()[:_MOST].decode(errors="ignore").strip("-.")
    return f"-{plain}" if plain else ""


def _within(parts: Iterable[str]) -> Iterator[str]:
    """As many whole parts as there is room for."""
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
    """Of a key that was typed twice, as beside a resumed run, the last value holds."""
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
