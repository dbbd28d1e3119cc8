"""Columns of a table: the names that people type for them, their values as text, and filters over them.

``--filter 'optimizer=adamw and (val/acc>0.5 or not bn=true)'``: a small grammar; nothing is evaluated as code.

expression := conjunction { or conjunction }
conjunction := term { and term }
term := not term | ( expression ) | NAME OPERATOR VALUE
OPERATOR := = == != < <= > >=
VALUE := a number, true, false, null, a word, or a text in quotes
"""

import html
import json
import operator
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from lightsweep.core.checks import is_number
from lightsweep.core.errors import ConfigError
from lightsweep.core.metrics import DIFFERENCE_COLUMNS, format_difference_cell
from lightsweep.core.text import did_you_mean, printable_line
from lightsweep.reports.runs import Run, is_metric

Predicate = Callable[[Run], bool]

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'[^']*'|"[^"]*")|(?P<operator><=|>=|!=|==|[=<>])|(?P<bracket>[()])|(?P<word>[^\s()=<>!'"]+))"""
)
_COMPARISONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_MAX_DEPTH = 50


class _Token(NamedTuple):
    kind: str
    text: str
    start: int


def parse_filter(text: str, columns: Collection[str]) -> Predicate:
    """What a run must be.

    Raises:
        ConfigError: the text does not follow the grammar, or a name is no column.
    """
    if not text.strip():
        raise ConfigError("--filter: an expression is missing, as in optimizer=adamw and val/acc>0.5")
    parser = _Parser(text, columns)
    predicate = parser.expression()
    parser.take("expected and, or, or the end", "end")
    return predicate


class _Parser:
    def __init__(self, text: str, columns: Collection[str]) -> None:
        self.text, self.columns = text, columns
        self.tokens = _split(text)
        self.at = 0
        self.depth = 0

    def expression(self) -> Predicate:
        return self._join("or", any, partial(self._join, "and", all, self._term))

    def _join(self, word: str, combine: Callable[[Iterable[bool]], bool], parse: Callable[[], Predicate]) -> Predicate:
        parts = [parse()]
        while self._skip(word):
            parts.append(parse())
        return lambda run: combine(part(run) for part in parts)

    def _term(self) -> Predicate:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self._error("nested too deeply")
        if self._skip("not"):
            term = _negate(self._term())
        elif self._skip("("):
            term = self.expression()
            if not self._skip(")"):
                raise self._error("expected )")
        else:
            term = self._comparison()
        self.depth -= 1
        return term

    def _comparison(self) -> Predicate:
        name = self.take("expected a column", "word", "text").text
        column = resolve_column(name, self.columns, option="--filter")
        sign = self.take("expected = != < <= > or >=", "operator").text
        value = self.take("expected a value", "word", "text")
        expected_value = value.text if value.kind == "text" else _parse_value(value.text)
        if sign in _COMPARISONS and not is_number(expected_value):
            self.at -= 1
            raise self._error(f"{sign} needs a number")
        return _compare(column, sign, expected_value)

    def take(self, expected: str, *kinds: str) -> _Token:
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


def _parse_value(word: str) -> Any:
    for read in (lambda: json.loads(word.lower()), lambda: float(word)):
        try:
            return read()
        except ValueError:
            continue
    return word


def _compare(column: str, sign: str, expected_value: Any) -> Predicate:
    if sign in _COMPARISONS:
        compare = _COMPARISONS[sign]
        return lambda run: is_number(run.at(column)) and compare(run.at(column), expected_value)
    choice = f"{column}="

    def equal(run: Run) -> bool:
        # The last one counts: what was typed when a run was resumed follows what it replaced.
        typed = [line.removeprefix(choice) for line in run.overrides if line.startswith(choice)][-1:]
        return any(_is_equal(value, expected_value) for value in (run.at(column), *typed))

    return _negate(equal) if sign == "!=" else equal


