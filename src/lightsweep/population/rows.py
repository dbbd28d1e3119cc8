"""Where the tensors of many networks of one shape lie: one row a network, its tensors one after the other.

A row is what an optimizer and a norm see; the stacked tensors ``[A, *shape]`` that the layers use are views of the
same memory, of the first A rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_ALIGNED = 16  # elements: each tensor of each row begins at a multiple of 64 bytes, so that all rows compute alike


@dataclass(frozen=True)
class Place:
    """Where a row has a tensor."""

    start: int
    shape: torch.Size

    @property
    def end(self) -> int:
        return self.start + self.shape.numel()


class Layout:
    """The places of named tensors in a row of `width` elements, in the order given."""

    def __init__(self, shapes: Mapping[str, torch.Size]) -> None:
        self.places: dict[str, Place] = {}
        self.width = 0
        for name, shape in shapes.items():
            self.places[name] = Place(self.width, shape)
            self.width = _rounded_up(self.places[name].end)


class Rows:
    """Tensors of K networks: `values` ``[K, width]``, zeros at first."""

    def __init__(self, layout: Layout, count: int, *, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        self.layout = layout
        self.values = torch.zeros(count, layout.width, device=device, dtype=dtype)

    def stacked(self, count: int) -> dict[str, Tensor]:
        """Views ``[count, *shape]`` of the first rows, by name."""
        rows = self.values[:count]
        return {
            name: rows[:, place.start : place.end].view(count, *place.shape)
            for name, place in self.layout.places.items()
        }

    def load(self, row: int, tensors: Mapping[str, Tensor]) -> None:
        """Fill a row from tensors by name; others are ignored."""
        for name, place in self.layout.places.items():
            self.values[row, place.start : place.end].copy_(tensors[name].reshape(-1))

    def state(self, row: int) -> dict[str, Tensor]:
        """A row's tensors by name, copies on the CPU."""
        values = self.values[row].detach().cpu()
        return {name: values[p.start : p.end].view(p.shape).clone() for name, p in self.layout.places.items()}


class Weights:
    """Parameters, floating statistics and counts of K networks of one shape: all that a state_dict has.

    Args:
        net: of that shape.
        decay_all: weight decay on all parameters; else those with one axis, which are spared, are last in a row.
    """

    def __init__(self, net: nn.Module, count: int, *, device: torch.device, decay_all: bool) -> None:
        self.names = list(net.state_dict())
        parameters = {name: parameter.shape for name, parameter in net.named_parameters()}
        decayed = {name: shape for name, shape in parameters.items() if decay_all or len(shape) > 1}
        others = {name: tensor for name, tensor in net.state_dict().items() if name not in parameters}
        statistics = {name: tensor.shape for name, tensor in others.items() if tensor.is_floating_point()}
        counts = {name: tensor.shape for name, tensor in others.items() if name not in statistics}
        self.decayed = Layout(decayed).width  # elements of a row, its first ones
        self.parameters = Rows(Layout(decayed | parameters), count, device=device)
        self.statistics = Rows(Layout(statistics), count, device=device)
        self.counts = Rows(Layout(counts), count, device=device, dtype=torch.int64)

    @property
    def parts(self) -> tuple[Rows, Rows, Rows]:
        """The parameters first."""
        return self.parameters, self.statistics, self.counts

    def load(self, row: int, state: Mapping[str, Tensor]) -> None:
        """Fill a row from a state_dict."""
        for part in self.parts:
            part.load(row, state)

    def state(self, row: int) -> dict[str, Tensor]:
        """A row as a state_dict, copies on the CPU."""
        found = {name: tensor for part in self.parts for name, tensor in part.state(row).items()}
        return {name: found[name] for name in self.names}

    def copy_row(self, row: int, source: "Weights", source_row: int) -> None:
        """A row becomes what another one, of these or of other weights of the shape, is."""
        for part, other in zip(self.parts, source.parts, strict=True):
            part.values[row].copy_(other.values[source_row])


def _rounded_up(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED
