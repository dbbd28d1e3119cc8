"""Image files are found, decoded by threads a batch ahead of the network, and classified.

Each prediction is written at once: to a table, CSV or JSON. None is kept.
"""

import csv
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, TypeVar

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from lightsweep.core.files import replace_atomically
from lightsweep.core.memory import available_cores
from lightsweep.core.text import printable, spreadsheet_cell
from lightsweep.data.decode import FORMATS, BadImage
from lightsweep.data.folders import class_name, walk
from lightsweep.inference.predictor import Predictor, rank_classes

ROWS = 100  # of the table; files hold any number
_MOST_THREADS = 8
_DIGITS = 6
_NAMED = 5  # skipped files that are named; the others are counted
_NEVER_FOLDED = 100_000  # characters

T = TypeVar("T")


@dataclass(frozen=True)
class ImageFile:
    """A file to classify. `named` says that the user named it, not a folder; `label` is the class that the first
    folder below that one would be, "" where there is none."""

    path: Path
    named: bool
    label: str = ""

    @property
    def is_called_image(self) -> bool:
        """Whether its name ends like an image's. Others are tried, as in training, and skipped if they are none."""
        return self.named or self.path.suffix.lower() in _suffixes()


@dataclass(frozen=True)
class DecodedFile:
    """Pixels ``uint8 [C, H, W]``, or why there are none."""

    file: ImageFile
    pixels: np.ndarray | None
    problem: str = ""


def list_files(paths: Iterable[Path]) -> Iterator[ImageFile]:
    """Each file that is named, and below each folder the files that training would take, in the order of names."""
    for path in paths:
        if not path.is_dir():
            yield ImageFile(path, named=True)
            continue
        for name, _, _ in walk(path):
            inside = Path(name).relative_to(path).parts[:-1]
            yield ImageFile(Path(name), named=False, label=class_name(Path(inside[0])) if inside else "")


def decode_files(
    files: Iterable[ImageFile], decode: Callable[[Path], np.ndarray], *, batch_size: int
) -> Iterator[list[DecodedFile]]:
    """Batches in the order of the files, of which no more than two are in memory."""

    def attempt(file: ImageFile) -> DecodedFile:
        try:
            return DecodedFile(file, decode(file.path))
        except BadImage as error:
            return DecodedFile(file, None, str(error))
        except MemoryError:
            return DecodedFile(file, None, "it is too large for the memory")

    files = iter(files)
    pending: deque[Iterator[DecodedFile]] = deque()
    pool = ThreadPoolExecutor(min(_MOST_THREADS, available_cores()))
    try:
        while batch := list(islice(files, batch_size)):
            pending.append(pool.map(attempt, batch))
            if len(pending) == 2:
                yield list(pending.popleft())
        for rest in pending:
            yield list(rest)
    finally:
        pool.shutdown(cancel_futures=True)


@cache
def _suffixes() -> frozenset[str]:
    """How names of images that can be decoded end, in small letters."""
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS)


@dataclass(frozen=True)
class Prediction:
    """The k most probable classes of an image with their probabilities, the most probable first."""

    file: Path
    classes: Sequence[tuple[str, float]]


class Writer:
    """Takes predictions and files that could not be used, one by one."""

    def add(self, prediction: Prediction) -> None:
        raise NotImplementedError

    def fail(self, file: Path, reason: str) -> None:
        """Does nothing where only predictions are written."""

    def end(self, facts: dict[str, Any]) -> None:
        """After the last one, with facts about all."""


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
        cells = [cell for name, probability in prediction.classes for cell in (printable(name), f"{probability:.4f}")]
        self.table.add_row(*(Text(cell) for cell in (printable(prediction.file), *cells)))  # Text: a name is no markup

    def show(self) -> None:
        # Without a terminal nothing is folded: a pipe's reader wants complete file names.
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
        cells = [spreadsheet_cell(str(prediction.file))]
        for name, probability in prediction.classes:
            cells += [spreadsheet_cell(name), f"{probability:.{_DIGITS}f}"]
        self.rows.writerow(cells)


