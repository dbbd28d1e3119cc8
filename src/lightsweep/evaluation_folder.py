"""What an evaluation of a part leaves: evaluation.json, the report, confusion counts, and pictures."""

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lightsweep import classification_report, environment
from lightsweep.data.module import ImageDataModule
from lightsweep.errors import ConfigError
from lightsweep.evaluation import METRICS, Evaluation
from lightsweep.figures import confusion, picking, samples, style
from lightsweep.files import replacing, write_whole
from lightsweep.inference import Place
from lightsweep.results import confusion_csv
from lightsweep.run_folder import ROOT

FILE = "evaluation.json"
_MISTAKES = 32  # images in the picture of the worst ones


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


def write(folder: Path, evaluation: Evaluation, data: ImageDataModule, place: Place, facts: Mapping[str, Any]) -> None:
    """Fill a part's folder.

    Args:
        facts: for evaluation.json.
    """
    report = classification_report.measure(
        evaluation.part, data.labels(evaluation.part), evaluation.score.probabilities, data.class_names
    )
    texts = {
        "report.txt": classification_report.as_text(report),
        "report.json": _json(classification_report.as_json(report)),
        "confusion.csv": confusion_csv(evaluation.score.confusion, data.class_names),
        FILE: _json(_content(evaluation, place, facts)),
    }
    for name, text in texts.items():
        write_whole(folder / name, text)
    for name, figure in _figures(evaluation, data).items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(style.png(figure))


def _content(evaluation: Evaluation, place: Place, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "part": evaluation.part,
        "images": evaluation.images,
        **{name: getattr(evaluation.score, name) for name in METRICS},
        "noted_in_training": dict(evaluation.noted),
        "device": environment.device_name(place.device),
        "versions": environment.versions(),
        "git_commit": environment.git_commit(ROOT),
        **facts,
    }


def _figures(evaluation: Evaluation, data: ImageDataModule) -> dict[str, Figure]:
    part, counts, names = evaluation.part, evaluation.score.confusion, data.class_names
    heading = f"{part}: {evaluation.images:,} images, accuracy {evaluation.score.acc:.4f}"
    return {
        "confusion.png": confusion.counts(counts, names, heading),
        "confusion_normalised.png": confusion.row_normalised(counts, names, heading),
        "mistakes.png": _mistakes(evaluation, data),
    }


def _mistakes(evaluation: Evaluation, data: ImageDataModule) -> Figure:
    labels, probabilities = data.labels(evaluation.part), evaluation.score.probabilities
    worst = picking.most_wrong(labels, probabilities, _MISTAKES)
    captions = [_caption(data.class_names, labels[place], probabilities[place]) for place in worst]
    return samples.grid(
        data.images(evaluation.part, worst), captions, f"{evaluation.part}: surest mistakes (true, predicted)"
    )


def _caption(class_names: tuple[str, ...], label: int, probabilities: np.ndarray) -> str:
    predicted = int(probabilities.argmax())
    return f"{class_names[label]}\n{class_names[predicted]} {probabilities[predicted]:.2f}"


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1) + "\n"
