"""``--filter 'optimizer=adamw and (val/acc>0.5 or not bn=true)'``: a small grammar; nothing is evaluated as code.

expression := conjunction { or conjunction }
conjunction := term { and term }
term := not term | ( expression ) | NAME OPERATOR VALUE
OPERATOR := = == != < <= > >=
VALUE := a number, true, false, null, a word, or a text in quotes
"""

import json
import operator
import re
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from lightsweep.core.checks import is_number
from lightsweep.core.errors import ConfigError
from lightsweep.core.text import printable_line
from lightsweep.reports.columns import resolve_column
from lightsweep.reports.runs import Run

Predicate = Callable[[Run], bool]

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'[^']*'|"[^"]*")|(?P<operator><=|>=|!=|==|[=<>])|(?P<bracket>[()])|(?P<word>[^\s()=<>!'"]+))"""
)
_ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_DEEPEST = 50


class _Token(NamedTuple):
    kind: str
    text: str
    start: int


def parse_filter(text: str, columns: Collection[str]) -> Predicate:
    """What a run must be.

    Raises:
        ConfigError: the text does not follow the grammar, or a name is no column.
    """
    return _Parser(text, columns).parse()


class _Parser:
    def __init__(self, text: str, columns: Collection[str]) -> None:
        self.text, self.columns = text, columns
        self.tokens = _split(text)
        self.at = 0
        self.depth = 0

    def parse(self) -> Predicate:
        if len(self.tokens) == 1:
            raise ConfigError("--filter: an expression is missing, as in optimizer=adamw and val/acc>0.5")
        predicate = self._expression()
        self._take("expected and, or, or the end", "end")
        return predicate

    def _expression(self) -> Predicate:
        parts = [self._conjunction()]
        while self._skip("or"):
            parts.append(self._conjunction())
        return lambda run: any(part(run) for part in parts)

    def _conjunction(self) -> Predicate:
        parts = [self._term()]
        while self._skip("and"):
            parts.append(self._term())
        return lambda run: all(part(run) for part in parts)

    def _term(self) -> Predicate:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self._error("nested too deeply")
        if self._skip("not"):
            term = _negate(self._term())
        elif self._skip("("):
            term = self._expression()
            if not self._skip(")"):
                raise self._error("expected )")
        else:
            term = self._comparison()
        self.depth -= 1
        return term

    def _comparison(self) -> Predicate:
        name = self._take("expected a column", "word", "text").text
        column = resolve_column(name, self.columns, option="--filter")
        sign = self._take("expected = != < <= > or >=", "operator").text
        value = self._take("expected a value", "word", "text")
        wanted = value.text if value.kind == "text" else _literal(value.text)
        if sign in _ORDER and not is_number(wanted):
            self.at -= 1
            raise self._error(f"{sign} needs a number")
        return _compare(column, sign, wanted)

    def _take(self, expected: str, *kinds: str) -> _Token:
        token = self.tokens[self.at]
        if token.kind not in kinds:
            raise self._error(expected)
        self.at += 1
        return token

    def _skip(self, word: str) -> bool:
        """Step over the next token if it is this word or bracket."""
        token = self.tokens[self.at]
        found = token.kind in ("word", "bracket") and token.text.lower() == word
        self.at += found
        return found

    def _error(self, expected: str) -> ConfigError:
        kind, value, start = self.tokens[self.at]
        if kind == "end":
            return ConfigError(f"--filter: {expected}, at the end of {printable_line(self.text)!r}")
        return ConfigError(f"--filter: {expected}, got {printable_line(value)!r} at character {start + 1}")


def _split(text: str) -> list[_Token]:
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            rest = printable_line(text[at:].strip()[:20])
            raise ConfigError(f"--filter: {rest!r} cannot be read, at character {at + 1}")
        kind = str(match.lastgroup)
        value = match[kind][1:-1] if kind == "text" else match[kind]
        tokens.append(_Token(kind, value, match.start(kind)))
        at = match.end()
    return [*tokens, _Token("end", "", len(text))]


def _literal(word: str) -> Any:
    for read in (lambda: json.loads(word.lower()), lambda: float(word)):
        try:
            return read()
        except ValueError:
            continue
    return word


def _compare(column: str, sign: str, wanted: Any) -> Predicate:
    if sign in _ORDER:
        compare = _ORDER[sign]
        return lambda run: is_number(run.at(column)) and compare(run.at(column), wanted)
    choice = f"{column}="

    def equal(run: Run) -> bool:
        # The last one counts: what was typed when a run was resumed follows what it replaced.
        typed = [line.removeprefix(choice) for line in run.overrides if line.startswith(choice)][-1:]
        return any(_same(value, wanted) for value in (run.at(column), *typed))

    return _negate(equal) if sign == "!=" else equal


def _negate(predicate: Predicate) -> Predicate:
    return lambda run: not predicate(run)


def _same(value: Any, wanted: Any) -> bool:
    if wanted is None or value is None:
        return value is wanted
    if is_number(value) and is_number(wanted):
        return bool(value == wanted)
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    return _squeezed(value) == _squeezed(wanted)


def _squeezed(value: Any) -> str:
    return "".join(str(value).split()).casefold()
