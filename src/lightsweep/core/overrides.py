"""Overrides, ``KEY=VALUE``: values written so that Hydra reads them back, repairs, and other tools' search spaces.

A value is formatted by `format_value`. `repair_override` makes a readable override of an unreadable one; whatever it
proposes has been parsed. `translate_mapping` and `translate_call` know how other tools write a range or a choice.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any
from unicodedata import normalize

from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import Override, ParsedElementType, Quote, QuotedString, Sweep, Transformer
from hydra.errors import HydraException

DASHES = ("-", "\u2013", "\u2014")  # and what a text program makes of one or two
SPACES = re.compile("[\u00a0\u2007\u202f\u200b\ufeff]")  # which look like a space, or like nothing
_STRAIGHT = str.maketrans({"\u201c": '"', "\u201d": '"', "\u201e": '"', "\u2018": "'", "\u2019": "'", "\u00b4": "'"})
_MINUS = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"))
_NUMBER = re.compile(r"[-+]?[\d.]+(e[-+]?\d+)?", re.IGNORECASE | re.ASCII)
_KEY = re.compile(r"\s*(?P<key>(\+\+?|~)?[A-Za-z_][\w$/@.-]*(\[[\w-]+\])*)\s*=(?!=)")
_FUNCTIONS = tuple(create_functions().functions)
_FUNCTION = re.compile(rf"({'|'.join(_FUNCTIONS)})\s*\(")
_TUPLE = re.compile(r"\(([^()/]*,[^()/]*)\)")
_CHOICE = re.compile(r"choice\s*\((.*)\)")
_CLOSING = {"[": "]", "(": ")", "{": "}"}
# Keys of other tools.
_LOW = ("low", "min", "lower", "minimum")
_HIGH = ("high", "max", "upper", "maximum")
_CHOICES = ("values", "choices", "options", "categories")
_KIND = ("type", "distribution", "method", "scale", "prior")
_CALLS = {
    "uniform": "interval({})",
    "loguniform": "tag(log, interval({}))",
    "randint": "range({})",
    "categorical": "choice({})",
}
_NONE = object()  # no value


def format_value(value: Any) -> str:
    """A plain value as it is typed after ``KEY=``: ``null``, ``[512,256]``, a text in quotes where it needs them."""
    if value is None:
        return "null"
    if isinstance(value, str):
        plain = _value(value) == value and "\\" not in value  # which would escape what follows it in a list
        return value if plain else quote(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(format_value, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{format_value(item)}' for key, item in value.items())}}}"
    return str(value)


def encode_choice(element: ParsedElementType) -> Any:
    """An element of ``choice(…)`` as a study stores it: a number, or a text that Hydra reads as the value.

    As earlier versions stored it, where Hydra reads that right. ``choice()`` takes no null: there ``'null'`` means it.
    """
    kept, meant = Transformer.encode(element), Override._convert_value(element)
    if not isinstance(kept, str) or kept == "null":
        return kept
    return kept if _value(kept) == meant else format_value(meant)


def decode_choice(choice: Any) -> Any:
    """The value that a trial gets for a choice that a study stores."""
    if not isinstance(choice, str):
        return choice
    value = _value(choice)
    return choice if value is _NONE else value


def format_override(key: str, choice: Any) -> str:
    """``KEY=VALUE`` for a choice that a study stores, or a value that the user's function suggested."""
    if isinstance(choice, str):
        return f"{key}={choice if _value(choice) is not _NONE else quote(choice)}"
    return f"{key}={format_value(choice)}"


def _value(text: str) -> Any:
    """The value that Hydra reads; `_NONE` where it is not a single value."""
    return Override._convert_value(_parsed(text))


@lru_cache(maxsize=10_000)  # a leaderboard asks for all trials after each
def _parsed(text: str) -> Any:
    try:
        value = OverridesParser.create().parse_override(f"key={text}")._value
    except (HydraException, RecursionError):
        return _NONE
    return _NONE if isinstance(value, Sweep) else value


def key_of_override(line: str) -> str:
    """``model.bn`` of ``+model.bn=true`` and of ``~model.bn``."""
    return line.lstrip("+~").partition("=")[0]


def is_below(key: str, roots: Sequence[str]) -> bool:
    """Whether a key is one of these, or lies below one."""
    return any(key == root or key.startswith(f"{root}.") for root in roots)


def find_key(text: str) -> str | None:
    """The key of a text that begins with ``KEY=``; None of any other."""
    found = _KEY.match(text)
    return found["key"] if found else None


def is_readable(text: str) -> bool:
    """Can Hydra read this override?"""
    try:
        return bool(OverridesParser.create().parse_override(text).key_or_group)
    except (HydraException, RecursionError):
        return False


def repair_override(text: str) -> str | None:
    """The override that was probably meant, as Hydra reads it; None where there is no proposal."""
    text = SPACES.sub(" ", text).strip().lstrip("".join(DASHES)).rstrip()
    if text.translate(_STRAIGHT)[:1] in ("'", '"'):  # typographic quotes around the override, which a shell leaves
        text = text[1:-1] if text.translate(_STRAIGHT)[-1] in ("'", '"') else text[1:]
    key, value = _split(text)
    if not key or "${" in value:
        return None
    found = (f"{key}={candidate}" for candidate in _values(value))
    return next(filter(is_readable, found), None)


