"""A sweep from the first check to the last line: open the study, run its trials, publish, confirm."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from optuna.samplers import GridSampler
from optuna.trial import Trial

from lightsweep.core import files
from lightsweep.core.errors import Interrupted, RunFailed
from lightsweep.core.files import check_links, is_set_aside, set_aside
from lightsweep.sweeper import executors, opening, space, verdict, view
from lightsweep.sweeper.controller import Controller, Limits, TrialRun
from lightsweep.sweeper.executors import Executor
from lightsweep.sweeper.job import Job, JobResult
from lightsweep.sweeper.leaderboard import Publisher
from lightsweep.sweeper.leases import renewing
from lightsweep.sweeper.plan import Plan, baseline_point, mark_baseline
from lightsweep.sweeper.trial_queue import TrialQueue
from lightsweep.sweeper.trials import Repeats, StudyData, count_ended, folder_of, without_repeats
from lightsweep.sweeper.verdict import read_run_result

_FIRST_SEED = 101


def run(plan: Plan) -> float:
    """Run what is missing of a study; returns its best value.

    Raises:
        ConfigError: something is wrong that can be seen before the first trial.
        RunFailed: trials failed, too many in a row or all.
        Interrupted: a signal came; everything is written.
    """
    opening.check_plan(plan)
    typed = plan.space.fixed
    plan, study, n_trials = opening.open_study(plan)
    queue = TrialQueue(study, plan.address, n_trials=n_trials, retries=plan.settings.retries)
    executor = executors.open_executor(plan, n_trials)
    if kept := plan.space.fixed[len(typed) :]:
        view.View().say(f"the study keeps what it was begun with: {' '.join(kept)}")
    # Where the data may have changed, values of earlier trials do not hold.
    changed = plan.application.allows_changed_data(plan.config)
    since = len(queue.trials()) if changed else study.user_attrs.get("changed_at", 0)
    queue.repeats = Repeats(space.list_points(plan.space), since)
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
        self.controller = Controller(
            queue,
            executor.slots,
            begin=self._begin,
            limits=Limits(plan.settings.timeout, plan.settings.max_failures, plan.settings.batch),
            changed=self._trial_ended,
            look=lambda running: self.view.update(self._progress(running)),
            say=self.view.say,
        )

    def run(self) -> float:
        try:
            return self._run()
        except Interrupted:
            view.say_how_to_go_on(self.queue.trials(), self.queue.n_trials, self.plan.application.program, sys.argv[1:])
            raise

    def _run(self) -> float:
        self.view.say(f"study {self.plan.address.study} in {self.plan.folder}")
        before = count_ended(self.queue.trials())
        self.view.open()
        if (count := self._starting()) and self.view.live is None:
            self.view.say(view.format_starting(count))
        try:
            self.controller.run_trials()
        finally:
            self.view.close()
            self.publisher.publish()
        self._say_what_was_repeated()
        complete = self.publisher.complete()
        if not complete:
            raise RunFailed(self._all_failed())
        self.view.console.print(view.ten_best(self._progress({})))
        self.view.say(view.format_summary(without_repeats(self.queue.trials()), before, self.controller.seconds))
        if self.plan.settings.confirm and not self._confirm():
            self.view.say("another sweeper of this study runs the confirmation, and reports its result")
        else:
            self._conclude()
        if command := self.plan.application.report_command(self.plan.folder, view.storage_option(self.plan.address)):
            self.view.say(f"look at the sweep: {command}")
        return cast(float, complete[0].value)

    @cached_property
    def _baseline(self) -> tuple[dict[str, Any], list[str]]:
        return baseline_point(self.plan)

    def _say_what_was_repeated(self) -> None:
        trials = self.queue.trials()
        done, wanted = count_ended(trials), self.queue.n_trials
        if count := len(trials) - len(without_repeats(trials)):
            self.view.say(
                f"{count} suggestion{'s' * (count > 1)} repeated a point that had been tried: not trained again"
            )
        if done < wanted and (why := self.queue.repeats.why_over(trials)):
            self.view.say(f"{why}: the sweep ends with {done} trials of {wanted}")

    def _starting(self) -> int:
        """Workers that are not ready yet."""
        return sum(slot.is_starting() for slot in self.executor.slots)

    def _begin(self, trial: Trial) -> TrialRun | None:
        """The trial's run; None where its point was tried before, and it is closed."""
        plan = self.plan
        folder = plan.folder / folder_of(trial.number)
        if self.executor.has_job(folder):  # it was begun by a sweeper that is gone: nothing is drawn anew
            check_links(folder, within=plan.folder)
            drawn = plan.space.overrides(trial)
        else:
            files.set_aside(folder)  # a new trial has none, unless somebody made it
            drawn = plan.space.suggest(trial)
            if self.queue.close_repeat(trial):
                return None
            if isinstance(trial.study.sampler, GridSampler):  # it was not asked for the baseline
                mark_baseline(trial, *self._baseline)
        overrides = (*plan.space.fixed, *plan.application.trial_overrides, *drawn)
        return TrialRun(trial, overrides, plan.seeds, plan.address, plan.pruner, plan.folder, self.data.expected())

    def _trial_ended(self, number: int) -> None:
        if self.data.renew(number):
            self.queue.mark_changed(number)
            self.view.say("the data changed since this study was begun: trials before and after do not compare")
        self.publisher.publish()
        self.view.trial_ended(self.queue.trials()[number], self._progress({}))

    def _progress(self, running: Mapping[int, float]) -> view.Progress:
        return view.Progress(
            without_repeats(self.queue.trials()),
            running,
            self.queue.n_trials,
            self.queue.study.direction,
            self.plan.space,
            self.plan.metric,
            self._starting(),
        )

    def _confirm(self) -> bool:
        """Train the best configuration and the baseline with fresh seeds, and score both on test; False where another
        sweeper is at that."""
        if not self.queue.may_confirm():
            return False
        best = self.publisher.complete()[0]
        found = self.publisher.found()
        assert found is not None
        configurations: dict[str, Sequence[str]] = {"baseline": self.plan.space.fixed}
        if not found.is_baseline:  # else it would be trained twice
            configurations = {"best": self.publisher.overrides(best), **configurations}
        used = [*self.plan.seeds, *([self.plan.config.seed] if "seed" in self.plan.config else [])]
        seeds = fresh_seeds(self.plan.settings.confirm, used)
        finished, missing = confirmation_jobs(self.plan, configurations, seeds)
        self.view.say(f"confirmation: {len(missing)} runs with fresh seeds ({len(finished)} are there already)")
        for job in missing:
            if not self.executor.has_job(self.plan.folder / job.folder, job.overrides):
                files.set_aside(self.plan.folder / job.folder)
        set_aside_earlier(self.plan.folder, configurations.get("best"), [*finished, *missing])
        self.controller.run_jobs([replace(job, data=self.data.expected()) for job in missing], self._confirmed)
        verdict.write_confirmation(self.plan.folder, configurations, seeds, found, self.plan.application.scores)
        self.publisher.publish()
        return True

    def _conclude(self) -> None:
        """The confirmation, the verdict, and the command that trains the best trial, where that is one to train."""
        confirmed = verdict.read_confirmation(self.plan.folder)
        judged = self.publisher.verdict(confirmed)
        assert judged is not None  # there is a complete trial
        if confirmed is not None and confirmed.trial == judged.numbers["trial"]:
            self.view.say(verdict.confirmation_heading(confirmed))
            self.view.console.print(view.confirmation_table(verdict.confirmation_rows(confirmed, self.plan.metric)))
        for line in judged.lines:
            self.view.say(line)
        program = self.plan.application.program
        if (seeds := judged.numbers.get("confirm_with")) is not None:
            self.view.say(f"confirm it: {view.command_with(program, 'hydra.sweeper.confirm', seeds, sys.argv[1:])}")
        if judged.outcome in ("better", "unconfirmed"):
            what = "the best one" if judged.outcome == "better" else "it anyway"
            folder = shlex.quote(str(self.plan.folder))
            self.view.say(f"train {what}: {program} --config-dir {folder} --config-name best")

    def _confirmed(self, job: Job, outcome: JobResult) -> None:
        self.view.say(f"{job.folder} {outcome.state} {outcome.error or ''}".strip())

    def _all_failed(self) -> str:
        trials = [trial for trial in without_repeats(self.queue.trials()) if trial.state.is_finished()]
        errors = [f"trial {trial.number}: {trial.user_attrs.get('error', trial.state.name)}" for trial in trials[-3:]]
        return f"none of {len(trials)} trials was completed: {'; '.join(errors) or 'nothing was run'}"


