"""An office of a study, such as its confirmation: one living sweeper holds it at a time, on whatever machine."""

import threading
import time
from typing import Any

import optuna

from lightsweep.core.waiting import Wait
from lightsweep.sweeper.liveness import LOST_AFTER, Owner, is_alive

_LOOK_AGAIN = 0.2  # seconds


class Office:
    """One sweeper's way to an office.

    To read that an office is free and to write that it is taken are two steps, and a lock reaches no other machine. So
    each candidate first writes a mark of its own and then reads all the others': of any two, one sees the other at
    least. Whoever sees nobody holds it; whoever sees a holder, or a candidate with a lower name, steps back.

    Args:
        study: whose storage keeps the marks, as system attributes, which dashboards do not show.
        name: of the office.
    """

    def __init__(self, study: optuna.Study, name: str, owner: Owner) -> None:
        self._storage, self._study = study._storage, study._study_id
        self._name, self._prefix = name, f"lightsweep:{name}:"
        self._owner = owner
        self._held = self._marked = False
        self._turn = threading.Lock()  # a renewal that comes after the leaving would hold it for ever

    def take(self) -> bool:
        """Take it; False where another sweeper that lives has it or comes first."""
        while not self._held:
            self._write({**self._owner.mark(), "held": False})
            others = self._others()
            if any(mark["held"] or mark["owner"] < self._owner.name for mark in others):
                self._write(None)
                return False
            if others:  # they step back as soon as they see us, or are found to hold it
                time.sleep(_LOOK_AGAIN)
                continue
            self._held = True
            self.renew()
        return True

    def wait(self) -> None:
        """Take it as soon as it is free."""
        waiting = Wait()
        while not self.take():
            waiting.still(
                f"another sweeper of this study, which has its {self._name}; if it is gone, at most {LOST_AFTER:.0f} s"
            )
            time.sleep(_LOOK_AGAIN)

    def renew(self) -> None:
        """Say that its holder lives, where this is the holder. May be called from another thread."""
        with self._turn:
            if self._held:
                self._write({**self._owner.mark(), "held": True})

    def leave(self) -> None:
        with self._turn:
            if self._marked:
                self._held = False
                self._write(None)

    def _write(self, mark: dict[str, Any] | None) -> None:
        self._marked = mark is not None
        self._storage.set_study_system_attr(self._study, self._prefix + self._owner.name, mark)

    def _others(self) -> list[dict[str, Any]]:
        """Marks of the others that live."""
        marks = self._storage.get_study_system_attrs(self._study)
        return [
            mark
            for key, mark in marks.items()
            if key.startswith(self._prefix) and mark and not self._owner.is_mine(mark) and is_alive(mark)
        ]
