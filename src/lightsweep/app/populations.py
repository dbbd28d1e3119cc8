"""Many trials of a sweep as one computation: `train_batch`, the batch function of training runs.

Trials of one kind form a population, which trains an epoch of all of them at a time; populations take turns. Where a
trial has ended, the next one takes its place. What no population can hold runs by itself, as any job.
"""

import logging
import math
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from lightning_fabric import Fabric
from pytorch_lightning.trainer.connectors.accelerator_connector import _set_torch_flags

from lightsweep.app import jobs, members, together, validation
from lightsweep.app.jobs import Run
from lightsweep.app.members import MemberRun
from lightsweep.app.shared import Shared
from lightsweep.app.validation import RunConfig
from lightsweep.core import memory, signals
from lightsweep.core.errors import Interrupted
from lightsweep.data.module import ImageDataModule
from lightsweep.population import kinds
from lightsweep.population.member import EpochRecord, Member, MemberSpec
from lightsweep.population.population import Population
from lightsweep.runs.run_folder import explain_lost_folder
from lightsweep.sweeper.batch import Batch, BatchJob
from lightsweep.training import threads, trainer

log = logging.getLogger(__name__)
_FULL, _NO_PLACE = "out of memory", "no place is free"
_DATA_SETS = 64  # that trials of different kinds read


def train_batch(batch: Batch) -> None:
    """Train the trials of a worker of ``hydra.sweeper.population`` places."""
    trainer.quiet_libraries()
    worker = _Worker(batch)
    try:
        while worker.admit():
            for group in worker.groups:
                worker.train(group)
    except (Interrupted, KeyboardInterrupt) as error:
        worker.interrupt(error)
        raise


class PutBack(Interrupted):
    """A trial leaves its population and is run again later."""

    def __init__(self, reason: str) -> None:
        super().__init__(0)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


@dataclass(eq=False)
class _Trial:
    """A job that is a member of a population, or will be one.

    Args:
        run: `members.train_member`, up to the next epoch.
    """

    job: BatchJob
    config: RunConfig
    run: MemberRun
    member: Member | None = None


@dataclass(eq=False)
class _Group:
    """A population and its trials.

    Args:
        images: that a member is trained on in an epoch.
    """

    population: Population
    config: RunConfig  # of any of them
    images: int
    trials: dict[Member, _Trial] = field(default_factory=dict)
    paces: dict[int, threads.Pace] = field(default_factory=dict)  # by the number of trials, a power of two

    def set_threads(self) -> None:
        """Set the number of threads for an epoch, in whose first steps it may be chosen."""
        threads.set_threads(self.config.threads)
        if self.config.threads == threads.AUTO and self.population.device.type == "cpu":
            pace = self.paces.setdefault(len(self.trials).bit_length(), threads.Pace(threads.most_threads()))
            self.population.after_step = pace.step
            pace.begin()


