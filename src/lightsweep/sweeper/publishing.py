"""What a study's folder shows: leaderboard, best parameters, best config; written anew after each trial."""

from omegaconf import OmegaConf
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from lightsweep.config.config_files import UnknownKey
from lightsweep.core.files import write_whole
from lightsweep.sweeper import best_config, confirmation, confirmation_file, leaderboard
from lightsweep.sweeper.ledger import Ledger
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.repeats import without
from lightsweep.sweeper.search import Confirmed, Search, of_trials
from lightsweep.sweeper.space import key_of
from lightsweep.sweeper.verdict import Verdict, judge


class Publisher:
    """Writes a study's files, one sweeper at a time, so that the latest look wins."""

    def __init__(self, plan: Plan, ledger: Ledger) -> None:
        self.plan, self.ledger = plan, ledger
        self._best: int | None = None

    def publish(self) -> None:
        self.ledger.patience(self._write)  # a disk that is full for a while

    def _write(self) -> None:
        with self.ledger.writing():
            trials, direction = without(self.ledger.trials()), self.ledger.study.direction
            table = leaderboard.rows(trials, self.plan.space, direction, self.plan.metric)
            title = f"{self.plan.address.study}: {self.plan.metric}"
            confirmed = confirmation_file.read(self.plan.folder)
            judged = self.verdict(confirmed)
            above = ["\n".join(f"- {line}" for line in judged.lines)] if judged else []
            leaderboard.write(self.plan.folder, table, title=title, above=above, below=self._confirmation(confirmed))
            complete = self.complete()
            if complete and complete[0].number != self._best:
                self._write_best(complete[0])

    def found(self) -> Search | None:
        """What the trials say; None where none was completed."""
        maximises = self.ledger.study.direction == StudyDirection.MAXIMIZE
        return of_trials(
            without(self.ledger.trials()),
            metric=self.plan.metric,
            maximises=maximises,
            seeds=max(1, len(self.plan.seeds)),
            changed_at=self.ledger.study.user_attrs.get("changed_at", 0),
        )

    def verdict(self, confirmed: Confirmed | None) -> Verdict | None:
        """What the sweep has found; None where no trial was completed."""
        found = self.found()
        return judge(found, confirmed) if found else None

    def _confirmation(self, confirmed: Confirmed | None) -> list[str]:
        if confirmed is None:
            return []
        table = confirmation.rows(confirmed, self.plan.metric)
        columns = list(dict.fromkeys(name for row in table for name in row))
        return [confirmation.heading(confirmed), leaderboard.markdown(table, columns)]

    def complete(self) -> list[FrozenTrial]:
        """Complete trials, best first."""
        complete = [trial for trial in without(self.ledger.trials()) if trial.state == TrialState.COMPLETE]
        return leaderboard.ranked(complete, self.ledger.study.direction)

    def overrides(self, trial: FrozenTrial) -> tuple[str, ...]:
        """What to type for a trial: the fixed ones and its own."""
        return (*self.plan.space.fixed, *filter(self._is_known, self.plan.space.overrides(trial)))

    def _is_known(self, line: str) -> bool:
        """A study of an earlier version may have searched ``+lr``, which no config has and nothing read."""
        if not line.startswith("+"):
            return True
        try:
            self.plan.compose((*self.plan.space.fixed, line))
        except UnknownKey:
            return False
        return True

    def _write_best(self, best: FrozenTrial) -> None:
        found = {key_of(name): value for name, value in best.params.items()}
        content = {"name": "optuna", "best_params": found, "best_value": best.value}  # as the official sweeper has it
        write_whole(self.plan.folder / "optimization_results.yaml", OmegaConf.to_yaml(content))
        comment = f"trial {best.number} of the sweep {self.plan.address.study}: {self.plan.metric} {best.value:.4f}"
        loader = self.plan.context.config_loader
        best_config.write(self.plan.folder, loader, self.plan.config, self.overrides(best), comment=comment)
        self._best = best.number
