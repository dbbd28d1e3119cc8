"""``--filter 'optimizer=adamw and (val/acc>0.5 or not bn=true)'``: a small grammar, of which nothing is run as code.

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
from typing import Any

from lightsweep.core.checks import is_number
from lightsweep.core.errors import ConfigError
from lightsweep.core.text import printable_line
from lightsweep.reports.columns import resolve_column
from lightsweep.reports.runs import Run

Predicate = Callable[[Run], bool]

_TOKEN = re.compile(r"""\s*(?:(?P<text>'[^']*'|"[^"]*")|(?P<sign><=|>=|!=|==|[=<>()])|(?P<word>[^\s()=<>!'"]+))""")
_ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_EQUAL = ("=", "==", "!=")
_DEEPEST = 50


def parse_filter(text: str, columns: Collection[str]) -> Predicate:
    """What a run must be.

    Raises:
        ConfigError: no sentence of the grammar, or a name that is no column.
    """
    return _Parser(text, columns).whole()


class _Parser:
    def __init__(self, text: str, columns: Collection[str]) -> None:
        self.text, self.columns = text, columns
        self.tokens = self._split()
        self.at = 0
        self.depth = 0

    def whole(self) -> Predicate:
        if not self.tokens:
            raise ConfigError("--filter: an expression is missing, as in optimizer=adamw and val/acc>0.5")
        predicate = self._expression()
        if self.at < len(self.tokens):
            raise self._error("expected and, or, or the end")
        return predicate

    def _expression(self) -> Predicate:
        parts = [self._conjunction()]
        while self._takes("or"):
            parts.append(self._conjunction())
        return lambda run: any(part(run) for part in parts)

    def _conjunction(self) -> Predicate:
        parts = [self._term()]
        while self._takes("and"):
            parts.append(self._term())
        return lambda run: all(part(run) for part in parts)

    def _term(self) -> Predicate:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self._error("nested too deeply")
        term = self._nested()
        self.depth -= 1
        return term

    def _nested(self) -> Predicate:
        if self._takes("not"):
            term = self._term()
            return lambda run: not term(run)
        if self._takes("("):
            inside = self._expression()
            if not self._takes(")"):
                raise self._error("expected )")
            return inside
        return self._comparison()

    def _comparison(self) -> Predicate:
        kind, name, _ = self._next("expected a column")
        if kind == "sign":
            self.at -= 1
            raise self._error("expected a column")
        column = resolve_column(name, self.columns, option="--filter")
        _, sign, _ = self._next("expected = != < <= > or >=")
        if sign not in (*_EQUAL, *_ORDER):
            self.at -= 1
            raise self._error("expected = != < <= > or >=")
        kind, value, quoted = self._next("expected a value")
        if kind == "sign":
            self.at -= 1
            raise self._error("expected a value")
        wanted = value if quoted else _literal(value)
        if sign in _ORDER and not is_number(wanted):
            self.at -= 1
            raise self._error(f"{sign} needs a number")
        return _compare(column, sign, wanted)

    def _next(self, expected: str) -> tuple[str, str, bool]:
        if self.at >= len(self.tokens):
            raise self._error(expected)
        kind, value, _ = self.tokens[self.at]
        self.at += 1
        return kind, value, kind == "text"

    def _takes(self, word: str) -> bool:
        if self.at < len(self.tokens):
            kind, value, _ = self.tokens[self.at]
            if kind != "text" and value.lower() == word:
                self.at += 1
                return True
        return False

    def _split(self) -> list[tuple[str, str, int]]:
        tokens, at = [], 0
        text = self.text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise ConfigError(
                    f"--filter: {printable_line(text[at:].strip()[:20])!r} cannot be read, at character {at + 1}"
                )
            kind = str(match.lastgroup)
            value = match[kind][1:-1] if kind == "text" else match[kind]
            tokens.append((kind, value, match.start(kind)))
            at = match.end()
        return tokens

    def _error(self, expected: str) -> ConfigError:
        if self.at >= len(self.tokens):
            return ConfigError(f"--filter: {expected}, at the end of {printable_line(self.text)!r}")
        _, value, start = self.tokens[self.at]
        return ConfigError(f"--filter: {expected}, got {printable_line(value)!r} at character {start + 1}")


def _literal(word: str) -> Any:
    try:
        return json.loads(word.lower())
    except ValueError:
        try:
            return float(word)
        except ValueError:
            return word


def _compare(column: str, sign: str, wanted: Any) -> Predicate:
    if sign in _ORDER:
        compare = _ORDER[sign]
        return lambda run: is_number(run.at(column)) and compare(run.at(column), wanted)
    choice = f"{column}="
    kept = sign != "!="

    def equal(run: Run) -> bool:
        # The last one counts: what was typed when a run was resumed stands behind what it replaced.
        typed = [line.removeprefix(choice) for line in run.overrides if line.startswith(choice)][-1:]
        same = any(_same(value, wanted) for value in (run.at(column), *typed))
        return same is kept

    return equal


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