def _negate(predicate: Predicate) -> Predicate:
    return lambda run: not predicate(run)


def _is_equal(value: Any, expected_value: Any) -> bool:
    if expected_value is None or value is None:
        return value is expected_value
    if is_number(value) and is_number(expected_value):
        return bool(value == expected_value)
    if isinstance(value, bool) or isinstance(expected_value, bool):
        return value is expected_value
    return _without_spaces(value) == _without_spaces(expected_value)


def _without_spaces(value: Any) -> str:
    return "".join(str(value).split()).casefold()


SD = " sd"  # row["val/acc sd"] is the standard deviation of row["val/acc"]
_COUNTS = ("params", "params_keras")


def list_columns(runs: Iterable[Run]) -> list[str]:
    """Every column that some run has."""
    keys = {"run": None}
    for run in runs:
        if not run.row.keys() <= keys.keys():
            keys |= dict.fromkeys(run.row)
    return list(keys)


def resolve_column(name: str, columns: Collection[str], *, option: str) -> str:
    """The column that a name means, in full or by its last parts: ``lr`` is ``optimizer.lr``.

    Raises:
        ConfigError: no column or several have this name. Lists what there is.
    """
    if name in columns:
        return name
    lowered = name.lower()
    matches = [column for column in columns if column.lower() == lowered]
    matches = matches or [column for column in columns if column.lower().endswith(f".{lowered}")]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ConfigError(f"{option}: {printable_line(name)} may be {_join_names(matches)}; write more of it")
    proposal = printable_line(did_you_mean(name, columns)) or "."
    known = _join_names(sorted(columns))
    raise ConfigError(f"{option}: there is no column {printable_line(name)}{proposal} Known are {known}")


def _join_names(columns: Iterable[str]) -> str:
    return ", ".join(map(printable_line, columns))


def short_labels(columns: Sequence[str]) -> dict[str, str]:
    """The shortest labels that keep these columns apart."""
    return {column: _find_shortest(column, columns) for column in columns}


def _find_shortest(column: str, columns: Sequence[str]) -> str:
    parts = column.split(".")
    if is_metric(column):
        return column
    for count in range(1, len(parts)):
        label = ".".join(parts[-count:])
        if sum(other == label or other.endswith(f".{label}") for other in columns) == 1:
            return label
    return column


def is_numeric(column: str, runs: Iterable[Run]) -> bool:
    """Whether a column holds numbers only."""
    values = [value for run in runs if (value := run.at(column)) is not None]
    return is_metric(column) or (bool(values) and all(map(is_number, values)))


def format_cell(run: Run, column: str) -> str:
    """A run's cell as text."""
    if column == "status":
        return printable_line(run.status_text)
    text = format_value(column, run.at(column), run.row.get(column + SD))
    return f"{text} (baseline)" if column == "run" and run.row.get("baseline") is True else text


def format_value(column: str, value: Any, spread: Any = None) -> str:
    """A value of a column, with its standard deviation where there is one."""
    if not is_number(value):
        return "" if value is None else printable_line(str(value).lower() if isinstance(value, bool) else value)
    shown = _format_number(column, value)
    varies = is_number(spread) and not (spread == 0 and column in _COUNTS)
    return f"{shown} ± {_format_number(column, spread)}" if varies else shown


def _format_number(column: str, value: float) -> str:
    if column in DIFFERENCE_COLUMNS:
        return format_difference_cell(column, value)
    if is_metric(column) or column == "gap":
        return f"{value:z.4f}"
    if column == "seconds":
        return f"{value:.1f}" if value < 100 else f"{value:,.0f}"
    if column in _COUNTS:
        return f"{value:,.0f}"
    return f"{value:.4g}" if value != int(value) or abs(value) >= 1e15 else str(int(value))


def escape_tags(value: Any) -> str:
    """A text that plotly, which interprets some tags, shows as it is."""
    return html.escape(printable_line(value), quote=False)
