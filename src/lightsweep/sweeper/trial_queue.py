"""The queue of a study's trials: claims the next one, closes those that ended or were lost, up to the total.

A trial counts when it ended by itself: complete, pruned or failed. One whose sweeper died is lost: it is closed as
failed with the attribute *interrupted*, does not count, and is retried under a new number, `retries` times.

User attributes of a trial: ``lightsweep`` (the mark of its owner), ``folder``, ``facts``, ``error``,
``interrupted``, ``put_back``, ``retry_of``, ``retries``, ``repeat_of``, ``infeasible``.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import optuna
from omegaconf import DictConfig
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from lightsweep.sweeper.constraints import Constraints
from lightsweep.sweeper.job import JobResult, JobState
from lightsweep.sweeper.leases import LOST_AFTER, FileLock, Lease, Owner, is_alive
from lightsweep.sweeper.optuna_access import current, retry_of, set_attribute, take_over, tell
from lightsweep.sweeper.repeats import Repeats
from lightsweep.sweeper.storage import Address, claims_lock_path, is_server
from lightsweep.sweeper.trials import OWNER, Count, folder_of, is_interrupted

_STATES = {JobState.COMPLETED: TrialState.COMPLETE, JobState.PRUNED: TrialState.PRUNED}  # else FAIL


class TrialQueue:
    """The trials of one study, for one sweeper; several sweepers may work on a study at the same time.

    Args:
        study: with the sampler that draws the parameters, on a storage that `connect` has opened.
        address: of the study.
        n_trials: the total of trials that end by themselves.
        retries: how often a lost trial is retried.
    """

    def __init__(self, study: optuna.Study, address: Address, *, n_trials: int, retries: int) -> None:
        self.study = study
        self.n_trials, self.retries = n_trials, retries
        self.retry = retry_of(study)
        self.owner = Owner()
        self._claims = FileLock(claims_lock_path(address))
        self._alone = not is_server(address)  # no sweeper on another machine
        self._confirmation = Lease(study, "confirmation", self.owner)
        self._closing = Lease(study, "burial", self.owner)  # the stored name of version 0.1
        self._presence = Lease(study, f"presence of {self.owner.name}", self.owner)  # shows that a sweeper is alive
        self._presence.take()
        self._unmarked: dict[int, float] = {}  # running trials without an owner, and when each was first seen
        self._mine: dict[int, Trial] = {}
        self._count = Count()
        self.repeats = Repeats(None, since=0)
        self.constraints = Constraints()
        # Further reasons why no trial starts before the total is reached.
        self.why_over_early: Callable[[Sequence[FrozenTrial]], str | None] = lambda trials: None
        # Whether a trial has a job that runs without its sweeper.
        self.has_job: Callable[[int], bool] = lambda number: False

    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def claim(self) -> Trial | None:
        """The next trial to run; None where ended and running trials reach the total.

        A trial whose sweeper died and whose job runs comes first, unchanged: its job is waited for.
        """
        with self._claims:
            if (trial := self._take_over()) is not None:
                return trial
            if not self._close_lost_trials():
                return None
            trials = self.trials()
            if self.remaining() <= 0 or self.why_over(trials):
                return None
            if (point := self.repeats.proposal(trials)) is not None:
                self.study.enqueue_trial(point)
            trial = self.study.ask()
            trial.set_user_attr(OWNER, self.owner.mark())
            trial.set_user_attr("folder", folder_of(trial.number))
        self._mine[trial.number] = trial
        return trial

    def close_repeat(self, trial: Trial) -> bool:
        """Close a trial whose point was tried before, with the earlier value if there is one; False where it is no
        repeat."""
        with self._claims:
            earlier = self.repeats.earlier(current(self.study, trial), self.trials())
            if earlier is None:
                return False
            trial.set_user_attr("repeat_of", earlier.number)
            last = earlier.last_step if len(self.study.directions) == 1 else None
            if earlier.state == TrialState.PRUNED and last is not None:
                trial.report(earlier.intermediate_values[last], last)
            state = earlier.state if earlier.state.is_finished() else TrialState.FAIL
            tell(self.study, trial.number, state, earlier.values if state == TrialState.COMPLETE else None)
        self._mine.pop(trial.number, None)
        return True

    def close_infeasible(self, trial: Trial, compose: Callable[[], DictConfig]) -> bool:
        """Close a trial that violates a constraint by what its config, which `compose` gives, says before training;
        False where it is none."""
        if not (known := self.constraints.foresee(compose)):
            return False
        with self._claims:
            trial.set_user_attr("facts", dict(known))
            if self.constraints.admits(trial, known):
                return False
            tell(self.study, trial.number, TrialState.PRUNED, None)  # FAIL would hide it from the sampler
        self._mine.pop(trial.number, None)
        return True

    def mark_changed(self, number: int) -> None:
        """Keep in the study that values of trials before this one do not compare: their points may be drawn again."""
        self.repeats.since = number
        self.study.set_user_attr("changed_at", number)

    def remaining(self) -> int:
        """How many trials no sweeper has claimed yet."""
        trials = self.trials()
        return self.n_trials - self._count.ended(trials) - len(self._count.running(trials))

    def waited_for(self) -> str:
        """Why `claim` gives no trial: a sweeper that closes lost trials, or running trials of other sweepers."""
        running = [str(trial.number) for trial in self._count.running(self.trials())]
        if not running:
            return f"another sweeper of this study, which closes lost trials; at most {LOST_AFTER:.0f} s"
        which, end = ("trials", "they end") if len(running) > 1 else ("trial", "it ends")
        numbers = ", ".join(running)
        return f"{which} {numbers} of another sweeper; until {end}, or for {LOST_AFTER:.0f} s if that sweeper died"

    def is_done(self) -> bool:
        """Whether no trial runs, and the total is reached or no untried point is left."""
        trials = self.trials()
        if self._count.running(trials):
            return False
        return self._count.ended(trials) >= self.n_trials or self.why_over(trials) is not None

    def why_over(self, trials: Sequence[FrozenTrial]) -> str | None:
        """Why no further trial starts, although the total is not reached; None where one does."""
        present = [trial for trial in trials if trial.number >= self.repeats.since]  # with the present data
        return self.repeats.why_over(trials) or self.constraints.why_over(trials) or self.why_over_early(present)

    def tell(self, trial: Trial, result: JobResult) -> bool:
        """Close a trial with its result; returns False where another sweeper had closed it as lost."""
        with self._claims:
            try:
                in_time = current(self.study, trial).state == TrialState.RUNNING
                if in_time:
                    self._close(trial, result)
            except UpdateFinishedTrialError:  # closed at this moment by a sweeper of another machine
                in_time = False
        self._mine.pop(trial.number, None)
        return in_time

    def has_completed(self) -> bool:
        """Whether a trial has given a value."""
        return any(trial.state == TrialState.COMPLETE for trial in self.trials())

    def renew(self) -> None:
        """Renew the marks on this sweeper's trials and its leases, by which other machines see that it is alive.

        Runs in a thread, as a trial may block the main one: it takes no lock, and skips a trial that ends meanwhile.
        """
        for trial in tuple(self._mine.values()):
            with suppress(UpdateFinishedTrialError):  # `tell` reports it
                set_attribute(self.study, trial, OWNER, self.owner.mark())
        for lease in (self._confirmation, self._closing, self._presence):
            lease.renew()

    def writing(self) -> FileLock:
        """The lock of the claims, held while files are written that other sweepers of the study write, too."""
        return self._claims

    def may_confirm(self) -> bool:
        """Take the lease of the confirmation; False where another live sweeper holds it."""
        return self._confirmation.take()

    def close(self) -> None:
        """Release everything. Trials that an error has left running are found by the next sweeper."""
        try:
            self._confirmation.leave()
            self._presence.leave()
        finally:
            self.owner.resign(trials_left=bool(self._mine))

    def _close(self, trial: Trial, result: JobResult) -> None:
        if result.state in (JobState.INTERRUPTED, JobState.REFUSED):
            refused = result.state == JobState.REFUSED  # the sweep ends with the reason
            reason = "refused" if refused else result.error
            if result.is_put_back:
                trial.set_user_attr("put_back", True)
            self._interrupt(current(self.study, trial), reason, spends=not (refused or result.is_put_back))
            self._close_lost_trials()
            return
        if facts := {**trial.user_attrs.get("facts", {}), **result.facts}:  # known before, or measured
            trial.set_user_attr("facts", facts)
        if result.error:
            trial.set_user_attr("error", result.error)
        values = result.values if result.state == JobState.COMPLETED else None  # of a pruned one: its last report
        if values is not None:  # what a pruned one has recorded may be of its first epochs
            self.constraints.keep(trial, self.constraints.values_of(result))
        tell(self.study, trial.number, _STATES.get(result.state, TrialState.FAIL), values)

    def _take_over(self) -> Trial | None:
        """Take a trial whose sweeper died and whose job runs."""
        if not any(self.has_job(trial.number) for trial in self._without_sweeper()):
            return None
        try:
            if not self._closing.take():  # else two sweepers could take over the same one
                return None
            for frozen in self._without_sweeper():
                if not self.has_job(frozen.number):
                    continue
                with suppress(UpdateFinishedTrialError):  # its sweeper is alive, and has just closed it
                    trial = take_over(self.study, frozen)
                    trial.set_user_attr(OWNER, self.owner.mark())
                    self._mine[trial.number] = trial
                    return trial
        finally:
            self._closing.leave()
        return None

    def _close_lost_trials(self) -> bool:
        """Close lost trials, and add one retry for each interrupted trial; False where another sweeper does so now."""
        if not (self._lost_trials() or self._without_retry()):
            return True
        try:
            if not self._closing.take():
                return False
            for trial in self._lost_trials():
                with suppress(UpdateFinishedTrialError):  # its sweeper is alive, and has just closed it
                    self._interrupt(trial)
            for trial in self._without_retry():
                self.study.add_trial(_retry_of(trial))
        finally:
            self._closing.leave()
        return True

    def _lost_trials(self) -> list[FrozenTrial]:
        return [trial for trial in self._without_sweeper() if not self.has_job(trial.number)]

    def _without_sweeper(self) -> list[FrozenTrial]:
        return [trial for trial in self._count.running(self.trials()) if not self._has_sweeper(trial)]

    def _has_sweeper(self, trial: FrozenTrial) -> bool:
        mark: Any = trial.user_attrs.get(OWNER)
        if not mark and self._alone:  # this process holds the lock of the claims: its sweeper died during one
            return False
        if not mark:  # a sweeper of another machine is claiming it, or died while it did
            seen = self._unmarked.setdefault(trial.number, time.monotonic())
            return time.monotonic() - seen < LOST_AFTER
        if self.owner.is_mine(mark):
            return trial.number in self._mine
        return is_alive(mark, reached_since=self.retry.reached_since)

    def _without_retry(self) -> list[FrozenTrial]:
        """Interrupted trials that have no retry yet, also where a sweeper died between the two steps."""
        trials = self.trials()
        if not (interrupted := [trial for trial in trials if is_interrupted(trial)]):
            return []
        retried = {trial.user_attrs.get("retry_of") for trial in trials}
        return [trial for trial in interrupted if trial.number not in retried]

    def _interrupt(self, trial: FrozenTrial, reason: str | None = None, *, spends: bool = True) -> None:
        """Close a trial as failed: as interrupted, or, when its retries are spent, as a failure that counts.

        Args:
            spends: it may be to blame; one that was refused, or put back, is to blame for nothing.
        """
        retries = trial.user_attrs.get("retries", 0)
        spent = retries >= self.retries and spends
        note = f"interrupted {retries + 1} times" if spent else "interrupted"
        set_attribute(self.study, trial, "error", f"{note} ({reason})" if reason else note)
        set_attribute(self.study, trial, "interrupted", not spent)
        tell(self.study, trial.number, TrialState.FAIL, None)


def _retry_of(trial: FrozenTrial) -> FrozenTrial:
    """The trial that retries this one: what ``Study.enqueue_trial`` would add, and the grid sampler's own attributes.

    Its parameters are those of the trial, and those that were queued for it and not drawn yet.
    """
    system, user = trial.system_attrs, trial.user_attrs
    put_back = bool(user.get("put_back"))
    kept_system = {name: value for name, value in system.items() if name in ("grid_id", "search_space")}
    kept_user = {name: value for name, value in user.items() if name in ("baseline", "note")}
    return create_trial(
        state=TrialState.WAITING,
        system_attrs={"fixed_params": {**system.get("fixed_params", {}), **trial.params}, **kept_system},
        user_attrs={**kept_user, "retry_of": trial.number, "retries": user.get("retries", 0) + (not put_back)},
    )
