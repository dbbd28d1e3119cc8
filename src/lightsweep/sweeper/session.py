"""A sweep from the first check to the last line: open the study, run its trials, publish, confirm."""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from optuna.pruners import NopPruner
from optuna.samplers import GridSampler
from optuna.trial import Trial

from lightsweep.core.errors import ConfigError, Interrupted, RunFailed, StorageLost
from lightsweep.core.files import check_links, set_aside
from lightsweep.sweeper import ablation_session, confirmation, executors, opening, samplers, space, view, warm_start
from lightsweep.sweeper.auto import AutoSampler
from lightsweep.sweeper.config_differences import StudyData
from lightsweep.sweeper.confirmation import confirmation_jobs, fresh_seeds, set_aside_earlier
from lightsweep.sweeper.constraints import Constraints, describe_closed, nearest
from lightsweep.sweeper.controller import Controller, Limits
from lightsweep.sweeper.endings import Endings
from lightsweep.sweeper.executors import Executor
from lightsweep.sweeper.job import Job, JobResult
from lightsweep.sweeper.leases import renewing
from lightsweep.sweeper.plan import Plan, baseline_point, mark_baseline
from lightsweep.sweeper.publishing import Publisher
from lightsweep.sweeper.repeats import Repeats
from lightsweep.sweeper.speed import format_speed, measure_speed
from lightsweep.sweeper.status import keep_sweep
from lightsweep.sweeper.study_view import ViewSampler
from lightsweep.sweeper.trial_queue import TrialQueue
from lightsweep.sweeper.trial_run import TrialRun
from lightsweep.sweeper.trials import OVER, SPEED, count_ended, folder_of, without_repeats

_COMMANDS = 10  # of a front that are printed; the leaderboard has all


def run(plan: Plan) -> float:
    """Run what is missing of a study; returns its best value.

    Raises:
        ConfigError: something is wrong that can be seen before the first trial.
        RunFailed: trials failed, too many in a row or all.
        Interrupted: a signal came; everything is written.
    """
    if plan.settings.is_ablation_alone:
        return ablation_session.run_alone(plan)
    opening.check_plan(plan)
    typed = plan.space.fixed
    plan, study, n_trials = opening.open_study(plan, warm_start.read_earlier(plan))
    keep_sweep(study, plan, n_trials)
    queue = TrialQueue(study, plan.address, n_trials=n_trials, retries=plan.settings.retries)
    executor = executors.open_executor(plan, n_trials)
    if kept := plan.space.fixed[len(typed) :]:
        view.View().print(f"the study keeps what it was started with: {' '.join(kept)}")
    # Where the data may have changed, values of earlier trials do not hold.
    changed = plan.application.allows_changed_data(plan.config)
    since = len(queue.trials()) if changed else study.user_attrs.get("changed_at", 0)
    queue.repeats = Repeats(space.list_points(plan.space), since, partial(samplers.random_point, plan.space))
    queue.constraints = Constraints.of(plan)
    queue.why_over_early = Endings.of(plan).why_over
    queue.has_job = lambda number: executor.has_job(plan.folder / folder_of(number))
    try:
        with renewing(queue.renew):
            return Session(plan, queue, executor).run()
    finally:
        for slot in executor.slots:
            slot.close()
        executor.close()
        queue.close()


