"""What a worker with several places tells its sweeper. The sweeper sends it `Job` objects."""

from dataclasses import dataclass
from typing import Any, Protocol

from lightsweep.sweeper.job import JobResult


@dataclass(frozen=True)
class Room:
    """A worker asks for so many jobs more."""

    jobs: int


@dataclass(frozen=True)
class Ended:
    """A job was closed."""

    folder: str
    result: JobResult


@dataclass(frozen=True)
class Counted:
    """So many images were trained on since the last message."""

    images: int


@dataclass(frozen=True)
class Said:
    """A line for the user."""

    line: str


@dataclass(frozen=True)
class Halved:
    """A worker has fewer places from now on."""

    places: int
    reason: str


class Link(Protocol):
    """A worker's connection with its sweeper."""

    def send(self, message: Any, /) -> None: ...

    def poll(self, seconds: float | None, /) -> bool: ...

    def recv(self) -> Any: ...
