"""An ensemble is made: picked on half of the validation images, checked on the other half and on test, written."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lightsweep.core.errors import ConfigError
from lightsweep.core.files import OUTPUTS, ROOT, create_folder_atomically, read_regular, set_aside, write_atomic
from lightsweep.core.metrics import find_metric
from lightsweep.core.text import printable_line
from lightsweep.inference import ensemble, evaluation, selection
from lightsweep.inference.candidates import Candidate, Scorer
from lightsweep.inference.selection import Gain
from lightsweep.reports import ensemble_figure, pictures
from lightsweep.runs import data_record, results, run_folder
from lightsweep.runs.run_folder import ENSEMBLE
from lightsweep.training import checkpoints, summary

FIGURE = "selection.png"
HALVES = ("choose", "confirm")
_MOST_NAMED = 3  # folders in a folder's name
OPTIMISTIC = (
    "best epochs were chosen on all of validation, so scores on both halves are optimistic, the members' too; intervals"
    " are about which images were drawn, not about other seeds"
)


@dataclass(frozen=True)
class Choice:
    """What was picked of the candidates.

    Args:
        metric: by which, without its part: acc.
        picks: indices of candidates, in their order.
        halves: indices of the images that choose, and of those that confirm.
        alone: by candidate that was picked, its score on either half.
        together: of the first picks, one, two and so on, the score on either half.
        confirmed: the ensemble's gain over the best single network, the first pick, on the second half.
    """

    candidates: Sequence[Candidate]
    metric: str
    picks: Sequence[int]
    halves: tuple[np.ndarray, np.ndarray]
    alone: Mapping[int, tuple[float, float]]
    together: Sequence[tuple[float, float]]
    confirmed: Gain

    @property
    def members(self) -> Mapping[int, int]:
        """How often each candidate is in the ensemble, by its index, in the order of the picks."""
        return Counter(self.picks)

    @property
    def single(self) -> Candidate:
        """The best single network on the half that chooses."""
        return self.candidates[self.picks[0]]


def choose(
    candidates: Sequence[Candidate], probabilities: Sequence[np.ndarray], labels: np.ndarray, metric: str, count: int
) -> Choice:
    """Make so many picks on half of the images.

    Args:
        probabilities: of each candidate, ``[N, K]``.
        labels: ``int64 [N]``.

    Raises:
        ConfigError: there are too few images for two halves.
    """
    if len(labels) < 2:
        raise ConfigError("half of the validation images choose an ensemble and the others check it, got 1 image")
    first, second = halves = selection.halves(labels)
    picks = selection.select([each[first] for each in probabilities], labels[first], metric, count)

    def scores(mean: np.ndarray) -> tuple[float, float]:
        chosen, confirmed = (selection.measure(metric, labels[half], mean[half]) for half in halves)
        return chosen, confirmed

    total, together = np.zeros(probabilities[0].shape), []
    for number, pick in enumerate(picks, start=1):
        total += probabilities[pick]
        together.append(scores(total / number))
    confirmed = selection.gain(metric, labels[second], total[second] / count, probabilities[picks[0]][second])
    alone = {pick: scores(probabilities[pick]) for pick in dict.fromkeys(picks)}
    return Choice(candidates, metric, picks, halves, alone, together, confirmed)


@dataclass(frozen=True)
class Tested:
    """The ensemble's and the best single network's score on test, and the gain."""

    ensemble: float
    single: float
    gain: Gain


def output_folder(typed: Path | None, names: Sequence[str]) -> Path:
    """The folder of the ensemble: as typed, ``SWEEP/ensemble``, or of several or of a run, ``outputs/ensembles/NAME``.

    Raises:
        ConfigError: something else is there, or it cannot be written.
    """
    folders = [run_folder.find_folder(name).resolve() for name in names]
    folder = typed
    if folder is None and len(folders) == 1 and not run_folder.is_run(folders[0]):
        folder = folders[0] / "ensemble"
    if folder is None:
        more = [f"and-{len(folders) - _MOST_NAMED}-more"] if len(folders) > _MOST_NAMED else []
        name = "-".join([*(each.name for each in folders[:_MOST_NAMED]), *more])
        folder = OUTPUTS / "ensembles" / (re.sub(r"[^\w.+=-]+", "-", name).strip("-.")[:100] or "ensemble")
    if folder.exists() and not (folder / ENSEMBLE).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--output must be a new folder or an earlier ensemble's, got {folder}")
    evaluation.make_folder(folder.absolute().parent)
    return folder.absolute()


def write(folder: Path, choice: Choice, scorer: Scorer, left_out: Sequence[str]) -> Tested | None:
    """Write the ensemble's folder, and score it on validation, and on test once; an earlier one there is set aside.

    Returns:
        The scores on test; None where the data have no test images.
    """
    first = choice.candidates[0]
    with create_folder_atomically(folder) as new:
        picked = [(choice.candidates[pick].name, choice.candidates[pick].weights.checkpoint) for pick in choice.picks]
        entries = ensemble.copy_members(new, picked)
        for pick, entry in zip(choice.members, entries, strict=True):
            candidate = choice.candidates[pick]
            entry |= {"run": str(candidate.run), "trial": candidate.trial, **_scores(choice.alone[pick])}
        comment = f"# Of {printable_line(first.run)}: on which data the members of this ensemble were trained.\n"
        write_atomic(new / run_folder.CONFIG, comment + read_regular(first.run / run_folder.CONFIG))
        data_record.write(new, first.data)
        record: dict[str, Any] = {"version": 1, "members": entries, **_describe(choice, left_out)}
        _write_record(new, record)
        trained = ensemble.load(new)
        tested = None
        record["val"], _ = scorer.probabilities(trained, "val")
        if len(scorer.data.labels("test")):
            record["test"], averaged = scorer.probabilities(trained, "test")
            _, single = scorer.probabilities(checkpoints.load(choice.single.weights.checkpoint), "test")
            labels = scorer.data.labels("test")
            gain = selection.gain(choice.metric, labels, averaged, single)
            score, other = (selection.measure(choice.metric, labels, each) for each in (averaged, single))
            tested = Tested(score, other, gain)
            record["best_single"]["test"], record["gains"]["test"] = tested.single, gain.as_json()
        for part in ("val", "test"):
            record |= {f"{part}/{name}": value for name, value in record.pop(part, {}).items()}
        record |= {
            "device": summary.device_name(scorer.hardware(trained.precision).device),
            "versions": results.versions(),
            "git_commit": results.git_commit(ROOT),
        }
        _write_record(new, record)
        figure = ensemble_figure.draw(f"val/{choice.metric}", choice.together)
        (new / FIGURE).write_bytes(pictures.render_png(figure))
        set_aside(folder)
    return tested


def _describe(choice: Choice, left_out: Sequence[str]) -> dict[str, Any]:
    picks = zip(choice.picks, choice.together, strict=True)
    return {
        "metric": f"val/{choice.metric}",
        "candidates": len(choice.candidates),
        "left_out": list(left_out),
        "halves": dict(zip(HALVES, map(len, choice.halves), strict=True)),
        "picks": [{"run": choice.candidates[pick].name, **_scores(scores)} for pick, scores in picks],
        "best_single": {"run": choice.single.name, **_scores(choice.alone[choice.picks[0]])},
        "gains": {"confirm": choice.confirmed.as_json()},
        "data": choice.candidates[0].data.digest,
    }


def _scores(on_halves: tuple[float, float]) -> dict[str, float]:
    return dict(zip(HALVES, on_halves, strict=True))


def _write_record(folder: Path, record: Mapping[str, Any]) -> None:
    write_atomic(folder / ENSEMBLE, json.dumps(record, indent=1) + "\n")


def show(choice: Choice, tested: Tested | None) -> None:
    """Print members, scores and gains."""
    console, metric = Console(), find_metric(choice.metric)
    title = metric.title if metric else choice.metric
    images = [f"{len(half):,}" for half in choice.halves]
    print(f"{len(choice.candidates)} candidates; {images[0]} validation images choose, {images[1]} confirm")
    if len(choice.candidates) == 1:
        print("there is one candidate only: the ensemble is that network")
    table = Table(box=None, header_style="bold")
    for column in ("", "picks", f"{title}, chosen on", "confirmed", "test"):
        table.add_column(column, justify="right" if column else "left", overflow="fold")
    for index, count in choice.members.items():
        test = f"{tested.single:.4f}" if tested and index == choice.picks[0] else ""
        scores = (f"{score:.4f}" for score in choice.alone[index])
        table.add_row(Text(printable_line(choice.candidates[index].name)), str(count), *scores, test)
    together = (f"{score:.4f}" for score in choice.together[-1])
    table.add_row("ensemble", str(len(choice.picks)), *together, f"{tested.ensemble:.4f}" if tested else "")
    console.print(table)
    single = printable_line(choice.single.name)
    print(f"gain over {single}, the best single one on the half that chooses:")
    print(f"  other half: {choice.confirmed.describe()}")
    print(f"  test: {tested.gain.describe()}" if tested else "  test: the data have no test images")
    print(OPTIMISTIC)