class JsonWriter(Writer):
    """One object: the facts, `failed` with a reason each, and `images`, an entry a line."""

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.failed: list[dict[str, str]] = []
        self.separator = "\n"
        file.write('{"images": [')

    def add(self, prediction: Prediction) -> None:
        top = [{"class": name, "probability": round(probability, _DIGITS)} for name, probability in prediction.classes]
        self.file.write(self.separator + json.dumps({"file": str(prediction.file), "predictions": top}))
        self.separator = ",\n"

    def fail(self, file: Path, reason: str) -> None:
        self.failed.append({"file": str(file), "reason": reason})

    def end(self, facts: dict[str, Any]) -> None:
        self.file.write(f'\n], "failed": {json.dumps(self.failed)}, {json.dumps(facts)[1:]}\n')


@contextmanager
def open_output(path: Path) -> Iterator[TextIO]:
    """A file that appears when it is complete, or standard output for ``-``. File names keep their bytes."""
    if path == Path("-"):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
        yield sys.stdout
        return
    with (
        replace_atomically(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        yield file


def show_progress(batches: Iterable[T]) -> Iterable[T]:
    """The same batches; on a terminal with a progress bar."""
    console = Console(stderr=True)
    return track(batches, "classifying", total=None, transient=True, console=console, disable=not console.is_terminal)


class Classification:
    """Classifies batch after batch, passes each prediction to the writers, and counts.

    Args:
        top: the number of classes that are kept of each image.
    """

    def __init__(
        self, predictor: Predictor, class_names: Sequence[str], writers: Sequence[Writer], *, top: int
    ) -> None:
        self.predictor, self.class_names, self.writers, self.top = predictor, class_names, writers, top
        self.count = self.failed = self.labelled = self.correct = self.skipped = 0
        self.first_skipped: list[Path] = []
        self.named_failed = False
        self.started = time.perf_counter()

    def take(self, batch: Sequence[DecodedFile]) -> None:
        """Classify a batch; name the files in it that could not be used. A file below a folder that is neither an image
        nor named like one is skipped."""
        for bad in (each for each in batch if each.pixels is None):
            self._reject(bad)
        good = [each for each in batch if each.pixels is not None]
        if not good:
            return
        pixels = np.stack([each.pixels for each in good if each.pixels is not None])  # [B, C, H, W]
        values, classes = rank_classes(self.predictor(torch.from_numpy(pixels)))
        kept = zip(values[:, : self.top].tolist(), classes[:, : self.top].tolist(), strict=True)
        for each, (probabilities, numbers) in zip(good, kept, strict=True):
            names = [self.class_names[number] for number in numbers]
            self.count += 1
            if each.file.label in self.class_names:
                self.labelled += 1
                self.correct += names[0] == each.file.label
            for writer in self.writers:
                writer.add(Prediction(each.file.path, list(zip(names, probabilities, strict=True))))

    def end(self, facts: dict[str, Any]) -> list[str]:
        """Give the writers the facts.

        Returns:
            Lines: how many images there were, how fast it went, and the accuracy on images whose class is known.
        """
        seconds = time.perf_counter() - self.started
        lines = [f"{self.count:,} images classified in {seconds:.1f} s ({self.count / seconds:,.0f} a second)"]
        if self.failed:
            lines[0] += f", {self.failed:,} could not be used"
        if self.skipped:
            names = ", ".join(map(printable, self.first_skipped))
            more = f" and {self.skipped - _NAMED:,} more" if self.skipped > _NAMED else ""
            lines.append(f"{self.skipped:,} other files skipped: {names}{more}")
        if self.labelled:
            accuracy = self.correct / self.labelled
            facts = {**facts, "labelled": self.labelled, "correct": self.correct, "accuracy": accuracy}
            known = f"{self.correct:,} of {self.labelled:,} in folders named as classes"
            lines.append(f"accuracy {accuracy:.4f} ({known})")
        for writer in self.writers:
            writer.end({"count": self.count, **facts})
        return lines

    @property
    def exit_code(self) -> int:
        return 1 if self.named_failed or self.count == 0 else 0

    def _reject(self, bad: DecodedFile) -> None:
        if not bad.file.is_called_image:
            self.skipped += 1
            self.first_skipped += [bad.file.path] if self.skipped <= _NAMED else []
            return
        self.failed += 1
        self.named_failed |= bad.file.named
        print(f"{printable(bad.file.path)}: {bad.problem}", file=sys.stderr)
        for writer in self.writers:
            writer.fail(bad.file.path, bad.problem)
