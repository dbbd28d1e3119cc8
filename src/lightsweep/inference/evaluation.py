"""A part of the data scored again, compared with the scores of training, and written to a folder."""

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
from lightsweep.core.files import ROOT, replace_atomically, write_atomic
from lightsweep.core.metrics import FINAL, PARTS
from lightsweep.core.text import printable
from lightsweep.data.module import ImageDataModule
from lightsweep.inference.predictor import Hardware
from lightsweep.inference.views import AveragedNet, Views
from lightsweep.reports import pictures, scored_run
from lightsweep.runs import results
from lightsweep.training import classifier, summary
from lightsweep.training.checkpoints import Trained
from lightsweep.training.classifier import Score

ALL = "all"
EVALUATION_FILE = "evaluation.json"
_MISTAKES = 24  # images in the picture of the worst ones


@dataclass(frozen=True)
class Part:
    """A part of the data, or several as one: each image once.

    Raises:
        ConfigError: it has no images.
    """

    name: str
    data: ImageDataModule

    def __post_init__(self) -> None:
        if not self._parts:
            there = [part for part, indices in self.data.indices.items() if len(indices)]
            raise ConfigError(f"--split {self.name}: the data have no such images, only {', '.join(there)}")

    @property
    def _parts(self) -> list[str]:
        """Those that have images."""
        return [part for part in PARTS if self.name in (ALL, part) and len(self.data.indices[part])]

    @property
    def labels(self) -> np.ndarray:
        """Class numbers ``int64 [N]``."""
        return np.concatenate([self.data.labels(part) for part in self._parts])

    def batches(self, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised images and classes, as `classifier.score_part` takes them."""
        return chain.from_iterable(self.data.eval_loader(part, device) for part in self._parts)

    def images(self, chosen: np.ndarray) -> np.ndarray:
        """Images ``uint8 [n, C, H, W]``, the chosen ones (``int64 [n]``) of the N."""
        found = np.empty((len(chosen), *self.data.input_shape), dtype=np.uint8)
        first = 0
        for part in self._parts:
            count = len(self.data.indices[part])
            here = (chosen >= first) & (chosen < first + count)
            if here.any():
                found[here] = self.data.images(part, chosen[here] - first)
            first += count
        return found


@dataclass(frozen=True)
class Evaluation:
    """The score of a part and where it was measured.

    Args:
        in_training: the part's metrics from the run's record; none if that is about other data or weights.
        record: that file's name.
    """

    part: Part
    score: Score
    hardware: Hardware
    in_training: Mapping[str, float]
    record: str = "result.json"

    @property
    def images(self) -> int:
        return int(self.score.confusion.sum())

    @property
    def differences(self) -> list[str]:
        """A line for each metric that is not the one of the record."""
        return [
            f"{self.part.name}/{name} is {self.score.metrics[name]!r} here and {value!r} in {self.record}"
            for name, value in self.in_training.items()
            if self.score.metrics[name] != value
        ]


def evaluate(
    trained: Trained,
    part: Part,
    hardware: Hardware,
    result: Mapping[str, Any],
    record: str = "result.json",
    views: Views | None = None,
) -> Evaluation:
    """Score a part as train.py does it.

    Args:
        result: of the run, if these are its weights and its data; else empty.
        record: the name of the file that `result` is from.
        views: of each image, whose probabilities are averaged.
    """
    net = AveragedNet(trained.net, trained.description.normalization, views) if views else trained.net
    score = classifier.score_part(
        net.to(hardware.device),
        part.batches(hardware.device),
        device=hardware.device,
        num_classes=part.data.num_classes,
        precision=hardware.precision(),
        keep_probabilities=True,
    )
    before = {name: result.get(f"{part.name}/{name}") for name in score.metrics}
    in_training = {name: value for name, value in before.items() if value is not None}
    return Evaluation(part, score, hardware, in_training, record)


def show_scores(evaluations: Sequence[Evaluation]) -> None:
    """Print a table, a row a part."""
    table = Table(box=None, header_style="bold")
    for column in ("", "images", *(metric.title for metric in FINAL)):
        table.add_column(column, justify="right" if column else "left")
    for each in evaluations:
        values = [f"{each.score.metrics[metric.name]:.4f}" for metric in FINAL]
        table.add_row(each.part.name, f"{each.images:,}", *values)
    Console().print(table)


def compare_with_training(
    evaluations: Sequence[Evaluation], result: Mapping[str, Any], data_changes: Sequence[str]
) -> list[str]:
    """Lines: whether the scores are those of the run's record, and if not, what else differs from training.

    Args:
        data_changes: how the data changed, in lines.
    """
    compared = [each for each in evaluations if each.in_training]
    if not compared:
        return [*data_changes]
    different = [line for each in compared for line in each.differences]
    if not different:
        although = ", although the data changed" if data_changes else ""
        return [*data_changes, f"equal to {compared[0].record}, digit for digit{although}"]
    now = {"device": summary.device_name(compared[0].hardware.device), **results.versions()}
    versions = result.get("versions")
    then = {"device": result.get("device"), **(versions if isinstance(versions, dict) else {})}
    changed = [name for name, value in now.items() if then.get(name) not in (None, value)]
    lines = [f"  {name} was {printable(str(then[name]))}, is {now[name]}" for name in changed]
    return [*data_changes, *different, *lines]


def make_folder(path: Path) -> Path:
    """Make a folder to write to, before anything is scored.

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


def write_evaluation(folder: Path, evaluation: Evaluation, facts: Mapping[str, Any]) -> None:
    """Write evaluation.json, the report, the confusion counts and the pictures of a part.

    Args:
        facts: for evaluation.json.
    """
    part, score = evaluation.part, evaluation.score
    names = part.data.class_names
    content = {
        "part": part.name,
        "images": evaluation.images,
        **score.metrics,
        "noted_in_training": dict(evaluation.in_training),
        "device": summary.device_name(evaluation.hardware.device),
        "versions": results.versions(),
        "git_commit": results.git_commit(ROOT),
        **facts,
    }
    report = scored_run.measure_report(part.name, part.labels, score.probabilities, names)
    texts = {
        "report.txt": scored_run.report_as_text(report),
        "report.json": json.dumps(scored_run.report_as_json(report), indent=1) + "\n",
        "confusion.csv": results.confusion_csv(score.confusion, names),
        EVALUATION_FILE: json.dumps(content, indent=1) + "\n",
    }
    for name, text in texts.items():
        write_atomic(folder / name, text)
    for name, figure in draw_figures(part, score).items():
        with replace_atomically(folder / name) as temporary:
            temporary.write_bytes(pictures.render_png(figure))


def draw_figures(part: Part, score: Score) -> dict[str, Figure]:
    """The pictures of a part, by file name."""
    names = part.data.class_names
    heading = f"{part.name}: {int(score.confusion.sum()):,} images, accuracy {score.metrics['acc']:.4f}"
    mistakes = (part.name, part.labels, score.probabilities, names, part.images, _MISTAKES)
    return {
        "confusion.png": pictures.draw_confusion_counts(score.confusion, names, heading),
        "confusion_normalised.png": pictures.draw_confusion_shares(score.confusion, names, heading),
        "most_wrong.png": pictures.draw_mistakes(*mistakes),
    }
