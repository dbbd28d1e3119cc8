"""The folder of locks in the temporary folder, which everybody may write to."""

import os
from pathlib import Path

import pytest

from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.leases import FileLock, shared_path


@pytest.fixture
def folder(tmp_path: Path, temporary) -> Path:
    temporary(tmp_path)
    return tmp_path / f"lightsweep-{os.getuid()}"


def test_it_is_ours_alone(folder: Path) -> None:
    assert shared_path("x").parent == folder
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_may_enter_is_refused(folder: Path) -> None:
    for mode in (0o777, 0o750, 0o701):
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)
        with pytest.raises(ConfigError, match=rf"{folder.name} must be a folder of yours .* set TMPDIR"):
            shared_path("x")


def test_a_folder_of_somebody_else_is_refused(folder: Path, monkeypatch) -> None:
    folder.mkdir(mode=0o700)
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    folder.rename(folder.with_name(f"lightsweep-{uid + 1}"))
    with pytest.raises(ConfigError, match="set TMPDIR"):
        shared_path("x")


@pytest.mark.parametrize("kind", ["link to a folder", "link to nothing", "file"])
def test_what_is_no_folder_is_refused(folder: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "other").mkdir(mode=0o700)
    if kind == "file":
        folder.touch()
    else:
        folder.symlink_to(tmp_path / ("other" if kind == "link to a folder" else "nothing"))
    with pytest.raises(ConfigError, match="set TMPDIR"):
        shared_path("x")
    assert list((tmp_path / "other").iterdir()) == []


def test_no_lock_is_taken_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic"):
        FileLock(tmp_path / "lock").acquire()
    assert not (tmp_path / "victim").exists()
