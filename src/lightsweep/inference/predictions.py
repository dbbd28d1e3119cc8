"""Predictions on their way out: a table on the terminal, CSV, JSON. Each is written as it comes, none is kept."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar

from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from lightsweep.core.files import replacing
from lightsweep.core.text import printable, spreadsheet_cell

T = TypeVar("T")

ROWS = 100  # of the table; files hold any number
_DIGITS = 6
_NEVER_FOLDED = 100_000


@dataclass(frozen=True)
class Prediction:
    """The k most probable classes of an image with their probabilities, the most probable first."""

    file: Path
    classes: Sequence[str]
    probabilities: Sequence[float]


class Writer:
    """Takes predictions and files that could not be used, one by one."""

    def add(self, prediction: Prediction) -> None:
        raise NotImplementedError

    def fail(self, file: Path, reason: str) -> None:
        """Nothing, where only predictions are written."""

    def end(self, facts: dict[str, Any]) -> None:
        """After the last one, with what is known of all."""


class TableWriter(Writer):
    """The first `ROWS` predictions as a table."""

    def __init__(self, top: int) -> None:
        self.table = Table(box=None, header_style="bold")
        self.left_out = 0
        self.table.add_column("file", overflow="fold")
        for _ in range(top):
            self.table.add_column("class", overflow="fold")
            self.table.add_column("prob.", justify="right")

    def add(self, prediction: Prediction) -> None:
        if self.table.row_count == ROWS:
            self.left_out += 1
            return
        pairs = zip(prediction.classes, prediction.probabilities, strict=True)
        cells = [cell for name, probability in pairs for cell in (printable(name), f"{probability:.4f}")]
        self.table.add_row(*(Text(cell) for cell in (printable(prediction.file), *cells)))  # Text: a name is no markup

    def show(self) -> None:
        # Without a terminal nothing is folded: who reads a pipe wants a file's name whole.
        console = Console(width=None if sys.stdout.isatty() else _NEVER_FOLDED)
        console.print(self.table)
        if self.left_out:
            console.print(f"… and {self.left_out:,} more, which --csv and --json would keep", highlight=False)


class CsvWriter(Writer):
    """A row an image: file, class, probability, class_2, probability_2 and so on."""

    def __init__(self, file: TextIO, top: int) -> None:
        self.rows = csv.writer(file, lineterminator="\n")
        names = [f"{name}_{rank}" for rank in range(2, top + 1) for name in ("class", "probability")]
        self.rows.writerow(["file", "class", "probability", *names])

    def add(self, prediction: Prediction) -> None:
        pairs = zip(prediction.classes, prediction.probabilities, strict=True)
        cells = [cell for name, probability in pairs for cell in (spreadsheet_cell(name), f"{probability:.{_DIGITS}f}")]
        self.rows.writerow([spreadsheet_cell(str(prediction.file)), *cells])


class JsonWriter(Writer):
    """One object: the facts, `failed` with a reason each, and `images`, an entry a line."""

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.failed: list[dict[str, str]] = []
        self.separator = "\n"
        file.write('{"images": [')

    def add(self, prediction: Prediction) -> None:
        pairs = zip(prediction.classes, prediction.probabilities, strict=True)
        top = [{"class": name, "probability": round(probability, _DIGITS)} for name, probability in pairs]
        self.file.write(self.separator + json.dumps({"file": str(prediction.file), "predictions": top}))
        self.separator = ",\n"

    def fail(self, file: Path, reason: str) -> None:
        self.failed.append({"file": str(file), "reason": reason})

    def end(self, facts: dict[str, Any]) -> None:
        self.file.write(f'\n], "failed": {json.dumps(self.failed)}, {json.dumps(facts)[1:]}\n')


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """A file that is there when it is whole, or the standard output for ``-``. Names keep the bytes they have."""
    if path == Path("-"):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
        yield sys.stdout
        return
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        yield file


def shown(batches: Iterable[T]) -> Iterable[T]:
    """The same batches, and on a terminal a sign that they go on."""
    console = Console(stderr=True)
    return track(batches, "classifying", total=None, transient=True, console=console, disable=not console.is_terminal)
