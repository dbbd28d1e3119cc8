"""Which files may hold a study: nothing else is opened for writing."""

import os
import socket
import sqlite3
from pathlib import Path

import optuna
import pytest

from lightsweep.core.errors import ConfigError
from lightsweep.sweeper import storage
from lightsweep.sweeper.storage import connect

KEY = "hydra.sweeper.storage"


@pytest.fixture
def file(tmp_path: Path):
    """A file of a kind, in tmp_path."""

    def made(kind: str) -> Path:
        path = tmp_path / kind
        match kind:
            case "journal":
                optuna.create_study(storage=connect(str(path)))
            case "torn":
                path.write_text('{"op_c')
            case "database":
                with sqlite3.connect(path) as database:
                    database.execute("create table a (b int)")
            case "empty":
                path.touch()
            case "text":
                path.write_text("a diary")
            case "json":
                path.write_text('{"a": 1}\nno newline at the end')
            case "fifo":
                os.mkfifo(path)
            case "socket":
                socket.socket(socket.AF_UNIX).bind(str(path))
            case "folder":
                path.mkdir()
            case "link":
                path.symlink_to("/dev/zero")
        return path

    return made


@pytest.mark.parametrize("kind", ["new", "empty", "torn", "journal"])
def test_a_journal_may_be(file, kind: str) -> None:
    storage.check_study_file(KEY, str(file(kind)), workers=True)


@pytest.mark.parametrize("kind", ["new", "empty", "database"])
def test_a_database_may_be(file, kind: str) -> None:
    storage.check_study_file(KEY, f"sqlite:///{file(kind)}?timeout=5", workers=True)


@pytest.mark.parametrize("url", ["postgresql://host/db", "mysql+pymysql://host/db"])
def test_a_server_is_left_to_its_driver(url: str) -> None:
    storage.check_study_file(KEY, url, workers=True)


@pytest.mark.parametrize("kind", ["text", "json", "fifo", "socket", "folder", "link", "database"])
def test_no_other_file_is_a_journal_and_it_stays_as_it_is(file, kind: str) -> None:
    path = file(kind)
    before = path.read_bytes() if kind in ("text", "json", "database") else b""
    with pytest.raises(ConfigError) as refusal:
        storage.check_study_file(KEY, str(path), workers=True)
    assert str(refusal.value) == f"{KEY} must be the file of a study, or a new one, got '{path}'"
    assert not before or path.read_bytes() == before


@pytest.mark.parametrize("kind", ["text", "json", "fifo", "socket", "folder", "link", "journal"])
def test_no_other_file_is_a_database(file, kind: str) -> None:
    with pytest.raises(ConfigError, match="must be the file of a study, or a new one"):
        storage.check_study_file(KEY, f"sqlite+pysqlite:///{file(kind)}", workers=True)


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/tty"])
def test_a_device_holds_no_study(device: str) -> None:
    for place in (device, f"sqlite:///{device}"):
        with pytest.raises(ConfigError, match="must be the file of a study, or a new one"):
            storage.check_study_file(KEY, place, workers=True)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_workers_cannot_reach_a_database_in_memory(url: str) -> None:
    storage.check_study_file(KEY, url, workers=False)
    with pytest.raises(ConfigError, match="must be a database that worker processes can reach"):
        storage.check_study_file(KEY, url, workers=True)
