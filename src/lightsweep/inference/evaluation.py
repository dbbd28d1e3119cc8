"""A part of the data scored again, beside what training noted of it."""

import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lightsweep.core.errors import ConfigError
from lightsweep.core.files import replace_atomically, write_atomic
from lightsweep.core.metrics import FINAL
from lightsweep.core.text import printable
from lightsweep.data.module import ImageDataModule
from lightsweep.inference.predictor import Hardware
from lightsweep.reports import classification_report, pictures
from lightsweep.runs import results
from lightsweep.runs.results import confusion_csv
from lightsweep.runs.run_folder import ROOT
from lightsweep.training import footprint, scoring
from lightsweep.training.checkpoints import Trained
from lightsweep.training.scoring import Score

ALL = "all"


@dataclass(frozen=True)
class Part:
    """A part of the data, or several as one: each image once.

    Raises:
        ConfigError: it has no images.
    """

    name: str
    data: ImageDataModule

    def __post_init__(self) -> None:
        there = [part for part, indices in self.data.indices.items() if len(indices)]
        if not set(self._parts) & set(there):
            raise ConfigError(f"--split {self.name}: the data have no such images, only {', '.join(there)}")

    @property
    def _parts(self) -> tuple[str, ...]:
        return ("train", "val", "test") if self.name == ALL else (self.name,)

    @property
    def labels(self) -> np.ndarray:
        """Class numbers ``int64 [N]``."""
        return np.concatenate([self.data.labels(part) for part in self._parts])

    def batches(self, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised images and classes, as `scoring.score` wants them."""
        return chain.from_iterable(
            self.data.eval_loader(part, device) for part in self._parts if len(self.data.indices[part])
        )

    def images(self, places: np.ndarray) -> np.ndarray:
        """Images ``uint8 [n, C, H, W]`` at these of the N places."""
        chosen = np.empty((len(places), *self.data.input_shape), dtype=np.uint8)
        first = 0
        for part in self._parts:
            here = (places >= first) & (places < first + len(self.data.indices[part]))
            if here.any():
                chosen[here] = self.data.images(part, places[here] - first)
            first += len(self.data.indices[part])
        return chosen


@dataclass(frozen=True)
class Evaluation:
    """The score of a part, and what training noted of it: metrics by name, none where it is other data or weights."""

    part: Part
    score: Score
    noted: Mapping[str, float]

    @property
    def images(self) -> int:
        return int(self.score.confusion.sum())

    @property
    def differs(self) -> bool:
        return any(self.score.metrics[name] != value for name, value in self.noted.items())


def evaluate(trained: Trained, part: Part, place: Hardware, noted: Mapping[str, Any]) -> Evaluation:
    """Score a part as train.py does it.

    Args:
        noted: what result.json says, if these are its weights and its data.
    """
    score = scoring.score(
        trained.net.to(place.device),
        part.batches(place.device),
        device=place.device,
        num_classes=part.data.num_classes,
        precision=place.precision(),
        keep_probabilities=True,
    )
    before = {name: noted.get(f"{part.name}/{name}") for name in score.metrics}
    return Evaluation(part, score, {name: value for name, value in before.items() if value is not None})


def show_scores(evaluations: Sequence[Evaluation]) -> None:
    """A row a part."""
    table = Table(box=None, header_style="bold")
    for column in ("", "images", *(metric.title for metric in FINAL)):
        table.add_column(column, justify="right" if column else "left")
    for each in evaluations:
        values = [f"{each.score.metrics[metric.name]:.4f}" for metric in FINAL]
        table.add_row(each.part.name, f"{each.images:,}", *values)
    Console().print(table)


def compare_with_training(
    evaluations: Sequence[Evaluation], result: Mapping[str, Any], place: Hardware, changes: Sequence[str]
) -> list[str]:
    """Whether the scores are those of result.json, and where they are not, what else is not as it was.

    Args:
        changes: how the data changed, in lines.
    """
    compared = [each for each in evaluations if each.noted]
    different = [each for each in compared if each.differs]
    if not compared:
        return [*changes]
    if not different:
        return [*changes, f"equal to result.json, digit for digit{', although the data changed' if changes else ''}"]
    said = [
        f"{each.part.name}/{name} is {each.score.metrics[name]!r} here and {value!r} in result.json"
        for each in different
        for name, value in each.noted.items()
        if each.score.metrics[name] != value
    ]
    return [*changes, *said, *_changes(result, place)]


def _changes(result: Mapping[str, Any], place: Hardware) -> list[str]:
    now = {"device": footprint.device_name(place.device), **results.versions()}
    then = {"device": result.get("device"), **result.get("versions", {})}
    return [
        f"  {name} was {printable(str(then[name]))}, is {value}"
        for name, value in now.items()
        if then.get(name) not in (None, value)
    ]


EVALUATION_FILE = "evaluation.json"
_MISTAKES = 24  # images in the picture of the worst ones


def make_folder(path: Path) -> Path:
    """A folder to write to, made before anything is scored.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}): --output FOLDER chooses another") from error
    return path


def write_evaluation(folder: Path, evaluation: Evaluation, place: Hardware, facts: Mapping[str, Any]) -> None:
    """Fill a part's folder.

    Args:
        facts: for evaluation.json.
    """
    part, score = evaluation.part, evaluation.score
    names = part.data.class_names
    report = classification_report.measure_report(part.name, part.labels, score.probabilities, names)
    texts = {
        "report.txt": classification_report.report_as_text(report),
        "report.json": _json(classification_report.report_as_json(report)),
        "confusion.csv": confusion_csv(score.confusion, names),
        EVALUATION_FILE: _json(_content(evaluation, place, facts)),
    }
    for name, text in texts.items():
        write_atomic(folder / name, text)
    for name, figure in _figures(evaluation).items():
        with replace_atomically(folder / name) as temporary:
            temporary.write_bytes(pictures.render_png(figure))


def _content(evaluation: Evaluation, place: Hardware, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "part": evaluation.part.name,
        "images": evaluation.images,
        **evaluation.score.metrics,
        "noted_in_training": dict(evaluation.noted),
        "device": footprint.device_name(place.device),
        "versions": results.versions(),
        "git_commit": results.git_commit(ROOT),
        **facts,
    }


def _figures(evaluation: Evaluation) -> dict[str, Figure]:
    part, counts = evaluation.part, evaluation.score.confusion
    names = part.data.class_names
    heading = f"{part.name}: {evaluation.images:,} images, accuracy {evaluation.score.metrics['acc']:.4f}"
    return {
        "confusion.png": pictures.draw_confusion_counts(counts, names, heading),
        "confusion_normalised.png": pictures.draw_confusion_shares(counts, names, heading),
        "most_wrong.png": pictures.draw_mistakes(
            part.name, part.labels, evaluation.score.probabilities, names, part.images, _MISTAKES
        ),
    }


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1) + "\n"
