"""Writing a file whole or not at all, and making a folder that goes again where nothing comes of it."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place, in one step, when the block ends well.

    A reader sees the old file or the new one, never a part; an error leaves the old one and no litter.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # mkstemp's files are for their owner only
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, text: str) -> None:
    """Replace a file's content by `text` (UTF-8)."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def making(folder: Path) -> Iterator[None]:
    """Make a folder and those above it that are missing; an error in the block removes those again that are empty."""
    made = missing(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except Exception:
        remove_empty(made)
        raise


def missing(folder: Path) -> list[Path]:
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
