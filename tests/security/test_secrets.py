"""The password of a study's database: in no file, in no message."""

import os
from pathlib import Path

import pytest

import toy
from lightsweep.core import secrets
from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.storage import Address, claims_lock_path, connect
from tiny import TINY

URLS = {
    "user": "postgresql://me:hunter2@127.0.0.1:1/x",
    "query": "postgresql://127.0.0.1:1/x?user=me&password=hunter2",
    "driver": "postgresql+psycopg://me:hunter2@127.0.0.1:1/x?connect_timeout=1",
    "no such driver": "mysql+nowhere://me:hunter2@127.0.0.1:1/x",
    "no URL": "postgresql:/me:hunter2@@:x?password=hunter2 ://",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch) -> None:
    monkeypatch.setenv(secrets.VARIABLE, "")  # put back after the test, whatever a command line set
    connect.cache_clear()


FORMS = ("hydra.sweeper.storage={}", "++hydra.sweeper.storage={}", "hydra.sweeper.storage='{}'", "environment")


@pytest.mark.parametrize(
    ("url", "form"),
    [
        *((URLS[name], form) for name in ("user", "no URL") for form in FORMS),
        *((URLS[name], FORMS[0]) for name in ("query", "driver", "no such driver")),
    ],
)
def test_a_database_that_cannot_be_reached_is_named_without_it(
    launch, tmp_path: Path, monkeypatch, url: str, form: str
) -> None:
    if form == "environment":
        monkeypatch.setenv(secrets.VARIABLE, url)
    argument = [] if form == "environment" else [form.format(url)]
    done = launch("sweep=quick", *TINY, f"hydra.sweep.dir={tmp_path}/study", *argument, main=toy.main)
    assert done.code == 1
    assert "hunter2" not in done.out + done.err
    assert len(done.err.strip().splitlines()) == 1
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"hunter2" not in file.read_bytes(), file


@pytest.mark.parametrize(
    "argument", ["hydra.sweeper={storage:'postgresql://a:b@h/x'}", "hydra={sweeper:{storage:'mysql://h/x'}}"]
)
def test_inside_of_a_mapping_it_is_refused(launch, argument: str) -> None:
    done = launch("sweep=quick", argument)
    assert (done.code, done.err) == (1, "hydra.sweeper.storage must be typed by itself: hydra.sweeper.storage=URL\n")


def test_what_hydra_is_given_holds_a_reference() -> None:
    taken = secrets.move_to_environment(
        ["sweep=quick", "hydra.sweeper.storage=postgresql://me:hunter2@h/x", "--config-dir", "x://y"]
    )
    assert taken == ["sweep=quick", "hydra.sweeper.storage=${lightsweep.storage:}", "--config-dir", "x://y"]
    assert os.environ[secrets.VARIABLE] == "postgresql://me:hunter2@h/x"


def test_a_file_is_no_secret() -> None:
    line = "hydra.sweeper.storage=sqlite:///study.db"
    assert secrets.move_to_environment([line]) == [line]
    assert secrets.resolve_storage("sqlite:///study.db") == "sqlite:///study.db"


def test_an_address_travels_as_a_reference(monkeypatch) -> None:
    url = "postgresql://me:hunter2@h/x"
    monkeypatch.setenv(secrets.VARIABLE, url)
    address = Address(secrets.storage_reference(), "study")
    assert "hunter2" not in repr(address)
    assert address.url == url
    assert "hunter2" not in str(claims_lock_path(address))
    monkeypatch.delenv(secrets.VARIABLE)
    with pytest.raises(ConfigError, match="LIGHTSWEEP_STORAGE must be set"):
        _ = address.url


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:hunter2@host:5432/x", "postgresql://me:***@host:5432/x"),
        ("cannot reach redis://:hunter2@host", "cannot reach redis://:***@host"),
        ("x?password=hunter2&a=b", "x?password=***&a=b"),
        ("x?a=b&PASSWORD=hunter2", "x?a=b&PASSWORD=***"),
        ("connection 'user=me password=hunter2 host=h'", "connection 'user=me password=*** host=h'"),
        ("postgresql://me@host/x", "postgresql://me@host/x"),
        ("epoch 1: 0.5 at 12:30", "epoch 1: 0.5 at 12:30"),
    ],
)
def test_messages_are_redacted(text: str, shown: str) -> None:
    assert secrets.redact(text) == shown


def test_the_environment_names_a_study_without_typing(launch, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(secrets.VARIABLE, f"sqlite:///{tmp_path}/mine.db")
    done = launch(
        *("sweep=quick", "callbacks=none", *TINY, "hydra.sweeper.n_trials=1", f"hydra.sweep.dir={tmp_path}/study"),
        main=toy.main,
    )
    assert done.code == 0, done.err
    assert (tmp_path / "mine.db").is_file()
    assert not (tmp_path / "study" / "study.journal").exists()


@pytest.mark.parametrize("password", ["hun'ter2", 'hun"ter2', "hun%20ter2", "h/u:n@ter2", "x" * 40])
def test_whatever_letters_a_password_has(monkeypatch, password: str) -> None:
    url = f"postgresql://me:{password}@host/x?password={password}"
    monkeypatch.setenv(secrets.VARIABLE, url)
    assert password not in secrets.redact(f"cannot reach {url} as me with {password}")


@pytest.mark.parametrize("url", ["sqlite+pysqlcipher://:hunter2@/x.db", "postgresql://h/x", "mysql://me:hunter2@h/x"])
def test_only_plain_files_stay_on_the_command_line(url: str) -> None:
    assert secrets.move_to_environment([f"hydra.sweeper.storage={url}"]) == [
        "hydra.sweeper.storage=${lightsweep.storage:}"
    ]


@pytest.mark.parametrize(
    "note", ["${lightsweep.storage:}", "${oc.env:LIGHTSWEEP_STORAGE}", "${oc.decode:'${lightsweep.storage:}'}"]
)
def test_a_config_cannot_copy_it_into_a_record(launch, tmp_path: Path, monkeypatch, note: str) -> None:
    monkeypatch.setenv(secrets.VARIABLE, "postgresql://me:hunter2@127.0.0.1:1/x")
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "evil.yaml").write_text(f'# @package _global_\nnote: "{note}"\n')
    small = ("data=digits", "trainer=cpu", "trainer.max_epochs=1", "model.width=4", "callbacks=none", "logger=none")
    launch(*small, "--config-dir", f"{tmp_path}/conf", "experiment=evil", f"hydra.run.dir={tmp_path}/run")
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"hunter2" not in file.read_bytes(), file


def test_the_official_sweeper_writes_no_address_into_its_records(launch, tmp_path: Path) -> None:
    typed = ("hydra/sweeper=optuna", "seed=range(1,3)", "hydra.sweeper.storage=postgresql://me:hunter2@h/x")
    done = launch("-m", "data=digits", *typed, f"hydra.sweep.dir={tmp_path}/grid")
    assert done.code == 1
    assert "hydra/sweeper=optuna would write a server's address into its records" in done.err
    assert "hunter2" not in done.err + done.out
