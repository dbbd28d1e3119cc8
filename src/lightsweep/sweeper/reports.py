"""How a trial's epochs come to its study, and the pruner's answer to the trial.

A worker writes into the study itself (`StorageReports`). A job on another machine may reach no more than the sweep's
folder: it leaves its reports there (`FileReports`), and its sweeper carries them to the study (`Mailbox`).
"""

import json
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.trial import Trial

from lightsweep.core.files import parse_json, read_regular
from lightsweep.sweeper.job import Reports, is_number
from lightsweep.sweeper.storage import Address, follow

_REPORTS, _GIVE_UP = "reports.jsonl", "give_up"
_MOST_STEPS = 2**31  # a database keeps none beyond


@dataclass(frozen=True)
class StorageReports:
    """Reports into the study.

    Args:
        address: of the study.
        trial_id: of the trial in the storage.
        pruner: decides after each report.
    """

    address: Address
    trial_id: int
    pruner: BasePruner

    def report(self, step: int, value: float) -> bool:
        """Add a value.

        Raises:
            UpdateFinishedTrialError: somebody else has given the trial up.
            StorageLost: the storage is out of reach.
        """
        study = follow(self.address)
        study.pruner = self.pruner
        trial = Trial(study, self.trial_id)
        trial.report(value, step)
        return trial.should_prune()


@dataclass(frozen=True)
class FileReports:
    """Reports into a job's folder. The answer comes from its sweeper, mostly after the next epoch.

    Args:
        folder: the job's.
    """

    folder: str

    def report(self, step: int, value: float) -> bool:
        """Add a value; whether the sweeper has given the trial up."""
        with Path(self.folder, _REPORTS).open("a", encoding="utf-8") as file:
            file.write(json.dumps([step, value]) + "\n")
        return Path(self.folder, _GIVE_UP).exists()


class Mailbox:
    """The sweeper's end of a job's `FileReports`.

    Args:
        folder: the job's.
        reports: where its values go.
    """

    def __init__(self, folder: Path, reports: Reports) -> None:
        self.folder, self.reports = folder, reports
        self._read = self._size = 0  # lines; bytes

    def empty(self) -> None:
        """Carry what is new to the study, and the pruner's answer to the job."""
        file = self.folder / _REPORTS
        size = file.stat().st_size if file.is_file() else 0
        if size == self._size:
            return
        lines, self._size = _lines(file), size
        for line in lines[self._read :]:
            for step, value in _parsed(line):
                if deliver(self.reports, step, value):
                    self._give_up()
        self._read = len(lines)

    def _give_up(self) -> None:
        with suppress(OSError):  # it is there: perhaps as a link, which is not followed
            os.close(os.open(self.folder / _GIVE_UP, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))


def deliver(reports: Reports, step: int, value: float) -> bool:
    """Add a job's value to the study in its place; whether the job shall end. A step that is there already stays."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a job that was started again repeats some epochs
            return reports.report(step, value)
    except UpdateFinishedTrialError:  # somebody else has given the trial up
        return True


def _lines(file: Path) -> list[str]:
    try:
        text = read_regular(file)
    except (OSError, ValueError):
        return []
    return text.split("\n")[:-1]  # the last one is empty, or is being written


def _parsed(line: str) -> Iterator[tuple[int, float]]:
    with suppress(ValueError):
        pair = parse_json(line)
        if isinstance(pair, list) and len(pair) == 2 and type(pair[0]) is int and is_number(pair[1]):
            step, value = pair
            if 0 <= step < _MOST_STEPS and not math.isinf(value):
                yield step, float(value)
