"""The learning rates of a range test. Checked before torch is imported."""

from typing import TYPE_CHECKING, NamedTuple

from lightsweep.core import checks

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from lightsweep.training.optimization import Schedule

WINDOW = 10  # steps that are averaged
_MOST_STEPS = 100_000  # each is a row of lr_find.csv; more tell nothing that fewer do not


class Range(NamedTuple):
    """Learning rates from `low` to `high`, each the same factor above the one before."""

    low: float
    high: float
    steps: int

    def check(self) -> "Range":
        """Raises: ConfigError: no such range."""
        checks.number("lr_find_range.low", self.low, "(0, inf)")
        checks.number("lr_find_range.high", self.high, "(0, inf)")
        checks.require(self.high > self.low, "lr_find_range.high", f"be above low, {self.low}", self.high)
        checks.integer("lr_find_range.steps", self.steps, f"[{2 * WINDOW}, {_MOST_STEPS}]")
        return self

    def schedule(self, optimizer: "Optimizer", epochs: int, steps_per_epoch: int) -> "Schedule":
        """As one of `schedules`."""
        from torch.optim.lr_scheduler import LambdaLR

        first, growth = self.low / optimizer.param_groups[0]["lr"], self.high / self.low
        scheduler = LambdaLR(optimizer, lambda step: first * growth ** (step / (self.steps - 1)))
        return {"scheduler": scheduler, "interval": "step", "frequency": 1}
