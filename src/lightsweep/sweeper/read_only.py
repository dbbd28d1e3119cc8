"""Studies that are only read, without a lock: for a report while the sweep runs, or to start another sweep from."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import BaseJournalBackend

from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.storage import read_journal

_SQLITE = re.compile(r"sqlite:///(?P<path>[^?#:]+)$")


def open_journal(file: Path) -> BaseStorage:
    """A study's file; nothing can be written through it."""
    return JournalStorage(_ReadOnlyJournal(file))


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite database; None for another one."""
    found = _SQLITE.match(url)
    return Path(found["path"]) if found else None


def open_database(url: str) -> BaseStorage:
    """A database; nothing can be written through it, but into a database server.

    Raises:
        FileNotFoundError: there is no such SQLite file.
    """
    if (path := sqlite_file(url)) is None:
        return RDBStorage(url, skip_table_creation=True)
    if not path.is_file():
        raise FileNotFoundError(path)
    return RDBStorage(f"sqlite:///file:{path.resolve()}?mode=ro&uri=true", skip_table_creation=True)


def load_study(storage: BaseStorage, likely: str, *, option: str = "", typed: str | None = None) -> optuna.Study:
    """The study that was typed; else the only one of a storage, or the one with the likely name."""
    names = optuna.get_all_study_names(storage)
    name = names[0] if len(names) == 1 and typed is None else likely
    if name not in names:
        listed = ", ".join(map(repr, names)) or "none"
        raise ConfigError(
            f"the storage holds no study {name!r}, it holds {listed}" + f" ({option} says which)" * bool(option)
        )
    return optuna.load_study(study_name=name, storage=storage)


class _ReadOnlyJournal(BaseJournalBackend):
    """The complete lines of a journal. Optuna's own backend would lock the file, and fail on a half-written line."""

    def __init__(self, path: Path) -> None:
        self.logs = read_journal(path)

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        raise ConfigError("a study that is read must not be written")
