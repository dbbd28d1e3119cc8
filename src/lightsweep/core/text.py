"""Text for people: names made printable, proposals for a mistyped key, messages of a wait."""

import os
import sys
import time
from collections.abc import Callable, Collection
from difflib import SequenceMatcher
from typing import Any

from lightsweep.core import secrets

_LIKE = 0.7  # of two names that may be one; "epochs" and "max_epochs" are 0.75, "lr" and "lrr" 0.8
_CLOSE = 0.1  # less than the best ratio: proposed too
_MOST = 3
# Names of the same things in other programs that are spelled too differently.
_ELSEWHERE = {
    "learningrate": "lr",
    "wd": "weight_decay",
    "bs": "batch_size",
    "epoch": "max_epochs",
    "gpus": "devices",
    "trials": "n_trials",
    "workers": "n_jobs",
    "searchspace": "params",
}
PRINT_AFTER = 5.0  # seconds


def printable(name: str | os.PathLike[str]) -> str:
    r"""The name with control characters and bytes that are not UTF-8 escaped, so that it is safe for a terminal.

    A new line becomes ``\n``, the byte 0xff ``\udcff``.
    """
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in os.fspath(name))


def printable_line(value: Any) -> str:
    """A value on one line, with what is not printable escaped."""
    return printable(" ".join(str(value).split()))


def spreadsheet_cell(text: str) -> str:
    """The text as a spreadsheet cell: with an apostrophe in front where it would be read as a formula."""
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def plain_text(cell: str) -> str:
    """The text that `spreadsheet_cell` made a cell of."""
    return cell[1:] if cell.startswith("'") and spreadsheet_cell(cell[1:]) == cell else cell


def first_line(text: str) -> str:
    """The first line of a message that is not empty."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def shorten(name: str, most: int) -> str:
    """The name on one line, at most so many letters long; an ellipsis replaces what is cut from its middle."""
    name = printable_line(name)
    if len(name) <= most:
        return name
    tail = (most - 1) // 3
    return f"{name[: most - 1 - tail]}…{name[len(name) - tail :]}"


def find_nearest(key: str, keys: Collection[str]) -> list[str]:
    """The keys that end in the same name, else those with a similar spelling; the likeliest first, at most three."""
    typed = _plain(key)
    plain = {each: _plain(each) for each in keys if each != key}
    others = {each: name for each, name in plain.items() if not typed.startswith(f"{name}.")}  # not a node above it
    last = _last(typed)
    same = [each for each, name in others.items() if _last(name) in (last, _ELSEWHERE.get(last.replace("_", "")))]
    if same:
        return sorted(same, key=lambda each: -_ratio(typed, each))[:_MOST]
    alike = {each: _alike(typed, name) for each, name in others.items()}
    best = max(alike.values(), default=0.0)
    found = [each for each, ratio in alike.items() if ratio >= max(_LIKE, best - _CLOSE)]
    return sorted(found, key=lambda each: -alike[each])[:_MOST]


def did_you_mean(key: str, keys: Collection[str]) -> str:
    """``; did you mean optimizer.lr?``, or "" where no key is similar."""
    found = find_nearest(key, keys)
    listed = " or ".join(filter(None, (", ".join(found[:-1]), *found[-1:])))
    return f"; did you mean {listed}?" if found else ""


def _alike(typed: str, key: str) -> float:
    """How similar two keys are. Keys of one node are compared by their last parts, and preferred."""
    if typed.rpartition(".")[0] == key.rpartition(".")[0]:
        return _ratio(_last(typed), _last(key)) + _CLOSE
    return max(_ratio(_last(typed), _last(key)), _ratio(typed, key) if "." in typed else 0.0)


def _plain(key: str) -> str:
    """The key in one notation: ``optimizer/lr`` becomes ``optimizer.lr``."""
    return key.lower().replace("/", ".").replace("-", "_")


def _ratio(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other).ratio()


def _last(key: str) -> str:
    return key.rpartition(".")[2]


class Wait:
    """Prints what a sweep waits for, once for each wait that lasts longer than `PRINT_AFTER`."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._printed = False

    @property
    def seconds(self) -> float:
        """How long it has lasted."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    def update(self, what: str | Callable[[], str]) -> None:
        """Print "waiting for WHAT" once the wait is long enough; the first call starts the wait."""
        if self._since is None:
            self._since = time.monotonic()
        if not self._printed and self.seconds >= PRINT_AFTER:
            self._printed = True
            line = f"waiting for {what if isinstance(what, str) else what()}"
            print(secrets.redact(line), file=sys.stderr, flush=True)

    def end(self) -> None:
        """End the wait; the next `update` starts another one."""
        self._since, self._printed = None, False
