"""A file or folder is written atomically or not at all."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lightsweep.core import files
from lightsweep.core.files import read_json, read_regular, replace_atomically, write_atomic

SRC = Path(files.__file__).parents[1]


def test_a_file_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, "old")
    with replace_atomically(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_keeps_the_old_file_and_removes_the_temporary_one(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def interrupted() -> None:
        with replace_atomically(path) as temporary:
            temporary.write_text("ne")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        write_atomic(tmp_path / "file", "text")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


KILLED = """
import os, sys
from pathlib import Path
from lightsweep.core import files
with files.{how}(Path({path!r})) as temporary:
    temporary.is_dir() or temporary.write_text("half")
    print("written", flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize(("how", "name"), [("replace_atomically", "deep/file"), ("create_folder_atomically", "folder")])
def test_only_leftovers_of_a_killed_writer_are_removed(tmp_path: Path, how: str, name: str) -> None:
    (tmp_path / "deep").mkdir()
    code = KILLED.format(how=how, path=str(tmp_path / name))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], cwd=SRC, **pipes) as writer:
        assert writer.stdout.readline() == "written\n"
        (temporary,) = (path for path in tmp_path.rglob(".*"))
        files.remove_leftovers(tmp_path)
        assert temporary.exists()
        writer.stdin.close()
    assert temporary.exists()
    files.remove_leftovers(tmp_path)
    assert not temporary.exists()


def test_files_of_other_programs_are_kept(tmp_path: Path) -> None:
    names = [".file.abcdefgh", "file.lightsweep-part", ".hidden", ".folder.new"]
    for name in names:
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / ".pipe")
    files.remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*names, ".pipe"}


def test_a_folder_is_created_atomically_or_not_at_all(tmp_path: Path) -> None:
    with files.create_folder_atomically(tmp_path / "made") as temporary:
        (temporary / "file").touch()
        assert not (tmp_path / "made").exists()
    with pytest.raises(OSError, match="disk"), files.create_folder_atomically(tmp_path / "other"):
        raise OSError("disk")
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["made", "made/file"]


def test_after_an_error_a_created_folder_is_removed_if_it_is_empty(tmp_path: Path) -> None:
    def refused(*, leaving: bool) -> None:
        with files.create_folder(tmp_path / "a" / "b"):
            if leaving:
                (tmp_path / "a" / "file").touch()
            raise KeyError

    with pytest.raises(KeyError):
        refused(leaving=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyError):
        refused(leaving=True)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file"]


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 5000])
def test_text_that_is_not_json_is_a_value_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(ValueError, match=r"\w"):
        read_json(tmp_path / "file")


def test_a_sparse_file_larger_than_memory_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.truncate(tmp_path / "file", 10**13)
    with pytest.raises(OSError, match="larger than 256 MiB"):
        read_regular(tmp_path / "file")
