"""Values as they are written in an override, so that Hydra reads back what was meant."""

from functools import lru_cache
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ParsedElementType, Sweep, Transformer
from hydra.errors import HydraException

from lightsweep.core.repair import quoted

_NONE = object()


def written(value: Any) -> str:
    """A plain value, as it is typed after ``KEY=``: ``null``, ``[512,256]``, a text in quotes where it needs them."""
    if value is None:
        return "null"
    if isinstance(value, str):
        plain = _value(value) == value and "\\" not in value  # which would escape what follows it in a list
        return value if plain else quoted(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(written, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{written(item)}' for key, item in value.items())}}}"
    return str(value)


def choice_of(element: ParsedElementType) -> Any:
    """A choice of ``choice(…)`` as a study keeps it: a number, or a text that reads as what was meant.

    As earlier versions kept it, as long as that is read right. ``choice()`` takes no null: there ``'null'`` means it.
    """
    kept, meant = Transformer.encode(element), Override._convert_value(element)
    if not isinstance(kept, str) or kept == "null":
        return kept
    return kept if _value(kept) == meant else written(meant)


def meant_by(choice: Any) -> Any:
    """The value that a trial gets for a choice that a study keeps."""
    if not isinstance(choice, str):
        return choice
    value = _value(choice)
    return choice if value is _NONE else value


def override(key: str, choice: Any) -> str:
    """``KEY=VALUE`` for a choice that a study keeps, or a value that a function of the user's own suggested."""
    if isinstance(choice, str):
        return f"{key}={choice if _value(choice) is not _NONE else quoted(choice)}"
    return f"{key}={written(choice)}"


def _value(text: str) -> Any:
    """What a text is read as; `_NONE` where it is no single value."""
    return Override._convert_value(_parsed(text))


@lru_cache(maxsize=10_000)  # a leaderboard asks for all trials after each
def _parsed(text: str) -> Any:
    try:
        value = OverridesParser.create().parse_override(f"key={text}")._value
    except (HydraException, RecursionError):
        return _NONE
    return _NONE if isinstance(value, Sweep) else value
