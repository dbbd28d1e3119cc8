"""A job on another machine reports into its folder, and its sweeper adds that to the study. The folder may hold
anything by then."""

import os
from pathlib import Path

import optuna
import pytest
from optuna.pruners import BasePruner, NopPruner
from optuna.trial import TrialState

from lightsweep.core.files import JOURNAL
from lightsweep.sweeper.executors.cluster_jobs import FileReportReader, FileReports
from lightsweep.sweeper.executors.reporting import StorageReports
from lightsweep.sweeper.storage import Address, connect, follow
from queued_jobs import Study


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a job's reports lie."""
    return tmp_path / "reports.jsonl"


def test_values_are_delivered_in_order_and_once(tmp_path: Path) -> None:
    job, study = FileReports(str(tmp_path)), Study()
    reader = FileReportReader(tmp_path, study)
    reader.deliver()
    assert study.values == []
    assert not job.report(1, 0.5)
    assert not job.report(2, 0.25)
    reader.deliver()
    reader.deliver()
    assert not job.report(3, 1)
    reader.deliver()
    assert study.values == [(1, 0.5), (2, 0.25), (3, 1.0)]


def test_another_sweeper_delivers_all_values_again(tmp_path: Path) -> None:
    job, study = FileReports(str(tmp_path)), Study()
    for step in (1, 2):
        job.report(step, 0.5)
        FileReportReader(tmp_path, study).deliver()
    assert study.values == [(1, 0.5), (1, 0.5), (2, 0.5)]


def test_a_line_that_is_being_written_waits(file: Path) -> None:
    study = Study()
    reader = FileReportReader(file.parent, study)
    for text, seen in (("[1, 0.5]\n[2, 0.", 1), ("[1, 0.5]\n[2, 0.75]", 1), ("[1, 0.5]\n[2, 0.75]\n", 2)):
        file.write_text(text)
        reader.deliver()
        assert len(study.values) == seen
    assert study.values[-1] == (2, 0.75)


def test_the_pruners_answer_reaches_the_job(tmp_path: Path) -> None:
    job = FileReports(str(tmp_path))
    reader = FileReportReader(tmp_path, Study(pruned_from=2))
    answers = []
    for step in (1, 2, 3):
        answers.append(job.report(step, 0.5))
        reader.deliver()
    assert answers == [False, False, True]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        "\x00",
        "5",
        "null",
        "{}",
        '{"1": 0.5}',
        "[]",
        "[1]",
        "[1, 2, 3]",
        "[true, 0.5]",
        "[1.0, 0.5]",
        '["1", 0.5]',
        '[1, "0.5"]',
        "[1, null]",
        "[1, true]",
        "[1, [0.5]]",
        "[-1, 0.5]",
        "[1, Infinity]",
        "[1, -1e999]",
        f"[1, {'9' * 400}]",
        f"[1, {'9' * 5000}]",
        f"[{'9' * 400}, 0.5]",
        f"[{2**63}, 0.5]",
        "[" * 100_000,
    ],
    ids=lambda line: repr(line[:20]),
)
def test_an_invalid_line_is_skipped(file: Path, line: str) -> None:
    study = Study()
    file.write_text(f"[1, 0.5]\n{line}\n[2, 0.75]\n")
    FileReportReader(file.parent, study).deliver()
    assert study.values == [(1, 0.5), (2, 0.75)]


def test_nan_is_delivered(file: Path) -> None:
    """As a job writes it whose metric became NaN: the pruners know what to make of it."""
    study = Study()
    file.write_text("[1, NaN]\n")
    FileReportReader(file.parent, study).deliver()
    ((step, value),) = study.values
    assert step == 1
    assert value != value


def pipe(file: Path) -> None:
    os.mkfifo(file)


def device(file: Path) -> None:
    file.symlink_to("/dev/zero")


def endless(file: Path) -> None:
    file.touch()
    os.truncate(file, 10**12)


def binary(file: Path) -> None:
    file.write_bytes(b"\xff\xfe[1, 0.5]\n")


def folder(file: Path) -> None:
    file.mkdir()


@pytest.mark.timeout(10)
@pytest.mark.parametrize("put", [pipe, device, endless, binary, folder])
def test_what_is_no_regular_text_file_is_ignored(file: Path, put) -> None:
    study = Study()
    put(file)
    FileReportReader(file.parent, study).deliver()
    assert study.values == []


@pytest.fixture
def address(tmp_path: Path) -> Address:
    connect.cache_clear()
    follow.cache_clear()
    address = Address(str(tmp_path / JOURNAL), "study")
    optuna.create_study(study_name="study", storage=connect(address.location))
    return address


class Below(BasePruner):
    """Prunes what is below a half."""

    def prune(self, study, trial) -> bool:
        return trial.intermediate_values[trial.last_step] < 0.5


@pytest.mark.parametrize(("pruner", "answer"), [(NopPruner(), False), (Below(), True)])
def test_a_repeated_step_keeps_its_first_value(address: Address, tmp_path: Path, pruner, answer: bool) -> None:
    """A job that was started again repeats some epochs."""
    study = follow(address)
    trial = study.ask()
    job = FileReports(str(tmp_path))
    for step, value in ((1, 0.75), (2, 0.625), (2, 0.875), (3, 0.25)):
        job.report(step, value)
    FileReportReader(tmp_path, StorageReports(address, trial._trial_id, pruner)).deliver()
    assert study.trials[0].intermediate_values == {1: 0.75, 2: 0.625, 3: 0.25}
    assert job.report(4, 1.0) is answer


def test_a_trial_that_was_closed_meanwhile_is_pruned(address: Address, tmp_path: Path) -> None:
    study = follow(address)
    trial = study.ask()
    study.tell(trial.number, state=TrialState.FAIL)
    job = FileReports(str(tmp_path))
    job.report(1, 0.5)
    FileReportReader(tmp_path, StorageReports(address, trial._trial_id, NopPruner())).deliver()
    assert job.report(2, 0.5)
    assert study.trials[0].intermediate_values == {}