class Session:
    """A study that is open, and slots that wait for its trials."""

    def __init__(self, plan: Plan, queue: TrialQueue, executor: Executor) -> None:
        self.plan, self.queue, self.executor = plan, queue, executor
        self.publisher = Publisher(plan, queue)
        self.data = StudyData(
            queue.study,
            plan.folder,
            plan.application,
            allow_change=plan.application.allows_changed_data(plan.config),
            is_same=plan.application.reads_same_data(plan.space, plan.config),
        )
        self.view = view.View()
        self.said: set[str] = set()  # by workers
        self.images = 0  # that populations have trained on
        for sampler in (queue.study.sampler, getattr(queue.study.sampler, "sampler", None)):
            if isinstance(sampler, ViewSampler | AutoSampler):
                sampler.say = self.view.print
        self.controller = Controller(
            queue,
            executor.slots,
            Limits(plan.settings.timeout, plan.settings.max_failures, plan.settings.batch),
            start=self._start,
            ended=self._trial_ended,
            show=self._show,
            warn=self.view.print,
            repeat=lambda job: set_aside(plan.folder / job.folder),
        )

    def run(self) -> float:
        """Returns the best value, of several objectives that of the first."""
        if OVER in self.queue.study.user_attrs:
            self.queue.study.set_user_attr(OVER, {})  # it goes on
        try:
            return self._run()
        except Interrupted as error:
            trials, program = self.queue.trials(), self.plan.application.program
            line = view.format_interrupted(trials, self.queue.n_trials, program, sys.argv[1:])
            print(line, file=sys.stderr, flush=True)
            error.is_printed = True
            raise
        except StorageLost:
            raise
        except (ConfigError, RunFailed) as error:
            self._keep_end(str(error), failed=True)
            raise

    def _run(self) -> float:
        self.view.print(f"study {self.plan.address.study} in {self.plan.folder}: {self.plan.objectives.aim}")
        for remark in self.plan.remarks:
            self.view.print(remark)
        if self.plan.objectives.reported is None and not isinstance(self.plan.pruner, NopPruner):
            self.view.print("several objectives: no trial is pruned; hydra.sweeper.prune_on=NAME prunes by one of them")
        before = count_ended(self.queue.trials())
        self.view.open()
        if (count := self.executor.count_starting()) and self.view.live is None:
            self.view.print(view.format_starting(count))
        try:
            self.controller.run_trials()
        finally:
            self.view.close()
            self.publisher.publish()
        self._print_end()
        complete = self.publisher.complete()
        if not complete:
            raise RunFailed(self._describe_failures())
        self.view.console.print(view.ten_best(self._progress({})))
        self.view.print(view.format_summary(without_repeats(self.queue.trials()), before, self.controller.seconds))
        self._keep_speed(count_ended(self.queue.trials()) - before)
        if self.plan.settings.confirm and not self._confirm():
            self.view.print("another sweeper of this study runs the confirmation, and reports its result")
        else:
            self._print_verdict()
        self._ablate()
        if command := self.plan.application.report_command(self.plan.folder, view.storage_option(self.plan.address)):
            self.view.print(f"look at the sweep: {command}")
        return complete[0].values[0]

    def _keep_speed(self, trials: int) -> None:
        """Keep in the study how fast populations were, with so many trials that ended, and print it."""
        self._show({})  # what has come since
        counts = {"trials": trials, "images": self.images, "places": self.executor.places}
        if speed := measure_speed(**counts, seconds=self.controller.seconds):
            self.view.print(format_speed(speed))
            self.queue.study.set_user_attr(SPEED, speed)
            self.publisher.publish()

    @cached_property
    def _baseline(self) -> tuple[dict[str, Any], list[str]]:
        return baseline_point(self.plan)

    def _print_end(self) -> None:
        """What was not run, and why the sweep ends before its total."""
        trials = self.queue.trials()
        ended, wanted = count_ended(trials), self.queue.n_trials
        for line in view.format_not_run(trials):
            self.view.print(line)
        if ended < wanted and (why := self.queue.why_over(trials)):
            self.view.print(f"{why}: the sweep ends with {ended} trial{'s' * (ended != 1)} of {wanted}")
            self._keep_end(why, failed=False)

    def _keep_end(self, why: str, *, failed: bool) -> None:
        """Keep in the study why the sweep has ended, for those that look at it from outside."""
        over = {"ended": count_ended(self.queue.trials()), "why": why, "failed": failed}
        self.queue.study.set_user_attr(OVER, over)

    def _start(self, trial: Trial) -> TrialRun | None:
        """The trial's run; None where its point was tried before or may not be tried, and it is closed."""
        plan, folder = self.plan, self.plan.folder / folder_of(trial.number)
        is_new = not self.executor.has_job(folder)
        if not is_new:  # a sweeper that is gone started it: nothing is drawn anew
            check_links(folder, within=plan.folder)
            drawn = plan.space.overrides(trial)
        else:
            set_aside(folder)  # a new trial has none, unless somebody made it
            drawn = plan.space.suggest(trial)
            if self.queue.close_repeat(trial):
                return None
            if isinstance(trial.study.sampler, GridSampler):  # it was not asked for the baseline
                mark_baseline(trial, *self._baseline)
        overrides = (*plan.space.fixed, *plan.settings.trial_overrides, *drawn)
        if is_new and self.queue.close_infeasible(trial, lambda: plan.compose(overrides)):
            if line := describe_closed(trial):
                self.view.print(line)
            return None
        return TrialRun(trial, overrides, plan, self.data.expected(), self.queue.constraints)

    def _trial_ended(self, number: int) -> None:
        if self.data.renew(number):
            self.queue.mark_changed(number)
            self.view.print("the data changed since this study was started: trials before and after do not compare")
        self.publisher.update(trial_ended=True)
        self.view.trial_ended(self.queue.trials()[number], self._progress({}))

    def _show(self, running: Mapping[int, float]) -> None:
        for worker in self.executor.workers:
            self.images += worker.take_images()
            for line in worker.take_lines():
                if line not in self.said:
                    self.said.add(line)
                    self.view.print(line)
        self.publisher.update()
        if self.view.is_due():
            self.view.update(self._progress(running))

    def _progress(self, running: Mapping[int, float]) -> view.Progress:
        return view.Progress(
            without_repeats(self.queue.trials()),
            running,
            self.queue.n_trials,
            self.plan.objectives,
            self.plan.space,
            self.executor.count_starting(),
        )

    def _confirm(self) -> bool:
        """Run the best configuration and the baseline with fresh seeds, and compare them; False where another sweeper
        does that."""
        if not self.queue.may_confirm():
            return False
        plan = self.plan
        points = self.publisher.to_confirm()
        configurations = {name: self.publisher.overrides(trial) for name, trial in points.items()}
        configurations["baseline"] = plan.space.fixed
        used = [*plan.seeds, plan.own_seed]
        seeds = fresh_seeds(plan.settings.confirm, used)
        finished, missing = confirmation_jobs(plan, configurations, seeds)
        self.view.print(f"confirmation: {len(missing)} runs with fresh seeds ({len(finished)} are there already)")
        for job in missing:
            if not self.executor.has_job(plan.folder / job.folder, job.overrides):
                set_aside(plan.folder / job.folder)
        if not plan.objectives.several:
            set_aside_earlier(plan, configurations.get("best"), [*finished, *missing])
        self.controller.run_jobs([replace(job, data=self.data.expected()) for job in missing], self._print_confirmed)
        self.publisher.write_confirmation(list(configurations), seeds)
        self.publisher.publish()
        return True

    def _ablate(self) -> None:
        """Measure what ``hydra.sweeper.ablate`` asks for, unless another sweeper of this study does."""
        plan = self.plan
        if not plan.settings.ablate:
            return
        if not self.queue.may_confirm():
            self.view.print("another sweeper of this study runs the ablation, and reports its result")
            return
        complete, data = self.publisher.complete(), self.data.expected()
        ablation_session.measure_at_end(plan, complete, self.controller, self.executor.has_job, data, self.view.print)

    def _print_verdict(self) -> None:
        """The confirmation, the verdict, and the command that runs the best trial, where that is one to run."""
        confirmed, objectives = confirmation.read_confirmation(self.plan.folder), self.plan.objectives
        judged = self.publisher.verdict(confirmed)
        assert judged is not None  # there is a complete trial
        if confirmed is not None and confirmed.trial == judged.numbers.get("trial"):
            self.view.print(confirmation.heading(confirmed))
            self.view.console.print(view.confirmation_table(confirmation.table_rows(confirmed, objectives.names)))
        for line in judged.lines:
            self.view.print(line)
        program = self.plan.application.program
        if (seeds := judged.numbers.get("confirm_with")) is not None:
            command = view.command_with(program, "hydra.sweeper.confirm", seeds, sys.argv[1:])
            key = "seed" if "seed" in self.plan.config else "KEY, the config's key of the seed"
            further = f" hydra.sweeper.seed_key={key}" * (self.plan.settings.seed_key is None)
            self.view.print(f"confirm it: {command}{further}")
        if judged.outcome in ("better", "unconfirmed"):
            what = "the best one" if judged.outcome == "better" else "it anyway"
            folder = shlex.quote(str(self.plan.folder))
            self.view.print(f"run {what}: {program} --config-dir {folder} --config-name best")
        for command in self.publisher.commands()[:_COMMANDS] if objectives.several else ():
            self.view.print(command)

    def _print_confirmed(self, job: Job, result: JobResult) -> None:
        self.view.print(f"{job.folder} {result.state} {result.error or ''}".strip())

    def _describe_failures(self) -> str:
        trials = [trial for trial in without_repeats(self.queue.trials()) if trial.state.is_finished()]
        if found := nearest(trials):
            return f"none of {len(trials)} trials meets hydra.sweeper.constraints; {found}"
        errors = [f"trial {trial.number}: {trial.user_attrs.get('error', trial.state.name)}" for trial in trials[-3:]]
        return f"none of {len(trials)} trials was completed: {'; '.join(errors) or 'nothing was run'}"