def quote(text: str) -> str:
    """A text as Hydra reads it back."""
    return QuotedString(text, Quote.single if '"' in text and "'" not in text else Quote.double).with_quotes()


def repair_value(value: str) -> str | None:
    """A readable value that an unreadable one probably meant; None where there is no proposal."""
    return next((candidate for candidate in _values(value) if is_readable(f"key={candidate}")), None)


def find_unclosed(text: str) -> str:
    """The closing quote and brackets that a text lacks; "" where it lacks none."""
    opened, brackets = "", ""
    for letter in text.partition("=")[2]:
        if opened:
            opened = "" if letter == opened else opened
        elif letter in "\"'":
            opened = letter
        elif letter in _CLOSING:
            brackets = _CLOSING[letter] + brackets
        elif brackets and letter == brackets[0]:
            brackets = brackets[1:]
    return opened + brackets


def _split(text: str) -> tuple[str, str]:
    """Key and value, also of ``KEY:VALUE`` and ``KEY==VALUE``."""
    for separator in ("=", ":"):
        key, found, value = text.partition(separator)
        if found and find_key(f"{key.strip()}=") == key.strip():
            return key.strip(), value.lstrip("= ").strip()
    return "", ""


def _values(value: str) -> Iterator[str]:
    """Values that may have been meant, the likeliest first."""
    plain = normalize("NFKC", value).translate(_MINUS)  # a number with the minus or the digits of a document
    if plain != value and _NUMBER.fullmatch(plain):
        yield plain
    variants = dict.fromkeys((value, value.rstrip(",; "), value.translate(_STRAIGHT)))
    for each in variants:
        yield each
        yield each + find_unclosed(f"={each}")
        if choices := _CHOICE.fullmatch(each):  # the function takes no null, the plain list of choices does
            yield choices[1]
        if tuple_ := _TUPLE.fullmatch(each):
            yield f"[{tuple_[1]}]"
        yield _with_known_function(each)
    yield from map(_with_quoted_parts, variants)
    if not value.startswith(("[", "{")) and _FUNCTION.match(value) is None:
        yield quote(value)


def _with_known_function(value: str) -> str:
    name, opened, rest = value.partition("(")
    near = get_close_matches(name.strip(), _FUNCTIONS, n=1, cutoff=0.75)
    return f"{near[0]}({rest}" if near and opened else value


def _with_quoted_parts(value: str) -> str:
    """A list or a function with quotes around the parts that cannot be read without."""
    opened = re.match(r"[A-Za-z_]*\s*[\[(]", value)
    if opened is None or not value.endswith(_CLOSING[opened[0][-1]]):
        return value
    return opened[0] + ",".join(map(_part, _split_at_commas(value[opened.end() : -1]))) + value[-1]


def _part(text: str) -> str:
    text = text.strip()
    if is_readable(f"key={text}"):
        return text
    inner = _with_quoted_parts(text)
    return inner if inner != text and is_readable(f"key={inner}") else quote(text)


def _split_at_commas(text: str) -> list[str]:
    """Split at the commas outside quotes and brackets."""
    parts: list[str] = []
    for piece in text.split(","):
        if parts and find_unclosed(f"={parts[-1]}"):
            parts[-1] += f",{piece}"
        else:
            parts.append(piece)
    return parts


def translate_mapping(value: Mapping[str, Any]) -> str | None:
    """``{type: float, low: 1e-4, high: 1e-2, log: true}`` as ``tag(log, interval(0.0001, 0.01))``; None where it is
    not a search space."""
    entry = {str(name).lower(): item for name, item in value.items()}
    for name in _CHOICES:
        if isinstance(listed := entry.get(name), Sequence) and not isinstance(listed, str):
            return format_choice(listed)
    low, high = _bounds(entry)
    if low is None or high is None:
        return None
    kind = " ".join(str(entry.get(name, "")) for name in _KIND).lower()
    if "int" in kind:
        low, high = int(low), int(high)
    elif "float" in kind or "uniform" in kind:
        low, high = float(low), float(high)
    inside = f"interval({low}, {high})"
    if entry.get("log") or entry.get("log_scale") or "log" in kind:
        return f"tag(log, {inside})"
    step = _number(entry.get("step", entry.get("q")))
    return f"range({low}, {round(high + step, 12)}, {step})" if step else inside  # the end of a range is left out


def translate_call(text: str) -> str | None:
    """``uniform(0, 1)`` as ``interval(0, 1)``; None where it is not the function of another tool."""
    call = re.fullmatch(r"\s*([A-Za-z_]+)\s*\((.*)\)\s*", text)
    ours = _CALLS.get(call[1].lower().replace("_", "")) if call else None
    return ours.format(call[2]) if call and ours else None


def format_choice(listed: Sequence[Any]) -> str:
    """``choice(…)`` of these values."""
    if any(each is None for each in listed):
        return ",".join(map(format_value, listed))  # choice() takes no null
    return f"choice({','.join(map(format_value, listed))})"


def _bounds(entry: Mapping[str, Any]) -> tuple[int | float | None, int | float | None]:
    both = entry.get("bounds", entry.get("range"))
    if isinstance(both, Sequence) and len(both) == 2:
        low, high = both
    else:
        low, high = (next((entry[name] for name in names if name in entry), None) for names in (_LOW, _HIGH))
    return _number(low), _number(high)


def _number(value: Any) -> int | float | None:
    """A number, also from a text: YAML reads 1e-4 as one."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
