"""The network's graph in the loggers."""

import pytest
import torch
from torch import nn

from lightsweep.training.loggers import Trackers
from lightsweep.training.tracking import Tracker


class TracingTracker(Tracker):
    def graph(self, net: nn.Module, images: torch.Tensor) -> None:
        self.traced = torch.jit.trace(net, images)


@pytest.fixture
def trackers() -> Trackers:
    made = Trackers([])
    made.trackers = [TracingTracker("a logger")]
    return made


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch.jit.trace, which TensorBoard's writer uses
def test_the_graph_of_a_compiled_network_can_be_traced(trackers: Trackers) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 3))
    net.compile()
    trackers.graph(net, torch.zeros(1, 1, 2, 2))
    layers = trackers.trackers[0].traced.children()
    assert [layer.original_name for layer in layers] == ["Flatten", "Dropout", "Linear"]
    assert net.training


def test_a_network_that_cannot_be_copied_costs_a_warning(trackers: Trackers, caplog) -> None:
    class Locked(nn.Linear):
        def __deepcopy__(self, memo):
            raise TypeError("cannot pickle a lock")

    trackers.graph(Locked(4, 3), torch.zeros(1, 4))
    assert "did not take the graph (TypeError: cannot pickle a lock)" in caplog.text