def fresh_seeds(count: int, used: Sequence[int]) -> list[int]:
    """Seeds that no trial has trained with."""
    candidates = (seed for seed in range(_FIRST_SEED, _FIRST_SEED + count + len(used)) if seed not in used)
    return [seed for seed, _ in zip(candidates, range(count), strict=False)]


def confirmation_jobs(
    plan: Plan, configurations: Mapping[str, Sequence[str]], seeds: Sequence[int]
) -> tuple[list[Job], list[Job]]:
    """The confirmation's jobs: those that are finished, and those to run.

    Args:
        configurations: overrides by name, best and baseline; baseline alone where that is the best.
    """
    finished: list[Job] = []
    missing: list[Job] = []
    for name, overrides in configurations.items():
        for seed in seeds:
            wanted = (*overrides, *plan.application.confirmation_overrides, f"seed={seed}")
            job = Job("confirmation", wanted, f"confirm/{name}-seed-{seed}", len(finished) + len(missing))
            (finished if _is_completed(plan.folder, job) else missing).append(job)
    return finished, missing


def set_aside_earlier(folder: Path, best: Sequence[str] | None, jobs: Sequence[Job]) -> None:
    """Set the runs of an earlier best aside, which no job of now takes the place of.

    Args:
        best: its overrides; None where it is the baseline.
    """
    now = {job.folder for job in jobs}
    for run in sorted((folder / "confirm").glob("best-seed-*")):
        if f"confirm/{run.name}" in now or is_set_aside(run.name):
            continue
        if best is None or not set(best) <= set(read_run_result(run).get("overrides", [])):
            set_aside(run)


def _is_completed(folder: Path, job: Job) -> bool:
    result = read_run_result(folder / job.folder)
    return result.get("status") == "completed" and set(job.overrides) <= set(result.get("overrides", []))