class _Worker:
    """The populations of a process.

    Args:
        batch: gives it jobs.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch, self.shared = batch, Shared(_DATA_SETS)
        self._groups: dict[Hashable, _Group] = {}  # by kind
        self._fitting: set[Hashable] = set()  # kinds that there was a population of
        self._starts = 1  # trials that start in one epoch, while a staggered batch fills
        self._rounds = 0  # in which it has filled
        self._is_filled = not batch.staggered
        self._has_halved = False  # in this round

    @property
    def groups(self) -> list[_Group]:
        return list(self._groups.values())

    @property
    def open(self) -> int:
        return sum(len(group.trials) for group in self.groups)

    def admit(self) -> bool:
        """Start new trials where places are free; False where there is nothing left to do."""
        self._has_halved = False
        for job in self.batch.next(None if self._is_filled else self._starts):
            self._start(job)
        self._drop_empty()
        self._rounds += 1
        # Where trials are pruned all places may never be taken at once.
        self._is_filled |= self._rounds * self._starts >= self.batch.places
        return not self.batch.is_over or self.open > 0

    def train(self, group: _Group) -> None:
        """An epoch of a population, and what follows from it for each of its trials."""
        group.set_threads()
        try:
            epochs = group.population.train_epoch()
        except Exception as error:
            self._give_up(group, error)
            if not memory.is_exhausted(error):
                raise  # of which member is not known, and a device may be lost: the batch closes all jobs
            return
        self.batch.count(group.images * len(epochs))
        for member, epoch in epochs.items():
            self._go_on(group.trials[member], epoch)

    def interrupt(self, error: BaseException) -> None:
        """Write the records of all trials: a signal has come. The batch closes their jobs."""
        for group in self.groups:
            for trial in list(group.trials.values()):
                self._throw(trial, error)

    def _start(self, job: BatchJob) -> None:
        if job.kind == "confirmation":
            job.run_alone()
            return
        try:
            with job.entered(), jobs.open_run(job.config) as (cfg, opened):
                config = validation.validate(cfg, opened)
                why = together.why_alone(config, opened.folder)
                kind = None if why else kinds.kind_of(config)
                if why is not None:
                    log.info("it trains by itself: %s", why)
        except Exception as error:
            job.fail(error)
            return
        if why is not None:
            self.batch.say(f"some trials train by themselves: {why}")
            job.run_alone()
            memory.release()
            return
        self._starts = math.ceil(self.batch.places / max(1, config.trainer["max_epochs"]))
        self._enter(job, config, opened, kind)

    def _enter(self, job: BatchJob, config: RunConfig, opened: Run, kind: Hashable) -> None:
        def enter(spec: MemberSpec, data: ImageDataModule) -> tuple[Population, Member]:
            try:
                group = self._groups.get(kind) or self._open_group(config, spec, data)
                if len(group.trials) == group.population.places:  # which were halved since the job was asked for
                    raise PutBack(_NO_PLACE)
                trial.member = group.population.add(spec)
            except Exception as error:
                if memory.is_exhausted(error):
                    raise PutBack(_FULL) from error
                raise
            self._groups[kind] = group
            self._fitting.add(kind)
            group.trials[trial.member] = trial
            return group.population, trial.member

        run = members.train_member(config, opened, self.shared, enter, fits=kind in self._fitting)
        trial = _Trial(job, config, run)
        self._go_on(trial, None)

    def _open_group(self, config: RunConfig, first: MemberSpec, data: ImageDataModule) -> _Group:
        node = config.trainer
        _set_torch_flags(deterministic=node["deterministic"], benchmark=node.get("benchmark"))
        fabric = Fabric(accelerator=node["accelerator"], devices=1, precision=node["precision"])
        accumulate = node["accumulate_grad_batches"]
        population = Population(first, data, places=self.batch.places, fabric=fabric, accumulate=accumulate)
        images = len(data.indices["train"])
        return _Group(population, config, min(images, population.batches * data.batch_size))

    def _go_on(self, trial: _Trial, epoch: EpochRecord | None) -> None:
        """Let a trial do what follows an epoch, up to the next one; close it where that was its last one."""
        try:
            with trial.job.entered(), signals.restoring():
                value = _advance(trial.run, epoch)
        except PutBack as error:
            if error.reason == _FULL:
                self._make_room([trial], error)
            else:
                trial.job.put_back(error.reason)
        except Exception as error:
            self._leave(trial)
            trial.job.fail(explain_lost_folder(trial.job.folder, error))
        else:
            if value is not None:
                self._leave(trial)
                trial.job.complete(value)

    def _give_up(self, group: _Group, error: Exception) -> None:
        """The computation of a population failed, and with it all of its trials."""
        trials = list(group.trials.values())
        for trial in trials:
            self._throw(trial, PutBack(_FULL if memory.is_exhausted(error) else str(error)))
            self._leave(trial)
        self._drop_empty()
        if memory.is_exhausted(error):
            self._make_room(trials, error)

    def _make_room(self, trials: Sequence[_Trial], error: BaseException) -> None:
        """Memory was exhausted: these trials are run later, with fewer at a time. One that has all of it fails."""
        if len(trials) == 1 and self.open == 0:
            trials[0].job.fail(error.__cause__ or error)
            return
        for trial in trials:
            trial.job.put_back(_FULL)
        if not self._has_halved:
            self.batch.halve(_FULL)
        self._has_halved = True
        memory.release()

    def _throw(self, trial: _Trial, error: BaseException) -> None:
        """End a trial's run with an error, for which it writes its records."""
        with suppress(BaseException), trial.job.entered():
            trial.run.throw(error)

    def _leave(self, trial: _Trial) -> None:
        for group in self.groups:
            if trial.member in group.trials:
                group.population.remove(trial.member)
                del group.trials[trial.member]

    def _drop_empty(self) -> None:
        left = {kind: group for kind, group in self._groups.items() if group.trials}
        if len(left) < len(self._groups):
            self._groups = left
            memory.release()


def _advance(run: MemberRun, epoch: EpochRecord | None) -> float | None:
    """Let a trial go on up to the next epoch; its value where it has ended."""
    try:
        if epoch is None:
            next(run)
        else:
            run.send(epoch)
    except StopIteration as end:
        return end.value
    return None
