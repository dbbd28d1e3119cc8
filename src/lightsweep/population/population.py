"""Up to K MLPs of one kind that train as one computation. A is the members now, which have the first rows."""

import math
import time
from collections.abc import Callable, Iterator

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from lightsweep.core import signals
from lightsweep.data.loader import EvalLoader, TrainLoader, derive
from lightsweep.data.module import ImageDataModule
from lightsweep.data.stacking import stacked_batches
from lightsweep.population.averages import Averages
from lightsweep.population.dropout import StackedDropout
from lightsweep.population.losses import StackedObjective, StackedSums
from lightsweep.population.member import EpochRecord, Member, MemberSpec
from lightsweep.population.network import Pass, StackedMLP
from lightsweep.population.rows import Rows, Weights
from lightsweep.population.step import Backward, ReplayedStep, clip_rows
from lightsweep.population.updates import EachUpdate, StackedUpdate, Update, can_stack

# The largest network, in parameters, whose members step faster together than each by itself on a CPU. Measured with one
# thread and AdamW, SGD and RMSprop, 1 to 64 members: at 65,536 parameters the stacked update takes a third to all of
# the time of the members' own, at 262,144 up to three times as long, for its rows do not fit in a cache.
_STACKED_ON_CPU = 131_072


class Population:
    """Trains MLPs of one kind (`kinds.kind_of`), each as a run of its own would train it. `after_step` is called after
    each training batch.

    Args:
        first: any one of the members to come.
        data: of all of them, set up.
        places: the most members at a time.
        fabric: the device, and the precision of the forward pass.
        accumulate: batches an optimizer step.
        update: each, a call of each member's optimizer; stacked, one update of all members where `updates.can_stack`,
            else as each; or auto, the faster one.
        graph: replay training steps as a CUDA graph. Without effect on a CPU, with `accumulate` above 1, with averages
            and where the update is not stacked.

    Raises:
        ConfigError: a training batch has one image, and the networks have BatchNorm.
    """

    def __init__(
        self,
        first: MemberSpec,
        data: ImageDataModule,
        *,
        places: int,
        fabric: Fabric,
        accumulate: int,
        update: str = "auto",
        graph: bool = False,
    ) -> None:
        net = first.classifier.net
        data.check_shares(1)
        if any(isinstance(each, nn.BatchNorm1d) for each in net.modules()):
            data.check_batches_of_one(1)
        self.data, self.places, self.fabric = data, places, fabric
        self.accumulate, self.graph = accumulate, graph
        self.after_step: Callable[[], None] = lambda: None
        self.device = fabric.device
        self.network = StackedMLP(net)
        decay_all = first.classifier.decay_all
        made = [Weights(net, places, device=self.device, decay_all=decay_all) for _ in range(3 if first.average else 2)]
        self.weights, self.kept, self.validated = made[0], made[1], made[-1] if first.average else made[0]
        self.averages = Averages(self.weights, self.validated) if first.average else None
        self.gradients = Rows(self.weights.parameters.layout, places, device=self.device)
        self.eval_loader: EvalLoader = data.eval_loader("val", self.device)
        self.batches = len(self._loader(first))
        self.steps = -(-self.batches // accumulate)  # of the optimizer, an epoch
        self.update = self._choose_update(first, update)
        self.members: list[Member] = []
        self.loaders: dict[Member, TrainLoader] = {}

    def _choose_update(self, first: MemberSpec, name: str) -> Update:
        optimizer = Member(first, self, 0, self.steps).optimizer
        fits = self.device.type != "cpu" or self.weights.parameters.layout.width <= _STACKED_ON_CPU
        if can_stack(optimizer) and (name == "stacked" or (name == "auto" and fits)):
            parameters = self.weights.parameters.values
            return StackedUpdate(optimizer, parameters, self.gradients.values, decayed=self.weights.decayed)
        return EachUpdate()

    def add(self, spec: MemberSpec) -> Member:
        """A new member in a free place, with the weights of its classifier."""
        row = len(self.members)
        assert row < self.places, "no place is free"
        self.weights.load(row, spec.classifier.net.state_dict())
        self.update.clear(row)
        member = Member(spec, self, row, self.steps)
        self.loaders[member] = self._loader(spec)
        self.members.append(member)
        return member

    def remove(self, member: Member) -> None:
        """Remove a member and its kept weights. The member of the last row moves to the row that is free."""
        last = self.members.pop()
        del self.loaders[member]
        if last is member:
            return
        for weights in {self.weights, self.kept, self.validated}:
            weights.copy_row(member.row, weights, last.row)
        self.update.move(member.row, last.row)
        self.members[member.row] = last
        last.row = member.row
        last.move(self.groups(last.row, last.spec))

    def train_epoch(self) -> dict[Member, EpochRecord]:
        """One epoch of every member: training, then validation."""
        started = time.perf_counter()
        objective = self._objective()
        rates = [member.rates(self.steps) for member in self.members]
        self.update.begin_epoch(self.members, rates)
        self.clips = self._clips()
        train, images = self._train(objective)
        self._wait()
        training_seconds = time.perf_counter() - started
        val = self._validate(objective)
        members = len(self.members)
        records = {}
        for member, rate, *parts in zip(self.members, rates, val.measured("val"), train.measured("train"), strict=True):
            member.epochs += 1
            member.steps += self.steps
            measured = parts[0] | parts[1]
            member.end_epoch(measured)
            seconds = (time.perf_counter() - started) / members
            records[member] = EpochRecord(
                member.epochs, measured, rate[0], seconds, images * members / training_seconds
            )
        return records

    @torch.no_grad()
    def evaluate(self, images: Tensor) -> Tensor:
        """Images ``float [A, B, C, H, W]``, or ``[1, B, C, H, W]`` for all members -> logits ``[A, B, K]``, by the
        weights that are validated."""
        with self.fabric.autocast():
            return self.network(images, self._pass(self.validated, None))

    def keep(self, member: Member) -> None:
        """Copy a member's validated weights to its kept ones."""
        self.kept.copy_row(member.row, self.validated, member.row)

    def groups(self, row: int, spec: MemberSpec) -> list[dict]:
        """Parameter groups over a row, those of `optimization.parameter_groups`: with decay, without."""
        cuts = slice(0, self.weights.decayed), slice(self.weights.decayed, None)
        parts = []
        for cut in cuts:
            part = self.weights.parameters.values[row, cut].detach().requires_grad_()
            part.grad = self.gradients.values[row, cut]
            parts.append(part)
        groups: list[dict] = [{"params": [parts[0]]}, {"params": [parts[1]], "weight_decay": 0.0}]
        return groups[:1] if spec.classifier.decay_all else groups

    def _loader(self, spec: MemberSpec) -> TrainLoader:
        return self.data.train_loader(self.device, seed=spec.data_seed, augment=spec.augment)

    def _objective(self) -> StackedObjective:
        classifiers = [member.spec.classifier for member in self.members]
        return StackedObjective(
            [each.objective for each in classifiers], [each.net for each in classifiers], self.device
        )

    def _train(self, objective: StackedObjective) -> tuple[StackedSums, int]:
        """The sums of an epoch of training, and each member's images."""
        sums, images, index = self._sums(), 0, 0
        count = len(self.members)
        using, gradients = self._pass(self.weights, self._dropout()), self.gradients.stacked(count)
        backward = Backward(self.network, objective, using, gradients, sums, self.fabric, self.accumulate)
        replayed = self._replayed(backward)
        for batch, (inputs, targets) in enumerate(self._training_batches()):
            self.weights.counts.values[:count] += 1  # batches that BatchNorm has seen
            if replayed is not None:
                replayed(inputs, targets, batch)
            else:
                backward(inputs, targets, adds=batch % self.accumulate > 0)
                if (batch + 1) % self.accumulate == 0 or batch + 1 == self.batches:
                    self._step(index)
                    index += 1
            images += inputs.shape[1]
            self.after_step()
            signals.raise_lost()
        return sums, images

    def _replayed(self, backward: Backward) -> ReplayedStep | None:
        """The whole step as a CUDA graph, where it is wanted and always the same."""
        same = self.accumulate == 1 and self.averages is None and isinstance(self.update, StackedUpdate)
        if not (self.graph and same and self.device.type == "cuda"):
            return None

        def step(inputs: Tensor, targets: Tensor) -> None:
            backward(inputs, targets, adds=False)
            self._clip()
            self.update.apply()

        return ReplayedStep(step, prepare=self.update.select)

    @torch.no_grad()
    def _step(self, index: int) -> None:
        self._clip()
        self.update.select(index)
        self.update.apply()
        if self.averages is not None:
            self.averages.step(self.members, index)

    def _clip(self) -> None:
        if self.clips is not None:
            clip_rows(self.gradients.values[: len(self.members)], self.clips)

    @torch.no_grad()
    def _validate(self, objective: StackedObjective) -> StackedSums:
        if self.averages is not None:
            self.averages.begin_validation(self.members)
        using, sums = self._pass(self.validated, None), self._sums()
        for images, labels in self.eval_loader:
            targets = labels.expand(len(self.members), -1)
            with self.fabric.autocast():
                logits = self.network(images[None], using)
                loss = objective(logits, targets, using.weights)
            sums.add(loss, logits, targets)
        return sums

    def _training_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        loaders = [self.loaders[member] for member in self.members]
        return stacked_batches(loaders, [member.epochs for member in self.members])

    def _dropout(self) -> StackedDropout:
        probabilities = [member.dropout for member in self.members]
        seeds = [derive(member.spec.seed, member.epochs, 0) for member in self.members]
        return StackedDropout(probabilities, seeds, self.device)

    def _pass(self, weights: Weights, dropout: StackedDropout | None) -> Pass:
        count = len(self.members)
        return Pass(weights.parameters.stacked(count), weights.statistics.stacked(count), dropout)

    def _clips(self) -> Tensor | None:
        """The members' largest norms ``[A]``, infinite where there is none; None if no member has one."""
        clips = [member.spec.clip or math.inf for member in self.members]
        return torch.tensor(clips, device=self.device) if min(clips) < math.inf else None

    def _sums(self) -> StackedSums:
        return StackedSums(len(self.members), self.data.num_classes, self.device)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
