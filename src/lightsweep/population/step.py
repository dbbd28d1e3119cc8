"""What a training batch of a population goes through."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor

from lightsweep.population.losses import StackedObjective, StackedSums
from lightsweep.population.network import Pass, StackedMLP

_WARM_UP = 3  # steps, in which libraries get their workspaces


@dataclass(frozen=True)
class Backward:
    """Logits, losses, metrics and gradients of a batch.

    Args:
        gradients: where they are written, ``[A, *shape]`` each, in the order of the weights.
        accumulate: by which the gradients are divided.
    """

    network: StackedMLP
    objective: StackedObjective
    using: Pass
    gradients: Mapping[str, Tensor]
    sums: StackedSums
    fabric: Fabric
    accumulate: int

    def __call__(self, images: Tensor, targets: Tensor, *, adds: bool) -> None:
        """Images ``[A, B, C, H, W]``, targets as the objective takes them; `adds` to the gradients that are there."""
        weights = [weight.requires_grad_() for weight in self.using.weights.values()]
        with self.fabric.autocast():
            logits = self.network(images, self.using)
            loss = self.objective(logits, targets, self.using.weights)
        self.sums.add(loss, logits, targets)
        # A member's gradients follow from its own loss alone.
        found = torch.autograd.grad(loss.objective.sum() / self.accumulate, weights)
        put = torch._foreach_add_ if adds else torch._foreach_copy_
        put(list(self.gradients.values()), found)


class ReplayedStep:
    """A training step that is captured as a CUDA graph after a few steps, and replayed from then on: to start its
    kernels one by one takes longer than to compute them.

    Args:
        step: works in place, on tensors that stay where they are.
        prepare: sets, before a step, what depends on its number, in place.
    """

    def __init__(self, step: Callable[[Tensor, Tensor], None], *, prepare: Callable[[int], None]) -> None:
        self.step, self.prepare = step, prepare
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, images: Tensor, targets: Tensor, index: int) -> None:
        """The epoch's step of this number, from 0."""
        self.prepare(index)
        if index < _WARM_UP:
            self._warm_up(images, targets)
            return
        if self.graph is None:
            self._capture(images, targets)
        if self.graph is None or images.shape != self.images.shape:  # the last batch can be smaller
            self.step(images, targets)
            return
        self.images.copy_(images)
        self.targets.copy_(targets)
        self.graph.replay()

    def _warm_up(self, images: Tensor, targets: Tensor) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.step(images, targets)
        torch.cuda.current_stream().wait_stream(stream)

    def _capture(self, images: Tensor, targets: Tensor) -> None:
        self.images, self.targets = images.clone(), targets.clone()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step(self.images, self.targets)
        self.graph = graph


@torch.no_grad()
def clip_rows(gradients: Tensor, most: Tensor) -> None:
    """Scale each row of ``[A, width]`` whose norm is above its most ``[A]``, as `torch.nn.utils.clip_grad_norm_`."""
    factors = (most / (gradients.norm(dim=1) + 1e-6)).clamp_(max=1.0)
    gradients.mul_(torch.where(most.isinf(), 1.0, factors)[:, None])  # a norm may be infinite, too
