"""Writing a file whole or not at all, and making a folder that goes again where nothing comes of it."""

import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_PART = ".lightsweep-part"  # how the names of temporary files end: nobody else's do
_NEW = ".lightsweep-new"  # and those of folders
_MOST = 2**28  # bytes of a text that is read whole


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place, in one step, when the block ends well.

    A reader sees the old file or the new one, never a part; an error leaves the old one and no litter. What a kill
    leaves, `sweep` removes.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_PART)
    temporary = Path(name)
    try:
        _mark_as_living(handle)
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # mkstemp's files are for their owner only
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)


@contextmanager
def create_folder_atomically(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` that becomes it, in one step, when the block ends well.

    Raises:
        OSError: it cannot be made, or `folder` is there by now.
    """
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}{_NEW}")
    temporary.mkdir(parents=True)
    handle = os.open(temporary, os.O_RDONLY)
    try:
        _mark_as_living(handle)
        yield temporary
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    finally:
        os.close(handle)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files in a folder and below, and the temporary folders in it, whose writers were killed.

    A writer holds a lock on what it writes, which ends with it, whatever machine it is on. Where there are no locks,
    nothing is removed.
    """
    for parent, folders, names in os.walk(folder):
        for name in names:
            if name.startswith(".") and name.endswith(_PART):
                _remove_unless_alive(Path(parent, name))
        folders[:] = [name for name in folders if not name.endswith(_NEW)]
    remove_leftover_folders(folder)


def remove_leftover_folders(folder: Path) -> None:
    """Remove the temporary folders in this one whose writers were killed."""
    for each in folder.glob(f".*{_NEW}"):
        _remove_unless_alive(each)


def _mark_as_living(handle: int) -> None:
    """Until the handle is closed. (`sweep` may come before: then the file is made again by its writer.)"""
    with suppress(OSError):  # a file system without locks
        fcntl.flock(handle, fcntl.LOCK_EX)


def _remove_unless_alive(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return  # gone, or not ours
    try:
        with suppress(OSError):  # its writer lives, or there are no locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
    finally:
        os.close(handle)


def read_regular(path: Path) -> str:
    """The text (UTF-8) of a regular file, perhaps from somebody else: a pipe would be waited for, a device has no end.

    Raises:
        OSError: it is none, cannot be read, or is too large: one with holes may be larger than any disk.
        ValueError: it is no UTF-8.
    """
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "there is no regular file", str(path))
    if path.stat().st_size > _MOST:
        raise OSError(errno.EFBIG, f"it is larger than {_MOST >> 20} MiB", str(path))
    return path.read_text(encoding="utf-8")


def read_json(path: Path) -> Any:
    """What a regular file, perhaps from somebody else, holds as JSON.

    Raises:
        OSError: as `read_regular` does.
        ValueError: it is no JSON.
    """
    return parse_json(read_regular(path))


def parse_json(text: str) -> Any:
    """What a text, perhaps from somebody else, says as JSON.

    Raises:
        ValueError: it is none.
    """
    try:
        return json.loads(text)
    except RecursionError as error:  # brackets in brackets, thousands of them
        raise ValueError("it is nested too deeply") from error


def write_atomic(path: Path, text: str) -> None:
    """Replace a file's content by `text` (UTF-8)."""
    with replace_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def create_folder(folder: Path) -> Iterator[None]:
    """Make a folder and those above it that are missing; an error in the block removes those again that are empty."""
    made = find_missing(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except Exception:
        remove_empty(made)
        raise


def find_missing(folder: Path) -> list[Path]:
    """The folder and those above it that do not exist, innermost first."""
    return [each for each in (folder, *folder.parents) if not each.exists()]


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove these folders, innermost first, up to the first that holds something."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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
