"""Moving averages of the members' weights, each by its own callback's rule."""

from collections.abc import Sequence

from lightsweep.population.member import Member
from lightsweep.population.rows import Weights
from lightsweep.training.callbacks import WeightAverage


class Averages:
    """Averages `weights` of the members that have a `WeightAverage` into `values`."""

    def __init__(self, weights: Weights, values: Weights) -> None:
        self.weights, self.values = weights, values

    def step(self, members: Sequence[Member], index: int) -> None:
        """After the optimizer's step of this number, from 0, of the epoch."""
        for member in members:
            average = member.spec.average
            if average is None or not average.should_update(step_idx=member.steps + index):
                continue
            if member.averaged == 0:
                self._copy(member)
            else:
                self._update(member, average)
            member.averaged += 1

    def _update(self, member: Member, average: WeightAverage) -> None:
        row = member.row
        for index, (kept, fresh) in enumerate(zip(self.values.parts, self.weights.parts, strict=True)):
            if index == 0 or average.use_buffers:  # the parameters are first
                average.update([kept.values[row]], [fresh.values[row]])
            else:
                kept.values[row].copy_(fresh.values[row])

    def begin_validation(self, members: Sequence[Member]) -> None:
        """Until its first update an average is what the weights are."""
        for member in members:
            if member.averaged == 0:
                self._copy(member)

    def _copy(self, member: Member) -> None:
        self.values.copy_row(member.row, self.weights, member.row)
