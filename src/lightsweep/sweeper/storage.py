"""Where a study is kept: a journal file in its folder, or any database that Optuna can reach."""

import errno
import logging
import random
import time
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from lightsweep.core import secrets
from lightsweep.core.errors import ConfigError, StorageLost
from lightsweep.core.text import Wait
from lightsweep.sweeper import journal
from lightsweep.sweeper.journal import JournalLock
from lightsweep.sweeper.leases import shared_path
from lightsweep.sweeper.trials import without_repeats

RETRY_SECONDS = 300.0  # seconds that an operation is tried again
_PAUSES = (0.1, 5.0)  # seconds: the first and the longest between two tries
_NAMES = ("EIO", "ESTALE", "ENOSPC", "EDQUOT", "EAGAIN", "EBUSY", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENOLCK")
_DISK = {getattr(errno, name) for name in _NAMES if hasattr(errno, name)}
_DATABASE = (
    "OperationalError",
    "InterfaceError",
    "InternalError",
    "TimeoutError",
    "PendingRollbackError",  # of the operation after one whose connection was lost as it ended
)  # of SQLAlchemy, which is not imported
_Result = TypeVar("_Result")


class Retry:
    """Tries again what fails because a storage is out of reach. Threads share one: an outage is told once.

    Args:
        name: of the storage, in what is said.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.reached_since = 0.0  # seconds since the epoch: when the last outage was over
        self._wait = Wait()
        self._lost = False

    def __call__(self, operation: Callable[[], _Result]) -> _Result:
        """The operation's result.

        Raises:
            StorageLost: it failed again and again, for `PATIENCE` seconds.
        """
        began, pause = time.monotonic(), _PAUSES[0]
        while True:
            try:
                result = operation()
            except Exception as error:
                reason = transient(error)
                if reason is None:
                    raise
                if self._lost or time.monotonic() - began > RETRY_SECONDS:
                    self._lost = True  # what is still to be done as the sweep ends fails at once
                    raise StorageLost(
                        f"{self.name} could not be used for {RETRY_SECONDS:.0f} s ({reason}); the same command goes on"
                    ) from error
                self._wait.update(f"{self.name} ({reason}), at most {RETRY_SECONDS:.0f} s")
                time.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, _PAUSES[1])
                continue
            if self._wait.seconds:
                self.reached_since = time.time()
                self._wait.end()
            self._lost = False
            return result


class RetryingStorage(BaseStorage):
    """A storage all of whose operations are tried again.

    An operation whose answer was lost may have been done all the same. Most can be done twice. Of a new trial that
    runs, the first one has no owner then, and is found as cut off. The other exceptions have methods of their own.
    """

    def __init__(self, storage: BaseStorage, retry: Retry) -> None:
        self._storage, self.retry = storage, retry

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """A trial that is to wait must not be asked for twice: it is looked for before it is made again."""
        if template_trial is None:
            return self.retry(lambda: self._storage.create_new_trial(study_id))
        known = {trial._trial_id for trial in self.get_all_trials(study_id, deepcopy=False)}

        def once() -> int:
            for trial in self._storage.get_all_trials(study_id, deepcopy=False):
                if trial._trial_id not in known and _same(trial, template_trial):
                    return trial._trial_id
            return self._storage.create_new_trial(study_id, template_trial)

        return self.retry(once)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """A trial that was told before the answer was lost is not told again, which would be an error."""
        tried: list[bool] = []

        def once() -> bool:
            if tried and state.is_finished() and self._storage.get_trial(trial_id).state == state:
                return True
            tried.append(True)
            return self._storage.set_trial_state_values(trial_id, state, values)

        return self.retry(once)


def _tried_again(name: str) -> Callable[..., Any]:
    def method(self: RetryingStorage, *arguments: Any, **named: Any) -> Any:
        return self.retry(lambda: getattr(self._storage, name)(*arguments, **named))

    return method


_OPERATIONS = {name for name in vars(BaseStorage) if not name.startswith("_") and name not in vars(RetryingStorage)}
for _name in _OPERATIONS:
    setattr(RetryingStorage, _name, _tried_again(_name))
RetryingStorage.__abstractmethods__ = frozenset()


def transient(error: BaseException) -> str | None:
    """Why a storage is out of reach, if that is what the error says or was caused by; None if it is another."""
    cause: BaseException | None = error
    while cause is not None:
        kind = type(cause)
        if isinstance(cause, OSError) and cause.errno in _DISK:
            return str(cause.strerror)
        if kind.__module__.startswith("sqlalchemy") and kind.__name__ in _DATABASE:
            return " ".join(str(getattr(cause, "orig", None) or cause).split())[:200]
        cause = cause.__cause__
    return None


def _same(trial: FrozenTrial, template: FrozenTrial) -> bool:
    return (trial.user_attrs, trial.system_attrs) == (template.user_attrs, template.system_attrs)


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
    journal.read_journal(
        path
    )  # says which line is damaged; Optuna would find the last one so as late as another follows
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
