"""Jobs that run on another machine: what submitit runs there, and the files in a job's folder by which the job and its
sweeper know of each other.

`job.json` says which job of the scheduler a folder belongs to: a sweeper finds there the jobs of one that was killed.
It is written before the job is submitted, and a job starts only where the file is its own. `outcome.json` is its
result. `reports.jsonl` has a line for each report, and `give_up` is there once the trial is pruned.
"""

import enum
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

from lightsweep.core import signals
from lightsweep.core.errors import Interrupted
from lightsweep.core.files import parse_json, read_json, read_regular, write_atomic
from lightsweep.sweeper.executors.reporting import deliver_report
from lightsweep.sweeper.job import RESERVED, Job, JobResult, JobState, Reports
from lightsweep.sweeper.job_running import JobSetup, prepare_process, run_job

JOB_FILE, RESULT_FILE, _REPORTS, _GIVE_UP = "job.json", "outcome.json", "reports.jsonl", "give_up"
_FROM_JOBS = frozenset(JobState) - {JobState.LOST, JobState.DETACHED}  # states that a job itself may give
_LARGE = 2**53  # integers below it are exact as floats
_MOST_STEPS = 2**31  # a database keeps none beyond
_COMMAND_SECONDS = 20.0


class Phase(enum.Enum):
    """What a job does, or how it ended."""

    ACTIVE = enum.auto()  # it runs, or waits to start
    ENDED = enum.auto()  # by itself
    FAULT = enum.auto()  # ended for something that it did
    NO_FAULT = enum.auto()  # ended for something else
    UNKNOWN = enum.auto()


@dataclass(frozen=True)
class JobStatus:
    """A scheduler's answer about a job.

    Args:
        reason: why it was ended, or waits to start.
        is_final: false where the scheduler may put it back into the queue.
    """

    phase: Phase
    reason: str = ""
    is_final: bool = True


@dataclass(frozen=True)
class ClusterJob:
    """A job as it is submitted: picklable.

    Args:
        folder: the job's, as an absolute path that all nodes have.
        token: that `job.json` has, unless the folder is another job's by now.
    """

    setup: JobSetup
    job: Job
    folder: str
    token: str

    def __call__(self) -> None:
        """Run it. A job that was started again finds what it has left in its folder."""
        from submitit import JobEnvironment

        folder = Path(self.folder)
        warning = JobEnvironment._usr_sig()  # that the job's time is nearly over; submitit names it nowhere in public
        requeue: Any = signal.getsignal(warning)
        signals.listen_to(warning)
        if not claim_folder(folder, self.token):
            return
        (folder / RESULT_FILE).unlink(missing_ok=True)  # of an earlier start of this job
        with signals.as_exceptions():
            try:
                result = self.run()
            except Interrupted:
                result = JobResult(JobState.INTERRUPTED, by_signal=True)
            received = signals.received()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # nothing of what follows takes long
        if result.state == JobState.INTERRUPTED and received == warning:
            result = _requeue_at_time_limit(requeue, warning, result)
        elif result.state == JobState.INTERRUPTED and _requeue_if_preempted():
            sys.exit(1)
        write_result(result, folder)

    def run(self) -> JobResult:
        """The job itself."""
        if cpus := os.environ.get("SLURM_CPUS_PER_TASK"):
            os.environ.setdefault("OMP_NUM_THREADS", cpus)  # read once, when torch is first imported
        prepare_process(self.setup)
        return run_job(self.setup, self.job)

    def checkpoint(self) -> Any:
        """What submitit runs when the job is started again: the same."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _requeue_if_preempted() -> bool:
    """Put a job that Slurm asked to end back into the queue, if it is to make room for another one.

    Slurm itself does so only with a job that runs until its grace time is over. One that was cancelled no longer has
    the state RUNNING.
    """
    if (number := os.environ.get("SLURM_JOB_ID")) is None:
        return False

    def run(*command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=True)
        return done.stdout.strip()

    try:
        running = run("squeue", "-h", "-o", "%T", "-j", number) == "RUNNING"
        if running:
            run("scontrol", "requeue", number)
    except (OSError, subprocess.SubprocessError):  # this scheduler takes no job back
        return False
    return running


def _requeue_at_time_limit(requeue: Any, warning: int, result: JobResult) -> JobResult:
    """Let submitit put the job back into the queue, which ends this process; the result where it does not.

    Args:
        requeue: submitit's handler of the warning, which counts the times (``hydra.launcher.max_num_timeout``).
    """
    from submitit.core.utils import UncompletedJobError

    try:
        requeue(warning, None)
    except UncompletedJobError:
        limit = "the time limit was reached (hydra.launcher.timeout_min)"
        return JobResult(JobState.FAILED, error=limit, facts=result.facts)
    except (OSError, subprocess.SubprocessError):  # this scheduler takes no job back
        pass
    return result


@dataclass(frozen=True)
class JobFile:
    """The content of `job.json`.

    Args:
        cluster: the scheduler's name.
        job_id: None until it is known.
        log: the job's, relative to the sweep's folder if it is in it.
        overrides: the job's; of any type where the file is somebody else's.
        token: which only this job knows.
    """

    cluster: str
    job_id: str | None
    log: str
    overrides: Any
    token: str


def write_job_file(content: JobFile, folder: Path) -> None:
    named = asdict(content)
    write_atomic(folder / JOB_FILE, json.dumps({"id": named.pop("job_id"), **named}) + "\n")


def read_job_file(folder: Path) -> JobFile | None:
    """The content of `job.json`; None where there is none, or the file is none that this program writes."""
    try:
        named = read_json(folder / JOB_FILE)
        content = JobFile(named["cluster"], named["id"], named["log"], named.get("overrides"), named.get("token", ""))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    has_texts = all(isinstance(text, str) for text in (content.cluster, content.log, content.token))
    return content if has_texts and isinstance(content.job_id, str | None) else None


def withdraw_job(folder: Path) -> None:
    """Remove a `job.json` without an id, whose sweeper was killed as it submitted the job: that will not start."""
    content = read_job_file(folder)
    if content is not None and content.job_id is None:
        with suppress(OSError):
            (folder / JOB_FILE).unlink(missing_ok=True)


def claim_folder(folder: Path, token: str) -> bool:
    """Called by a job as it starts: whether `job.json` is its own. Adds its id, where its sweeper was killed before."""
    content = read_job_file(folder)
    if content is None or content.token != token:
        return False
    if content.job_id is None:
        from submitit import JobEnvironment

        write_job_file(replace(content, job_id=JobEnvironment().job_id), folder)
    return True


def write_result(result: JobResult, folder: Path) -> None:
    write_atomic(folder / RESULT_FILE, json.dumps(asdict(result)) + "\n")


def read_result(folder: Path) -> JobResult | None:
    """The result that a job has written; None where there is none yet, or no job wrote the file."""
    try:
        content = read_json(folder / RESULT_FILE)
        state = JobState({"complete": "completed"}.get(content["state"], content["state"]))  # as 0.1.0 wrote it
        result = JobResult(**{**content, "state": state, "further": tuple(content.get("further", ()))})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return result if _is_plausible(result) else None


def _is_plausible(result: JobResult) -> bool:
    """Whether all parts have the types that `JobFunction` gives them: the folder may be somebody else's."""
    facts = result.facts
    known = isinstance(facts, dict) and all(
        isinstance(fact, str) if name == "status" else name not in RESERVED and (fact is None or _is_exact(fact))
        for name, fact in facts.items()
    )
    is_finite = bool(result.values) and all(_is_exact(value) and math.isfinite(value) for value in result.values)
    has_value = is_finite if result.state == JobState.COMPLETED else (result.value, result.further) == (None, ())
    has_text = result.error is None or isinstance(result.error, str)
    flagged = type(result.by_signal) is type(result.of_all) is bool
    timed = _is_exact(result.seconds) and math.isfinite(result.seconds)
    return known and has_value and has_text and flagged and timed and result.state in _FROM_JOBS


