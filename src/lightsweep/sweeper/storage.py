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
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from lightsweep.core import checks, secrets
from lightsweep.core.errors import ConfigError
from lightsweep.core.text import Wait, printable
from lightsweep.sweeper.leases import FileLock, shared_path
from lightsweep.sweeper.optuna_access import BaseJournalFileLock, OneObjective, Retry, RetryingStorage
from lightsweep.sweeper.trials import without_repeats

RETRY_SECONDS = 300.0  # for which an operation is retried
_PAUSES = (0.1, 5.0)  # seconds: the first and the longest between two attempts
_LOCKED = 5.0  # seconds that SQLite itself waits for a file that another process has locked
_TABLE_ATTEMPTS = 6  # to create a database's tables while other processes create them
_SHOWN = 60  # characters of a damaged line
_SQLITE = re.compile(r"sqlite(\+\w+)?://(/(?P<path>[^?]*))?(\?.*)?")
_JOURNAL_HEAD = b'{"op_code":'  # of each line of Optuna's journals
_SQLITE_HEAD = b"SQLite format 3\0"


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
    """Open a storage, once a process. Only an open one may be out of reach for a while.

    Raises:
        ConfigError: it cannot be reached or read.
        OSError: the journal's folder or file cannot be written.
    """
    try:
        storage = _open_database(location) if "://" in location else _open_journal(Path(location))
        return RetryingStorage(storage, _retry_for(location))  # type: ignore[abstract]
    except ConfigError:
        raise
    except Exception as error:  # each database driver has its own
        if isinstance(error, OSError) and "://" not in location:
            raise
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(secrets.redact(f"hydra.sweeper.storage: {location} cannot be used ({reason})")) from error


@lru_cache(maxsize=4)
def follow(address: Address, objective: int | None = None) -> optuna.Study:
    """The study of a running job, which reports to it and draws nothing: its sampler is the cheapest.

    Args:
        objective: the index of the one that is reported, of several.
    """
    storage = _retry_for(address.url)(lambda: connect(address.url))  # the sweeper has opened it before
    if objective is not None:
        storage = OneObjective(storage, objective)  # type: ignore[abstract]
    return _StudyWithoutRepeats(address.study, storage, sampler=optuna.samplers.RandomSampler())


class _StudyWithoutRepeats(optuna.Study):
    """A pruner would take repeats for further trials."""

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return without_repeats(super().get_trials(deepcopy, states))


def is_server(address: Address) -> bool:
    """Whether the study is in a database that has no file here: a server's, or one in memory."""
    file = _file(address)
    return "://" in file or file in ("", ":memory:")


def is_missing(address: Address) -> bool:
    """Whether the study's file does not exist yet: then it has no trials."""
    return not is_server(address) and not Path(_file(address)).exists()


def with_full_path(location: str) -> str:
    """The location of a study's file with its full path: a job may run in another directory."""
    found = _SQLITE.fullmatch(location)
    if found is None:
        return location if "://" in location or location.startswith("$") else str(Path(location).absolute())
    path, (start, end) = found["path"], found.span("path")
    is_file = path and path != ":memory:" and not path.startswith("file:")
    return f"{location[:start]}{Path(path).absolute()}{location[end:]}" if is_file else location


def claims_lock_path(address: Address) -> Path:
    """The lock file with which the sweepers of one machine take turns in claiming trials.

    It is next to the study's file, since jobs of one machine may have different temporary folders, and would start more
    trials than the total. A server's study has no file: sweepers that share a temporary folder take turns, and others
    are treated as on several machines.
    """
    if is_server(address):
        return shared_path(f"{address.url} {address.study}")
    return Path(f"{_file(address)}.claims")


def _file(address: Address) -> str:
    """The path of a journal or of an SQLite database."""
    return address.url.removeprefix("sqlite:///").partition("?")[0]


def _retry_for(location: str) -> Retry:
    return Retry(secrets.redact(f"hydra.sweeper.storage: {location}"), seconds=RETRY_SECONDS, pauses=_PAUSES)


