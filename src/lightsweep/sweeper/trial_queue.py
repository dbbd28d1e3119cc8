"""The study's books: which trial is next, which were cut off, and when the total is reached.

A trial counts when it ended by itself: complete, pruned or failed. One that was cut off with its sweeper is told as
failed with the mark *interrupted*, does not count, and is asked for again under a new number, `retries` times.

Marks on a trial (user attributes): ``lightsweep`` (owner, host, seen), ``folder``, ``interrupted``, ``retry_of``,
``retries``, ``repeat_of``.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from lightsweep.sweeper.job import JobResult, JobState
from lightsweep.sweeper.leases import LOST_AFTER, FileLock, Lease, Owner, is_alive
from lightsweep.sweeper.optuna_private import current, set_attribute, storage_of, take_over
from lightsweep.sweeper.points import Repeats
from lightsweep.sweeper.storage import Address, Retry, is_server, turns_at
from lightsweep.sweeper.trials import count_ended, folder_of, is_interrupted

_OWNER = "lightsweep"
_STATES = {JobState.COMPLETED: TrialState.COMPLETE, JobState.PRUNED: TrialState.PRUNED}  # else FAIL


class TrialQueue:
    """Keeps the books of one study for one sweeper; several sweepers may keep them at once.

    Args:
        study: with the sampler that draws the parameters, on a storage that `connect` has opened.
        address: of the study.
        n_trials: how many trials shall have ended by themselves.
        retries: how often a trial that was cut off is asked for again.
    """

    def __init__(self, study: optuna.Study, address: Address, *, n_trials: int, retries: int) -> None:
        self.study = study
        self.n_trials, self.retries = n_trials, retries
        self.retry: Retry = storage_of(study).retry
        self.owner = Owner()
        self._claims = FileLock(turns_at(address))
        self._alone = not is_server(address)  # whoever takes turns with us here is everybody
        self._confirmation = Lease(study, "confirmation", self.owner)
        self._closing = Lease(study, "burial", self.owner)
        self._unmarked: dict[int, float] = {}  # running trials without an owner, and when each was first seen
        self._mine: dict[int, Trial] = {}
        self.repeats = Repeats(None, since=0)
        self.has_job: Callable[[int], bool] = lambda number: False  # a job of this trial, without its sweeper

    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def claim(self) -> Trial | None:
        """The next trial to run, or None while the total is reached or under way.

        A trial whose sweeper is gone and whose job goes on comes first, as it is: its job is to be waited for.
        """
        with self._claims:
            if (trial := self._take_over()) is not None:
                return trial
            if not self._close_lost_trials():
                return None
            trials = self.trials()
            under_way = sum(trial.state == TrialState.RUNNING for trial in trials)
            if count_ended(trials) + under_way >= self.n_trials or self.repeats.why_over(trials):
                return None
            if (point := self.repeats.proposal(trials)) is not None:
                self.study.enqueue_trial(point)
            trial = self.study.ask()
            trial.set_user_attr(_OWNER, self.owner.mark())
            trial.set_user_attr("folder", folder_of(trial.number))
        self._mine[trial.number] = trial
        return trial

    def is_repeat(self, trial: Trial) -> bool:
        """Whether the point that was drawn for a trial was tried before. Then the trial is closed with what is known
        of it, which is nothing where the other still runs or has failed, and another is to be claimed."""
        with self._claims:
            earlier = self.repeats.earlier(current(self.study, trial), self.trials())
            if earlier is None:
                return False
            trial.set_user_attr("repeat_of", earlier.number)
            if earlier.state == TrialState.PRUNED and earlier.last_step is not None:
                trial.report(earlier.intermediate_values[earlier.last_step], earlier.last_step)
            state = earlier.state if earlier.state.is_finished() else TrialState.FAIL
            _tell(self.study, trial.number, state, earlier.value if state == TrialState.COMPLETE else None)
        self._mine.pop(trial.number, None)
        return True

    def forget(self, number: int) -> None:
        """From this trial on the values are of another setting: points that were tried before are unknown."""
        self.repeats.since = number
        self.study.set_user_attr("changed_at", number)

    def remaining(self) -> int:
        """How many trials nobody has claimed yet."""
        trials = self.trials()
        under_way = sum(trial.state == TrialState.RUNNING for trial in trials)
        return self.n_trials - count_ended(trials) - under_way

    def waited_for(self) -> str:
        """What keeps `claim` from giving a trial, in words: whoever holds the burial, else other sweepers' trials."""
        running = [trial.number for trial in self.trials() if trial.state == TrialState.RUNNING]
        if not running:
            return f"another sweeper of this study, which writes down what was cut off; at most {LOST_AFTER:.0f} s"
        several = len(running) > 1
        which = f"trial{'s' * several} {', '.join(map(str, running))}"
        return (
            f"{which} of another sweeper; as long as {'they run' if several else 'it runs'},"
            f" or {LOST_AFTER:.0f} s after the last sign of a sweeper that is gone"
        )

    def is_done(self) -> bool:
        """Whether the total is reached, or no point is left to be tried, and nobody is still at a trial."""
        trials = self.trials()
        if any(trial.state == TrialState.RUNNING for trial in trials):
            return False
        return count_ended(trials) >= self.n_trials or self.repeats.why_over(trials) is not None

    def tell(self, trial: Trial, outcome: JobResult) -> bool:
        """Close a trial; False where it was lost meanwhile, and the result comes too late."""
        with self._claims:
            try:
                in_time = self._state(trial) == TrialState.RUNNING
                if in_time:
                    self._close(trial, outcome)
            except UpdateFinishedTrialError:  # lost at this very moment, to a sweeper of another machine
                in_time = False
        self._mine.pop(trial.number, None)
        return in_time

    def renew(self) -> None:
        """Say that this sweeper lives on what it has: other machines have no other way to know.

        Called from a thread of its own, as a trial may hold the main one up: it takes no lock of ours, and a trial that
        ends at the same moment is none that can be renewed.
        """
        for trial in tuple(self._mine.values()):
            with suppress(UpdateFinishedTrialError):  # `tell` says so
                set_attribute(self.study, trial, _OWNER, self.owner.mark())
        self._confirmation.renew()
        self._closing.renew()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """While files are written that several sweepers of a study write: the latest look wins."""
        with self._claims:
            yield

    def may_confirm(self) -> bool:
        """Take the confirmation upon us; False where another sweeper that lives has it."""
        return self._confirmation.take()

    def close(self) -> None:
        """Be no owner any more. Trials that an error has left running are found by the next sweeper."""
        try:
            self._confirmation.leave()
        finally:
            self.owner.resign(trials_left=bool(self._mine))

    def _close(self, trial: Trial, outcome: JobResult) -> None:
        if outcome.state in (JobState.INTERRUPTED, JobState.REFUSED):
            frozen = current(self.study, trial)
            refused = outcome.state == JobState.REFUSED  # the sweep ends, and says why
            self._interrupt(frozen, "it did not begin" if refused else outcome.error, refused=refused)
            self._close_lost_trials()
            return
        if outcome.facts:
            trial.set_user_attr("facts", dict(outcome.facts))
        if outcome.error:
            trial.set_user_attr("error", outcome.error)
        value = outcome.value if outcome.state == JobState.COMPLETED else None  # of a pruned one: its last report
        _tell(self.study, trial.number, _STATES.get(outcome.state, TrialState.FAIL), value)

    def _state(self, trial: Trial) -> TrialState:
        return current(self.study, trial).state

    def _take_over(self) -> Trial | None:
        """Take over a trial whose job goes on without its sweeper."""
        if not any(self.has_job(trial.number) for trial in self._without_sweeper()):
            return None
        try:
            if not self._closing.take():  # two sweepers could take the same one
                return None
            for frozen in self._without_sweeper():
                if not self.has_job(frozen.number):
                    continue
                with suppress(UpdateFinishedTrialError):  # its sweeper was only late
                    trial = take_over(self.study, frozen)
                    trial.set_user_attr(_OWNER, self.owner.mark())
                    self._mine[trial.number] = trial
                    return trial
        finally:
            self._closing.leave()
        return None

    def _close_lost_trials(self) -> bool:
        """Tell what was cut off, and give each interrupted trial its one successor; False where another sweeper is at
        that, and may have successors to add."""
        if not (self._lost_trials() or self._without_successor()):
            return True
        try:
            if not self._closing.take():
                return False
            for trial in self._lost_trials():
                with suppress(UpdateFinishedTrialError):  # its sweeper was only late
                    self._interrupt(trial)
            for trial in self._without_successor():
                self.study.add_trial(_successor(trial))
        finally:
            self._closing.leave()
        return True

    def _lost_trials(self) -> list[FrozenTrial]:
        return [trial for trial in self._without_sweeper() if not self.has_job(trial.number)]

    def _without_sweeper(self) -> list[FrozenTrial]:
        return [trial for trial in self.trials() if trial.state == TrialState.RUNNING and not self._is_alive(trial)]

    def _is_alive(self, trial: FrozenTrial) -> bool:
        mark: Any = trial.user_attrs.get(_OWNER)
        if not mark and self._alone:  # claims are made under the lock that we hold: its sweeper died in mid-claim
            return False
        if not mark:  # a sweeper of another machine claims it just now, or died at it
            seen = self._unmarked.setdefault(trial.number, time.monotonic())
            return time.monotonic() - seen < LOST_AFTER
        if self.owner.is_mine(mark):
            return trial.number in self._mine
        return is_alive(mark, reached_since=self.retry.reached_since)

    def _without_successor(self) -> list[FrozenTrial]:
        """Interrupted trials that nobody has asked for again, as where a sweeper died between the two steps."""
        trials = self.trials()
        succeeded = {trial.user_attrs.get("retry_of") for trial in trials}
        return [trial for trial in trials if is_interrupted(trial) and trial.number not in succeeded]

    def _interrupt(self, trial: FrozenTrial, why: str | None = None, *, refused: bool = False) -> None:
        """Tell a trial as failed: with the mark, or, when its retries are spent, as a failure that counts, but for one
        that was refused and did nothing."""
        retries = trial.user_attrs.get("retries", 0)
        spent = retries >= self.retries and not refused
        note = f"interrupted {retries + 1} times" if spent else "interrupted"
        note += f" ({why})" if why else ""
        set_attribute(self.study, trial, "error", note)
        set_attribute(self.study, trial, "interrupted", not spent)
        _tell(self.study, trial.number, TrialState.FAIL, None)


def _successor(trial: FrozenTrial) -> FrozenTrial:
    """What ``Study.enqueue_trial`` would add, and the grid sampler's note of the trial's place, which it wants back.

    Its parameters are those that the trial has, and those it was asked for and did not get before it was cut off.
    """
    asked: dict[str, Any] = trial.system_attrs.get("fixed_params", {})
    system: dict[str, Any] = {
        name: trial.system_attrs[name] for name in ("grid_id", "search_space") if name in trial.system_attrs
    }
    kept: dict[str, Any] = {name: trial.user_attrs[name] for name in ("baseline", "note") if name in trial.user_attrs}
    return create_trial(
        state=TrialState.WAITING,
        system_attrs={"fixed_params": {**asked, **trial.params}, **system},
        user_attrs={**kept, "retry_of": trial.number, "retries": trial.user_attrs.get("retries", 0) + 1},
    )


def _tell(study: optuna.Study, number: int, state: TrialState, value: float | None) -> None:
    try:
        study.tell(number, value, state=state, skip_if_finished=True)
    except RuntimeError as error:
        # The grid sampler stops the study after its last point, which only `Study.optimize` allows.
        if "Study.stop" not in str(error):
            raise
