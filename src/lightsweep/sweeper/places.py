"""What may be a study's file: a new one, or one that holds studies. Nothing else is opened for writing: a device would
be read without end, and a lock would cut the last line off a text file that does not end in a newline."""

import re
import stat
from pathlib import Path

from lightsweep.core import checks

_SQLITE = re.compile(r"sqlite(\+\w+)?://(/(?P<path>[^?]*))?(\?.*)?")
_JOURNAL_HEAD = b'{"op_code":'  # of each line of Optuna's journals
_SQLITE_HEAD = b"SQLite format 3\0"


def check(key: str, place: str, *, workers: bool) -> None:
    """Look at the file that an address means; databases behind a server are left to their drivers.

    Args:
        key: where the address came from.
        place: the path of a journal, or an Optuna URL.
        workers: other processes are to open it too.

    Raises:
        ConfigError: it is something else than a study's file.
    """
    sqlite = _SQLITE.fullmatch(place)
    if sqlite is None and "://" in place:
        return
    path = place if sqlite is None else sqlite["path"]
    if path in (None, "", ":memory:"):
        rule = "be a database that worker processes can reach (hydra.sweeper.n_jobs=0 needs none)"
        checks.require(not workers, key, rule, place)
        return
    head = _JOURNAL_HEAD if sqlite is None else _SQLITE_HEAD
    rule = "be the file of a study, or a new one"
    checks.require(_is_new(Path(path)) or _begins(Path(path), head), key, rule, place)


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
