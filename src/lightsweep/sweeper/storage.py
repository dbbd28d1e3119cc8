"""Where a study is kept: a journal file in its folder, whose lines are checked, or a database that Optuna can reach."""

import json
import logging
import os
import random
import re
import shlex
import stat
import time
from collections.abc import Container
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from lightsweep.core import checks, secrets
from lightsweep.core.errors import ConfigError
from lightsweep.core.text import Wait, printable
from lightsweep.sweeper.leases import FileLock, shared_path
from lightsweep.sweeper.optuna_access import (
    _OPERATIONS,
    RETRY_SECONDS,
    BaseJournalFileLock,
    Retry,
    RetryingStorage,
    _tried_again,
)
from lightsweep.sweeper.trials import without_repeats

for _name in _OPERATIONS:
    setattr(RetryingStorage, _name, _tried_again(_name))
RetryingStorage.__abstractmethods__ = frozenset()


_LOCKED = 5.0  # seconds that SQLite waits by itself for a file that another process has locked
_TRIES = 6  # to make a database's tables while others make them


@dataclass(frozen=True)
class Address:
    """A study's storage and name; every process opens it for itself.

    Args:
        location: path of a journal file, an Optuna URL such as ``sqlite:///study.db``, or ``$LIGHTSWEEP_STORAGE``,
            which stands for the URL in the environment: an address is written into files, a password must not be.
        study: the study's name.
    """

    location: str
    study: str

    @property
    def url(self) -> str:
        """The path or the URL itself."""
        return secrets.resolve_storage(self.location)


@lru_cache(maxsize=4)
def connect(location: str) -> RetryingStorage:
    """Open a storage, once a process. Once it is open it may be out of reach for a while, but not before.

    Raises:
        ConfigError: it cannot be reached or read.
        OSError: the journal's folder or file cannot be written.
    """
    try:
        storage = get_storage(_database(location)) if "://" in location else _journal(Path(location))
        retry = Retry(_name_of(location))
        return RetryingStorage(storage, retry)  # type: ignore[abstract]
    except ConfigError:
        raise
    except Exception as error:  # each database driver has its own
        if isinstance(error, OSError) and "://" not in location:
            raise
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(secrets.redact(f"hydra.sweeper.storage: {location} cannot be used ({reason})")) from error


@lru_cache(maxsize=4)
def follow(address: Address) -> optuna.Study:
    """The study as a job sees it: to report to, not to ask. The sampler is the cheapest one, it draws nothing."""
    opening = Retry(_name_of(address.url))  # the sweep has opened it before
    storage = opening(lambda: connect(address.url))
    return _Tried(address.study, storage, sampler=optuna.samplers.RandomSampler())


class _Tried(optuna.Study):
    """A study without repeats, which a pruner would take for further trials."""

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return without_repeats(super().get_trials(deepcopy, states))


def is_server(address: Address) -> bool:
    """Whether the study is in a database that has no file here: a server's, or one in memory."""
    file = _file(address)
    return "://" in file or file in ("", ":memory:")


def is_missing(address: Address) -> bool:
    """Whether the study is to be kept in a file that is not there yet: then it has no trials."""
    return not is_server(address) and not Path(_file(address)).exists()


def turns_at(address: Address) -> Path:
    """The lock file with which the sweepers of one machine take turns in claiming trials.

    It lies next to the study's file, since jobs of one machine may have temporary folders of their own, and would start
    more trials than the total. A database server has no such folder: there sweepers that share a temporary folder take
    turns, and others are treated as on several machines.
    """
    if is_server(address):
        return shared_path(f"{address.url} {address.study}")
    return Path(f"{_file(address)}.claims")


def _file(address: Address) -> str:
    """The path of a journal or of SQLite's database; of other databases it is none."""
    return address.url.removeprefix("sqlite:///").partition("?")[0]


def _journal(path: Path) -> JournalStorage:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with path.open("rb") as file:
        if file.read(1) not in (b"", b"{"):  # checked before a lock file is made next to it
            raise ValueError("it is no journal of Optuna's")
    lock = JournalLock(path)
    try:
        lock.acquire()  # cuts off what a killed writer left unfinished, before anybody reads it
    finally:
        lock.release()
    read_journal(path)  # says which line is damaged; Optuna would find the last one so as late as another follows
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _database(url: str) -> RDBStorage:
    """Open a database. Machines that begin together all make its tables; all but one are told that they exist."""
    from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError  # not for a journal: it takes its time

    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # it prints a trace of a connection that is lost
    wait = {"connect_args": {"timeout": _LOCKED}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    waiting, tries = Wait(), 0
    while True:
        try:
            return RDBStorage(url, engine_kwargs=wait)
        except DBAPIError as error:
            if "database is locked" in str(error) and waiting.seconds < RETRY_SECONDS:
                waiting.update(f"{url}, which another process has locked, at most {RETRY_SECONDS:.0f} s")
                continue
            # Each database has its own error for it; a server that cannot be reached is an OperationalError too.
            made = isinstance(error, IntegrityError | ProgrammingError) or "already exists" in str(error)
            tries += 1
            if not made or tries == _TRIES:
                raise
        time.sleep(random.uniform(0.1, 0.5))


def _name_of(location: str) -> str:
    """Of a storage, in what is said."""
    return secrets.redact(f"hydra.sweeper.storage: {location}")


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
