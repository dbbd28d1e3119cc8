"""A member of a population: what it is made of, and what an epoch of it measured."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from lightsweep.data.transforms import Augment
from lightsweep.population.dropout import probabilities
from lightsweep.training import optimization
from lightsweep.training.callbacks import WeightAverage
from lightsweep.training.classifier import Classifier

if TYPE_CHECKING:
    from lightsweep.population.population import Population


@dataclass(frozen=True, kw_only=True)
class MemberSpec:
    """What a member trains.

    Args:
        classifier: at the start of training, on the CPU.
        seed: of the run; seeds dropout.
        data_seed: ``data.seed``, from which the order of the images and their changes follow.
        augment: of its images.
        clip: the largest norm of its gradient; None or 0: no clipping.
        average: the moving average of its weights, which is validated and kept in their place.
    """

    classifier: Classifier
    seed: int
    data_seed: int
    augment: Augment
    clip: float | None
    average: WeightAverage | None


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch of a member measured.

    Args:
        epoch: from 1.
        measured: the metrics by name, ``val/acc``, as those of a run of its own.
        lr: at the start of the epoch.
        seconds: the epoch's time, divided by the members that shared it.
        images_per_second: its training images in its share of the time of training.
    """

    epoch: int
    measured: dict[str, float]
    lr: float
    seconds: float
    images_per_second: float


class Member:
    """A network in training. `epochs` is how many it has been trained for.

    Args:
        row: its row in the population's tensors.
    """

    def __init__(self, spec: MemberSpec, population: "Population", row: int, steps: int) -> None:
        self.spec, self.row, self.epochs = spec, row, 0
        self.dropout = probabilities(spec.classifier.net)
        self.optimizer = optimization.optimizer_over(spec.classifier.optimizer, population.groups(row, spec))
        schedule = spec.classifier.schedule(self.optimizer, spec.classifier.max_epochs, steps)
        self.schedule, self.interval = schedule["scheduler"], schedule.get("interval", "epoch")
        self.monitor: str | None = schedule.get("monitor")  # of plateau
        self.steps = 0  # of the optimizer
        self.averaged = 0  # updates of the moving average
        self._population = population

    @property
    def lr(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def rates(self, steps: int) -> list[float]:
        """The learning rate at each of the next epoch's steps."""
        schedule = self.schedule
        if isinstance(schedule, ReduceLROnPlateau):
            return [self.lr] * steps
        assert isinstance(schedule, LambdaLR), "a closed form"
        base, rate = float(schedule.base_lrs[0]), schedule.lr_lambdas[0]
        if self.interval == "epoch":
            return [base * rate(self.epochs)] * steps
        return [base * rate(self.epochs * steps + step) for step in range(steps)]

    def set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def move(self, groups: list[dict]) -> None:
        """Its parameters lie in another row now; the optimizer keeps its moments."""
        for own, moved in zip(self.optimizer.param_groups, groups, strict=True):
            for parameter, other in zip(own["params"], moved["params"], strict=True):
                parameter.data, parameter.grad = other.data, other.grad

    def end_epoch(self, measured: dict[str, float]) -> None:
        """Step a plateau schedule, with the value that Lightning would hand to it, in float32."""
        if isinstance(self.schedule, ReduceLROnPlateau) and self.monitor in measured:
            self.schedule.step(torch.tensor(measured[self.monitor]).item())

    def keep(self) -> None:
        """Keep the weights that were validated last. They stay on the device."""
        self._population.keep(self)

    def kept(self) -> dict[str, Tensor]:
        """The state_dict of the kept weights, on the CPU."""
        return self._population.kept.state(self.row)

    def current(self) -> dict[str, Tensor]:
        """The state_dict of the weights that were validated last, on the CPU."""
        return self._population.validated.state(self.row)
