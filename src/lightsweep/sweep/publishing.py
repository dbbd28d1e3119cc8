"""What a study's folder shows: leaderboard, best parameters, best config; written anew after each trial."""

from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

from lightsweep.files import write_whole
from lightsweep.sweep import best_config, confirmation, leaderboard
from lightsweep.sweep.ledger import Ledger
from lightsweep.sweep.plan import Plan
from lightsweep.sweep.space import key_of


class Publisher:
    """Writes a study's files, one sweeper at a time, so that the latest look wins."""

    def __init__(self, plan: Plan, ledger: Ledger) -> None:
        self.plan, self.ledger = plan, ledger
        self._best: int | None = None

    def publish(self) -> None:
        self.ledger.patience(self._write)  # a disk that is full for a while

    def _write(self) -> None:
        with self.ledger.writing():
            table = leaderboard.rows(self.ledger.trials(), self.plan.space, self.ledger.study.direction)
            title = f"{self.plan.address.study}: {self.plan.metric}"
            confirmed = confirmation.told(self.plan.folder, self.plan.metric)
            leaderboard.write(self.plan.folder, table, title=title, below=confirmed)
            complete = self.complete()
            if complete and complete[0].number != self._best:
                self._write_best(complete[0])

    def complete(self) -> list[FrozenTrial]:
        """Complete trials, best first."""
        complete = [trial for trial in self.ledger.trials() if trial.state == TrialState.COMPLETE]
        return leaderboard.ranked(complete, self.ledger.study.direction)

    def overrides(self, trial: FrozenTrial) -> tuple[str, ...]:
        """What to type for a trial: the fixed ones and its own."""
        return (*self.plan.space.fixed, *self.plan.space.overrides(trial))

    def _write_best(self, best: FrozenTrial) -> None:
        found = {key_of(name): value for name, value in best.params.items()}
        content = {"name": "optuna", "best_params": found, "best_value": best.value}  # as the official sweeper has it
        write_whole(self.plan.folder / "optimization_results.yaml", OmegaConf.to_yaml(content))
        comment = f"trial {best.number} of the sweep {self.plan.address.study}: {self.plan.metric} {best.value:.4f}"
        loader = self.plan.context.config_loader
        best_config.write(self.plan.folder, loader, self.plan.config, self.overrides(best), comment=comment)
        self._best = best.number
