"""What an evaluation of a part leaves: evaluation.json, the report, confusion counts, and pictures."""

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lightsweep import classification_report, environment
from lightsweep.errors import ConfigError
from lightsweep.evaluation import METRICS, Evaluation
from lightsweep.figures import confusion, picking, samples, style
from lightsweep.files import replacing, write_whole
from lightsweep.inference import Place
from lightsweep.results import confusion_csv
from lightsweep.run_folder import ROOT

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
        "device": environment.device_name(place.device),
        "versions": environment.versions(),
        "git_commit": environment.git_commit(ROOT),
        **facts,
    }


def _figures(evaluation: Evaluation) -> dict[str, Figure]:
    counts, names = evaluation.score.confusion, evaluation.part.data.class_names
    heading = f"{evaluation.part.name}: {evaluation.images:,} images, accuracy {evaluation.score.acc:.4f}"
    return {
        "confusion.png": confusion.counts(counts, names, heading),
        "confusion_normalised.png": confusion.row_normalised(counts, names, heading),
        "most_wrong.png": _most_wrong(evaluation),
    }


def _most_wrong(evaluation: Evaluation) -> Figure:
    part, probabilities = evaluation.part, evaluation.score.probabilities
    labels, names = part.labels, part.data.class_names
    chosen = picking.most_wrong(labels, probabilities, _MISTAKES)
    captions = [
        f"true: {names[labels[place]]}\nseen: {names[seen]}\n{100 * probabilities[place, seen]:.1f}% sure"
        for place, seen in zip(chosen, probabilities[chosen].argmax(1), strict=True)
    ]
    wrong = int((probabilities.argmax(1) != labels).sum())
    heading = f"{part.name}: the {len(chosen)} most confident of {wrong:,} mistakes"
    return samples.grid(part.images(chosen), captions, heading)


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1) + "\n"
