"""What the controller knows of an executor: slots, each for one job at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from lightsweep.sweeper.job import Job, JobResult


class Slot(Protocol):
    """One job at a time: `start`, then `poll` until a result comes."""

    is_inline: ClassVar[bool] = False  # jobs run in the sweeper's own process, and `start` returns when they end

    def is_starting(self) -> bool:
        """Whether what its jobs run in is not ready yet: a job that is handed in now would wait for that."""
        ...

    def start(self, job: Job) -> None: ...

    def poll(self) -> JobResult | None: ...

    def waitables(self) -> list[Any]:
        """What becomes ready when there may be an outcome, or the slot is no longer starting."""
        ...

    def stop(self) -> None:
        """Ask the running job to end in order."""
        ...

    def kill(self) -> None: ...

    def close(self) -> None: ...


class KeptOutcome(Slot):
    """A slot that keeps its job's outcome until it is polled, and wakes nobody."""

    outcome: JobResult | None = None

    def is_starting(self) -> bool:
        return False

    def poll(self) -> JobResult | None:
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
