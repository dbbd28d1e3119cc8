"""Decoded image files -> predictions, and what is to be said of all of them."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lightsweep.core.text import printable
from lightsweep.inference.image_files import Decoded, stacked
from lightsweep.inference.predictions import Prediction, Writer
from lightsweep.inference.predictor import Predictor, ranked

_NAMED = 5  # files that were skipped: so many are named, the others counted


class Classification:
    """Classifies batch after batch, hands each prediction to the writers, and counts.

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

    def skip(self, path: Path) -> None:
        """A file below a folder that is no image, and is not called one."""
        self.skipped += 1
        if self.skipped <= _NAMED:
            self.first_skipped.append(path)

    def take(self, batch: Sequence[Decoded]) -> None:
        """Classify a batch; name the files in it that could not be used."""
        for bad in (each for each in batch if each.pixels is None):
            if not bad.file.is_called_image:
                self.skip(bad.file.path)
                continue
            self.failed += 1
            self.named_failed |= bad.file.named
            print(f"{printable(bad.file.path)}: {bad.problem}", file=sys.stderr)
            for writer in self.writers:
                writer.fail(bad.file.path, bad.problem)
        good = [each for each in batch if each.pixels is not None]
        if not good:
            return
        values, classes = ranked(self.predictor(torch.from_numpy(stacked(good))))
        kept = zip(values[:, : self.top].tolist(), classes[:, : self.top].tolist(), strict=True)
        for each, (probabilities, numbers) in zip(good, kept, strict=True):
            self._add(each, [self.class_names[number] for number in numbers], probabilities)

    def end(self, facts: dict[str, Any]) -> list[str]:
        """Hand the writers the facts; lines that say how many images there were, how fast it went, and how often the
        network was right, where that is known."""
        seconds = time.perf_counter() - self.started
        if self.labelled:
            facts = {**facts, "labelled": self.labelled, "correct": self.correct, "accuracy": self.accuracy}
        for writer in self.writers:
            writer.end({"count": self.count, **facts})
        return self._lines(seconds)

    @property
    def accuracy(self) -> float:
        return self.correct / self.labelled

    @property
    def exit_code(self) -> int:
        return 1 if self.named_failed or self.count == 0 else 0

    def _add(self, image: Decoded, names: Sequence[str], probabilities: Sequence[float]) -> None:
        self.count += 1
        if image.file.label in self.class_names:
            self.labelled += 1
            self.correct += names[0] == image.file.label
        for writer in self.writers:
            writer.add(Prediction(image.file.path, names, probabilities))

    def _lines(self, seconds: float) -> list[str]:
        said = [f"{self.count:,} images classified in {seconds:.1f} s ({self.count / seconds:,.0f} a second)"]
        if self.failed:
            said[0] += f", {self.failed:,} could not be used"
        if self.skipped:
            names = ", ".join(map(printable, self.first_skipped))
            more = f" and {self.skipped - _NAMED:,} more" if self.skipped > _NAMED else ""
            said.append(f"{self.skipped:,} other files skipped: {names}{more}")
        if self.labelled:
            said.append(
                f"accuracy {self.accuracy:.4f} ({self.correct:,} of {self.labelled:,} in folders named as classes)"
            )
        return said
