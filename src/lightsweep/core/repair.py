"""From an override that cannot be read to the one that was meant."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from unicodedata import normalize

from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import Quote, QuotedString
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


def key_of(text: str) -> str | None:
    """The key where a text begins as an override does, ``KEY=``."""
    found = _KEY.match(text)
    return found["key"] if found else None


def reads(text: str) -> bool:
    """Can Hydra read this override?"""
    try:
        return bool(OverridesParser.create().parse_override(text).key_or_group)
    except (HydraException, RecursionError):
        return False


def repaired(text: str) -> str | None:
    """The override that was meant, as Hydra reads it; None where that cannot be told."""
    text = SPACES.sub(" ", text).strip().lstrip("".join(DASHES)).rstrip()
    if text.translate(_STRAIGHT)[:1] in ("'", '"'):  # around the whole, of a kind that a shell does not take off
        text = text[1:-1] if text.translate(_STRAIGHT)[-1] in ("'", '"') else text[1:]
    key, value = _split(text)
    if not key or "${" in value:
        return None
    for candidate in _values(value):
        if reads(f"{key}={candidate}"):
            return f"{key}={candidate}"
    return None


def quoted(text: str) -> str:
    """A text as Hydra reads it back."""
    return QuotedString(text, Quote.single if '"' in text and "'" not in text else Quote.double).with_quotes()


def repaired_value(value: str) -> str | None:
    """A value that can be read, of one that cannot."""
    return next((candidate for candidate in _values(value) if reads(f"key={candidate}")), None)


def unclosed(text: str) -> str:
    """What closes the quote and the brackets that are open at the end of a text; "" where none is."""
    quote, brackets = "", ""
    for letter in text.partition("=")[2]:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in _CLOSING:
            brackets = _CLOSING[letter] + brackets
        elif brackets and letter == brackets[0]:
            brackets = brackets[1:]
    return quote + brackets


def _split(text: str) -> tuple[str, str]:
    """Key and value; also of ``KEY:VALUE`` and ``KEY==VALUE``."""
    for separator in ("=", ":"):
        key, found, value = text.partition(separator)
        if found and key_of(f"{key.strip()}=") == key.strip():
            return key.strip(), value.lstrip("= ").strip()
    return "", ""


def _values(value: str) -> Iterator[str]:
    """What may have been meant, the likeliest first."""
    plain = normalize("NFKC", value).translate(_MINUS)  # a number with the minus or the digits of a document
    if plain != value and _NUMBER.fullmatch(plain):
        yield plain
    variants = dict.fromkeys((value, value.rstrip(",; "), value.translate(_STRAIGHT)))
    for each in variants:
        yield each
        yield each + unclosed(f"={each}")
        if choices := _CHOICE.fullmatch(each):  # the function takes no null, the plain list of choices does
            yield choices[1]
        if tuple_ := _TUPLE.fullmatch(each):
            yield f"[{tuple_[1]}]"
        yield _with_known_function(each)
    yield from map(_with_quoted_parts, variants)
    if not value.startswith(("[", "{")) and _FUNCTION.match(value) is None:
        yield quoted(value)


def _with_known_function(value: str) -> str:
    name, opened, rest = value.partition("(")
    near = get_close_matches(name.strip(), _FUNCTIONS, n=1, cutoff=0.75)
    return f"{near[0]}({rest}" if near and opened else value


def _with_quoted_parts(value: str) -> str:
    """A list or a function whose parts are in quotes where they cannot be read as they are."""
    opened = re.match(r"[A-Za-z_]*\s*[\[(]", value)
    if opened is None or not value.endswith(_CLOSING[opened[0][-1]]):
        return value
    return opened[0] + ",".join(map(_part, _split_at_commas(value[opened.end() : -1]))) + value[-1]


def _part(text: str) -> str:
    text = text.strip()
    if reads(f"key={text}"):
        return text
    inner = _with_quoted_parts(text)
    return inner if inner != text and reads(f"key={inner}") else quoted(text)


def _split_at_commas(text: str) -> list[str]:
    parts, depth, quote = [""], 0, ""
    for letter in text:
        quote = ("" if letter == quote else quote) if quote else letter if letter in "\"'" else ""
        depth += 0 if quote else (letter in "[({") - (letter in "])}")
        if letter == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
