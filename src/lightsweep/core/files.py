"""The folders of the project and its outputs; files and folders written atomically; text of unknown origin."""

import errno
import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightsweep.core.errors import ConfigError

JOURNAL = "study.journal"  # of a sweep without a database, in its folder
ROOT = Path(__file__).resolve().parents[3]
CONF = ROOT / "conf"
# The folder of runs, grids and sweeps. Only the environment moves it: a config of another user cannot.
OUTPUTS = Path(os.path.abspath(Path(os.environ.get("LIGHTSWEEP_OUTPUTS") or ROOT / "outputs").expanduser()))  # noqa: PTH100  # resolve() would leave symlinks


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path is a folder or below it, symbolic links and ``..`` followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def check_links(folder: Path, *, within: Path, deep: bool = True) -> None:
    """See that what is written to a folder stays below `within`.

    Args:
        folder: `within` itself or below it; it need not exist.
        within: the run's, the sweep's or the data's folder, which may itself be reached through links.
        deep: look at everything below the folder, not only at what is directly in it.

    Raises:
        ConfigError: a link leads out of `within`; names it.
    """
    if (link := find_escape(folder, within=within, deep=deep)) is not None:
        raise ConfigError(f"{link} is a symbolic link that leads out of {within}: it must be removed first")


def find_escape(folder: Path, *, within: Path, deep: bool = True) -> Path | None:
    """The first link that leads out of `within`, on the way to the folder, in it or below it; None where none does."""
    if not is_inside(folder, within):
        return folder
    return next((path for path in _find_links(folder, deep) if not is_inside(path, within)), None)


def _find_links(folder: Path, deep: bool) -> Iterator[Path]:
    try:
        entries = list(os.scandir(folder))
    except OSError:  # missing or not readable: nothing can be written there either
        return
    for entry in entries:
        if entry.is_symlink():
            yield Path(entry.path)
        elif deep and entry.is_dir(follow_symlinks=False):
            yield from _find_links(Path(entry.path), deep)


_PART = ".lightsweep-part"  # the suffix of temporary files
_NEW = ".lightsweep-new"  # and of temporary folders
_MOST = 2**28  # bytes of a text that is read at once


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """A temporary path next to `path`, which it replaces in one step when the block ends without an error.

    A reader sees the old file or the new one, never a part. An error keeps the old file and removes the temporary one;
    `remove_leftovers` removes what a killed process leaves.
    """
    temporary = _hidden(path, _PART)
    temporary.touch(exist_ok=False)
    with _renaming(temporary, path):
        yield temporary


@contextmanager
def create_folder_atomically(folder: Path) -> Iterator[Path]:
    """A temporary folder, which is renamed to `folder` when the block ends without an error.

    Raises:
        OSError: it cannot be made, or `folder` exists by now.
    """
    temporary = _hidden(folder, _NEW)
    temporary.mkdir(parents=True)
    with _renaming(temporary, folder):
        yield temporary


def _hidden(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{suffix}")


@contextmanager
def _renaming(temporary: Path, path: Path) -> Iterator[None]:
    """Rename it when the block ends, or remove it after an error. It is locked meanwhile: `remove_leftovers` looks."""
    handle = os.open(temporary, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
        temporary.rename(path)
    except BaseException:
        _remove(temporary)
        raise
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files in a folder and below, and the temporary folders in it, that killed processes left.

    A process holds a lock on what it writes until it ends. On a file system without locks nothing is removed.
    """
    for parent, folders, names in os.walk(folder):
        for name in names:
            if name.startswith(".") and name.endswith(_PART):
                _remove_unless_locked(Path(parent, name))
        folders[:] = [name for name in folders if not name.endswith(_NEW)]
    remove_leftover_folders(folder)


def remove_leftover_folders(folder: Path) -> None:
    """Remove the temporary folders in this one that killed processes left."""
    for each in folder.glob(f".*{_NEW}"):
        _remove_unless_locked(each)


def _remove_unless_locked(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return  # removed meanwhile, or of another user
    try:
        with suppress(OSError):  # its writer lives, or there are no locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(path)
    finally:
        os.close(handle)


def read_regular(path: Path) -> str:
    """The text (UTF-8) of a regular file, perhaps of another user: a pipe would block, a device has no end.

    Raises:
        OSError: it is no regular file, cannot be read, or is too large: a sparse file may be larger than any disk.
        ValueError: it is not UTF-8.
    """
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "there is no regular file", str(path))
    if path.stat().st_size > _MOST:
        raise OSError(errno.EFBIG, f"it is larger than {_MOST >> 20} MiB", str(path))
    return path.read_text(encoding="utf-8")


def read_json(path: Path) -> Any:
    """The content of a regular JSON file, perhaps of another user.

    Raises:
        OSError: as `read_regular` does.
        ValueError: it is no JSON.
    """
    return parse_json(read_regular(path))


def parse_json(text: str) -> Any:
    """The content of a JSON text, perhaps of another user.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return json.loads(text)
    except RecursionError as error:  # thousands of nested brackets
        raise ValueError("it is nested too deeply") from error


def write_atomic(path: Path, text: str) -> None:
    """Write a text file (UTF-8) atomically."""
    with replace_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def create_folder(folder: Path) -> Iterator[None]:
    """Make a folder and its missing parents; an error in the block removes those again that are empty."""
    made = find_missing(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except Exception:
        remove_empty(made)
        raise


def find_missing(folder: Path) -> list[Path]:
    """The folder and its parents that do not exist, innermost first."""
    return [each for each in (folder, *folder.parents) if not each.exists()]


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove these folders, innermost first, up to the first that is not empty."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def set_aside(path: Path) -> None:
    """Rename a folder to ``NAME.earlier-1``, or the next free number, to make room for another one."""
    if not path.exists() and not path.is_symlink():
        return
    number = 1
    while (aside := path.with_name(f"{path.name}.earlier-{number}")).exists():
        number += 1
    path.rename(aside)


def is_set_aside(name: str) -> bool:
    """Was a folder of this name renamed by `set_aside`?"""
    return re.search(r"\.earlier-\d+$", name) is not None
