"""What a job knows of the trial that it belongs to. Outside a sweep a job belongs to none."""

import json
import logging
import math
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from omegaconf import DictConfig

from lightsweep.core.errors import ConfigError, DataChanged, Diverged, Interrupted, Pruned, RunFailed, StorageLost
from lightsweep.core.files import read_json, write_atomic

if TYPE_CHECKING:
    from lightsweep.runs.data_record import Fingerprint

log = logging.getLogger(__name__)

FACTS = (
    "status",
    "train/loss",
    "train/acc",
    "val/loss",
    "val/acc",
    "test/loss",
    "test/acc",
    "train/f1",
    "val/f1",
    "test/f1",
    "train/balanced_acc",
    "val/balanced_acc",
    "test/balanced_acc",
    "best_epoch",
    "epochs",
    "params",
    "seconds",
    "score_seconds",
)


@dataclass(frozen=True)
class Assignment:
    """One job of a sweep: picklable, so that it travels to a worker or a cluster.

    Args:
        kind: trial, seed or confirmation.
        overrides: the job's, ``key=value`` each.
        folder: below the sweep's folder.
        number: the trial's.
        data: the digest of the data that the study was begun with, and the folder that has the record of them; None
            where they may be any.
        reports: where epochs are to be reported, as `lightsweep.sweeper.reports.Reports`; None where they are not.
    """

    kind: str
    overrides: tuple[str, ...]
    folder: str
    number: int
    reports: Any = None
    data: tuple[str, str] | None = None


@dataclass(frozen=True)
class Outcome:
    """How a job ended: state is complete, pruned, failed or interrupted; left where it goes on without its sweeper,
    refused where what is wrong with it is wrong with all jobs of its sweep."""

    state: str
    value: float | None = None
    error: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


OUTCOME = "outcome.json"
_LARGE = 2**53  # as a float it is the number still


def write_outcome(outcome: Outcome, folder: Path) -> None:
    """Leave an outcome in the job's folder, for a sweeper on another machine."""
    write_atomic(folder / OUTCOME, json.dumps(asdict(outcome)) + "\n")


def read_outcome(folder: Path) -> Outcome | None:
    """The outcome that a job has left; None where there is none yet, or it is none of ours."""
    try:
        outcome = Outcome(**read_json(folder / OUTCOME))
    except (OSError, ValueError, TypeError):
        return None
    return outcome if _is_plausible(outcome) else None


def _is_plausible(outcome: Outcome) -> bool:
    """Whether the parts have the kinds that `Task` gives them: the folder may be somebody else's."""
    facts = outcome.facts
    known = isinstance(facts, dict) and all(
        name in FACTS and (fact is None or (isinstance(fact, str) if name == "status" else is_number(fact)))
        for name, fact in facts.items()
    )
    number = is_number(outcome.value) and math.isfinite(outcome.value)
    valued = number if outcome.state == "complete" else outcome.value is None
    said = outcome.error is None or isinstance(outcome.error, str)
    return known and valued and said and outcome.state in ("complete", "pruned", "failed", "interrupted", "refused")


def is_number(value: Any) -> TypeGuard[float]:
    """Whether what a file gave is a number that can be computed with: a whole one may have any length there."""
    return type(value) is float or (type(value) is int and abs(value) < _LARGE)


_current: ContextVar[Assignment | None] = ContextVar("assignment", default=None)


def kind(otherwise: str) -> str:
    """The running job's kind, for its `result.json`."""
    assignment = _current.get()
    return assignment.kind if assignment else otherwise


def is_given() -> bool:
    """Does the running job belong to a sweep?"""
    return _current.get() is not None


def reports() -> Any:
    """Where the running job reports its epochs to, as `lightsweep.sweeper.reports.Reports`; None where it does not."""
    assignment = _current.get()
    return assignment.reports if assignment else None


def check_data(now: "Fingerprint") -> None:
    """See that the running job has the data that its study was begun with.

    Raises:
        DataChanged: it has others; says what changed, where that is known here.
    """
    assignment = _current.get()
    if assignment is None or assignment.data is None:
        return
    from lightsweep.runs import data_record  # imports NumPy, for which a command line need not wait

    digest, folder = assignment.data
    if now.digest == digest:
        return
    before = data_record.read_if_valid(Path(folder))
    known = before is not None and before.digest == digest
    changes = now.changes(before) if before is not None and known else ["they are others"]
    raise DataChanged(
        f"the data changed since this study was begun: {'; '.join(changes)}. Trials on them cannot be compared with"
        f" earlier ones: take another hydra.sweeper.study_name, or go on anyway with {data_record.ALLOW}"
    )


def callbacks(monitor: str) -> list:
    """Lightning callbacks that tie the running job to its trial; none outside a sweep."""
    if (where := reports()) is None:
        return []
    from lightsweep.training.callbacks import PruningCallback

    return [PruningCallback(where, monitor=monitor)]


class Task:
    """The job's function with its assignment around it. Whatever happens inside comes back as an `Outcome`: a trial
    that is pruned or fails is no error of the sweep."""

    def __init__(self, function: Callable[[DictConfig], Any], assignment: Assignment) -> None:
        self.function = function
        self.assignment = assignment

    def __call__(self, cfg: DictConfig) -> Outcome:
        """Run the job; the facts of the outcome are those of its result.json, which is written if it is not there."""
        from hydra.core.hydra_config import HydraConfig

        folder = Path(HydraConfig.get().runtime.output_dir)
        token = _current.set(self.assignment)
        try:
            outcome = _outcome(self.function, cfg)
        finally:
            _current.reset(token)
        if outcome.state == "failed" and not (folder / "result.json").exists():  # refused before it began
            content = {"status": "failed", "kind": self.assignment.kind, "error": outcome.error}
            with suppress(OSError):
                write_atomic(folder / "result.json", json.dumps(content) + "\n")
        return replace(outcome, facts=_facts(folder))


def _outcome(function: Callable[[DictConfig], Any], cfg: DictConfig) -> Outcome:
    try:
        returned = function(cfg)
    except Pruned:
        return Outcome("pruned")
    except (Interrupted, KeyboardInterrupt):
        return Outcome("interrupted")
    except StorageLost as error:  # no fault of the trial: it is to be run again
        return Outcome("interrupted", error=str(error))
    except DataChanged as error:
        return Outcome("refused", error=str(error))
    except (ConfigError, Diverged, RunFailed) as error:
        return Outcome("failed", error=str(error))
    except Exception as error:  # a trial that fails must not end the sweep, whatever it is
        log.exception("the trial failed")
        return Outcome("failed", error=f"{type(error).__name__}: {last_line(str(error))}")
    if not isinstance(returned, int | float) or isinstance(returned, bool):
        return Outcome("failed", error=f"the job must return a number, got {returned!r}")
    if not math.isfinite(returned):
        return Outcome("failed", error=f"the monitored value became {returned}")
    return Outcome("complete", float(returned))


def _facts(folder: Path) -> dict[str, Any]:
    try:
        result = json.loads((folder / "result.json").read_text())
    except (OSError, ValueError):
        return {}
    return {name: result[name] for name in FACTS if name in result}


def last_line(text: str) -> str:
    """The last line of a message or a trace, which says what it was."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""
