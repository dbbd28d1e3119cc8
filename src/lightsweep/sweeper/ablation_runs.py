"""The runs of an ablation: which there are, those that are missing run, and what they show."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from lightsweep.core.checks import is_number
from lightsweep.core.errors import RunFailed
from lightsweep.core.files import set_aside
from lightsweep.sweeper import ablation, view
from lightsweep.sweeper.ablation import LEAVE_ONE_OUT, PATH, Configuration
from lightsweep.sweeper.ablation_results import Ablation, Point, write_ablation
from lightsweep.sweeper.config_changes import Division
from lightsweep.sweeper.confirmation import fresh_seeds, read_run_result
from lightsweep.sweeper.controller import Controller
from lightsweep.sweeper.job import Job, JobResult
from lightsweep.sweeper.plan import Plan

FOLDER = "ablation"  # of the runs, in the sweep's
CHOOSING, MEASURING = 201, 401  # the first seeds; a confirmation's begin at 101
_LETTERS = 60  # of a folder's name


def _letters(name: str) -> str:
    return "".join(sign if sign.isalnum() and sign.isascii() else "_" for sign in name)


@dataclass
class AblationRuns:
    """Measures an ablation with jobs.

    Args:
        division: what lies between the two configurations.
        start, end: their names.
        controller: that runs the jobs.
        has_job: as of `Executor`.
        data: as of `Job`.
        say: called with a line to print.
    """

    plan: Plan
    division: Division
    start: str
    end: str
    controller: Controller
    has_job: Callable[..., bool]
    data: tuple[str, str] | None
    say: Callable[[str], Any]
    failed: int = 0
    values: dict[tuple[Configuration, int], float | None] = field(default_factory=dict)
    tested: dict[Configuration, list[float]] = field(default_factory=dict)

    def run(self, seconds: float | None) -> Ablation:
        """Say what it takes, run what is missing, and write the results.

        Args:
            seconds: that a training takes; None where that is unknown.

        Raises:
            ConfigError, Interrupted: as `Controller.run_jobs` does.
            RunFailed: no run was completed.
        """
        plan, count, changes = self.plan, self.plan.settings.ablate, len(self.division.changes)
        used = [*plan.seeds, plan.own_seed]
        choosing = fresh_seeds(count, used, first=CHOOSING)
        measuring = fresh_seeds(count, [*used, *choosing], first=MEASURING)
        asked = plan.settings.ablation["by"]
        method = ablation.choose_method(changes, count) if asked == "auto" else asked
        self._announce(method, seconds)
        test = plan.settings.ablation["score_test"]
        if method == PATH:
            points = ablation.find_path(
                changes, choosing, self.measure, maximises=plan.objectives.directions[0] == "maximize"
            )
            ends = (points[0], points[-1])
        else:
            points = ablation.list_points(changes, with_start=test)
            ends = (Configuration(), points[0])
        chosen = {(each, seed): value for (each, seed), value in self.values.items() if seed in choosing}
        self.measure(points, measuring, tested=ends if test else ())
        values = {each: tuple(self._values_of(each, measuring)) for each in points}
        if not any(values.values()):
            raise RunFailed(f"no run of the ablation was completed; the folders are in {plan.folder / FOLDER}")
        score = plan.settings.confirm_metric or plan.metric
        result = Ablation(
            plan.metric,
            plan.objectives.directions[0] == "maximize",
            method,
            self.start,
            self.end,
            tuple(measuring),
            tuple(self._points(method, points, values)),
            self.failed,
            score if test else "",
            (tuple(self.tested.get(ends[0], ())), tuple(self.tested.get(ends[1], ()))) if test else ((), ()),
        )
        by_name: dict[str, list[float | None]] = {}
        for (configuration, _), value in chosen.items():
            by_name.setdefault(self.name(configuration), []).append(value)
        overrides = {self.name(each): list(self.division.overrides(each)) for each in points}
        further = {"choosing_seeds": choosing * (method == PATH), "chosen_by": by_name, "overrides": overrides}
        write_ablation(plan.folder, result, further)
        for line in result.lines:
            self.say(line)
        return result

    def _announce(self, method: str, seconds: float | None) -> None:
        changes, count = len(self.division.changes), self.plan.settings.ablate
        slots = max(1, len(self.controller.slots))
        with_start = bool(self.plan.settings.ablation["score_test"])
        total = ablation.count_trainings(changes, count, method, with_start=with_start)
        measured = changes + 1 + (with_start and method == LEAVE_ONE_OUT)
        batches = [count * each for each in (*(ablation.list_batches(changes) if method == PATH else ()), measured)]
        rounds = sum(math.ceil(each / slots) for each in batches)
        time = "" if seconds is None else f", about {view.format_duration(rounds * seconds)}"
        names = ", ".join(each.name for each in self.division.changes)
        self.say(f"ablation from {self.start} to {self.end}: {changes} change{'s' * (changes != 1)} ({names})")
        what = f"{sum(batches[:-1])} to choose the path, {batches[-1]} to measure it"
        what = what if method == PATH else "each change alone undone from the end"
        self.say(f"at most {total} trainings ({what}), {min(slots, max(batches))} at a time{time}")
        if method == LEAVE_ONE_OUT and self.plan.settings.ablation["by"] == "auto":
            path = ablation.count_trainings(changes, count, PATH)
            self.say(f"a path would take {path} trainings: hydra.sweeper.ablation.by=path measures it all the same")

    def measure(
        self, configurations: Sequence[Configuration], seeds: Sequence[int], *, tested: Sequence[Configuration] = ()
    ) -> Mapping[Configuration, Sequence[float]]:
        """Run each configuration with each seed, as far as that has not been done.

        Args:
            tested: those whose runs are scored on test, too.
        """
        plan, missing, there = self.plan, list[Job](), 0
        keys = {(each, seed): self._job(each, seed, each in tested) for each in configurations for seed in seeds}
        for (each, seed), job in keys.items():
            if (each, seed) in self.values and each not in tested:
                continue
            if self._is_done(job, each, seed):
                there += 1
            else:
                missing.append(job)
        if there:
            self.say(f"{there} of {len(keys)} trainings are there already")
        for job in missing:
            if not self.has_job(plan.folder / job.folder, job.overrides):
                set_aside(plan.folder / job.folder)
        self.controller.run_jobs(missing, self._print_ended)
        score = plan.settings.confirm_metric or plan.metric
        for (each, seed), job in keys.items():
            result = read_run_result(plan.folder / job.folder / plan.application.result_file)
            is_done = result.get("status") == "completed"
            value = result.get(plan.metric, result.get("best_value")) if is_done else None
            self.values[each, seed] = value if is_number(value) else None
            if each in tested and is_done and is_number(result.get(score)):
                self.tested.setdefault(each, []).append(result[score])
        self.failed += sum(self.values[key] is None for key in keys)
        return {each: self._values_of(each, seeds) for each in configurations}

    def _values_of(self, configuration: Configuration, seeds: Sequence[int]) -> list[float]:
        values = [self.values.get((configuration, seed)) for seed in seeds]
        return [value for value in values if value is not None]

    def name(self, configuration: Configuration) -> str:
        """The name of a configuration's folders: the changes that it has."""
        changes = self.division.changes
        if not configuration or len(configuration) == len(changes):
            return "end" if configuration else "start"
        chosen = sorted(configuration)
        text = "-".join(_letters(changes[each].name) for each in chosen)
        is_clear = len(text) <= _LETTERS and len({_letters(each.name) for each in changes}) == len(changes)
        return f"with-{text}" if is_clear else f"with-{'-'.join(map(str, chosen))}"[: 3 * _LETTERS]

    def _job(self, configuration: Configuration, seed: int, is_tested: bool) -> Job:
        plan = self.plan
        further = plan.settings.confirm_overrides if is_tested else plan.settings.trial_overrides
        overrides = (*self.division.overrides(configuration), *further, f"{plan.settings.seed_key}={seed}")
        folder = f"{FOLDER}/{self.name(configuration)}-seed-{seed}"
        return Job(FOLDER, overrides, folder, seed, None, self.data, *plan.named_results)

    def _is_done(self, job: Job, configuration: Configuration, seed: int) -> bool:
        """Whether its run has been completed; one that was scored on test, too, is as good as one that was not."""
        result = read_run_result(self.plan.folder / job.folder / self.plan.application.result_file)
        accepted = [job.overrides, self._job(configuration, seed, is_tested=True).overrides]
        had = result.get("overrides")
        return (
            result.get("status") == "completed"
            and isinstance(had, list)
            and any(set(each) == set(map(str, had)) for each in accepted)
        )

    def _points(
        self, method: str, points: Sequence[Configuration], values: Mapping[Configuration, tuple[float, ...]]
    ) -> list[Point]:
        made, first = [Point("", "", "", values[points[0]])], points[0]
        if method == LEAVE_ONE_OUT:
            points = [each for each in points if len(each) == len(first) - 1 or each == first]
        for before, point in pairwise(points):
            changes = [self.division.changes[each] for each in sorted(point ^ (first if method != PATH else before))]
            one = len(changes) == 1
            made.append(
                Point(
                    " and ".join(each.name for each in changes),
                    changes[0].before if one else "",
                    changes[0].after if one else "",
                    values[point],
                )
            )
        return made

    def _print_ended(self, job: Job, result: JobResult) -> None:
        value = "" if result.value is None else f" {self.plan.metric} {result.value:.4f}"
        self.say(f"{job.folder} {result.state}{value} {result.error or ''}".strip())
