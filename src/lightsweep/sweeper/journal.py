"""The lines of a study's journal, and what can be done about one that nobody can read."""

import json
import os
import shlex
from pathlib import Path
from typing import Any

from lightsweep.core.errors import ConfigError
from lightsweep.core.text import printable

_SHOWN = 60  # characters of a damaged line


def read(path: Path) -> list[dict[str, Any]]:
    """What whole lines say. The last one may be half written, and blank lines at the end say nothing.

    Raises:
        ConfigError: a line is damaged; says which one, and how everything before it is kept.
    """
    lines = _whole_lines(path.read_bytes())
    return [_parsed(line, number, len(lines), path) for number, line in enumerate(lines, start=1)]


def cut_off_the_unfinished(path: Path) -> None:
    """Cut off a line that its writer could not finish, and blank lines at the end. Call it with the lock.

    Optuna would append to such a torn line, and the study would be unreadable for ever; so it would be after a blank
    line.
    """
    with path.open("rb+") as file:
        if file.read(1) != b"{":  # empty, or no journal at all: nothing of ours to mend
            return
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 3))
        if _ends_with_a_whole_line(file.read()):
            return
        file.seek(0)
        file.truncate(sum(len(line) + 1 for line in _whole_lines(file.read())))


def _ends_with_a_whole_line(tail: bytes) -> bool:
    """Of the last three bytes. Where it cannot be told, it is looked at closely."""
    return tail.endswith(b"\n") and bool(tail.strip()) and not tail[:-1].rstrip(b"\r").endswith(b"\n")


def _whole_lines(content: bytes) -> list[bytes]:
    """The lines up to the last one that is whole and not blank, without their line feeds."""
    lines = content.split(b"\n")[:-1]
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _parsed(line: bytes, number: int, count: int, path: Path) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError as error:
        raise _damaged(line, number, count, path) from error
    if not isinstance(said, dict):
        raise _damaged(line, number, count, path)
    return said


def _damaged(line: bytes, number: int, count: int, path: Path) -> ConfigError:
    file = shlex.quote(str(path))
    where = f"{path}, line {number} of {count}"
    if not line.strip():
        return ConfigError(f"{where} is blank: sed -i.damaged '/^[[:space:]]*$/d' {file} takes such lines out")
    shown = printable(line[:_SHOWN].decode(errors="replace"))
    way_out = (
        f"sed -i.damaged '{number},$d' {file} keeps what was written before it, and the whole in {path.name}.damaged"
    )
    return ConfigError(f"{where} is damaged ({shown}): {way_out}")
