"""Where a study is kept: a journal file in its folder, or any database that Optuna can reach."""

import logging
import random
import time
from collections.abc import Container
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import optuna
from optuna.storages import JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from lightsweep.core import secrets
from lightsweep.core.errors import ConfigError
from lightsweep.core.waiting import Wait
from lightsweep.sweeper import journal
from lightsweep.sweeper.locks import JournalLock, shared_path
from lightsweep.sweeper.patience import PATIENCE, Patience, PatientStorage
from lightsweep.sweeper.repeats import without

_LOCKED = 5.0  # seconds that SQLite waits by itself for a file that another process has locked
_TRIES = 6  # to make a database's tables beside others who make them


@dataclass(frozen=True)
class Address:
    """A study's storage and name; every process opens it for itself.

    Args:
        place: path of a journal file, an Optuna URL such as ``sqlite:///study.db``, or ``$LIGHTSWEEP_STORAGE``, which
            stands for the URL in the environment: an address is written into files, a password must not be.
        study: the study's name.
    """

    place: str
    study: str

    @property
    def url(self) -> str:
        """The path or the URL itself."""
        return secrets.address_of(self.place)


@lru_cache(maxsize=4)
def connect(place: str) -> PatientStorage:
    """Open a storage, once a process. Once it is open it may be out of reach for a while, but not before.

    Raises:
        ConfigError: it cannot be reached or read.
        OSError: the journal's folder or file cannot be written.
    """
    try:
        storage = get_storage(_database(place)) if "://" in place else _journal(Path(place))
        patience = Patience(_name(place))
        return PatientStorage(storage, patience)  # type: ignore[abstract]
    except ConfigError:
        raise
    except Exception as error:  # each database driver has its own
        if isinstance(error, OSError) and "://" not in place:
            raise
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(secrets.redacted(f"hydra.sweeper.storage: {place} cannot be used ({reason})")) from error


@lru_cache(maxsize=4)
def follow(address: Address) -> optuna.Study:
    """The study as a job sees it: to report to, not to ask. The sampler is the cheapest one, it draws nothing."""
    opening = Patience(_name(address.url))  # the sweep has opened it before
    storage = opening(lambda: connect(address.url))
    return _Tried(address.study, storage, sampler=optuna.samplers.RandomSampler())


class _Tried(optuna.Study):
    """A study without repeats, which a pruner would take for further trials."""

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return without(super().get_trials(deepcopy, states))


def is_server(address: Address) -> bool:
    """Whether the study is in a database that has no file here: a server's, or one in memory."""
    file = _file(address)
    return "://" in file or file in ("", ":memory:")


def is_missing(address: Address) -> bool:
    """Whether the study is to be kept in a file that is not there yet: then it has no trials."""
    return not is_server(address) and not Path(_file(address)).exists()


def turns_at(address: Address) -> Path:
    """The lock file by which the sweepers of one machine take turns at a study's books.

    It lies beside the study's file: jobs of one machine may each have a temporary folder of their own, and would hand
    out more than the total. A database server has no place that all who use it know; there they take turns as far as
    they share the temporary folder, and are as several machines otherwise.
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
        if file.read(1) not in (b"", b"{"):  # seen before a lock is left beside it
            raise ValueError("it is no journal of Optuna's")
    lock = JournalLock(path)
    try:
        lock.acquire()  # cuts off what a killed writer left unfinished, before anybody reads it
    finally:
        lock.release()
    journal.read(path)  # says which line is damaged; Optuna would find the last one so as late as another follows
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
            if "database is locked" in str(error) and waiting.seconds < PATIENCE:
                waiting.still(f"{url}, which another process has locked, at most {PATIENCE:.0f} s")
                continue
            # Each database has its own error for it; a server that cannot be reached is an OperationalError too.
            made = isinstance(error, IntegrityError | ProgrammingError) or "already exists" in str(error)
            tries += 1
            if not made or tries == _TRIES:
                raise
        time.sleep(random.uniform(0.1, 0.5))


def _name(place: str) -> str:
    """Of a storage, in what is said."""
    return secrets.redacted(f"hydra.sweeper.storage: {place}")
