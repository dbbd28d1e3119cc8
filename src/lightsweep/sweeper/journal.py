"""The lines of a study's journal, and what can be done about one that nobody can read."""

import json
import os
import re
import shlex
import stat
from pathlib import Path
from typing import Any

from lightsweep.core import checks
from lightsweep.core.errors import ConfigError
from lightsweep.core.text import printable
from lightsweep.sweeper.leases import FileLock
from lightsweep.sweeper.optuna_private import BaseJournalFileLock

_SHOWN = 60  # characters of a damaged line


def read_journal(path: Path) -> list[dict[str, Any]]:
    """What whole lines say. The last one may be half written, and blank lines at the end say nothing.

    Raises:
        ConfigError: a line is damaged; says which one, and how everything before it is kept.
    """
    lines = _whole_lines(path.read_bytes())
    return [_parsed(line, number, len(lines), path) for number, line in enumerate(lines, start=1)]


def remove_torn_line(path: Path) -> None:
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


_SQLITE = re.compile(r"sqlite(\+\w+)?://(/(?P<path>[^?]*))?(\?.*)?")
_JOURNAL_HEAD = b'{"op_code":'  # of each line of Optuna's journals
_SQLITE_HEAD = b"SQLite format 3\0"


def check_study_file(key: str, location: str, *, workers: bool) -> None:
    """Look at the file that an address means; databases behind a server are left to their drivers.

    Args:
        key: where the address came from.
        location: the path of a journal, or an Optuna URL.
        workers: other processes are to open it too.

    Raises:
        ConfigError: it is something else than a study's file.
    """
    sqlite = _SQLITE.fullmatch(location)
    if sqlite is None and "://" in location:
        return
    path = location if sqlite is None else sqlite["path"]
    if path in (None, "", ":memory:"):
        rule = "be a database that worker processes can reach (hydra.sweeper.n_jobs=0 needs none)"
        checks.require(not workers, key, rule, location)
        return
    head = _JOURNAL_HEAD if sqlite is None else _SQLITE_HEAD
    rule = "be the file of a study, or a new one"
    checks.require(_is_new(Path(path)) or _begins(Path(path), head), key, rule, location)


def _is_new(path: Path) -> bool:
    """Whether nothing is there, or an empty file. What cannot be looked at is left to whoever opens it, and says so."""
    try:
        status = path.stat()
    except OSError:
        return True
    return stat.S_ISREG(status.st_mode) and status.st_size == 0


def _begins(path: Path, head: bytes) -> bool:
    """Whether a regular file begins as it should, as far as a killed writer came with it."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return head.startswith(file.read(len(head)))
    except OSError:
        return True


class JournalLock(BaseJournalFileLock):
    """The lock of a journal file. Whoever takes it first cuts off a line that its writer could not finish.

    Optuna's own lock outlives a killed process by 30 seconds.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Optuna's own lock is called .lock: what writes with that, as a dashboard, would wait for our file to go.
        self._lock = FileLock(path.with_name(path.name + ".flock"))

    def acquire(self) -> bool:
        taken = self._lock.acquire()
        try:
            remove_torn_line(self.path)
        except BaseException:  # Optuna calls this before the block that releases
            self._lock.release()
            raise
        return taken

    def release(self) -> None:
        self._lock.release()
