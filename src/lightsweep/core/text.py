"""Names that somebody else chose, of files, classes or runs, as text that can be shown."""

import os
from typing import Any


def printable_line(value: Any) -> str:
    """One line that no terminal takes for a command: whatever does not print is written as an escape."""
    return printable(" ".join(str(value).split()))


def printable(name: str | os.PathLike[str]) -> str:
    r"""The name with what a terminal could not show, or would obey, escaped: control characters, bytes beyond UTF-8.

    A new line becomes ``\n``, the byte 0xff ``\udcff``.
    """
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in os.fspath(name))


def spreadsheet_cell(text: str) -> str:
    """The text so that no spreadsheet takes it for a formula: with an apostrophe in front where it would."""
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def plain_text(cell: str) -> str:
    """The text that `spreadsheet_cell` made a cell of."""
    return cell[1:] if cell.startswith("'") and spreadsheet_cell(cell[1:]) == cell else cell


def one_line(name: str) -> str:
    """The name without line breaks, escape sequences and other letters that cannot be printed."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in name).split())


def shorten(name: str, most: int) -> str:
    """The name on one line, in at most so many letters; what is cut out of its middle is an ellipsis."""
    name = one_line(name)
    if len(name) <= most:
        return name
    tail = (most - 1) // 3
    return f"{name[: most - 1 - tail]}…{name[len(name) - tail :]}"
