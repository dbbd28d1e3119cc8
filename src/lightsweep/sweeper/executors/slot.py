"""What the controller knows of an executor: slots, each for one job at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lightsweep.sweeper.assignment import Assignment, Outcome


class Slot(Protocol):
    """One job at a time: `start`, then `poll` until an outcome comes."""

    def is_starting(self) -> bool:
        """Whether what its jobs run in is not ready yet: a job that is handed in now would wait for that."""
        ...

    def start(self, assignment: Assignment) -> None: ...

    def poll(self) -> Outcome | None: ...

    def waitables(self) -> list[Any]:
        """What becomes ready when there may be an outcome, or the slot is no longer starting."""
        ...

    def stop(self) -> None:
        """Ask the running job to end in order."""
        ...

    def kill(self) -> None: ...

    def close(self) -> None: ...


class KeptOutcome:
    """A slot that keeps its job's outcome until it is polled, and wakes nobody."""

    outcome: Outcome | None = None

    def is_starting(self) -> bool:
        return False

    def poll(self) -> Outcome | None:
        outcome, self.outcome = self.outcome, None
        return outcome

    def waitables(self) -> list[Any]:
        return []


@dataclass(frozen=True)
class Executor:
    """Where a sweep's jobs run.

    Args:
        slots: one job each at a time.
        has_job: whether a job of this folder, with these overrides if any are given, goes on although its sweeper is
            gone, or has ended meanwhile.
        close: let go of what the slots share.
    """

    slots: Sequence[Slot]
    has_job: Callable[..., bool] = lambda folder, overrides=None: False
    close: Callable[[], None] = lambda: None
