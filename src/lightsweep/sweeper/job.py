"""A job of a sweep: what it is to do, what it knows of its trial while it runs, and how it ended."""

import json
import logging
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeGuard

from omegaconf import DictConfig

from lightsweep.core.errors import ConfigError, Diverged, Interrupted, RunFailed, StorageLost
from lightsweep.core.files import read_json, write_atomic
from lightsweep.core.job_state import JobState, state_of

log = logging.getLogger(__name__)

RESULT_FILE = "outcome.json"
# Attributes of a trial that this program gives a meaning: no job may set them.
_RESERVED = frozenset(
    ("lightsweep", "interrupted", "baseline", "retries", "retry_of", "repeat_of", "std", "note", "error", "folder")
)
_SENT = frozenset(JobState) - {JobState.LOST, JobState.DETACHED}  # which a job itself may give
_LARGE = 2**53  # integers below it are exact as floats


class Reports(Protocol):
    """Where a job reports the values of its epochs; picklable."""

    def report(self, step: int, value: float) -> bool:
        """Add a value, of an epoch from 1 on; returns whether the job is to end as pruned."""
        ...


@dataclass(frozen=True)
class Job:
    """One job of a sweep: picklable, so that it can be sent to a worker or a cluster.

    Args:
        kind: trial, seed or confirmation.
        overrides: ``key=value`` each.
        folder: relative to the sweep's folder.
        number: the trial's.
        data: the digest of the data that the study was begun with, and the folder that has the record of them; None
            where they may be any.
        reports: None where epochs are not reported.
    """

    kind: str
    overrides: tuple[str, ...]
    folder: str
    number: int
    reports: Reports | None = None
    data: tuple[str, str] | None = None


@dataclass(frozen=True)
class JobResult:
    """How a job ended.

    Args:
        value: the objective; of a completed job only.
        error: in one line.
        facts: what the job recorded, by name: further columns of the leaderboard.
        by_signal: whether the job was interrupted by a signal that it received itself.
    """

    state: JobState
    value: float | None = None
    error: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    by_signal: bool = False


class TrialContext:
    """What the running job knows of its trial, and what it hands to the sweeper. Outside of a sweep there is no job.

    Args:
        job: None outside of a sweep.
    """

    def __init__(self, job: Job | None) -> None:
        self.job = job
        self.facts: dict[str, Any] = {}

    @property
    def reports(self) -> Reports | None:
        return self.job.reports if self.job else None

    def record(self, facts: Mapping[str, Any]) -> None:
        """Add facts, numbers or None by name, to the job's result; later ones replace earlier ones.

        Raises:
            ValueError: a name is reserved.
        """
        if taken := sorted(_RESERVED & facts.keys()):
            raise ValueError(f"a trial's facts cannot be called {', '.join(taken)}")
        if self.job is not None:
            self.facts |= facts


_current: ContextVar[TrialContext] = ContextVar("trial", default=TrialContext(None))  # noqa: B039


def current_trial() -> TrialContext:
    """The trial of the job that runs in this process."""
    return _current.get()


class JobFunction:
    """An application's function with a job's context around it. However the function ends, a `JobResult` comes back:
    a trial that is pruned or fails is no error of the sweep."""

    def __init__(self, function: Callable[[DictConfig], Any], job: Job) -> None:
        self.function = function
        self.job = job

    def __call__(self, cfg: DictConfig) -> JobResult:
        """Run the job. A failed one leaves a result.json, where it has not written one itself."""
        from hydra.core.hydra_config import HydraConfig

        trial = TrialContext(self.job)
        token = _current.set(trial)
        try:
            result = _run(self.function, cfg, trial)
        finally:
            _current.reset(token)
        file = Path(HydraConfig.get().runtime.output_dir) / "result.json"
        if result.state.is_failure and not file.exists():  # refused before it began
            content = {"status": result.state, "kind": self.job.kind, "error": result.error}
            with suppress(OSError):
                write_atomic(file, json.dumps(content) + "\n")
        return result


def _run(function: Callable[[DictConfig], Any], cfg: DictConfig, trial: TrialContext) -> JobResult:
    def ended(state: JobState, **details: Any) -> JobResult:
        return JobResult(state, facts={"status": state.value, **trial.facts}, **details)

    try:
        returned = function(cfg)
    except (Exception, KeyboardInterrupt, Interrupted) as error:  # whatever it is, it must not end the sweep
        state = state_of(error)
        if state == JobState.PRUNED:
            return ended(state)
        if state == JobState.INTERRUPTED and not isinstance(error, StorageLost):
            return ended(state, by_signal=True)
        if isinstance(error, ConfigError | Diverged | RunFailed):
            return ended(state, error=str(error))
        log.exception("the trial failed")
        return ended(state, error=f"{type(error).__name__}: {last_line(str(error))}")
    if not isinstance(returned, int | float) or isinstance(returned, bool):
        return ended(JobState.FAILED, error=f"the job must return a number, got {returned!r}")
    if not math.isfinite(returned):
        return ended(JobState.FAILED, error=f"the monitored value became {returned}")
    return ended(JobState.COMPLETED, value=float(returned))


def write_result(result: JobResult, folder: Path) -> None:
    """Leave a result in the job's folder, for a sweeper on another machine."""
    write_atomic(folder / RESULT_FILE, json.dumps(asdict(result)) + "\n")


def read_result(folder: Path) -> JobResult | None:
    """The result that a job has left; None where there is none yet, or the file is none that a job writes."""
    try:
        content = read_json(folder / RESULT_FILE)
        result = JobResult(**{**content, "state": JobState(content["state"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return result if _is_plausible(result) else None


def _is_plausible(result: JobResult) -> bool:
    """Whether all parts have the types that `JobFunction` gives them: the folder may be somebody else's."""
    facts = result.facts
    known = isinstance(facts, dict) and all(
        name not in _RESERVED and (fact is None or (isinstance(fact, str) if name == "status" else is_number(fact)))
        for name, fact in facts.items()
    )
    is_finite = is_number(result.value) and math.isfinite(result.value)
    has_value = is_finite if result.state == JobState.COMPLETED else result.value is None
    has_text = result.error is None or isinstance(result.error, str)
    return known and has_value and has_text and type(result.by_signal) is bool and result.state in _SENT


def is_number(value: Any) -> TypeGuard[float]:
    """Whether what a file gave is a number that can be computed with: an integer may have any length there."""
    return type(value) is float or (type(value) is int and abs(value) < _LARGE)


def last_line(text: str) -> str:
    """The last line of a message or a trace, which says what it was."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""
