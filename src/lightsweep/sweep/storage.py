"""Where a study is kept: a journal file in its folder, or any database that Optuna can reach."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from lightsweep.errors import ConfigError
from lightsweep.sweep.locks import JournalLock

JOURNAL = "study.journal"


@dataclass(frozen=True)
class Address:
    """A study's storage and name; every process opens it for itself.

    Args:
        place: path of a journal file, or an Optuna URL such as ``sqlite:///study.db`` or ``postgresql://host/db``.
        study: the study's name.
    """

    place: str
    study: str


@lru_cache(maxsize=4)
def connect(place: str) -> BaseStorage:
    """Open a storage, once a process.

    Raises:
        ConfigError: it cannot be reached or read.
    """
    try:
        if "://" not in place:
            path = Path(place)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            lock = JournalLock(path)
            lock.acquire()  # cuts off what a killed writer left unfinished, before anybody reads it
            lock.release()
            return JournalStorage(JournalFileBackend(place, lock_obj=lock))
        wait = {"connect_args": {"timeout": 60}} if place.startswith("sqlite") else {"pool_pre_ping": True}
        return RDBStorage(place, engine_kwargs=wait)
    except OSError:
        raise
    except Exception as error:  # each database driver has its own
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"hydra.sweeper.storage: {_without_password(place)} cannot be used ({reason})") from error


@lru_cache(maxsize=4)
def follow(address: Address) -> optuna.Study:
    """The study as a job sees it: to report to, not to ask. The sampler is the cheapest one, it draws nothing."""
    return optuna.load_study(
        study_name=address.study, storage=connect(address.place), sampler=optuna.samplers.RandomSampler()
    )


def _without_password(url: str) -> str:
    head, separator, host = url.rpartition("@")
    return f"{head.split('://')[0]}://…@{host}" if separator else url
