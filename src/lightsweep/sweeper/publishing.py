"""What a sweep writes for people: the leaderboard, the best trial's config and its results."""

import shlex
import time
from collections.abc import Sequence

from omegaconf import OmegaConf
from optuna.trial import FrozenTrial

from lightsweep.core.errors import ConfigError
from lightsweep.core.files import write_atomic
from lightsweep.core.text import printable
from lightsweep.sweeper import confirmation
from lightsweep.sweeper.config_differences import BEST_FILE, write_config
from lightsweep.sweeper.leaderboard import format_csv, format_markdown, leaderboard_rows, list_columns, recorded
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.speed import format_speed
from lightsweep.sweeper.statistics import Confirmed, Search
from lightsweep.sweeper.trial_queue import TrialQueue
from lightsweep.sweeper.trials import SPEED, params_of, summarise_trials, without_repeats
from lightsweep.sweeper.verdict import Verdict, judge, judge_front, point_file, remove_points

_SHARE = 0.05  # of the time, while trials run
_LONGEST = 60.0  # seconds of a pause: the writing before it may have waited, for a disk that was full or a lock


class Publisher:
    """Writes a study's files, one sweeper at a time, so that the latest state wins.

    While trials run a pause follows, 20 times as long as the writing was, and at most a minute.
    """

    def __init__(self, plan: Plan, queue: TrialQueue) -> None:
        self.plan, self.queue = plan, queue
        self._best: tuple[int, ...] = ()  # the trials whose configs were written
        self._is_stale = False
        self._not_before = 0.0  # of time.monotonic

    def publish(self) -> None:
        """Write them now."""
        started = time.monotonic()
        self.queue.retry(self._write)  # a disk that is full for a while
        ended = time.monotonic()
        self._is_stale, self._not_before = False, ended + min((ended - started) / _SHARE, _LONGEST)

    def update(self, *, trial_ended: bool = False) -> None:
        """Write them if a trial has ended since they were written; later, where that would take too much of the time:
        with many trials it takes long."""
        self._is_stale |= trial_ended
        if self._is_stale and time.monotonic() >= self._not_before:
            self.publish()

    def trials(self) -> list[FrozenTrial]:
        return without_repeats(self.queue.trials())

    def _write(self) -> None:
        with self.queue.writing():
            plan, trials, objectives = self.plan, self.trials(), self.plan.objectives
            facts = plan.application.columns or recorded(trials, objectives.names)
            table = leaderboard_rows(trials, plan.space, objectives, facts)
            paragraphs, confirmed = [], confirmation.read_confirmation(plan.folder)
            if judged := self.verdict(confirmed):
                paragraphs.append("\n".join(f"- {line}" for line in judged.lines))
            if objectives.several:
                paragraphs.append("\n".join(f"- {line}" for line in self.commands()))
            if speed := format_speed(self.queue.study.user_attrs.get(SPEED)):
                paragraphs.append(speed)
            columns = list_columns(table, facts, objectives)
            paragraphs.append(format_markdown(table, columns))
            if confirmed is not None:
                rows = confirmation.table_rows(confirmed, objectives.names)
                names = list(dict.fromkeys(name for row in rows for name in row))
                paragraphs += [confirmation.heading(confirmed), format_markdown(rows, names)]
            write_atomic(plan.folder / "leaderboard.csv", format_csv(table, columns))
            title = f"# {plan.address.study}: {', '.join(objectives.names)}"
            write_atomic(plan.folder / "leaderboard.md", "\n\n".join(filter(None, [title, *paragraphs])) + "\n")
            best = self.best()
            if best and tuple(trial.number for trial in best) != self._best:
                self._write_best(best)

    def search(self) -> Search | None:
        """What is known from the trials of one objective; None where none was completed."""
        if self.plan.objectives.several:
            return None
        return summarise_trials(
            self.trials(),
            metric=self.plan.metric,
            maximises=self.plan.objectives.directions[0] == "maximize",
            seeds=max(1, len(self.plan.seeds)),
            changed_at=self.queue.study.user_attrs.get("changed_at", 0),
            has_seed_key=self.plan.settings.seed_key is not None,
        )

    def verdict(self, confirmed: Confirmed | None) -> Verdict | None:
        """What the sweep has found; None where no trial was completed."""
        if self.plan.objectives.several:
            return judge_front(self.trials(), self.plan.objectives, confirmed, self.queue.study.user_attrs)
        search = self.search()
        return judge(search, confirmed) if search else None

    def complete(self) -> list[FrozenTrial]:
        """Complete trials that violate no constraint, best first."""
        return self.plan.objectives.ranked_complete(self.trials())

    def best(self) -> list[FrozenTrial]:
        """The best trial; of several objectives the Pareto front."""
        return self.plan.objectives.front(self.trials()) if self.plan.objectives.several else self.complete()[:1]

    def to_confirm(self) -> dict[str, FrozenTrial]:
        """The trials that a confirmation runs beside the baseline, by the name of their configuration.

        Raises:
            ConfigError: ``hydra.sweeper.confirm_points`` names one that is not completed.
        """
        if self.plan.objectives.several:
            points = confirmation.choose_points(self.trials(), self.plan.objectives, self.plan.settings.confirm_points)
            return {f"best-{trial.number}": trial for trial in points}
        search = self.search()  # the baseline must not be run twice
        return {} if search is None or search.is_baseline else {"best": self.complete()[0]}

    def write_confirmation(self, configurations: Sequence[str], seeds: Sequence[int]) -> None:
        """Write what the runs of these configurations show."""
        plan, search = self.plan, self.search()
        further = plan.objectives.names if plan.objectives.several else ()
        best, by = None if search is None else search.best.number, plan.settings.confirm_metric
        confirmation.write_confirmation(
            plan.folder, configurations, seeds, plan.application, by, self.verdict, best=best, objectives=further
        )

    def commands(self) -> list[str]:
        """What runs each trial on the front of several objectives."""
        program, folder = self.plan.application.program, shlex.quote(str(self.plan.folder))
        files = [(trial.number, point_file(trial.number).removesuffix(".yaml")) for trial in self.best()]
        return [f"run trial {number}: {program} --config-dir {folder} --config-name {name}" for number, name in files]

    def overrides(self, trial: FrozenTrial) -> tuple[str, ...]:
        """What to type for a trial: the fixed ones and its own."""
        return (*self.plan.space.fixed, *filter(self._is_known, self.plan.space.overrides(trial)))

    def _is_known(self, override: str) -> bool:
        """False for ``+KEY`` of a key that no config has: a study of an earlier version may have searched one."""
        if not override.startswith("+"):
            return True
        try:
            self.plan.compose((*self.plan.space.fixed, override))
        except ConfigError:
            return False
        return True

    def _write_best(self, best: Sequence[FrozenTrial]) -> None:
        """The results as the official sweeper writes them, and a config for each of these trials."""
        plan, objectives = self.plan, self.plan.objectives
        found = [{"params": params_of(trial), "values": list(trial.values)} for trial in best]
        one = {"best_params": found[0]["params"], "best_value": best[0].values[0]}
        content = {"name": "optuna", **({"solutions": found} if objectives.several else one)}
        write_atomic(plan.folder / "optimization_results.yaml", OmegaConf.to_yaml(OmegaConf.create(content)))
        for trial in best:
            if trial.number in self._best:
                continue
            values = f"{plan.metric} {trial.values[0]:.4f}"
            values = objectives.format_values(trial.values) if objectives.several else values
            comment = printable(f"trial {trial.number} of the sweep {plan.address.study}: {values}")
            config, loader = plan.compose(self.overrides(trial)), plan.context.config_loader
            file = plan.folder / (point_file(trial.number) if objectives.several else BEST_FILE)
            write_config(file, comment, config, plan.config, loader, plan.application)
        if objectives.several:
            remove_points(plan.folder, [trial.number for trial in best])
        self._best = tuple(trial.number for trial in best)
