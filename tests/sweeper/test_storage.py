"""Opening a study's storage: beside others who open it too, and with a line for what cannot be."""

from pathlib import Path

import optuna
import pytest
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from lightsweep.core.errors import ConfigError
from lightsweep.core.files import JOURNAL
from lightsweep.sweeper import storage
from lightsweep.sweeper.storage import Address, claims_lock_path, connect


@pytest.fixture(autouse=True)
def _fresh_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.random, "uniform", lambda low, high: 0.0)  # the wait between two tries
    connect.cache_clear()


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch):
    """Let the database refuse with these errors, one a try; gives the list of those that are left."""

    def refuse(*errors: Exception) -> list[Exception]:
        left = list(errors)

        def open_it(url: str, **options):
            if left:
                raise left.pop(0)
            return optuna.storages.RDBStorage(url, **options)

        monkeypatch.setattr(storage, "RDBStorage", open_it)
        return left

    return refuse


def test_tables_that_another_machine_makes_at_the_same_time_are_no_error(refusing, tmp_path: Path) -> None:
    twice = IntegrityError("CREATE TABLE studies", None, Exception("violates pg_type_typname_nsp_index"))
    exists = ProgrammingError("CREATE TABLE trials", None, Exception("relation exists"))
    known = OperationalError("CREATE TABLE studies", None, Exception("table studies already exists"))
    left = refusing(twice, exists, known)
    assert connect(f"sqlite:///{tmp_path}/study.db").get_all_studies() == []
    assert not left


def test_a_server_that_cannot_be_reached_is_not_asked_again(refusing, tmp_path: Path) -> None:
    left = refusing(*[OperationalError("", None, Exception("connection refused"))] * 3)
    with pytest.raises(ConfigError, match="hydra.sweeper.storage: .* cannot be used .*connection refused"):
        connect(f"sqlite:///{tmp_path}/study.db")
    assert len(left) == 2


def test_a_file_that_is_no_journal_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "study.db"  # as with sqlite:/// forgotten
    file.write_bytes(b"SQLite format 3\0\nand what else\nhas no end of line")
    before = file.read_bytes()
    with pytest.raises(ConfigError, match="hydra.sweeper.storage"):
        connect(str(file))
    assert file.read_bytes() == before


def test_sweepers_take_turns_beside_the_file_whatever_their_temporary_folder_is(tmp_path: Path, temporary) -> None:
    places = [str(tmp_path / JOURNAL), f"sqlite:///{tmp_path}/study.db", "postgresql://host/db"]
    before = [claims_lock_path(Address(place, "study")) for place in places]
    temporary(tmp_path)
    after = [claims_lock_path(Address(place, "study")) for place in places]
    assert before[:2] == after[:2] == [tmp_path / f"{JOURNAL}.claims", tmp_path / "study.db.claims"]
    assert after[2].is_relative_to(tmp_path)
