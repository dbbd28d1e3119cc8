"""What an evaluation of a part leaves: evaluation.json, the report, confusion counts, and pictures."""

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lightsweep.core.errors import ConfigError
from lightsweep.core.files import replacing, write_whole
from lightsweep.inference.evaluation import METRICS, Evaluation
from lightsweep.inference.predictor import Place
from lightsweep.reports import classification_report
from lightsweep.reports.pictures import confusion, mistakes, style
from lightsweep.runs import results
from lightsweep.runs.results import confusion_csv
from lightsweep.runs.run_folder import ROOT
from lightsweep.training import footprint

FILE = "evaluation.json"
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


def write(folder: Path, evaluation: Evaluation, place: Place, facts: Mapping[str, Any]) -> None:
    """Fill a part's folder.

    Args:
        facts: for evaluation.json.
    """
    part, score = evaluation.part, evaluation.score
    names = part.data.class_names
    report = classification_report.measure(part.name, part.labels, score.probabilities, names)
    texts = {
        "report.txt": classification_report.as_text(report),
        "report.json": _json(classification_report.as_json(report)),
        "confusion.csv": confusion_csv(score.confusion, names),
        FILE: _json(_content(evaluation, place, facts)),
    }
    for name, text in texts.items():
        write_whole(folder / name, text)
    for name, figure in _figures(evaluation).items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(style.png(figure))


def _content(evaluation: Evaluation, place: Place, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "part": evaluation.part.name,
        "images": evaluation.images,
        **{name: getattr(evaluation.score, name) for name in METRICS},
        "noted_in_training": dict(evaluation.noted),
        "device": footprint.device_name(place.device),
        "versions": results.versions(),
        "git_commit": results.git_commit(ROOT),
        **facts,
    }


def _figures(evaluation: Evaluation) -> dict[str, Figure]:
    part, counts = evaluation.part, evaluation.score.confusion
    names = part.data.class_names
    heading = f"{part.name}: {evaluation.images:,} images, accuracy {evaluation.score.acc:.4f}"
    return {
        "confusion.png": confusion.counts(counts, names, heading),
        "confusion_normalised.png": confusion.row_normalised(counts, names, heading),
        "most_wrong.png": mistakes.most_wrong(
            part.name, part.labels, evaluation.score.probabilities, names, part.images, _MISTAKES
        ),
    }


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1) + "\n"
