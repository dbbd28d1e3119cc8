"""Writing a file whole or not at all."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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


def read_regular(path: Path) -> str:
    """The text (UTF-8) of a regular file, perhaps from somebody else: a pipe would be waited for, a device has no end.

    Raises:
        OSError: it is none, or cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "there is no regular file", str(path))
    return path.read_text(encoding="utf-8")


def write_whole(path: Path, text: str) -> None:
    """Replace a file's content by `text` (UTF-8)."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