def _open_journal(path: Path) -> JournalStorage:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with path.open("rb") as file:
        if file.read(1) not in (b"", b"{"):  # checked before a lock file is made next to it
            raise ValueError("it is no journal of Optuna's")
    lock = JournalLock(path)
    try:
        lock.acquire()  # removes an unfinished line of a killed writer before anybody reads it
    finally:
        lock.release()
    read_journal(path)  # names a damaged line; Optuna reports the last one only after another was written
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _open_database(url: str) -> BaseStorage:
    """Open a database. Of machines that start together all create its tables, and all but one fail at first."""
    from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError  # slow to import, and no journal needs it

    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # it prints a traceback for a lost connection
    engine = {"connect_args": {"timeout": _LOCKED}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    waiting, attempts = Wait(), 0
    while True:
        try:
            return get_storage(RDBStorage(url, engine_kwargs=engine))
        except DBAPIError as error:
            if "database is locked" in str(error) and waiting.seconds < RETRY_SECONDS:
                waiting.update(f"{url}, which another process has locked, at most {RETRY_SECONDS:.0f} s")
                continue
            # Each database has its own error for existing tables; an unreachable server is an OperationalError too.
            exists = isinstance(error, IntegrityError | ProgrammingError) or "already exists" in str(error)
            attempts += 1
            if not exists or attempts == _TABLE_ATTEMPTS:
                raise
        time.sleep(random.uniform(0.1, 0.5))


def check_study_file(key: str, location: str, *, workers: bool) -> None:
    """Check the file of an address; databases on a server are left to their drivers.

    Args:
        key: where the address came from.
        location: the path of a journal, or an Optuna URL.
        workers: whether other processes will open it too.

    Raises:
        ConfigError: it is not a study's file.
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
    checks.require(_may_be_study(Path(path), head), key, "be the file of a study, or a new one", location)


def _may_be_study(path: Path, head: bytes) -> bool:
    """Whether nothing is there, or a file that starts so, as far as a killed writer came. What cannot be read is left
    to `connect`."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            return head.startswith(file.read(len(head)))
    except OSError:
        return True


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The entries of complete lines. The last line may be half written, and blank lines at the end are skipped.

    Raises:
        ConfigError: a line is damaged; names it, and a command that keeps everything before it.
    """
    lines = _complete_lines(path.read_bytes())
    return [_parse_line(line, number, len(lines), path) for number, line in enumerate(lines, start=1)]


def remove_torn_line(path: Path) -> None:
    """Remove an unfinished last line, and blank lines at the end. Call it with the lock.

    Optuna would append to such a line, and never read the study again; nor does it read past a blank line.
    """
    with path.open("rb+") as file:
        if file.read(1) != b"{":  # empty, or no journal
            return
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 3))
        tail = file.read()
        if tail.endswith(b"\n") and tail.strip() and not tail[:-1].rstrip(b"\r").endswith(b"\n"):
            return  # the usual case, without reading the file
        file.seek(0)
        file.truncate(sum(len(line) + 1 for line in _complete_lines(file.read())))


def _complete_lines(content: bytes) -> list[bytes]:
    """The lines up to the last one that is complete and not blank, without their line feeds."""
    lines = content.split(b"\n")[:-1]
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _parse_line(line: bytes, number: int, count: int, path: Path) -> dict[str, Any]:
    with suppress(ValueError):
        if isinstance(entry := json.loads(line), dict):
            return entry
    where, file = f"{path}, line {number} of {count}", shlex.quote(str(path))
    if not line.strip():
        raise ConfigError(f"{where} is blank: sed -i.damaged '/^[[:space:]]*$/d' {file} removes such lines")
    shown = printable(line[:_SHOWN].decode(errors="replace"))
    raise ConfigError(
        f"{where} is damaged ({shown}): sed -i.damaged '{number},$d' {file} keeps what was written before it, and the"
        f" original in {path.name}.damaged"
    )


class JournalLock(BaseJournalFileLock):
    """The lock of a journal file. Whoever takes it first removes an unfinished line of a killed writer.

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
