"""Why a sweep ends before its total of trials."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial, TrialState

from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.trials import is_feasible, without_repeats

if TYPE_CHECKING:
    from lightsweep.sweeper.plan import Plan


@dataclass(frozen=True)
class Endings:
    """Why a sweep ends before its total: the settings ``target``, ``patience`` and ``min_delta``.

    Args:
        metric: the name of the value.
    """

    metric: str
    maximises: bool
    target: float | None
    patience: int | None
    min_delta: float

    @classmethod
    def of(cls, plan: "Plan") -> "Endings":
        """Those of the settings.

        Raises:
            ConfigError: they need one objective, and there are several.
        """
        chosen, objectives = plan.settings, plan.objectives
        for name in ("target", "patience"):
            if objectives.several and getattr(chosen, name) is not None:
                raise ConfigError(f"hydra.sweeper.{name} needs one objective, got {' and '.join(objectives.names)}")
        maximises = objectives.directions[0] == "maximize"
        return cls(plan.metric, maximises, chosen.target, chosen.patience, chosen.min_delta)

    def why_over(self, trials: Sequence[FrozenTrial]) -> str | None:
        """Why no further trial starts; None where one does. A trial that still runs may change the answer.

        Args:
            trials: those whose values compare.
        """
        if self.target is None and self.patience is None:
            return None
        done = [trial for trial in without_repeats(trials) if trial.state == TrialState.COMPLETE]
        sign = 1.0 if self.maximises else -1.0
        values = {trial.number: sign * trial.value for trial in done if trial.value is not None and is_feasible(trial)}
        best = max(values, key=lambda number: values[number], default=None)
        if best is not None and self.target is not None and values[best] >= sign * self.target:
            return (
                f"trial {best} has {self.metric} {sign * values[best]:.6g}, hydra.sweeper.target={self.target:g} is"
                " reached"
            )
        if self.patience is None or (count := self._without_gain(done, values)) < self.patience:
            return None
        by = f" by more than {self.min_delta:g}" if self.min_delta else ""
        have = "trial has" if count == 1 else "trials have"
        return f"{count} completed {have} not improved {self.metric}{by} (hydra.sweeper.patience={self.patience})"

    def _without_gain(self, done: Sequence[FrozenTrial], values: dict[int, float]) -> int:
        """Completed trials since the last improvement, in the order in which they ended."""
        best, count = None, 0
        for trial in sorted(done, key=lambda each: each.datetime_complete or datetime.max):
            value = values.get(trial.number)
            if value is not None and (best is None or value > best + self.min_delta):
                best, count = value, 0
            else:
                count += 1
        return count
