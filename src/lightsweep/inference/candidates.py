"""The trained networks that an ensemble may be made of, and what they say of the validation images."""

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from lightsweep.core import files, memory
from lightsweep.core.errors import ConfigError
from lightsweep.core.metrics import find_metric
from lightsweep.core.text import printable_line
from lightsweep.data.module import ImageDataModule
from lightsweep.data.user_data import UserData
from lightsweep.inference import ensemble, predictor, run_data, trained_runs
from lightsweep.inference.evaluation import Part
from lightsweep.inference.predictor import Hardware
from lightsweep.inference.trained_runs import Weights
from lightsweep.reports.finding import find_runs, fold_seeds, mark_baselines
from lightsweep.reports.runs import Run
from lightsweep.runs import data_record, run_folder
from lightsweep.runs.data_record import Fingerprint
from lightsweep.training import checkpoints, classifier
from lightsweep.training.checkpoints import Trained

_KINDS = ("run", "job", "trial", "seed")
_TRIAL = re.compile(r"trial-(\d{1,9})")


@dataclass(frozen=True)
class Candidate:
    """A completed run that has its checkpoint.

    Args:
        name: its path below the folder that was named.
        data: what it was trained on.
    """

    name: str
    run: Path
    weights: Weights
    data: Fingerprint

    @property
    def trial(self) -> int | None:
        """Its number in its sweep."""
        found = [_TRIAL.fullmatch(part) for part in self.run.parts[-2:]]
        return next((int(each[1]) for each in found if each), None)


def find_candidates(names: Sequence[str]) -> tuple[list[Candidate], list[str], str]:
    """The candidates below some folders, which runs are left out and why, a line each, and the metric that most of
    these runs watched, without its part: acc.

    Args:
        names: of runs, sweeps or grids. A sweep's confirmation is left out unless it is named.

    Raises:
        ConfigError: there is none, or they were validated or tested on different images.
    """
    folders = [run_folder.find_folder(name).resolve() for name in names]
    runs = [run for run in _completed(folders) if run_folder.is_run(run.folder)]
    candidates, left_out = [], []
    for run in runs:
        try:
            candidates.append(_candidate(run))
        except ConfigError as error:
            left_out.append(f"{printable_line(run.name)} is left out: {error}")
    if not candidates:
        listed = ", ".join(map(str, folders))
        why = left_out[0].partition("left out: ")[2] if left_out else "no run there was completed"
        raise ConfigError(f"{listed}: no network for an ensemble ({why})")
    first = candidates[0]
    for each in candidates[1:]:
        _check_same_images(first, each)
    watched = [metric.name for run in runs if (metric := find_metric(run.monitor)) is not None and metric.at_end]
    return candidates, left_out, max(watched, key=watched.count, default="loss")


def _completed(folders: Sequence[Path]) -> Iterable[Run]:
    """Runs that were completed, and do not violate their sweep's constraints."""
    for run in mark_baselines(fold_seeds(find_runs(folders).runs)):
        is_named = {run.folder, run.folder.parent} & set(folders) or any(each.folder in folders for each in run.seeds)
        if run.is_complete and (run.kind in _KINDS or is_named):
            yield from (each for each in run.members if each.is_complete)


def _candidate(run: Run) -> Candidate:
    files.check_links(run.folder / "checkpoints", within=run.folder)
    data = data_record.read(run.folder)
    if data is None:
        raise ConfigError(f"it has no {data_record.FILE}, so which images it was validated on is unknown")
    return Candidate(run.name, run.folder, trained_runs.find_weights(str(run.folder), None), data)


def _check_same_images(one: Candidate, other: Candidate) -> None:
    """Raises: ConfigError: their classes, validation or test images differ."""
    for part in ("val", "test"):
        mine, theirs = one.data, other.data
        if (mine.digests[part], mine.counts[part]) != (theirs.digests[part], theirs.counts[part]):
            what = "classes" if mine.counts[part].keys() != theirs.counts[part].keys() else f"{part} images"
            names = printable_line(f"{one.name} and {other.name}")
            raise ConfigError(f"members of an ensemble must have the same {what}: those of {names} differ")


class Scorer:
    """Scores networks on the data of the first candidate.

    Args:
        device: as typed; None as in training.

    Raises:
        ConfigError: the data cannot be read, or changed.
    """

    def __init__(self, first: Candidate, device: str | None) -> None:
        settings = run_data.data_settings(first.weights, [])
        settings.use_threads()
        description = checkpoints.load(first.weights.checkpoint).description
        self.data: ImageDataModule = run_data.read_data(settings, description)
        if changes := self.data.fingerprint().changes(first.data):
            raise ConfigError(f"the data changed since these networks were trained: {'; '.join(changes)}")
        self.description = description
        self.hardware = cache(lambda precision: predictor.choose_hardware(device or settings.device, precision))

    def probabilities(self, trained: Trained, part: str) -> tuple[dict[str, float], np.ndarray]:
        """Scores by metric, and probabilities ``float32 [N, K]`` of the images of a part.

        Raises:
            ConfigError: the network is for other images or classes.
        """
        ensemble.check_alike(self.description, trained.description, "members of an ensemble")
        if isinstance(self.data, UserData):  # its loaders normalise
            alike = ensemble.same_normalization(self.data.normalization, trained.description.normalization)
            if not alike:
                raise ConfigError("members of an ensemble on a user data module must have its normalization")
        else:
            self.data.normalization = trained.description.normalization
        hardware: Hardware = self.hardware(trained.precision)
        score = classifier.score_part(
            trained.net.to(hardware.device),
            Part(part, self.data).batches(hardware.device),
            device=hardware.device,
            num_classes=self.data.num_classes,
            precision=hardware.precision(),
            keep_probabilities=True,
        )
        return score.metrics, score.probabilities

    def of_all(self, candidates: Sequence[Candidate]) -> list[np.ndarray]:
        """Each candidate's probabilities ``float32 [N, K]`` on the validation images.

        Raises:
            ConfigError: they do not fit into memory; a checkpoint is damaged.
        """
        images = len(self.data.labels("val"))
        need = 4 * len(candidates) * images * self.data.num_classes
        memory.require("RUNS", need, f"the probabilities of {len(candidates)} networks for {images:,} images need")
        console = Console(file=sys.stderr)
        shown = track(candidates, "scoring", transient=True, console=console, disable=not console.is_terminal)
        return [self.probabilities(checkpoints.load(each.weights.checkpoint), "val")[1] for each in shown]