def _is_exact(value: Any) -> TypeGuard[float]:
    """A number, infinity and NaN too, that a float holds exactly: an integer of a file may have any length."""
    return type(value) is float or (type(value) is int and abs(value) < _LARGE)


@dataclass(frozen=True)
class FileReports:
    """Reports into a job's folder. The pruner's answer comes from the sweeper, mostly after the next step."""

    folder: str

    def report(self, step: int, value: float) -> bool:
        """Add a value; returns whether the trial is pruned."""
        with Path(self.folder, _REPORTS).open("a", encoding="utf-8") as file:
            file.write(json.dumps([step, value]) + "\n")
        return Path(self.folder, _GIVE_UP).exists()


class FileReportReader:
    """The sweeper's end of a job's `FileReports`.

    Args:
        folder: the job's.
        reports: where its values go.
    """

    def __init__(self, folder: Path, reports: Reports) -> None:
        self.folder, self.reports = folder, reports
        self._lines = self._bytes = 0  # that were read

    def deliver(self) -> None:
        """Add new values to the study, and hand the pruner's answer to the job."""
        file = self.folder / _REPORTS
        size = file.stat().st_size if file.is_file() else 0
        if size == self._bytes:
            return
        try:
            lines = read_regular(file).split("\n")[:-1]  # the last one is empty, or is being written
        except (OSError, ValueError):
            lines = []
        for step, value in _parse_reports(lines[self._lines :]):
            if deliver_report(self.reports, step, value):
                with suppress(OSError):  # it exists: perhaps as a link, which is not followed
                    os.close(os.open(self.folder / _GIVE_UP, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        self._lines, self._bytes = len(lines), size


def _parse_reports(lines: list[str]) -> Iterator[tuple[int, float]]:
    for line in lines:
        with suppress(ValueError):
            pair = parse_json(line)
            if isinstance(pair, list) and len(pair) == 2 and type(pair[0]) is int and _is_exact(pair[1]):
                step, value = pair
                if 0 <= step < _MOST_STEPS and not math.isinf(value):
                    yield step, float(value)
