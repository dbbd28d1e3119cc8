"""Names of files and folders as text that can be shown."""

import os


def printable(name: str | os.PathLike[str]) -> str:
    r"""The name with what a terminal could not show, or would obey, escaped: control characters, bytes beyond UTF-8.

    A new line becomes ``\n``, the byte 0xff ``\udcff``.
    """
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in os.fspath(name))
